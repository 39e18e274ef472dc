"""Targets from raw values: what they keep, and what must not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo import gp

_warp = jax.jit(gp.warp)


def draws():
    """The same numbers whichever tests ran before."""
    return np.random.default_rng(0)


def warp(value, mask=None, sharpness=1.0):
    mask = np.ones(len(value), bool) if mask is None else mask
    with jax.enable_x64(True):
        found = _warp(jnp.asarray(value), jnp.asarray(mask), sharpness=jnp.asarray(sharpness))
        return jax.tree.map(np.asarray, found)


def test_mean_zero_deviation_one_order_kept():
    value = draws().normal(size=30)
    target = warp(value).target
    np.testing.assert_allclose([target.mean(), target.std()], [0, 1], atol=1e-12)
    np.testing.assert_array_equal(np.argsort(target), np.argsort(value))


@pytest.mark.parametrize(("shift", "scale"), [(5.0, 1.0), (0.0, 1e12), (0.0, 1e-12), (-3.0, 1e-6)])
def test_shift_and_scale_do_not_matter(shift, scale):
    value = draws().exponential(size=20)
    np.testing.assert_allclose(
        warp(shift + scale * value).target, warp(value).target, rtol=1e-6, atol=1e-6
    )


def test_rows_outside_the_mask_do_not_matter():
    value = draws().normal(size=9)
    mask = np.r_[np.zeros(3, bool), np.ones(9, bool)]
    padded = warp(np.r_[np.nan, 1e30, -np.inf, value], mask)
    np.testing.assert_allclose(padded.target[3:], warp(value).target, atol=1e-12)
    assert (padded.target[:3] == 0).all()


def test_enormous_values_leave_the_lower_half_spread():
    value = np.r_[np.linspace(0, 1, 20), 1e30, 1e35]
    assert np.ptp(warp(value).target[:20]) > 0.1


@pytest.mark.parametrize("value", [[3.0], [2.0] * 5, [1e300, -1e300, 0.0], [0.0] * 9 + [1.0]])
def test_degenerate_values_are_finite(value):
    for leaf in warp(np.asarray(value)):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize("sharpness", [1.0, 0.25, 1.0 / 64.0])
def test_rate_is_the_slope_and_the_inverse_undoes_it(sharpness):
    value = draws().exponential(size=15) ** 3
    with jax.enable_x64(True):
        warped = gp.warp(jnp.asarray(value), jnp.ones(15, bool), sharpness=sharpness)
        step = 1e-6 * value.std()
        slope = (warped.apply(value + step) - warped.apply(value - step)) / (2 * step)
        np.testing.assert_allclose(warped.apply(jnp.asarray(value)), warped.target, atol=1e-10)
        # Values a billionth of the largest have no more digits on the scale of all.
        rounding = 16 * np.finfo(float).eps * value.max()
        np.testing.assert_allclose(warped.invert(warped.target), value, rtol=1e-8, atol=rounding)
    keep = np.abs(value - float(warped.centre)) > 1e-5 * value.std()  # off the kink of the slope
    np.testing.assert_allclose(np.asarray(warped.rate)[keep], np.asarray(slope)[keep], rtol=1e-4)
    logs = np.log(np.asarray(warped.rate) * float(warped.unit))
    np.testing.assert_allclose(warped.log_slope, logs.sum(), rtol=1e-9)


def test_the_less_sharp_the_nearer_to_a_line():
    value = draws().exponential(size=30)
    line = (value - value.mean()) / value.std()
    gaps = [np.abs(warp(value, sharpness=s).target - line).max() for s in (1.0, 0.25, 1e-6)]
    assert gaps[0] > 1.5 * gaps[1] > 0
    assert gaps[2] < 1e-4
