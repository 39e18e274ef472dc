"""From raw objective values to targets of a Gaussian process."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._base import Array
from jaxhpo._checks import check_positive, fail, is_traced, real_numbers
from jaxhpo.gp._arguments import check_mask

SHARPNESS = (1.0, 0.25, 1.0 / 64.0)
"""What `warp` is tried with where its sharpness is to be chosen; the last is next to a line."""


class Warped(NamedTuple):
    """Standardised targets and the map they came by.

    Attributes:
        target: `[n]` mean 0 and deviation 1 over the mask, 0 outside it.
        rate: `[n]` slope of the map at each value: a standard error times this is the target's.
        centre: `[]` value that maps to the origin before standardising.
        unit: `[]` width of the part that is mapped linearly.
        mean: `[]` mean of the compressed values.
        sd: `[]` their deviation.
        sharpness: `[]` how strongly the map bends above the centre.
        log_slope: `[]` sum over the mask of the logarithms of `rate * unit`: what a density of
            targets is to be multiplied with to be one of values, up to a constant.
    """

    target: Array
    rate: Array
    centre: Array
    unit: Array
    mean: Array
    sd: Array
    sharpness: Array
    log_slope: Array

    def apply(self, value: Array) -> Array:
        """Maps further values of any shape."""
        inner, _ = _compress((value - self.centre) / self.unit, self.sharpness)
        return (inner - self.mean) / self.sd

    def invert(self, target: Array) -> Array:
        """Maps targets of any shape back to values."""
        inner = target * self.sd + self.mean
        above = jnp.expm1(inner * self.sharpness) / self.sharpness
        return self.centre + self.unit * jnp.where(inner > 0, above, inner)


def warp(
    value: Array,
    mask: Array,
    reference: Array | None = None,
    sharpness: float | Array = 1.0,
) -> Warped:
    """Standardises values, robustly against a heavy upper tail.

    The part below the median is mapped linearly; above it, the map goes on as a logarithm whose
    unit is the deviation of the lower half, divided by the sharpness. A few enormous values then
    cannot press the rest, which matters, into a line. Median and unit are those of the reference
    rows: taken from rows spread over the space, they do not shrink as a search closes in on a
    minimum. All is in ranks, differences and ratios, so shifting and scaling values changes
    nothing.

    Args:
        value: `[n]` finite where `mask`.
        mask: `[n]` bool.
        reference: `[n]` bool, rows that set the median and the unit; None means all.
        sharpness: `[]`, above 0; the smaller, the nearer to a linear map.

    Returns:
        The `Warped` targets. Constant values map to 0.
    """
    where = "gp.warp"
    value, mask = _checked(where, value, mask)
    if reference is not None:
        reference = check_mask(where, "reference", reference, value.shape[0])
    if not is_traced(sharpness):
        sharpness = float(check_positive(where, "sharpness", sharpness))
    limit = 0.25 * float(jnp.finfo(value.dtype).max)  # so that differences stay finite
    value = jnp.where(mask, jnp.clip(value, -limit, limit), 0.0)
    count = jnp.maximum(jnp.sum(mask), 1).astype(value.dtype)
    largest = jnp.max(jnp.where(mask, value, -jnp.inf))
    smallest = jnp.min(jnp.where(mask, value, jnp.inf))
    extent = largest - smallest
    extent = jnp.where(jnp.isfinite(extent) & (extent > 0), extent, 1.0)
    smallest = jnp.where(jnp.isfinite(smallest), smallest, 0.0)
    place = (value - smallest) / extent
    spread = mask if reference is None else mask & reference
    rank = jnp.sum(spread[None, :] & (place[None, :] <= place[:, None]), axis=1)
    upper = spread & (2 * rank >= jnp.sum(spread))
    median = jnp.min(jnp.where(upper, place, jnp.inf))
    median = jnp.where(jnp.isfinite(median), median, 0.0)
    lower = spread & (place <= median)
    below = jnp.where(lower, place - median, 0.0)
    width = jnp.sqrt(jnp.sum(below**2) / jnp.maximum(jnp.sum(lower), 1).astype(value.dtype))
    width = jnp.where(width > 0, width, 1.0)
    sharpness = jnp.asarray(sharpness, value.dtype)
    inner, slope = _compress((place - median) / width, sharpness)
    mean = jnp.sum(jnp.where(mask, inner, 0.0)) / count
    away = jnp.where(mask, inner - mean, 0.0)
    sd = jnp.sqrt(jnp.sum(away**2) / count)
    sd = jnp.where(sd > 0, sd, 1.0)
    unit = width * extent
    log_slope = jnp.sum(jnp.where(mask, jnp.log(slope) - jnp.log(sd), 0.0))
    return Warped(
        target=away / sd,
        rate=slope / (unit * sd),
        centre=smallest + median * extent,
        unit=unit,
        mean=mean,
        sd=sd,
        sharpness=sharpness,
        log_slope=log_slope,
    )


def _checked(where: str, value: Any, mask: Any) -> tuple[Array, Array]:
    """Values and mask; outside the mask a value may be anything."""
    if not isinstance(value, jax.Array):
        value = jnp.asarray(real_numbers(where, "value", value), jnp.result_type(float))
    if value.ndim != 1 or not jnp.issubdtype(value.dtype, jnp.floating):
        raise fail(where, "value", "real numbers of shape [n]", f"{value.dtype}{value.shape}")
    return value, check_mask(where, "mask", mask, value.shape[0])


def _compress(x: Array, sharpness: Array) -> tuple[Array, Array]:
    """Identity below 0 and `log(1 + s x) / s` above, and its slope; both are continuous at 0."""
    above = sharpness * jnp.maximum(x, 0.0)
    return jnp.where(x > 0, jnp.log1p(above) / sharpness, x), 1.0 / (1.0 + above)
