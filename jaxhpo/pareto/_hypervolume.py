"""The volume that a set of points dominates, up to a reference point."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array
from jaxhpo.pareto._rows import front_rows

MAX_TRACED = 3
"""Objectives up to which the hypervolume is computed by JAX."""


def hypervolume(value: Any, reference: Any) -> Array:
    """Measures the space between points and a reference point that they dominate; exact.

    Up to three objectives it is traceable (n log n, and n² for three) and differentiable almost
    everywhere; beyond, it is computed on the host by slicing off exclusive volumes (WFG), in a time
    that grows quickly with the number of objectives.

    Args:
        value: `[n, m]` objective values, minimised; dominated points and duplicates are harmless.
            Rows with a NaN or an infinite value, or not below the reference point, add nothing.
        reference: `[m]` the point that bounds the volume from above.

    Returns:
        `[]` the volume.

    Raises:
        ValueError: arrays of another shape.
        TypeError: more than three objectives under a transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> float(hypervolume(jnp.array([[1.0, 2.0], [2.0, 1.0]]), jnp.array([3.0, 3.0])))
        3.0

    References:
        While, Bradstreet and Barone, "A fast way of calculating exact hypervolumes", 2012,
        https://doi.org/10.1109/TEVC.2010.2077298.
    """
    is_traced = _checks.is_traced(value) or _checks.is_traced(reference)
    if not is_traced and not isinstance(value, jax.Array):
        value = _checks.real_numbers("hypervolume", "value", value)
    if jnp.ndim(value) != 2 or jnp.shape(value)[1] == 0:
        raise _checks.fail("hypervolume", "value", "of shape [n, m]", jnp.shape(value))
    m = jnp.shape(value)[1]
    given: Any = reference
    if not isinstance(given, jax.Array):
        reference = jnp.asarray(
            _checks.real_numbers("hypervolume", "reference", given), jnp.result_type(float)
        )
    if jnp.shape(reference) != (m,):
        raise _checks.fail("hypervolume", "reference", f"of shape [{m}]", jnp.shape(reference))
    dtype = jnp.result_type(float)
    if m > MAX_TRACED:
        if is_traced:
            raise TypeError(
                f"hypervolume: `value` must have at most {MAX_TRACED} objectives under a "
                f"transformation, got {m}; call it outside of jit and vmap."
            )
        return jnp.asarray(_on_host(np.asarray(value), np.asarray(reference)), dtype)
    points, corner = jnp.asarray(value).astype(dtype), jnp.asarray(reference).astype(dtype)
    is_inside = jnp.all(jnp.isfinite(points) & (points < corner[None, :]), axis=1)
    # A point on the reference adds nothing; NaN would spread through the sums.
    points = jnp.where(is_inside[:, None], points, corner[None, :])
    if m == 1:
        return corner[0] - jnp.min(points[:, 0], initial=corner[0])
    if m == 2:
        order = jnp.argsort(points[:, 0])
        return _area(points[order, 0], points[order, 1], corner)
    return _volume(points, corner)


def _area(first: Array, second: Array, corner: Array) -> Array:
    """Two objectives `[n]`, sorted by the first: strips under the staircase."""
    lowest = jax.lax.cummin(second)
    before = jnp.concatenate([corner[1:2], lowest[:-1]])
    return jnp.sum((corner[0] - first) * jnp.maximum(before - second, 0))


def _volume(points: Array, corner: Array) -> Array:
    """Three objectives: slabs between successive levels of the third, each an area times a height.

    A slab's area is that of the points at or below its level.
    """
    points = points[jnp.argsort(points[:, 0])]
    level = jnp.sort(points[:, 2])
    height = jnp.diff(jnp.concatenate([level, corner[2:3]]))

    def slab(carry: Array, row: tuple[Array, Array]) -> tuple[Array, None]:
        low, high = row
        second = jnp.where(points[:, 2] <= low, points[:, 1], corner[1])
        return carry + high * _area(points[:, 0], second, corner), None

    total, _ = jax.lax.scan(slab, jnp.zeros((), points.dtype), (level, height))
    return total


def _on_host(points: np.ndarray, corner: np.ndarray) -> float:
    """Any number of objectives, in float64."""
    points, corner = points.astype(np.float64), corner.astype(np.float64)
    is_inside = (np.isfinite(points) & (points < corner[None, :])).all(axis=1)
    return _wfg(_front(points[is_inside]), corner)


def _wfg(points: np.ndarray, corner: np.ndarray) -> float:
    """Sums what each point adds to those after it; `points` do not dominate each other."""
    if len(points) == 0:
        return 0.0
    if points.shape[1] == 2:
        points = points[np.argsort(points[:, 0])]
        before = np.concatenate([corner[1:], points[:-1, 1]])
        return float(np.sum((corner[0] - points[:, 0]) * (before - points[:, 1])))
    # Rising in the last objective from the end: what is limited by a point shares its last value,
    # which leaves a problem of one objective less.
    points = points[np.argsort(-points[:, -1], kind="stable")]
    total = 0.0
    for i, point in enumerate(points):
        limited = _front(np.maximum(points[i + 1 :, :-1], point[:-1]))
        own = float(np.prod(corner[:-1] - point[:-1]))
        total += (corner[-1] - point[-1]) * (own - _wfg(limited, corner[:-1]))
    return total


def _front(points: np.ndarray) -> np.ndarray:
    """The points that no other one dominates, each once."""
    points = np.unique(points, axis=0)
    return points[front_rows(points)]
