"""Mills' ratio against SciPy's scaled complementary error function, and its own identity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxhpo import acquisition
from jaxhpo.acquisition._mills import mills

PLACES = np.concatenate([np.linspace(0, 9, 901), np.geomspace(9, 1e7, 300)])


def expected():
    """The ratio, and the gap by its own asymptotic series where the difference loses digits."""
    ratio = np.sqrt(np.pi / 2) * special.erfcx(PLACES / np.sqrt(2))
    t = np.maximum(PLACES, 300.0)
    series = 1 / t**2 - 3 / t**4 + 15 / t**6 - 105 / t**8
    return ratio, np.where(PLACES < 300, 1 - PLACES * ratio, series)


@pytest.mark.parametrize(("dtype", "digits"), [(jnp.float64, 2e-14), (jnp.float32, 2e-6)])
def test_ratio_and_gap(dtype, digits):
    ratio, gap = expected()
    with jax.enable_x64(True):
        found = mills(jnp.asarray(PLACES, dtype))
    np.testing.assert_allclose(found.ratio, ratio, rtol=digits)
    # the expected gap is a difference of numbers near 1 up to t = 300
    is_sure = (PLACES < 2) | (PLACES > 300)
    np.testing.assert_allclose(found.gap[is_sure], gap[is_sure], rtol=digits)
    np.testing.assert_allclose(found.gap, gap, rtol=max(digits, 1e-10))
    np.testing.assert_allclose(found.quotient, found.ratio / found.gap, rtol=digits)
    for leaf in found:
        assert leaf.dtype == dtype


def test_the_derivative_of_the_ratio_is_minus_the_gap():
    with jax.enable_x64(True):
        t = jnp.asarray(PLACES)
        slope = jax.vmap(jax.grad(lambda x: mills(x).ratio))(t)
        np.testing.assert_allclose(slope, -mills(t).gap, rtol=1e-7, atol=1e-12)


def test_infinite_places_and_integers_have_their_limits():
    one, zero = jnp.ones(()), jnp.zeros(())
    for best, ei, pi in ((jnp.inf, jnp.inf, 0.0), (-jnp.inf, -jnp.inf, -jnp.inf)):
        assert acquisition.log_ei(zero, one, jnp.asarray(best)).value == ei
        assert acquisition.log_pi(zero, one, jnp.asarray(best)).value == pi
    for function in (acquisition.log_h_and_slope, acquisition.log_cdf_and_slope):
        np.testing.assert_allclose(function(jnp.asarray(1)), function(one), rtol=1e-6)


def test_the_slope_of_log_mes_at_the_minimum_and_far_below_it():
    one, zero = jnp.ones(()), jnp.zeros(())

    def value(mean):
        return acquisition.log_mes(mean, one, zero).value

    score = acquisition.log_mes(zero, one, zero)
    np.testing.assert_allclose(jax.grad(value)(zero), score.by_mean, rtol=1e-5)
    for at in (-12.0, -30.0, -300.0, -1e4):
        with jax.enable_x64(True):
            exact, found = (
                acquisition.log_mes(*(jnp.asarray(x, dtype) for x in (at, 1.0, 0.0)))
                for dtype in (jnp.float64, jnp.float32)
            )
        np.testing.assert_allclose(found.by_mean, exact.by_mean, rtol=2e-4)
