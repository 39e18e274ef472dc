"""Fantasies of pending points are draws from the posterior of the observed ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo import gp
from jaxhpo.samplers.bayesian import _fits as fits
from jaxhpo.samplers.bayesian import _targets as model

KERNEL = gp.Kernel((0, 1))
OBSERVED = [0, 1, 3, 4, 6]
PENDING = [2, 5]
NUM_ROWS = 10


@pytest.fixture(scope="module")
def conditioned():
    """Smallest mean per fantasy, predictions with and without the pending rows, and targets."""
    unit = np.random.default_rng(0).uniform(size=(NUM_ROWS, 2))
    is_observed, is_pending = (np.isin(np.arange(NUM_ROWS), rows) for rows in (OBSERVED, PENDING))
    dtype = jnp.result_type(float)
    value = jnp.asarray(np.where(is_observed, np.sin(5 * unit[:, 0]), np.nan), dtype)
    zeros = jnp.zeros(NUM_ROWS, dtype)
    table = model.Table(
        jnp.asarray(unit, dtype),
        value,
        zeros,
        zeros,
        jnp.asarray(is_observed),
        jnp.asarray(is_pending),
    )
    prior = gp.default_prior(2, noise_floor=1e-4)
    theta = fits.first_theta(prior)

    @jax.jit
    def both(table):
        targets = model.objective_targets(
            table, table.is_observed, 1.0, num_reference=4, constrained=False
        )
        fantasized = model.condition_with_fantasies(KERNEL, prior, theta, table, targets)
        alone = gp.condition(KERNEL, gp.unravel(theta), targets.data, prior.bias)
        return (
            fantasized.best,
            fantasized.posterior.predict(table.features),
            alone.predict(table.features),
            targets.data.target,
        )

    return both(table)


def test_every_fantasy_agrees_with_what_was_told(conditioned):
    best, prediction, _, target = conditioned
    observed = np.asarray(prediction.mean)[OBSERVED]
    np.testing.assert_allclose(
        observed, np.asarray(target)[OBSERVED][:, None] + 0 * observed, atol=1e-2
    )
    assert best.shape == (model.NUM_FANTASIES,)
    known = np.r_[OBSERVED, PENDING]
    np.testing.assert_allclose(best, np.asarray(prediction.mean)[known].min(axis=0), atol=1e-4)


def test_fantasies_have_the_moments_of_the_posterior(conditioned):
    _, prediction, alone, _ = conditioned
    drawn = np.asarray(prediction.mean)[PENDING]
    sd = np.sqrt(np.asarray(alone.variance)[PENDING])
    # The first pending row's quantiles have mean zero; the second one adds what it shares with it.
    np.testing.assert_allclose(drawn.mean(axis=1), np.asarray(alone.mean)[PENDING], atol=1e-3)
    ratio = drawn.std(axis=1) / sd
    assert ((ratio > 0.5) & (ratio < 1.3)).all()
    assert (np.asarray(prediction.variance)[PENDING] < 1e-2).all()
