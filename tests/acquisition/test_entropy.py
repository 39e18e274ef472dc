"""Max-value entropy search beside quadrature, and its slopes."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from jaxhpo import acquisition


def entropy_drop(g):
    """Entropy of a standard normal minus that of the same one cut below at -g, by quadrature."""
    lower, mass = -g, stats.norm.cdf(g)

    def minus_p_log_p(x):
        p = stats.norm.pdf(x) / mass
        return -p * np.log(p)

    # The tail beyond 12 deviations of the cut holds less than rounding.
    cut, _ = integrate.quad(minus_p_log_p, lower, max(lower, 0.0) + 12.0, limit=200)
    return stats.norm.entropy() - cut


@pytest.mark.parametrize("g", [-6.0, -2.0, -0.3, 0.0, 0.5, 2.0, 3.5])
def test_it_is_the_entropy_that_the_minimum_takes_away(g):
    with jax.enable_x64(True):
        mean, variance = np.float64(1.0 + 0.7 * g), np.float64(0.49)
        found = float(np.exp(acquisition.log_mes(mean, variance, np.float64(1.0)).value))
    np.testing.assert_allclose(found, entropy_drop(g), rtol=1e-6)


def test_slopes_and_smoothness_across_the_seams():
    with jax.enable_x64(True):
        g = np.concatenate([np.linspace(-40, 40, 161), [-5 - 1e-9, -5 + 1e-9, 5 - 1e-9, 5 + 1e-9]])
        variance = np.full_like(g, 0.3)
        mean = g * np.sqrt(variance)
        score = jax.vmap(lambda m, v: acquisition.log_mes(m, v, 0.0))(mean, variance)
        step = 1e-6
        ends = [acquisition.log_mes(mean + s, variance, 0.0).value for s in (-step, step)]
        by_mean = (ends[1] - ends[0]) / (2 * step)
        step = 1e-7
        ends = [acquisition.log_mes(mean, variance + s, 0.0).value for s in (-step, step)]
        by_variance = (ends[1] - ends[0]) / (2 * step)
    assert np.isfinite(score.value).all()
    # Across a seam at 5 deviations the approximate branch is off by 3e-7.
    near_seam = np.abs(np.abs(g) - 5) < 1e-2
    np.testing.assert_allclose(score.by_mean[~near_seam], by_mean[~near_seam], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        score.by_variance[~near_seam], by_variance[~near_seam], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(score.value[-4], score.value[-3], atol=1e-6)
    np.testing.assert_allclose(score.value[-2], score.value[-1], atol=1e-6)
