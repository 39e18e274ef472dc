"""Expected gain in dominated volume, in logarithms; exact for two and three objectives."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array
from jaxhpo.acquisition._analytic import log_h, positive


class Boxes(NamedTuple):
    """Disjoint boxes that make up what a set of points leaves undominated below a reference.

    Attributes:
        lower: `[b, m]` lower corners, minus infinity where a box has no end.
        upper: `[b, m]` upper corners; boxes that are no boxes have `upper <= lower` somewhere.
    """

    lower: Array
    upper: Array


def free_boxes(value: Array, reference: Array) -> Boxes:
    """Cuts the undominated space into boxes: strips under a staircase, in slabs for three values.

    Args:
        value: `[n, m]` objective values, m from 1 to 3; dominated points are harmless, and rows
            that are not finite or not below the reference point are ignored.
        reference: `[m]` the point that bounds the volume from above.

    Returns:
        One box for one objective, `n + 1` for two, `(n + 1)²` for three.

    Raises:
        ValueError: another number of objectives, or shapes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxhpo import acquisition
        >>> boxes = acquisition.free_boxes(jnp.array([[1.0, 2.0]]), jnp.array([3.0, 3.0]))
        >>> boxes.upper.tolist()
        [[1.0, 3.0], [3.0, 2.0]]
    """
    if value.ndim != 2 or value.shape[1] not in (1, 2, 3):
        raise _checks.fail("free_boxes", "value", "of shape [n, m], m from 1 to 3", value.shape)
    m = value.shape[1]
    if reference.shape != (m,):
        raise _checks.fail("free_boxes", "reference", f"of shape [{m}]", reference.shape)
    is_inside = jnp.all(jnp.isfinite(value) & (value < reference[None, :]), axis=1)
    # A point at the reference cuts off boxes of no volume only, so shapes can stay static.
    value = jnp.where(is_inside[:, None], value, reference[None, :])
    if m == 1:
        best = jnp.min(value, axis=0, keepdims=True, initial=jnp.inf)
        return Boxes(jnp.full_like(best, -jnp.inf), jnp.minimum(best, reference[None, :]))
    value = value[jnp.argsort(value[:, 0])]
    if m == 2:
        return _strips(value[:, 0], value[:, 1], reference)
    nothing = jnp.full(1, -jnp.inf, value.dtype)
    level = jnp.concatenate([nothing, jnp.sort(value[:, 2]), reference[2:]])

    def slab(low: Array, high: Array) -> Boxes:
        # Points above the slab's floor do not reach into it.
        second = jnp.where(value[:, 2] <= low, value[:, 1], reference[1])
        strips = _strips(value[:, 0], second, reference)
        return Boxes(_with_last(strips.lower, low), _with_last(strips.upper, high))

    slabs = jax.vmap(slab)(level[:-1], level[1:])
    return Boxes(slabs.lower.reshape(-1, 3), slabs.upper.reshape(-1, 3))


def _strips(first: Array, second: Array, reference: Array) -> Boxes:
    """Two objectives `[n]`, sorted by the first."""
    nothing = jnp.full(1, -jnp.inf, first.dtype)
    ends = jnp.concatenate([nothing, first, reference[:1]])
    # Between neighbours in the first objective, all is free below the best second value so far.
    # Dominated points make steps of height zero.
    height = jnp.concatenate([reference[1:2], jax.lax.cummin(second)])
    floor = jnp.full_like(height, -jnp.inf)
    return Boxes(jnp.stack([ends[:-1], floor], axis=1), jnp.stack([ends[1:], height], axis=1))


def _with_last(corner: Array, last: Array) -> Array:
    return jnp.concatenate([corner, jnp.broadcast_to(last, (corner.shape[0], 1))], axis=1)


def log_ehvi(mean: Array, variance: Array, boxes: Boxes) -> Array:
    """Logarithm of the expected gain in dominated volume, of objectives with independent normals.

    Model: a point y gains from the box [l, u] the volume of what it dominates there, the product of
    `(u_j - max(l_j, y_j))+`. Its expectation is the product of `psi(u_j) - psi(l_j)`, where psi(a)
    is the expected improvement below `a`. Sums and differences are taken in logarithms, so that
    value and slope stay finite far from the front, where the plain formula underflows.

    Args:
        mean: `[..., m]` posterior means.
        variance: `[..., m]` posterior variances.
        boxes: the undominated space, of `free_boxes`.

    Returns:
        `[...]`, differentiable in mean and variance.

    Raises:
        ValueError: another number of objectives than that of the boxes.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxhpo import acquisition
        >>> boxes = acquisition.free_boxes(jnp.array([[1.0, 2.0]]), jnp.array([3.0, 3.0]))
        >>> good, bad = jnp.array([0.5, 0.5]), jnp.array([60.0, 60.0])
        >>> good, bad = (acquisition.log_ehvi(at, jnp.ones(2), boxes) for at in (good, bad))
        >>> bool(good > 0), bool(jnp.isfinite(bad))
        (True, True)

    References:
        Ament et al., "Unexpected improvements to expected improvement for Bayesian optimization",
        2023, https://arxiv.org/abs/2310.20708.
        Yang et al., "Efficient computation of expected hypervolume improvement using box
        decomposition algorithms", 2019, https://arxiv.org/abs/1904.12672.
    """
    m = boxes.lower.shape[-1]
    if mean.shape[-1:] != (m,):
        raise _checks.fail("log_ehvi", "mean", f"of shape [..., {m}]", mean.shape)
    _, sigma = positive(variance)
    mean, sigma = mean[..., None, :], sigma[..., None, :]
    lead = (1,) * (mean.ndim - 2)
    lower, upper = (corner.reshape(*lead, *corner.shape) for corner in boxes)
    has_floor = jnp.isfinite(lower)
    # Where a box has no floor, psi(l) is 0. A finite stand-in is evaluated there and dropped below,
    # since a slope that is NaN survives `where`.
    to_floor = log_h((jnp.where(has_floor, lower, upper) - mean) / sigma)
    to_ceiling = log_h((upper - mean) / sigma)
    is_box = jnp.all(upper > lower, axis=-1)
    # What the floor takes away: log(psi(u) - psi(l)) = log psi(u) + log(1 - exp(gap)). Rounding can
    # make the gap of a flat box zero, whose logarithm is not finite.
    tiny = jnp.finfo(mean.dtype).eps
    gap = jnp.where(has_floor & is_box[..., None], jnp.minimum(to_floor - to_ceiling, -tiny), -1.0)
    # log(1 - exp(gap)) by expm1 above -log 2 and by log1p below it: each loses digits on the other
    # side (Mächler, "Accurately computing log(1 - exp(-|a|))", 2012). Each branch gets a harmless
    # argument where the other is taken, again for the slopes.
    is_near = gap > -0.7
    rest = jnp.where(
        is_near,
        jnp.log(-jnp.expm1(jnp.where(is_near, gap, -1.0))),
        jnp.log1p(-jnp.exp(jnp.where(is_near, -1.0, gap))),
    )
    factor = jnp.log(sigma) + to_ceiling + jnp.where(has_floor, rest, 0)
    term = jnp.sum(factor, axis=-1)
    lowest = jnp.finfo(mean.dtype).min / 4  # finite, so that no slope is NaN
    term = jnp.where(is_box, term, lowest)
    # The shift cancels, so it needs no derivative.
    largest = jax.lax.stop_gradient(jnp.max(term, axis=-1, keepdims=True))
    return jnp.log(jnp.sum(jnp.exp(term - largest), axis=-1)) + largest[..., 0]
