"""Leaving settled basins: which ones are, what lies in them, and that other basins are searched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo import gp
from jaxhpo.samplers.bayesian import _basins as basins
from jaxhpo.samplers.bayesian import _targets as model

KERNEL = gp.Kernel((0, 1))
# Four points at the bottom of one basin, the slope to it, and points elsewhere.
BOTTOM = np.array([[0.2, 0.2], [0.201, 0.2], [0.2, 0.201], [0.199, 0.2]])
SLOPE = np.array([[0.25, 0.2], [0.2, 0.28]])
ELSEWHERE = np.array([[0.8, 0.8], [0.9, 0.1], [0.1, 0.9], [0.7, 0.5]])
UNIT = np.concatenate([ELSEWHERE, SLOPE, BOTTOM])
VALUE = np.array([3.0, 2.5, 2.8, 2.0, 1.0, 1.2, 0.0, 1e-3, 2e-3, 3e-3])
LENGTHSCALE = 0.1
SPARE = 8


@pytest.fixture(scope="module")
def found():
    """A function of values and the number of pending rows: basins, and whether to leave."""
    dtype = jnp.result_type(float)
    theta = jnp.asarray([np.log(LENGTHSCALE)] * 2 + [0.0, -9.0], dtype)
    probes = jnp.asarray(np.random.default_rng(0).uniform(size=(32, 2)), dtype)

    @jax.jit
    def run(value, lengthscale, is_pending):
        zeros = jnp.zeros(len(UNIT) + SPARE, dtype)
        unit = jnp.concatenate([jnp.asarray(UNIT, dtype), jnp.full((SPARE, 2), 0.5, dtype)])
        is_observed = jnp.arange(len(UNIT) + SPARE) < len(UNIT)
        value = jnp.concatenate([value, jnp.zeros(SPARE, dtype)])
        table = model.Table(unit, value, zeros, zeros, is_observed, is_pending)
        targets = model.objective_targets(
            table, is_observed, 1.0, num_reference=4, constrained=False
        )
        here = theta.at[:2].set(jnp.log(lengthscale))
        settled = basins.settled_basins(KERNEL, here, targets, 2)
        leaves = basins.is_leaving(KERNEL, settled, jnp.sum(is_observed | is_pending), probes)
        return settled, leaves, settled.contain(KERNEL, unit)

    def call(value=VALUE, lengthscale=LENGTHSCALE, num_pending=0):
        row = np.arange(len(UNIT) + SPARE)
        is_pending = (row >= len(UNIT)) & (row < len(UNIT) + num_pending)
        return run(jnp.asarray(value, dtype), jnp.asarray(lengthscale, dtype), is_pending)

    return call


def test_a_basin_whose_bottom_is_flat_is_settled(found):
    settled, leaves, held = found()
    assert settled.is_settled.tolist() == [True, False]
    np.testing.assert_allclose(settled.centre[0] * LENGTHSCALE, UNIT[6], atol=1e-5)
    inside = [4, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(np.flatnonzero(held[: len(UNIT)]), inside)
    np.testing.assert_array_equal(np.flatnonzero(settled.outer), [0, 1, 2, 3])
    # The bottom itself stays in the data, so that the model knows where it is.
    np.testing.assert_array_equal(np.flatnonzero(settled.inner), [4, 5, 7, 8, 9])
    assert bool(leaves)


def test_a_basin_that_still_gets_deeper_is_not_settled(found):
    deeper = VALUE.copy()
    deeper[6:] = [0.0, 0.4, 0.5, 0.6]
    settled, leaves, _ = found(deeper)
    assert not settled.is_settled.any()
    assert not settled.inner.any()
    assert not bool(leaves)


def test_one_proposal_in_four_polishes_and_one_in_sixteen_where_nothing_is_left_to_gain(found):
    wide = VALUE.copy()
    wide[6:] = [0.0, 2e-3, 3e-3, 4.5e-3]
    counts = range(len(UNIT), len(UNIT) + SPARE)  # rows known: 10, 11, …, 17
    for value, every in ((wide, 4), (VALUE, 16)):
        found_ = [found(value, num_pending=count - len(UNIT)) for count in counts]
        assert all(bool(settled.is_settled[0]) for settled, _, _ in found_)
        assert [bool(leaves) for _, leaves, _ in found_] == [count % every != 0 for count in counts]


def test_a_basin_that_fills_the_space_is_not_left(found):
    assert bool(found(lengthscale=LENGTHSCALE)[1])
    assert not bool(found(lengthscale=5.0)[1])


def test_lengthscales_are_capped_at_their_mean():
    prior = gp.default_prior(3)
    theta = jnp.concatenate([jnp.log(jnp.asarray([0.1, 0.4, 30.0])), jnp.asarray([0.3, -5.0])])
    capped = basins.cap_lengthscales(theta, prior)
    centre = float(jnp.exp(prior.mean[0]))
    cap = (0.1 * 0.4 * centre) ** (1 / 3)
    np.testing.assert_allclose(jnp.exp(capped[:3]), [0.1, min(0.4, cap), cap], rtol=1e-4)
    np.testing.assert_array_equal(capped[3:], theta[3:])
