"""`sweep`: one training run, thousands of trials."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxhpo._checks import (
    check_bool,
    check_count,
    check_instance,
    check_int,
    check_key,
    check_positive,
    describe,
    fail,
)
from jaxhpo._checks.suggest import named_arguments
from jaxhpo._tracing import compilation_cache
from jaxhpo.population._compile import Settings
from jaxhpo.population._groups import Group, group_trials
from jaxhpo.population._layout import default_budget
from jaxhpo.population._program_cache import Programs
from jaxhpo.population._progress import progress_callback
from jaxhpo.population._record import Sweep, SweepRecorder
from jaxhpo.population._rule import Rule
from jaxhpo.population._run import run_groups
from jaxhpo.population._scheduled import run_scheduled
from jaxhpo.population._trace import pack
from jaxhpo.population.checkpoints._fingerprint import digest, digest_of
from jaxhpo.population.checkpoints._folder import CheckpointFolder
from jaxhpo.population.distributed._processes import Processes, processes_of
from jaxhpo.progress import make_reporter
from jaxhpo.space import Space
from jaxhpo.training.internal import Training, check_training

_WHERE = "sweep"


@named_arguments
def sweep(
    training: Training,
    hparams: Any,
    *,
    key: Any,
    num_steps: int,
    num_reports: int = 10,
    scheduler: Any = None,
    space: Space | None = None,
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
    checkpoint_dir: str | os.PathLike[str] | None = None,
) -> Sweep:
    """Trains many trials of one training run on all local devices and cores.

    Trial `i` has the key `fold_in(key, first_trial + i)` and ends with the value of
    `training.objective(training, num_steps)` there: neither the other trials nor the number of
    devices, threads or chunks change it. Trials that share their `static` values share one program,
    compiled once. Work is cut into chunks that keep the program, by its own memory analysis, within
    `memory_budget`. A trial whose loss is not finite at a report has failed: it is frozen and
    counted, and changes no other.

    With a `scheduler` not all trials are trained to the end. Between two of its levels those that
    go on are moved together, so that a stopped trial costs nothing any more: the same compiled
    program runs on fewer groups. A trial that goes on is trained as it is without a scheduler, to
    the last bit with the same `width`. Ended early, a trial has no loss and the status PRUNED.

    Under population-based training the hyperparameters change between two levels, and trials go on
    from copies of others' states. A trial keeps its own key all the time, so that step `t` of two
    trials has other draws although one is a copy of the other (but for draws from a key that is
    part of the state). `Sweep.lineage` says what happened, and `replay` trains a lineage anew.

    Args:
        training: `init`, `step` and `loss`, called once per program, on abstract values.
        hparams: values pytree, every leaf `[n, ...]`, as `Space.sample(key, n)` gives it; a
            `static` leaf reaches the training as its Python value.
        key: a key or an integer seed; or `[n]` keys, one for each trial, as `Sweep.trial_key` and
            `Study.trial_key` give them, to train those trials again.
        num_steps: steps per trial; static.
        num_reports: validation losses in a learning curve, evenly spaced, the last after the last
            step; each is also a progress report and a place to stop. A scheduler's levels are
            reported besides.
        scheduler: which trials go on: "halving", "hyperband", "asha", "median", "patience"; or
            "pbt", "pb2"; one that `hpo.schedulers` made for as many trials and steps; or a function
            `(num_trials, num_steps)` that makes one. None trains all to the end.
        space: the space of `hparams`, which "pbt" and "pb2" need; a scheduler that is given
            ready has its own.
        first_trial: number of the first trial, for a sweep that continues where another ended; or
            the numbers `[n]` of all. A trial's key is `key` folded with its number.
        memory_budget: bytes that the running programs may hold: of host memory on CPU (default
            2 GiB), of each device otherwise (default three quarters of what is free). The states of
            trials that wait for a scheduler are in host memory besides, where they do not fit.
        share_data_order: whether all trials see the same batches and dropout masks (common random
            numbers: a fairer comparison, and faster, since a batch is fetched once per group).
            Their initial parameters still differ.
        keep_states: whether to return all final states rather than the best one's alone.
        progress: True draws a bar on a terminal or in a notebook, and where the output is piped
            writes a line to standard error at the start and every minute; False is silent, a
            callable takes a `Progress` in the calling thread.
        timeout: seconds after which the sweep stops at the next report, or None.
        devices: devices to use; all if None, those of all processes of a `jax.distributed` program
            among them: then every process calls `sweep` with the same arguments, trains a share of
            the trials and returns the whole result. `jax.local_devices()` keeps a sweep to itself.
        width: trials side by side under `vmap`; chosen if None, with a scheduler so small that its
            last trials fill it. It decides how a trial is rounded:
            with one width it is the same to the last bit in any sweep.
        chunk: trials per call; chosen if None.
        programs: keeps the compiled programs for the next call that is given it; None keeps none.
        checkpoint_dir: folder for the last checkpoint of this sweep, and for nothing else; None
            writes none. The same call after a kill goes on from there, to the same bits, and of a
            finished sweep returns the result from the folder.

    Returns:
        The `Sweep`.

    Raises:
        TypeError: an argument of a wrong type, or a step that changes the state's structure.
        CheckpointMismatchError: a ValueError; `checkpoint_dir` has checkpoints of another sweep,
            or one that cannot be read.
        ValueError: a `checkpoint_dir` that cannot be written to; leaves of different lengths, a
            loss that is not a scalar, or a budget that one trial exceeds, a scheduler of other
            trials or steps; all before any training.
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
        >>> import numpy as np
        >>> trials = hpo.population.sweep(
        ...     training, {"lr": np.linspace(0, 0.5, 64)}, key=0, num_steps=27, scheduler="halving"
        ... )
        >>> trials.best_index, int(trials.steps.sum()), 64 * 27
        (63, 214, 1728)
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
    if space is not None:
        check_instance(_WHERE, "space", space, Space, "the Space of `hparams`, or None")
    sweep_key, draws = _keys(key, first_trial, num_trials, share_data_order)
    rule = None
    if scheduler is not None:
        rule = Rule(_WHERE, scheduler, sweep_key, hparams, groups, num_steps, space)
    chosen, processes = _devices(devices)
    if processes.count > 1:
        plain = {
            "num_steps": num_steps,
            "num_reports": num_reports,
            "keep_states": keep_states,
            "share_data_order": share_data_order,
        }
        made = None if rule is None else rule.scheduler
        _check_alike(processes, groups, (sweep_key, draws), made, plain)
    budget = default_budget(list(chosen)) if memory_budget is None else memory_budget
    settings = Settings(
        training,
        sweep_key,
        draws,
        _report_steps(num_steps, num_reports, () if rule is None else rule.levels),
        chosen,
        check_int(_WHERE, "memory_budget", budget, 1),
        share_data_order,
        None if width is None else check_count(_WHERE, "width", width, 1),
        None if chunk is None else check_count(_WHERE, "chunk", chunk, 1),
        None if rule is None else rule.num_last,
        0 if rule is None else rule.slopes,
        processes.count,
    )
    is_ours = not callable(progress)
    note = f"{num_steps} steps each; the program compiles first"
    display = progress if is_ours and not processes.index else False
    programs = programs or Programs()
    with contextlib.ExitStack() as stack:
        if checkpoint_dir is not None and processes.count > 1:
            expected = "None where several processes share a sweep"
            raise fail(_WHERE, "checkpoint_dir", expected, checkpoint_dir)
        folder = None if checkpoint_dir is None else _open(checkpoint_dir, stack)
        reporter = stack.enter_context(
            make_reporter(_WHERE, display, _WHERE, num_trials, note=note)
        )
        callback = progress_callback(reporter) if is_ours else progress
        recorder = SweepRecorder(settings, hparams, num_trials, keep_states, callback, started)
        if rule is None and folder is None and processes.count == 1:
            return run_groups(settings, groups, recorder, timeout, programs)
        return run_scheduled(settings, groups, recorder, timeout, programs, rule, folder, processes)


