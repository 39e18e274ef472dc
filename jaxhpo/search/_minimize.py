"""The one loop: ask, evaluate, tell, as a single program."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks, pareto, samplers
from jaxhpo._base import Array, Outcome, PyTree, Result, Sampler, Trials, has_proposal
from jaxhpo._checks.suggest import named_arguments
from jaxhpo._status import Status, explain, status_of_rows
from jaxhpo._tracing import compilation_cache, owned
from jaxhpo._tracing.manual import on_each_device
from jaxhpo._tracing.owned import as_pytree
from jaxhpo.progress import DeviceReporter, check_not_traced, display, report
from jaxhpo.samplers.internal import (
    check_objectives,
    needs_outcome_structure,
    settings_for,
    warn_of_large_batch,
)
from jaxhpo.search._objective import checked_objective, evaluate_rows, outcome_structure
from jaxhpo.space import Space

logger = logging.getLogger("jaxhpo")


class Growth(NamedTuple):
    """How the buffers of a sampler with observations grow: in segments, each a scan of its own.

    Early trials then do not pay for late ones. Each segment is compiled, which costs seconds.

    Attributes:
        first: observations that the first segment is for.
        factor: each further segment ends at so many times as many.
    """

    first: int
    factor: int


ONE_STUDY = Growth(128, 4)
MANY_STUDIES = Growth(32, 2)


class TrialKeys(NamedTuple):
    """The keys of one trial, by purpose."""

    ask: Array
    objective: Array
    tell: Array


def trial_keys(key: Array, number: Array | int) -> TrialKeys:
    """Derives the keys of trial `number` from a study's key: the same in any batch and any run.

    Args:
        key: the study's key; may be used again.
        number: the trial's number, from 0.

    Returns:
        One key per purpose.
    """
    return TrialKeys(*jax.random.split(jax.random.fold_in(key, number), 3))


@named_arguments
def minimize(
    objective: Callable[[Array, PyTree], Any],
    space: Space,
    sampler: Sampler | str,
    *,
    key: Array | int,
    num_trials: int,
    batch_size: int | None = None,
    raise_on_failure: bool = False,
    progress: Any = False,
) -> Result:
    """Searches `space` for the smallest value of a traceable objective, in one compiled program.

    With several objectives it searches for their Pareto front: `Result.front` marks it.

    Pure: it may be jitted, vmapped over keys or over arrays that the objective closes over, and
    called again without compiling again (same objective, structure and numbers of trials). Trial
    `i` uses keys derived from `key` and `i` alone, so the batch size changes neither its draws nor
    its noise. For an objective that JAX cannot trace, use `Study`.

    Args:
        objective: `objective(key, params)` -> scalar, vector of `m` objectives, or `Outcome` of
            one trial; traced once. `params` is the space's values pytree without a batch axis.
        space: the search space; its bounds are traced.
        sampler: a sampler made for `space`, or the name of one. By name, one for several objectives
            is made for as many as the objective returns, which is traced once more for that.
        key: a key or an integer seed.
        num_trials: static; number of trials, at least 1.
        batch_size: static; trials evaluated side by side, a multiple of what the sampler proposes
            at once (which is the default). The last batch may be smaller.
        raise_on_failure: raise if a trial failed; not under `jit` or `vmap`.
        progress: True draws a bar on a terminal or in a notebook, and where the output is piped
            writes a line to standard error at the start and every minute; a callable takes a
            `study.Progress`, from a thread of the runtime, at most 200 times. The call then waits
            for its result; trials are the same, in a program of its own (inside of work that shows
            itself, in the same one). Not under `jit` or `vmap`.

    Returns:
        The `Result`. A trial with a NaN or infinite value counts but is never the best; neither is
        one with `violation > 0`. Where the sampler had no proposal left, the row has status
        `EMPTY`, a NaN value and NaN `unit`. If no trial completed, `best_value` is infinite and
        `best_params` are those of trial 0; if all failed, a line of the log says so.

    Raises:
        TypeError: an argument of a wrong type, a space with `static` dimensions, or an objective
            that returns anything but real numbers, a vector of them or an `Outcome` of them.
        ValueError: an unknown sampler name, a sampler made for another space or for another number
            of objectives, `num_trials` or `batch_size` out of range, or `progress` under a
            transformation.
        RuntimeError: `raise_on_failure` and a trial failed.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-2.0, 3.0)})
        >>> def objective(key, params):
        ...     return (params["x"] - 1.0) ** 2
        >>> result = hpo.minimize(objective, space, "qmc", key=0, num_trials=64)
        >>> abs(float(result.best_params["x"]) - 1.0) < 0.1
        True
    """
    sampler, num_trials, batch_size = check_study(
        "minimize", objective, space, sampler, num_trials, batch_size
    )
    compilation_cache.enable_compilation_cache()
    key = _checks.check_key("minimize", key)
    raise_on_failure = _checks.check_bool("minimize", "raise_on_failure", raise_on_failure)
    made = as_pytree(objective)
    inputs = (key, space, sampler, made)
    with display("minimize", progress, "minimize", num_trials, *inputs) as reporter:
        settings = (num_trials, batch_size, ONE_STUDY, reporter)
        compiled = on_each_device(lambda *args: run(*args, *settings))
        result: Result = compiled(made, space, sampler, key)
        if reporter is not None:
            check_not_traced("minimize", progress, result.best_value)
            jax.block_until_ready(result)
    if raise_on_failure:
        _raise_on_failure(result)
    warn_if_all_failed("minimize", result.trials.status)
    return result


def check_study(
    where: str, objective: Any, space: Any, sampler: Any, num_trials: Any, batch_size: Any
) -> tuple[Sampler, int, int | None]:
    """Refuses what one program cannot run; the sampler, by name or made, and the numbers."""
    _checks.check_takes(where, "objective", objective, "key, params")
    if not isinstance(space, Space):
        raise TypeError(f"{where}: `space` must be a Space, got {_checks.describe(space)}.")
    space.check_precision(where)
    if space.has_static:
        raise TypeError(
            f"{where}: `space` must have no static dimension, because one compiled program cannot "
            "change its shapes; use Study or population.sweep, which group trials by its value."
        )
    num_trials = _checks.check_count(where, "num_trials", num_trials, 1)
    if not isinstance(sampler, Sampler):
        _check_name(where, sampler)
    sampler = get_sampler(sampler, objective, space, num_trials)
    if batch_size is not None:
        batch_size = _checks.check_count(where, "batch_size", batch_size, 1)
    return sampler, num_trials, batch_size


def _check_name(where: str, sampler: Any) -> None:
    known = samplers.names()
    if not isinstance(sampler, str):
        got = _checks.describe(sampler)
        raise TypeError(f"{where}: `sampler` must be a Sampler or its name, got {got}.")
    if sampler not in known:
        raise _checks.fail(where, "sampler", f"a Sampler or one of {', '.join(known)}", sampler)


def get_sampler(
    sampler: Any, objective: Callable[..., Any], space: Space, num_trials: int
) -> Sampler:
    """Makes a sampler from its name; for the objectives, constraints and trials there will be."""
    settings = {}
    if needs_outcome_structure(sampler):
        settings = settings_for(
            sampler, *outcome_structure(checked_objective(objective, space), space)
        )
    if isinstance(sampler, str) and sampler == "auto":
        settings["num_trials"] = num_trials
    return samplers.get(sampler, space, **settings)


def search(
    objective: Callable[..., Any],
    space: Space,
    sampler: Sampler,
    key: Array,
    num_trials: int,
    batch_size: int | None,
    growth: Growth = ONE_STUDY,
    reporter: DeviceReporter | None = None,
) -> Result:
    """Scans rounds of `q` trials; space and sampler are arguments, so their numbers are traced."""
    key_init, key_trials = jax.random.split(key)
    state = sampler.init(key_init)
    rows_per_ask = _rows_per_ask(space, sampler, key_init, state)
    q = rows_per_ask if batch_size is None else batch_size
    if q % rows_per_ask:
        expected = f"a multiple of the {rows_per_ask} points that the sampler proposes at once"
        raise _checks.fail("minimize", "batch_size", expected, q)
    warn_of_large_batch("minimize", sampler, q, num_trials)  # while tracing: once per program
    objective = checked_objective(objective, space)
    num_objectives = outcome_structure(objective, space).num_objectives
    if num_objectives > 1:
        check_objectives("minimize", sampler, num_objectives)

    rounds = -(-num_trials // q)

    def round_(carry: PyTree, index: Array) -> tuple[PyTree, tuple[PyTree, ...]]:
        state, counts = carry
        numbers = index * q + jnp.arange(q, dtype=jnp.int32)
        keys = jax.vmap(functools.partial(trial_keys, key_trials))(numbers)
        state, unit = _ask_rows(sampler, keys.ask, state, rows_per_ask)
        unit = jnp.where((numbers < num_trials)[:, None], unit, jnp.nan)
        is_point = has_proposal(unit)
        params = space.from_unit(jnp.where(is_point[:, None], unit, 0.5))
        outcome = evaluate_rows(objective, keys.objective, params, is_point)
        state, info = sampler.tell(keys.tell[0], state, unit, outcome)
        status = status_of(unit, outcome)
        if reporter is not None:
            counts = _update_counts(counts, outcome.value, status)
            done = jnp.minimum(numbers[-1] + 1, num_trials)
            report(reporter, index, rounds, done=done, best=counts[0], failed=counts[1])
        return (state, counts), (params, unit, outcome.value, status, info)

    parts = []
    counts = (
        () if reporter is None else (jnp.full((), jnp.inf, jnp.result_type(float)), jnp.int32(0))
    )
    for first, last in _segments(rounds, q, sampler, growth):
        if sampler.resize is not None:
            state = sampler.resize(state, last * q)
        steps = jnp.arange(first, last, dtype=jnp.int32)
        (state, counts), part = jax.lax.scan(round_, (state, counts), steps)
        parts.append(part)
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    *rows, info = parts[0] if len(parts) == 1 else joined
    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_trials], rows)
    return _summarise(Trials(*rows), info)


run = owned.jit(search, functions_in=(0, 1, 2), static_argnums=(4, 5, 6))


def _update_counts(counts: tuple[Array, Array], value: Array, status: Array) -> tuple[Array, Array]:
    """Best value so far (with one objective) and number of failed trials, for a display."""
    best, failed = counts
    if value.ndim == 1:
        is_complete = status == int(Status.COMPLETE)
        best = jnp.minimum(best, jnp.min(jnp.where(is_complete, value, jnp.inf)))
    return best, failed + jnp.sum(status == int(Status.FAILED), dtype=jnp.int32)


def _segments(
    rounds: int, q: int, sampler: Sampler, growth: Growth = ONE_STUDY
) -> list[tuple[int, int]]:
    """First and last round of each scan."""
    if sampler.resize is None:
        return [(0, rounds)]
    ends, shortest = [rounds], -(-growth.first // q)
    while ends[0] > shortest:
        ends.insert(0, max(-(-ends[0] // growth.factor), shortest))
    return list(zip([0, *ends[:-1]], ends, strict=True))


def status_of(unit: Array, outcome: Outcome) -> Array:
    """Judges evaluated rows.

    Args:
        unit: `[q, d]` points; NaN rows are `EMPTY`.
        outcome: what came back, leading axis `q`.

    Returns:
        `[q]` int32 `Status` codes. A value that is not finite is `FAILED` whatever the violation; a
        violation that is NaN counts as violated.
    """
    q = unit.shape[0]
    violation = None if outcome.violation is None else outcome.violation.reshape(q, -1)
    status = status_of_rows(outcome.value.reshape(q, -1), violation)
    return jnp.where(has_proposal(unit), status, int(Status.EMPTY)).astype(jnp.int32)


def _rows_per_ask(space: Space, sampler: Sampler, key: Array, state: PyTree) -> int:
    """Checks that the sampler fits the space and reads how many points it proposes at once."""
    unit = jax.eval_shape(sampler.ask, key, state)[1]
    if unit.ndim != 2 or unit.shape[1] != space.num_dims:
        expected = f"made for this space of {space.num_dims} dimensions"
        raise _checks.fail("minimize", "sampler", expected, f"proposals of shape {unit.shape}")
    rows: int = unit.shape[0]
    return rows


def _ask_rows(
    sampler: Sampler, keys: Array, state: PyTree, rows_per_ask: int
) -> tuple[PyTree, Array]:
    """Asks until there is one proposal a key, each time with the key of the first trial."""
    if keys.shape[0] == rows_per_ask:
        return sampler.ask(keys[0], state)
    state, unit = jax.lax.scan(
        lambda state, key: sampler.ask(key, state), state, keys[::rows_per_ask]
    )
    return state, unit.reshape(-1, unit.shape[-1])


def _summarise(trials: Trials, info: PyTree) -> Result:
    """Finds the best completed trial of each objective, and the front of several."""
    is_complete = trials.status == int(Status.COMPLETE)
    has_several = trials.value.ndim == 2
    mask = is_complete[:, None] if has_several else is_complete
    value = jnp.where(mask, trials.value, jnp.inf)
    best = jnp.argmin(value, axis=0)
    return Result(
        best_params=jax.tree.map(lambda leaf: leaf[best], trials.params),
        best_value=jnp.min(value, axis=0),
        best_so_far=jax.lax.cummin(value, axis=0),
        trials=trials,
        info=info,
        front=pareto.front_mask(value) if has_several else None,
    )


def warn_if_all_failed(where: str, status: Array) -> None:
    """Logs a line where no trial of some study came to anything; not inside of a trace.

    Args:
        where: the public function.
        status: `[n]` codes, or `[s, n]` of `s` studies.
    """
    if _checks.is_traced(status) or not status.is_fully_addressable:
        return
    codes = np.atleast_2d(np.asarray(status))
    barren = int(np.all(codes == int(Status.FAILED), axis=1).sum())
    if barren:
        several = f" in {barren} of {len(codes)} studies" if status.ndim == 2 else ""
        logger.warning(
            "%s: all %d trials failed%s: %s",
            where, codes.shape[1], several, explain(Status.FAILED),
        )  # fmt: skip


def _raise_on_failure(result: Result) -> None:
    if _checks.is_traced(result.trials.status):
        raise ValueError(
            "minimize: `raise_on_failure` must be False under a transformation, because compiled "
            "code cannot raise; look at `result.trials.status`, got True."
        )
    failed = jnp.flatnonzero(result.trials.status == int(Status.FAILED)).tolist()
    if failed:
        raise RuntimeError(
            f"minimize: {len(failed)} of {result.trials.status.shape[0]} trials failed, the first "
            f"of them trial {failed[0]}: {explain(Status.FAILED)}"
        )
