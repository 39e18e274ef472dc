"""`sweep`: one training run, thousands of trials."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxhpo._checks import (
    check_bool,
    check_count,
    check_int,
    check_key,
    check_positive,
    describe,
    fail,
)
from jaxhpo._checks.suggest import named_arguments
from jaxhpo._tracing import compilation_cache
from jaxhpo.population._compile import Program, Settings, compile_group, trace_group
from jaxhpo.population._groups import Group, group_trials
from jaxhpo.population._layout import default_budget, num_cores
from jaxhpo.population._program_cache import Programs
from jaxhpo.population._progress import progress_callback
from jaxhpo.population._record import Sweep, SweepRecorder
from jaxhpo.population._threads import Finished, Report, Workers
from jaxhpo.population._trace import TracedTraining, uses_x64
from jaxhpo.progress import make_reporter
from jaxhpo.training.internal import Training, check_training

if TYPE_CHECKING:
    from concurrent.futures import Future

_WHERE = "sweep"


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C during a sweep; `sweep` holds what had been reached.

    Attributes:
        sweep: the unfinished `Sweep`.
    """

    def __init__(self, sweep: Sweep) -> None:
        super().__init__("the sweep was interrupted between two calls of its program")
        self.sweep = sweep


@named_arguments
def sweep(
    training: Training,
    hparams: Any,
    *,
    key: Any,
    num_steps: int,
    num_reports: int = 10,
    first_trial: Any = 0,
    memory_budget: int | None = None,
    share_data_order: bool = False,
    keep_states: bool = False,
    progress: Any = True,
    timeout: float | None = None,
    devices: Sequence[Any] | None = None,
    width: int | None = None,
    chunk: int | None = None,
    programs: Programs | None = None,
) -> Sweep:
    """Trains many trials of one training run on all local devices and cores.

    Trial `i` has the key `fold_in(key, first_trial + i)` and ends with the value of
    `training.objective(training, num_steps)` there: neither the other trials nor the number of
    devices, threads or chunks change it. Trials that share their `static` values share one program,
    compiled once. Work is cut into chunks that keep the program, by its own memory analysis, within
    `memory_budget`. A trial whose loss is not finite at a report has failed: it is frozen and
    counted, and changes no other.

    Args:
        training: `init`, `step` and `loss`, called once per program, on abstract values.
        hparams: values pytree, every leaf `[n, ...]`, as `Space.sample(key, n)` gives it; a
            `static` leaf reaches the training as its Python value.
        key: a key or an integer seed; or `[n]` keys, one for each trial, as `Sweep.trial_key` and
            `Study.trial_key` give them, to train those trials again.
        num_steps: steps per trial; static.
        num_reports: validation losses in a learning curve, evenly spaced, the last after the last
            step; each is also a progress report and a place to stop.
        first_trial: number of the first trial, for a sweep that continues where another ended; or
            the numbers `[n]` of all. A trial's key is `key` folded with its number.
        memory_budget: bytes that the running programs may hold: of host memory on CPU (default
            2 GiB), of each device otherwise (default three quarters of what is free).
        share_data_order: whether all trials see the same batches and dropout masks (common random
            numbers: a fairer comparison, and faster, since a batch is fetched once per group).
            Their initial parameters still differ.
        keep_states: whether to return all final states rather than the best one's alone.
        progress: True draws a bar on a terminal or in a notebook, and where the output is piped
            writes a line to standard error at the start and every minute; False is silent, a
            callable takes a `Progress` in the calling thread.
        timeout: seconds after which the sweep stops at the next report, or None.
        devices: devices to use; all local ones if None.
        width: trials side by side under `vmap`; chosen if None. It decides how a trial is rounded:
            with one width it is the same to the last bit in any sweep.
        chunk: trials per call; chosen if None.
        programs: keeps the compiled programs for the next call that is given it; None keeps none.

    Returns:
        The `Sweep`.

    Raises:
        TypeError: an argument of a wrong type, or a step that changes the state's structure.
        ValueError: leaves of different lengths, a loss that is not a scalar, or a budget that one
            trial exceeds; all before any training.
        SweepInterrupted: Ctrl-C; holds what had been reached.

    Example:
        >>> import jax, jax.numpy as jnp, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: jnp.ones(()),
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> trials = hpo.population.sweep(
        ...     training, {"lr": jnp.array([0.1, 0.5, jnp.inf])}, key=0, num_steps=4
        ... )
        >>> trials.best_index, trials.num_failed
        (1, 1)
    """
    started = time.perf_counter()
    compilation_cache.enable_compilation_cache()
    check_training(_WHERE, training)
    num_steps = check_count(_WHERE, "num_steps", num_steps, 1)
    num_reports = check_count(_WHERE, "num_reports", num_reports, 1)
    if timeout is not None:
        timeout = float(check_positive(_WHERE, "timeout", timeout))
    groups, num_trials = group_trials(_WHERE, hparams)
    if programs is not None and not isinstance(programs, Programs):
        raise TypeError(
            f"{_WHERE}: `programs` must be a Programs or None, got {describe(programs)}."
        )
    share_data_order = check_bool(_WHERE, "share_data_order", share_data_order)
    keep_states = check_bool(_WHERE, "keep_states", keep_states)
    chosen = _devices(devices)
    budget = default_budget(list(chosen)) if memory_budget is None else memory_budget
    settings = Settings(
        training,
        *_keys(key, first_trial, num_trials, share_data_order),
        _report_steps(num_steps, num_reports),
        chosen,
        check_int(_WHERE, "memory_budget", budget, 1),
        share_data_order,
        None if width is None else check_count(_WHERE, "width", width, 1),
        None if chunk is None else check_count(_WHERE, "chunk", chunk, 1),
    )
    is_ours = not callable(progress)
    note = f"{num_steps} steps each; the program compiles first"
    display = progress if is_ours else False
    with make_reporter(_WHERE, display, _WHERE, num_trials, note=note) as reporter:
        callback = progress_callback(reporter) if is_ours else progress
        recorder = SweepRecorder(settings, hparams, num_trials, keep_states, callback, started)
        return _run_groups(settings, groups, recorder, timeout, programs or Programs())