def _open(directory: Any, stack: contextlib.ExitStack) -> CheckpointFolder:
    """The folder of the checkpoints, closed with the stack."""
    if not isinstance(directory, str | os.PathLike) or not os.fspath(directory):
        expected = "the path of a folder, or None"
        got = describe(directory)
        raise TypeError(f"{_WHERE}: `checkpoint_dir` must be {expected}, got {got}.")
    return stack.enter_context(contextlib.closing(CheckpointFolder(directory)))


def _keys(key: Any, first_trial: Any, num_trials: int, share_data_order: bool) -> tuple[Any, Any]:
    """The sweep's key, and what each trial draws from it: a number to fold it with, or a key."""
    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.ndim == 1 and len(key) == num_trials:
            if share_data_order:
                raise fail(
                    _WHERE, "share_data_order", "False where each trial has its own key", True
                )
            return key[0], key
        if key.ndim:
            raise fail(_WHERE, "key", f"one key, or {num_trials}, one per trial", key.shape)
    if np.ndim(first_trial) == 0:
        first = check_int(_WHERE, "first_trial", first_trial, 0)
        # An array cannot hold a number that is far too large; the message below is for any.
        numbers = min(first, 2**32) + np.arange(num_trials)
    else:
        numbers = np.asarray(first_trial)
        if numbers.shape != (num_trials,) or numbers.dtype.kind not in "iu" or (numbers < 0).any():
            expected = f"a number of at least 0, or {num_trials} of them, one per trial"
            raise fail(_WHERE, "first_trial", expected, first_trial)
    if int(numbers.max()) >= 2**32 - 1:
        raise fail(_WHERE, "first_trial", "a number below 2**32 - 1 for every trial", first_trial)
    return check_key(_WHERE, key), numbers.astype(np.uint32)


