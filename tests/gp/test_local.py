"""The trust region of `gp`: when it has its turn, what it counts, and where proposals lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import Outcome
from jaxhpo.samplers.bayesian import _local_turns as local
from jaxhpo.samplers.bayesian._trust_region import FIRST_LENGTH, LARGEST, SMALLEST

D = 2
learn = jax.jit(local.learn, static_argnums=4)


def after(values, first=0, region=None, **parts):
    region = local.first_region(jnp.result_type(float)) if region is None else region
    unit = jnp.full((len(values), D), 0.5)
    outcome = Outcome(jnp.asarray(values, float), **parts)
    return learn(region, jnp.asarray(first, jnp.int32), unit, outcome, D)


def test_a_region_has_every_second_turn_and_all_while_it_improves():
    region = after([1.0])
    turns = [bool(local.stays(region, jnp.int32(number), D)) for number in range(12)]
    assert turns == [False] * 8 + [True] * 4
    failed = after([1.0] * 2, 8, region=after([0.0] * 8))
    turns = [bool(local.stays(failed, jnp.int32(number), D)) for number in range(8, 14)]
    assert turns == [False, True] * 3


def test_without_a_value_there_is_no_region():
    failed = after([np.nan] * 20)
    assert not any(bool(local.stays(failed, jnp.int32(number), D)) for number in range(20, 30))
    assert float(failed.length) == pytest.approx(FIRST_LENGTH)


def test_where_all_is_discrete_there_is_none():
    discrete = hpo.Space({"a": hpo.integer(0, 11), "b": hpo.integer(0, 11)})
    assert hpo.samplers.gp(discrete).init(jax.random.key(0)).region is None


def test_it_grows_and_shrinks_by_its_own_trials_alone():
    start = after([10.0] * 8)
    assert float(start.length) == pytest.approx(FIRST_LENGTH)
    assert float(after([9.0, 8.0, 7.0], 8, region=start).length) == pytest.approx(2 * FIRST_LENGTH)
    # Of failures the first is its own, then every second: the fourth, in trial 13, halves it.
    assert float(after([11.0] * 5, 8, region=start).length) == pytest.approx(FIRST_LENGTH)
    assert float(after([11.0] * 6, 8, region=start).length) == pytest.approx(FIRST_LENGTH / 2)
    longest = after(np.arange(0.0, -40.0, -1), 8, region=start).length
    assert float(longest) == pytest.approx(LARGEST)


def test_used_up_it_begins_again_around_the_best():
    region = after([5.0] * 8)
    for number in range(8, 8 + 80, 8):
        region = after([6.0] * 8, number, region=region)
        assert SMALLEST <= float(region.length) <= FIRST_LENGTH + 1e-6
    assert int(region.num_restarts) >= 1
    assert float(region.best) == 5.0


def test_the_grouping_of_tells_changes_nothing_and_failures_are_failures():
    values = np.random.default_rng(0).normal(size=30)
    values[[9, 14]] = np.nan, np.inf
    violation = jnp.asarray(np.where(np.arange(30) % 7 == 3, 1.0, -1.0))
    whole = after(values, violation=violation)
    region = None
    for first, last in ((0, 11), (11, 12), (12, 30)):
        part = violation[first:last]
        region = after(values[first:last], first, region=region, violation=part)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(region), strict=True):
        np.testing.assert_allclose(one, other)
    feasible = np.where(np.isfinite(values) & (np.asarray(violation) <= 0), values, np.inf)
    assert float(whole.best) == pytest.approx(feasible.min())


def test_its_proposals_lie_around_the_best_point():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(D,))})
    small = {"capacity": 24, "num_candidates": 64, "num_lanes": 3}
    sampler = hpo.samplers.gp(space, acquisition_function="ucb", beta=100.0, **small)
    key = jax.random.key(0)
    unit = jax.random.uniform(key, (8, D))
    state, _ = sampler.tell(key, sampler.init(key), unit, Outcome(jnp.sum(unit, axis=1)))
    best = np.asarray(unit)[int(jnp.argmin(jnp.sum(unit, axis=1)))]
    away = {}
    for length in (0.05, 1.6):
        region = state.region.__class__(**{**vars(state.region), "length": jnp.asarray(length)})
        held = state.__class__(**{**vars(state), "region": region})
        away[length] = np.abs(np.asarray(sampler.ask(key, held)[1][0]) - best).max()
    assert away[0.05] < 0.1
    assert away[1.6] > 0.2


def test_a_wrong_type_is_named():
    with pytest.raises(TypeError, match="gp: `trust_region` must be True or False, got 1"):
        hpo.samplers.gp(hpo.Space({"x": hpo.uniform(0.0, 1.0)}), trust_region=1)