def _keys(key: Any, first_trial: Any, num_trials: int, share_data_order: bool) -> tuple[Any, Any]:
    """The sweep's key, and what each trial draws from it: a number to fold it with, or a key."""
    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.ndim == 1 and len(key) == num_trials:
            if share_data_order:
                raise fail(_WHERE, "share_data_order", "False where each trial has its key", True)
            return key[0], key
        if key.ndim:
            raise fail(_WHERE, "key", f"one key, or {num_trials}, one per trial", key.shape)
    if np.ndim(first_trial) == 0:
        first = check_int(_WHERE, "first_trial", first_trial, 0)
        numbers = first + np.arange(num_trials)
    else:
        numbers = np.asarray(first_trial)
        if numbers.shape != (num_trials,) or numbers.dtype.kind not in "iu" or (numbers < 0).any():
            expected = f"a number of at least 0, or {num_trials} of them, one per trial"
            raise fail(_WHERE, "first_trial", expected, first_trial)
    if int(numbers.max()) >= 2**32 - 1:
        raise fail(_WHERE, "first_trial", "a number below 2**32 - 1 for every trial", first_trial)
    return check_key(_WHERE, key), numbers.astype(np.uint32)


def _devices(devices: Any) -> tuple[Any, ...]:
    """The devices to use: all local ones, or those of a sequence (an array, as of a mesh)."""
    if devices is None:
        return tuple(jax.local_devices())
    listed = devices.ravel().tolist() if isinstance(devices, np.ndarray) else devices
    chosen = tuple(listed) if isinstance(listed, list | tuple) else (None,)
    if not all(isinstance(one, jax.Device) for one in chosen):
        expected = "a non-empty sequence of devices, or None"
        raise TypeError(f"{_WHERE}: `devices` must be {expected}, got {describe(devices)}.")
    if not chosen:
        raise fail(_WHERE, "devices", "a non-empty sequence of devices", devices)
    return chosen


def _report_steps(num_steps: int, num_reports: int) -> tuple[int, ...]:
    """Spaces at most `num_reports` reports evenly, the last at the end."""
    steps = np.linspace(0, num_steps, min(num_reports, num_steps) + 1)[1:]
    return tuple(int(s) for s in np.unique(np.round(steps).astype(int)))


def _run_groups(
    settings: Settings,
    groups: list[Group],
    recorder: SweepRecorder,
    timeout: float | None,
    programs: Programs,
) -> Sweep:
    """Runs each group as soon as its program is ready."""
    deadline = math.inf if timeout is None else recorder.started + timeout
    futures: list[Future[Program]] = []
    try:
        with recorder.waiting():
            futures = _compile_all(settings, groups, recorder, programs)
        for group, future in zip(groups, futures, strict=True):
            if time.perf_counter() >= deadline:
                break
            with recorder.waiting():
                if not future.done():
                    recorder.report_progress(is_compiling=True)
                program = future.result()
            recorder.add_program(program)
            programs.keep(settings, group, program)
            _run_group(settings, group, program, recorder, deadline)
    except KeyboardInterrupt as interrupt:
        raise SweepInterrupted(recorder.finish()) from interrupt
    finally:
        for future in futures:
            future.cancel()
    return recorder.finish()


def _compile_all(
    settings: Settings, groups: list[Group], recorder: SweepRecorder, programs: Programs
) -> list[Future[Program]]:
    """Starts to compile the programs that are not known yet, side by side."""
    from concurrent.futures import Future, ThreadPoolExecutor  # 5 ms that an import need not cost.

    x64 = uses_x64()

    def compile_one(group: Group, traced: TracedTraining) -> Program:
        with jax.enable_x64(x64):
            return compile_group(_WHERE, settings, group, traced)

    found = [programs.find(settings, group) for group in groups]
    num_missing = sum(program is None for program in found)
    before = time.perf_counter()
    if num_missing:
        recorder.report_progress(is_compiling=True)
    traced = [
        None if program else trace_group(_WHERE, settings, group)
        for group, program in zip(groups, found, strict=True)
    ]
    recorder.compile_seconds += time.perf_counter() - before
    pool = ThreadPoolExecutor(max_workers=min(num_cores(), max(num_missing, 1)))
    futures: list[Future[Program]] = []
    for group, program, one in zip(groups, found, traced, strict=True):
        if one is not None:
            futures.append(pool.submit(compile_one, group, one))
        else:
            assert program is not None
            futures.append(Future())
            futures[-1].set_result(program)
    pool.shutdown(wait=False)
    return futures


def _run_group(
    settings: Settings, group: Group, program: Program, recorder: SweepRecorder, deadline: float
) -> None:
    """Runs one group's trials; on any exception the workers end before it goes on."""
    workers = Workers(program, settings, group, recorder.keep_states)
    wait = None if math.isinf(deadline) else 0.05
    best = []
    try:
        for message in workers.messages(wait):
            if time.perf_counter() >= deadline:
                workers.stop()
            if isinstance(message, Report):
                recorder.add_report(message)
            elif isinstance(message, Finished) and message.best is not None:
                best.append(message.best)
    finally:
        workers.stop()
        workers.join()
        for message in workers.leftovers():
            if isinstance(message, Report):
                recorder.add_report(message, quiet=True)
            elif isinstance(message, Finished) and message.best is not None:
                best.append(message.best)
        recorder.add_group(program, workers, best)
