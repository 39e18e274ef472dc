"""Fantasies of pending points are draws from the posterior of the told ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo import gp
from jaxhpo.samplers.bayesian import _fits as fits
from jaxhpo.samplers.bayesian import _targets as model

KERNEL = gp.Kernel((0, 1))
TOLD = [0, 1, 3, 4, 6]
PENDING = [2, 5]
NUM_ROWS = 10


@pytest.fixture(scope="module")
def believed():
    """The belief, its table and targets, and the posterior of the told rows alone."""
    unit = np.random.default_rng(0).uniform(size=(NUM_ROWS, 2))
    is_told, is_pending = (np.isin(np.arange(NUM_ROWS), rows) for rows in (TOLD, PENDING))
    dtype = jnp.result_type(float)
    value = jnp.asarray(np.where(is_told, np.sin(5 * unit[:, 0]), np.nan), dtype)
    zeros = jnp.zeros(NUM_ROWS, dtype)
    table = model.Table(
        jnp.asarray(unit, dtype), value, zeros, zeros, jnp.asarray(is_told), jnp.asarray(is_pending)
    )
    prior = gp.default_prior(2, noise_floor=1e-4)
    theta = fits.first_theta(prior)

    @jax.jit
    def both(table):
        targets = model.objective_targets(
            table, table.is_told, 1.0, num_reference=4, constrained=False
        )
        belief = model.believe(KERNEL, prior, theta, table, targets)
        alone = gp.condition(KERNEL, gp.unravel(theta), targets.data, prior.bias)
        return (
            belief.best,
            belief.posterior.predict(table.features),
            alone.predict(table.features),
            targets.data.target,
        )

    return both(table)


def test_every_fantasy_agrees_with_what_was_told(believed):
    best, prediction, _, target = believed
    told = np.asarray(prediction.mean)[TOLD]
    np.testing.assert_allclose(told, np.asarray(target)[TOLD][:, None] + 0 * told, atol=1e-2)
    assert best.shape == (model.NUM_FANTASIES,)
    known = np.r_[TOLD, PENDING]
    np.testing.assert_allclose(best, np.asarray(prediction.mean)[known].min(axis=0), atol=1e-4)


def test_fantasies_have_the_moments_of_the_posterior(believed):
    _, prediction, alone, _ = believed
    drawn = np.asarray(prediction.mean)[PENDING]
    sd = np.sqrt(np.asarray(alone.variance)[PENDING])
    # The first pending row's quantiles have mean zero; the second one adds what it shares with it.
    np.testing.assert_allclose(drawn.mean(axis=1), np.asarray(alone.mean)[PENDING], atol=1e-3)
    ratio = drawn.std(axis=1) / sd
    assert ((ratio > 0.5) & (ratio < 1.3)).all()
    assert (np.asarray(prediction.variance)[PENDING] < 1e-2).all()