def _check_alike(
    processes: Processes, groups: list[Group], keys: Any, scheduler: Any, plain: dict[str, int]
) -> None:
    """Requires that all processes have been given the same: else they would talk past each other.

    Raises:
        ValueError: they have not; in every process.
    """
    told = {name: np.asarray(value, np.int64) for name, value in plain.items()}
    for name, text in (
        ("hparams", digest(jax.tree.leaves([(g.trials, *g.leaves) for g in groups]))),
        ("key", digest(pack(keys))),
        ("scheduler", "0" if scheduler is None else digest_of(scheduler)),
    ):
        told[name] = np.asarray(int(text, 16), np.uint64)
    for argument, number in told.items():
        expected = "the same in all processes, as all other arguments"
        processes.check_same(_WHERE, argument, expected, number)


def _devices(devices: Any) -> tuple[tuple[Any, ...], Processes]:
    """This process's devices, of all or of a sequence (an array, as of a mesh), and who shares."""
    chosen = _listed(devices)
    own = tuple(one for one in chosen if one.process_index == jax.process_index())
    if not own:
        expected = "at least one device of every process, or only devices of one's own"
        raise fail(_WHERE, "devices", expected, devices)
    return own, processes_of(chosen)


def _listed(devices: Any) -> tuple[Any, ...]:
    if devices is None:
        return tuple(jax.devices())
    listed = devices.ravel().tolist() if isinstance(devices, np.ndarray) else devices
    chosen = tuple(listed) if isinstance(listed, list | tuple) else (None,)
    if not all(isinstance(one, jax.Device) for one in chosen):
        expected = "a non-empty sequence of devices, or None"
        raise TypeError(f"{_WHERE}: `devices` must be {expected}, got {describe(devices)}.")
    if not chosen:
        raise fail(_WHERE, "devices", "a non-empty sequence of devices", devices)
    return chosen


def _report_steps(num_steps: int, num_reports: int, levels: tuple[int, ...]) -> tuple[int, ...]:
    """Spaces at most `num_reports` reports evenly, the last at the end, and adds the levels."""
    steps = np.linspace(0, num_steps, min(num_reports, num_steps) + 1)[1:]
    return tuple(sorted({*np.round(steps).astype(int).tolist(), *levels}))
