"""What every scheduler keeps: the protocol's form, the rules' promises, bad and odd news."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import PyTree
from jaxhpo._status import Status
from jaxhpo.schedulers import Job, Scheduler
from jaxhpo.schedulers.internal import wants_gradient
from jaxhpo.testing import _scheduler_case as _run
from jaxhpo.testing._case import assert_same, rounding
from jaxhpo.testing._scheduler_case import SchedulerCase

_PARAMETERS = {
    "init": ["key"],
    "ask": ["key", "state"],
    "tell": ["key", "state", "job", "outcome"],
}
_HAS_ENDED = (Status.COMPLETE, Status.PRUNED, Status.FAILED)


def check_signatures(case: SchedulerCase) -> None:
    """The three functions have the contracted parameter names, check keys, and are a pytree."""
    scheduler = case.make()
    assert isinstance(scheduler, Scheduler), f"the factory returned {type(scheduler).__name__}"
    for name, expected in _PARAMETERS.items():
        found = list(inspect.signature(getattr(scheduler, name)).parameters)
        assert found == expected, f"{name} takes {found}, not {expected}"
    # The bounds of a space are plain numbers.
    kinds = jax.Array | float | int
    assert all(isinstance(leaf, kinds) for leaf in jax.tree.leaves(scheduler))
    try:
        scheduler.init("key")
        said = "nothing"
    except TypeError as error:
        said = str(error)
    assert "`key` must be" in said, f"init was given a string for a key and said {said}"


def check_state_is_stable(case: SchedulerCase) -> None:
    """Structure, shapes, dtypes and strong types of the state survive a round."""
    scheduler, key = case.make(batch_size=4), _run.study_key()
    state = jax.eval_shape(scheduler.init, key)
    asked, job = jax.eval_shape(scheduler.ask, key, state)
    outcome = jax.eval_shape(_run.outcome_of, asked, job, jnp.zeros(4))
    told, info = jax.eval_shape(scheduler.tell, key, asked, job, outcome)
    for after in (asked, told):
        assert _types(after) == _types(state), f"{_types(state)} became {_types(after)}"
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state)), "a weakly typed number"
    for field in (job.trial, job.parent, job.level):
        assert (field.shape, field.dtype) == ((4,), jnp.int32), field
    assert job.unit.shape == (4, 2), job.unit
    assert (info.status.shape, info.status.dtype) == ((), jnp.int32), info.status


def _types(state: PyTree) -> Any:
    leaves, structure = jax.tree.flatten(state)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def check_jit_equals_eager(case: SchedulerCase) -> None:
    """Jitted and plain calls agree."""
    scheduler, key = case.make(), _run.study_key()
    curves, states = jnp.asarray(case.curves(scheduler)), []
    for init, ask, tell in (
        (scheduler.init, scheduler.ask, scheduler.tell),
        (jax.jit(scheduler.init), jax.jit(scheduler.ask), jax.jit(scheduler.tell)),
    ):
        state = init(key)
        for _ in range(2):
            state, job = ask(key, state)
            value = _run.value_of(job, state.table.levels, curves)
            state, info = tell(key, state, job, _run.outcome_of(state, job, value))
        states.append((state, job, info))
    assert_same(states[0], states[1], "jit and eager", rounding())


def check_vmap_equals_loop(case: SchedulerCase) -> None:
    """Whole runs side by side, in a scan, are those one after the other."""
    scheduler = case.make()
    curves = jnp.stack([jnp.asarray(case.curves(scheduler, seed)) for seed in range(3)])

    def run(values: jax.Array) -> PyTree:
        def step(state: PyTree, number: jax.Array) -> tuple[PyTree, Job]:
            key_ask, key_tell = jax.random.split(jax.random.fold_in(_run.study_key(), number))
            state, job = scheduler.ask(key_ask, state)
            value = _run.value_of(job, state.table.levels, values)
            outcome = _run.outcome_of(state, job, value)
            return scheduler.tell(key_tell, state, job, outcome)[0], job

        start = scheduler.init(_run.study_key())
        return jax.lax.scan(step, start, jnp.arange(curves.shape[2] + 1))

    together = jax.jit(jax.vmap(run))(curves)
    alone = jax.tree.map(lambda *rows: jnp.stack(rows), *(jax.jit(run)(one) for one in curves))
    assert_same(together, alone, "vmap and loop", rounding())


def check_jobs(case: SchedulerCase) -> None:
    """A trial goes from level to level, at its own point, and ends; one at least completes."""
    scheduler = case.make(batch_size=7)
    state, job = _run.ask(scheduler, _run.study_key(), _run.init(scheduler, _run.study_key()))
    np.testing.assert_array_equal(job.trial, np.arange(7))
    np.testing.assert_array_equal(job.parent, job.trial)
    np.testing.assert_array_equal(job.unit, state.table.unit[:7])
    state, jobs = _run.drive(scheduler, case.curves(scheduler))
    levels, status = np.asarray(state.table.levels).tolist(), np.asarray(state.table.status)
    for trial in range(case.num_trials):
        seen = [level for one, level in jobs if one == trial]
        assert seen == levels[: len(seen)], f"trial {trial} was sent to {seen} of {levels}"
        assert seen, f"trial {trial} was never begun"
        assert (status[trial] == Status.COMPLETE) == (len(seen) == len(levels))
    assert np.isin(status, (*_HAS_ENDED, Status.WAITING)).all(), status
    assert (status == Status.COMPLETE).any(), "no trial was trained to its end"
    last = _run.ask(scheduler, _run.study_key(), state)[1]
    assert (np.asarray(last.trial) == -1).all(), last.trial
    assert np.isnan(last.unit).all(), last.unit


def check_keep_counts(case: SchedulerCase) -> None:
    """As many trials reach each level as the row says."""
    scheduler = case.make()
    state, _ = _run.drive(scheduler, case.curves(scheduler))
    counts = np.isfinite(state.table.value).sum(0).tolist()
    assert counts == list(case.counts), f"{counts} trials at the levels, not {list(case.counts)}"


def check_failures(case: SchedulerCase) -> None:
    """What is NaN or infinite has failed, is never promoted, and costs no good trial its place.

    Where trials may copy others, a failed one does, and nobody copies a failed one.
    """
    if case.may_copy:
        return _check_revived(case)
    scheduler = case.make()
    curves = case.curves(scheduler)
    plain, _ = _run.drive(scheduler, curves)
    for bad in (np.nan, np.inf, -np.inf):
        spoiled = curves.copy()
        spoiled[::4, 0] = bad
        state, jobs = _run.drive(scheduler, spoiled)
        status = np.asarray(state.table.status)
        assert (status[::4] == Status.FAILED).all(), f"{bad}: {status[::4]}"
        assert np.isnan(state.table.value[::4]).all()
        assert sum(trial % 4 == 0 for trial, _ in jobs) == len(status[::4]), f"{bad} went on"
        good = np.arange(case.num_trials) % 4 > 0
        was_on = np.asarray(plain.table.level) > 1
        is_on = np.asarray(state.table.level) > 1
        assert is_on[was_on & good].all(), "a failure has cost another trial its place"


def _check_revived(case: SchedulerCase) -> None:
    scheduler, key = case.make(), _run.study_key()
    for bad in (np.nan, np.inf, -np.inf):
        state, job = _run.ask(scheduler, key, _run.init(scheduler, key))
        value = np.asarray(case.curves(scheduler)[:, 0])
        value[::4] = bad
        state, _ = _run.tell(scheduler, key, state, job, value)
        assert np.isnan(state.table.value[::4, 0]).all(), f"{bad} was taken for a value"
        _, job = _run.ask(scheduler, key, state)
        trial, parent = np.asarray(job.trial), np.asarray(job.parent)
        assert sorted(trial) == list(range(case.num_trials)), f"not all go on: {trial}"
        assert (parent % 4 > 0).all(), f"trials go on from the failed states of {parent}"


def check_copies(case: SchedulerCase) -> None:
    """Who goes on from its own state keeps its point; who copies stays in the cube, and may.

    A rule that is told gradients may move any point.
    """
    scheduler, key = case.make(), _run.study_key()
    curves, state = jnp.asarray(case.curves(scheduler)), _run.init(scheduler, key)
    unit, begun, count = np.asarray(state.table.unit), np.asarray(state.table.level), 0
    for number in range(curves.shape[1]):
        key_ask, key_tell = jax.random.split(jax.random.fold_in(key, number))
        state, job = _run.ask(scheduler, key_ask, state)
        trial, parent = (np.asarray(one)[np.asarray(job.trial) >= 0] for one in job[::2])
        point, is_copy = np.asarray(job.unit)[: len(trial)], parent != trial
        assert case.may_copy or not is_copy.any(), f"trials {trial} go on from {parent}"
        assert ((parent >= 0) & (parent < case.num_trials)).all(), parent
        assert not np.isin(parent[is_copy], trial[is_copy]).any(), "a copy of one that is replaced"
        assert ((point >= 0) & (point <= 1)).all(), "a point outside the unit cube"
        keeps = ~is_copy & ~(case.proposes & (begun[trial] == 0))
        if not wants_gradient(state):
            np.testing.assert_array_equal(point[keeps], unit[trial[keeps]])
        assert number or not is_copy.any(), "a copy of a trial that has not begun"
        unit, count = np.asarray(state.table.unit), count + int(is_copy.sum())
        value = _run.value_of(job, state.table.levels, curves)
        state, _ = _run.tell(scheduler, key_tell, state, job, value)
        begun = np.asarray(state.table.level)
    assert count or not case.may_copy, "no trial has copied another"


def check_all_failed(case: SchedulerCase) -> None:
    """Where all fail at a level, nothing is left to do."""
    scheduler = case.make()
    curves = case.curves(scheduler)
    for level in range(min(2, curves.shape[1])):
        spoiled = curves.copy()
        spoiled[:, level:] = np.nan
        state, _ = _run.drive(scheduler, spoiled)
        status = np.asarray(state.table.status)
        assert not (status == Status.COMPLETE).any(), status
        assert np.isin(status, (*_HAS_ENDED, Status.WAITING)).all(), status


def check_ties(case: SchedulerCase) -> None:
    """Ties go to the lower number: the same as values that rise with it."""
    if not case.breaks_ties:
        return
    scheduler = case.make()
    equal = np.zeros_like(case.curves(scheduler))
    rising = equal + np.arange(case.num_trials, dtype=equal.dtype)[:, None]
    one, other = (_run.drive(scheduler, curves)[1] for curves in (equal, rising))
    assert one == other, "equal values are not taken by their trials' numbers"


def check_order_of_tells(case: SchedulerCase) -> None:
    """Neither the order of the rows of a tell nor its parts matter, nor a second tell."""
    scheduler, key = case.make(), _run.study_key()
    state, job = _run.ask(scheduler, key, _run.init(scheduler, key))
    value = _run.value_of(job, state.table.levels, jnp.asarray(case.curves(scheduler)))
    once, _ = _run.tell(scheduler, key, state, job, value)
    order = np.random.default_rng(2).permutation(len(value))
    turned = jax.tree.map(lambda rows: rows[order], job)
    assert_same(_run.tell(scheduler, key, state, turned, value[order])[0], once, "another order")
    for start in (0, 1):
        rows = jnp.arange(len(value)) % 2 == start
        some = job._replace(trial=jnp.where(rows, job.trial, jnp.int32(-1)))
        state, _ = _run.tell(scheduler, key, state, some, value)
    assert_same(state, once, "told in two parts")
    assert_same(_run.tell(scheduler, key, once, job, value - 1)[0], once, "told a second time")


def check_fold(case: SchedulerCase) -> None:
    """The state is that of all values told level by level, in whichever order they came."""
    if case.may_copy:
        return
    scheduler, key = case.make(batch_size=1), _run.study_key()
    state, _ = _run.drive(scheduler, case.curves(scheduler))
    table, folded = state.table, _run.init(scheduler, key)
    rows = jnp.arange(case.num_trials, dtype=jnp.int32)
    for rung, level in enumerate(np.asarray(table.levels)):
        trial = jnp.where(table.level > rung, rows, jnp.int32(-1))
        job = Job(trial, table.unit, rows, jnp.full_like(rows, level))
        folded, _ = _run.tell(scheduler, key, folded, job, table.value[:, rung])
    for name in ("value", "level"):
        assert_same(getattr(folded.table, name), getattr(table, name), f"`{name}`, level by level")
    if not case.is_synchronous:  # who was asked for early was judged by what was known then
        return
    (folded, job), status = _run.ask(scheduler, key, folded), table.status
    assert (job.trial == -1).all(), f"level by level, trial {job.trial} is still to go on"
    assert_same(folded.table.status, status, "`status`, level by level")


def check_strangers(case: SchedulerCase) -> None:
    """What fits no trial or no level is ignored."""
    scheduler, key = case.make(), _run.study_key()
    state, job = _run.ask(scheduler, key, _run.init(scheduler, key))
    value = jnp.zeros(job.trial.shape)
    for wrong in (
        job._replace(trial=job.trial + jnp.int32(case.num_trials)),
        job._replace(trial=jnp.full_like(job.trial, -1)),
        job._replace(level=jnp.full_like(job.level, case.num_steps + 1)),
        job._replace(level=jnp.zeros_like(job.level)),
    ):
        assert_same(_run.tell(scheduler, key, state, wrong, value)[0], state, "a stranger")


def check_permutation(case: SchedulerCase) -> None:
    """Other numbers for the same trials change nothing but the numbers."""
    if not case.is_symmetric:
        return
    scheduler = case.make()
    curves, order = case.curves(scheduler), np.random.default_rng(3).permutation(case.num_trials)
    one, other = (_run.drive(scheduler, c)[0].table.level for c in (curves, curves[order]))
    np.testing.assert_array_equal(np.asarray(one)[order], other)


def check_monotone(case: SchedulerCase) -> None:
    """Only the order of the values counts."""
    if not case.is_ordinal:
        return
    scheduler = case.make()
    curves = case.curves(scheduler)
    jobs = [_run.drive(scheduler, c)[1] for c in (curves, np.exp(curves / 4) - 7)]
    assert jobs[0] == jobs[1], "a monotone transform has changed the decisions"


def check_batches(case: SchedulerCase) -> None:
    """A synchronous rule decides the same whatever is asked at once."""
    if not case.is_synchronous:
        return
    few, many = (case.make(batch_size=size) for size in (4, None))
    curves = case.curves(many)
    left, right = (_run.drive(scheduler, curves)[0] for scheduler in (few, many))
    assert_same(left, right, "4 jobs at once and all")


SCHEDULER_CHECKS = {
    "signatures": check_signatures,
    "state_is_stable": check_state_is_stable,
    "jit_equals_eager": check_jit_equals_eager,
    "vmap_equals_loop": check_vmap_equals_loop,
    "jobs": check_jobs,
    "keep_counts": check_keep_counts,
    "failures": check_failures,
    "copies": check_copies,
    "all_failed": check_all_failed,
    "ties": check_ties,
    "order_of_tells": check_order_of_tells,
    "fold": check_fold,
    "strangers": check_strangers,
    "permutation": check_permutation,
    "monotone": check_monotone,
    "batches": check_batches,
}
"""The checks of schedulers by name; each raises AssertionError where a promise is broken."""
