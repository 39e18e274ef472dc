"""The trust region of `turbo`: how it grows, shrinks and begins anew, and where it looks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import Outcome
from jaxhpo.samplers.bayesian import _trust_region

PATIENCE = _trust_region.Patience(batch_size=1, num_startup=2, num_bad=4)


def told(region, values):
    unit = jnp.full((len(values), 2), 0.5)
    return region.tell(unit, Outcome(jnp.asarray(values)), PATIENCE)


@pytest.fixture
def begun():
    """A region after its design."""
    zero = jnp.zeros((), jnp.int32)
    return told(_trust_region.new_region(jnp.result_type(float), zero, zero), [5.0, 6.0])


def test_it_doubles_after_three_improvements_in_a_row(begun):
    assert float(told(begun, [4.0, 3.0]).length) == pytest.approx(0.8)
    assert float(told(begun, [4.0, 3.0, 2.0]).length) == pytest.approx(1.6)
    assert float(told(begun, [4.0, 3.0, 9.0, 2.0]).length) == pytest.approx(0.8)
    assert float(told(begun, [4.0, 3.0, 2.9999]).length) == pytest.approx(
        0.8
    )  # no gain to speak of
    many = told(begun, [4.0 - 0.1 * i for i in range(12)])
    assert float(many.length) == pytest.approx(_trust_region.LARGEST)


def test_it_halves_after_failures_and_failed_trials_are_failures(begun):
    assert float(told(begun, [9.0] * 3).length) == pytest.approx(0.8)
    assert float(told(begun, [9.0, jnp.nan, jnp.inf, 9.0]).length) == pytest.approx(0.4)
    violated = begun.tell(
        jnp.full((4, 2), 0.5), Outcome(jnp.zeros(4), violation=jnp.ones(4)), PATIENCE
    )
    assert float(violated.length) == pytest.approx(0.4)
    assert float(violated.best) == 5.0


def test_it_begins_anew_behind_the_rows_told_by_then(begun):
    ended = told(begun, [9.0] * 28)
    assert int(ended.num_restarts) == 1
    assert int(ended.first_row) == 30
    assert float(ended.length) == pytest.approx(_trust_region.FIRST_LENGTH)
    assert not np.isfinite(ended.best)
    np.testing.assert_array_equal(ended.holds_rows(32), np.arange(32) >= 30)


def test_the_grouping_of_tells_changes_nothing_and_no_proposal_counts_for_nothing(begun):
    values = [4.0, 9.0, 3.5, 9.0, 9.0, 9.0, 9.0, 3.0]
    whole, parts = told(begun, values), begun
    for value in values:
        parts = told(parts, [value])
    padded = begun.tell(
        jnp.concatenate([jnp.full((8, 2), 0.5), jnp.full((1, 2), jnp.nan)]),
        Outcome(jnp.asarray([*values, 0.0])),
        PATIENCE,
    )
    for other in (parts, padded):
        jax.tree.map(np.testing.assert_array_equal, whole, other)


def test_the_box_is_long_where_the_function_is_slow_and_leaves_categories_free(begun):
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(2,)), "c": ["a", "b"]})
    box = begun.box(jnp.asarray([0.5, 0.5, 0.25]), jnp.log(jnp.asarray([0.1, 0.4, 0.2])), space)
    sides = np.asarray(box.upper - box.lower)
    np.testing.assert_allclose(sides[0], 0.4, rtol=1e-5)
    assert sides[1] == 1.0
    np.testing.assert_array_equal([box.lower[2], box.upper[2]], [0.0, 1.0])


@pytest.mark.slow
def test_proposals_lie_in_the_box_and_a_study_converges():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(8,)), "k": hpo.integer(0, 9)})
    sampler = hpo.samplers.turbo(space, num_candidates=64, num_lanes=3, capacity=64)
    ask, tell = jax.jit(sampler.ask), jax.jit(sampler.tell)
    key = jax.random.key(0)
    state, values = sampler.init(key), []
    for i in range(60):
        region = state.region
        best = np.asarray(state.model.rows.unit)[np.argmin(values)] if values else None
        state, unit = ask(jax.random.fold_in(key, i), state)
        if i >= 18:
            half = np.exp(np.asarray(state.model.fitted[0].theta)[:9])
            half *= 0.5 * float(region.length) / np.exp(np.log(half).mean())
            assert (np.abs(np.asarray(unit[0]) - best) <= half + 1e-4).all()
        value = jnp.sum((unit - 0.4) ** 2, axis=1)
        values.append(float(value[0]))
        state, info = tell(key, state, unit, Outcome(value))
    assert min(values) < 0.02
    assert int(info.num_observed) == 60
