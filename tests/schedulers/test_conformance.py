"""Every scheduler against every check, nobody left out, and a suite that catches what it is for."""

import dataclasses
import functools

import jax.numpy as jnp
import pytest
from jax.tree_util import Partial

import jaxhpo as hpo
from jaxhpo import schedulers
from jaxhpo.testing import SCHEDULER_CHECKS, SchedulerCase, check_scheduler
from tests.registry import POPULATION, SCHEDULERS


@pytest.mark.parametrize("check", SCHEDULER_CHECKS)
@pytest.mark.parametrize("case", SCHEDULERS, ids=lambda case: case.id)
def test_scheduler(case, check):
    SCHEDULER_CHECKS[check](case)


def test_registry_names_and_exports_agree():
    others = {"Job", "Scheduler", "Table", "TellInfo", "get", "make_scheduler", "names"}
    factories = set(schedulers.__all__) - others
    assert {case.name for case in SCHEDULERS} == set(schedulers.names()) == factories


COUNTS = (30, 15, 7, 3, 1, 1)


def _broken(ask=None, tell=None, make=schedulers.halving, **promises):
    """A row of halving, or of another rule, with some of its functions replaced."""

    def factory(num_trials, num_steps, **settings):
        good = make(num_trials, num_steps, **settings)
        return schedulers.Scheduler(
            good.init,
            Partial(ask, good) if ask else good.ask,
            Partial(tell, good) if tell else good.tell,
        )

    return SchedulerCase("broken", factory, COUNTS, **promises)


_broken_pbt = functools.partial(_broken, make=POPULATION, may_copy=True)


def _with_table(state, **changes):
    return dataclasses.replace(state, table=dataclasses.replace(state.table, **changes))


def _misnamed(good, rng, state):
    return good.ask(rng, state)


def _takes_failures_for_zero(good, key, state, job, outcome):
    return good.tell(key, state, job, hpo.Outcome(jnp.nan_to_num(outcome.value)))


def _never_stops(good, key, state, job, outcome):
    state, info = good.tell(key, state, job, outcome)
    table = state.table
    is_paused = (table.status == 3) | (table.status == 6)
    promoted = jnp.where(is_paused, table.level, table.promoted)
    status = jnp.where(is_paused, 6, table.status).astype(jnp.int32)
    return _with_table(state, promoted=promoted, status=status), info


def _by_absolute_values(good, key, state, job, outcome):
    return good.tell(key, state, job, hpo.Outcome(abs(outcome.value - 10.0)))


def _prefers_high_numbers(good, key, state, job, outcome):
    value = outcome.value - job.trial.astype(outcome.value.dtype)
    return good.tell(key, state, job, hpo.Outcome(value))


def _by_rows(good, key, state, job, outcome):
    trial = jnp.where(job.trial >= 0, jnp.arange(len(job.trial), dtype=jnp.int32), job.trial)
    return good.tell(key, state, job._replace(trial=trial), outcome)


def _half_precision(good, key, state, job, outcome):
    state, info = good.tell(key, state, job, outcome)
    return _with_table(state, value=state.table.value.astype(jnp.float16)), info


def _leaves_its_point(good, key, state):
    state, job = good.ask(key, state)
    return state, job._replace(unit=job.unit + jnp.asarray(0.1, job.unit.dtype))


def _copies_anybody(good, key, state):
    state, job = good.ask(key, state)
    parent = jnp.where(job.parent == job.trial, job.parent, job.trial - 1)
    return state, job._replace(parent=parent)


def _copies_nobody(good, key, state):
    state, job = good.ask(key, state)
    return state, job._replace(parent=job.trial)


def _leaves_the_cube(good, key, state):
    state, job = good.ask(key, state)
    return state, job._replace(unit=jnp.where((job.parent == job.trial)[:, None], job.unit, 1.25))


@pytest.mark.parametrize(
    ("check", "case"),
    [
        ("signatures", _broken(ask=_misnamed)),
        ("state_is_stable", _broken(tell=_half_precision)),
        ("jobs", _broken(ask=_leaves_its_point)),
        ("keep_counts", _broken(tell=_never_stops)),
        ("failures", _broken(tell=_takes_failures_for_zero)),
        ("all_failed", _broken(tell=_takes_failures_for_zero)),
        ("ties", _broken(tell=_prefers_high_numbers)),
        ("order_of_tells", _broken(tell=_by_rows)),
        ("monotone", _broken(tell=_by_absolute_values)),
        ("permutation", _broken(tell=_prefers_high_numbers)),
        ("copies", _broken(ask=_leaves_its_point)),
        ("copies", _broken_pbt(ask=_copies_anybody)),
        ("copies", _broken_pbt(ask=_copies_nobody)),
        ("copies", _broken_pbt(ask=_leaves_the_cube)),
        ("failures", _broken_pbt(ask=_copies_nobody)),
        ("failures", _broken_pbt(tell=_takes_failures_for_zero)),
        ("all_failed", _broken_pbt(tell=_takes_failures_for_zero)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_scheduler_is_caught(check, case):
    with pytest.raises(AssertionError):
        SCHEDULER_CHECKS[check](case)


def test_check_scheduler_names_the_check():
    with pytest.raises(AssertionError) as caught:
        check_scheduler(_broken(tell=_never_stops), only=["signatures", "keep_counts"])
    assert caught.value.__notes__ == ["conformance check 'keep_counts' of scheduler 'broken'"]
    with pytest.raises(ValueError, match="`only` must be among signatures, "):
        check_scheduler(SCHEDULERS[0], only=["speed"])
