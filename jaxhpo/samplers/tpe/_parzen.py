"""Parzen estimators over the unit cube: one product kernel per observation, and a prior.

Columns are handled one after the other in a scan, so that programs stay small and the work on
`[candidates, kernels]` arrays vectorises.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array, Record, setting, static_field
from jaxhpo.samplers._parts._same import are_same
from jaxhpo.samplers.tpe._neighbours import Neighbours
from jaxhpo.space import Space
from jaxhpo.space.internal import Columns

CONTINUOUS, STEPPED, CATEGORICAL = 0, 1, 2
"""Kinds of column."""

# The same number is Hyperopt's `linear_forgetting`.
_FLAT = 25
"""The newest observations have full weight; the ramp over the older ones ends here (Optuna)."""

_NARROW = 0.1
"""Cells narrower than this, in standard deviations, are not a difference of two probabilities."""

_ROOT2, _ROOT_2PI = math.sqrt(2.0), math.sqrt(2.0 * math.pi)


class Parzen(Record):
    """A mixture of `k` product kernels; the last one is the prior.

    Attributes:
        mean: `[d, k]` centre of a numeric kernel, the option's cell centre of a categorical one.
        sigma: `[d, k]` width before truncation to the unit interval.
        share: `[d, k]` probability that a categorical kernel keeps its option, instead of drawing
            from the prior; 0 where the kernel has no such coordinate.
        log_weight: `[1 or d, k]` normalised weights, common to all columns or one row per column.
    """

    mean: Array
    sigma: Array
    share: Array
    log_weight: Array


class Kinds(Record):
    """What the columns are.

    Attributes:
        kind: `[d]` int32, one of the three kinds.
        options: `[d]` int32 number of options; 0 where not categorical.
        present: static; the kinds that a column may have. A space has those of its columns;
            `Columns`, whose kinds are data, have all three.
    """

    kind: Array
    options: Array
    present: tuple[int, ...] = static_field()


class Points(Record):
    """Candidates as densities see them: place, cell and activity, `[d, c]` each."""

    place: Array
    low: Array
    high: Array
    is_active: Array


def kinds_of(space: Space) -> Kinds:
    """Kind of each column. Host side."""
    levels, is_category = space.num_levels, space.is_categorical
    kind = np.where(is_category, CATEGORICAL, np.where(levels > 0, STEPPED, CONTINUOUS))
    present = tuple(range(3)) if isinstance(space, Columns) else tuple(np.unique(kind).tolist())
    options = np.where(is_category, levels, 0)
    return Kinds(setting(kind.astype(np.int32)), setting(options.astype(np.int32)), present)


def points_of(space: Space, unit: Array) -> Points:
    """Prepares snapped points `[c, d]`."""
    low, high = space.cell_ends(unit)
    return Points(unit.T, low.T, high.T, space.active_columns(unit).T)


def ramp(is_member: Array) -> Array:
    """Weights of observations in their order of age: the newest 25 count 1, older ones less.

    Args:
        is_member: `[..., n]` bool; the others weigh 0.

    Returns:
        `[..., n]`, from 1/m for the oldest of m members.
    """
    dtype = jnp.result_type(float)
    rank = jnp.cumsum(is_member.astype(jnp.int32), axis=-1, dtype=jnp.int32) - 1
    count = rank[..., -1:] + 1
    # A linear ramp from 1/m for the oldest observation to 1, over the m - 25 old ones.
    num_old = count - _FLAT
    low = 1 / jnp.maximum(count, 1).astype(dtype)
    step = (1 - low) / jnp.maximum(num_old - 1, 1).astype(dtype)
    weight = jnp.where(rank < num_old, low + step * rank.astype(dtype), 1)
    return jnp.where(is_member, weight, 0)


def estimator(members: Neighbours, weight: Array, prior_weight: Array, kinds: Kinds) -> Parzen:
    """Builds the mixture of the members and the prior.

    Args:
        members: `[d, n]` observations.
        weight: `[1 or d, n]` weights, 0 for rows that are no members.
        prior_weight: `[]` weight of the prior kernel.
        kinds: `kinds_of`.

    Returns:
        `n + 1` kernels.
    """
    place, dtype = members.place, members.place.dtype
    is_in = ~jnp.isnan(place)
    count = jnp.sum(is_in, axis=1, dtype=jnp.int32)[:, None].astype(dtype)
    gap_left, gap_right = place - members.left, members.right - place
    # The first and the last member have one gap; a single one reaches to the farther bound.
    gap = jnp.maximum(
        jnp.where(jnp.isinf(gap_left), 0, gap_left), jnp.where(jnp.isinf(gap_right), 0, gap_right)
    )
    gap = jnp.where(jnp.isinf(gap_left) & jnp.isinf(gap_right), jnp.maximum(place, 1 - place), gap)
    # Optuna's rule: no narrower than the unit interval over min(100, 1 + K), where K counts the
    # members and the prior, so that many close observations do not make a spike.
    sigma = jnp.clip(gap, 1 / jnp.minimum(100, count + 2), 1)

    options = kinds.options.astype(dtype)[:, None]
    # Optuna gives every option prior_weight / K and the observed one 1 more, then normalises. The
    # same row as a mixture: keep the option with this probability, else draw a uniform one.
    keep = 1 / (1 + options * prior_weight / (count + 1))
    share = jnp.where(is_in, keep, 0)
    total = jnp.sum(weight, axis=1, keepdims=True) + prior_weight
    prior = jnp.broadcast_to(prior_weight, (weight.shape[0], 1))
    return Parzen(
        _append(jnp.where(is_in, place, 0.5), 0.5),
        _append(jnp.where(is_in, sigma, 1), 1),
        _append(share, 0),
        jnp.log(jnp.concatenate([weight, prior], axis=1) / total),
    )


def draw(parzen: Parzen, key: Array, count: int, kinds: Kinds) -> Array:
    """Draws points `[count, d]`, not yet snapped; a component for each point, or coordinate."""
    key_component, key_numeric, key_keep, key_option = jax.random.split(key, 4)
    (d, _), dtype = parzen.mean.shape, parzen.mean.dtype
    rows = parzen.log_weight.shape[0]
    # Inversion of the cumulative weights, scaled by their last so that rounding loses no mass; the
    # minimum below is for a level that rounds up to it.
    ends = jnp.cumsum(jnp.exp(parzen.log_weight), axis=1)
    level = jax.random.uniform(key_component, (rows, count), dtype) * ends[:, -1:]
    component = jnp.sum(ends[:, None, :] <= level[:, :, None], axis=2, dtype=jnp.int32)
    component = jnp.broadcast_to(jnp.minimum(component, ends.shape[1] - 1), (d, count))
    mean, sigma, share = (
        jnp.take_along_axis(part, component, axis=1)
        for part in (parzen.mean, parzen.sigma, parzen.share)
    )
    # Truncated to the unit interval, as the density is: no candidate piles up at a bound.
    low, high = -mean / sigma, (1 - mean) / sigma
    score = jax.random.truncated_normal(key_numeric, low, high, (d, count), dtype)
    numeric = jnp.clip(mean + sigma * score, 0, 1)
    is_kept = jax.random.uniform(key_keep, (d, count), dtype) < share
    option = jnp.where(is_kept, mean, jax.random.uniform(key_option, (d, count), dtype))
    is_category = (kinds.kind == CATEGORICAL)[:, None]
    return jnp.where(is_category, option, numeric).T


def log_density(parzen: Parzen, points: Points, kinds: Kinds) -> Array:
    """Log density of points under the product kernels, `[c]`.

    A discrete coordinate counts with its cell's probability, an inactive one not at all.
    """
    dtype = parzen.mean.dtype

    def add(total: Array, column: Any) -> tuple[Array, None]:
        point = column[2]
        return total + jnp.where(point.is_active[:, None], _log_kernel(kinds, *column), 0), None

    total = jnp.zeros((points.place.shape[1], parzen.mean.shape[1]), dtype)
    total, _ = jax.lax.scan(add, total, _by_column(kinds, parzen, points))
    # A product kernel has one weight for all coordinates: log weights are added after the sum.
    return jax.nn.logsumexp(total + parzen.log_weight[:1], axis=1)


def log_marginals(parzen: Parzen, points: Points, kinds: Kinds) -> Array:
    """Log density of each coordinate by itself, `[d, c]`; all columns count as active."""

    def one(_: None, column: Any) -> tuple[None, Array]:
        value = _log_kernel(kinds, *column)
        return None, jax.nn.logsumexp(value + column[1].log_weight[None, :], axis=1)

    return jax.lax.scan(one, None, _by_column(kinds, parzen, points))[1]


def _by_column(kinds: Kinds, parzen: Parzen, points: Points) -> tuple[Array, Parzen, Points]:
    """Arrays `[d, …]`; a row of weights common to all columns is repeated."""
    log_weight = jnp.broadcast_to(parzen.log_weight, parzen.mean.shape)
    return kinds.kind, dataclasses.replace(parzen, log_weight=log_weight), points


def _log_kernel(kinds: Kinds, kind: Array, mixture: Parzen, point: Points) -> Array:
    """Log of one column's kernels at its points, `[c, k]`."""
    functions = [_LOG_KERNELS[one] for one in kinds.present]
    if len(functions) == 1:
        return functions[0](mixture, point)
    place = jnp.sum(kind >= jnp.asarray(kinds.present[1:], jnp.int32), dtype=jnp.int32)
    return jax.lax.switch(place, functions, mixture, point)


def _log_continuous(mixture: Parzen, point: Points) -> Array:
    rate = 1 / mixture.sigma
    constant = -jnp.log(mixture.sigma * _ROOT_2PI) - _log_inside(mixture)
    score = (point.place[:, None] - mixture.mean[None, :]) * rate[None, :]
    return constant[None, :] - 0.5 * score**2


def _log_stepped(mixture: Parzen, point: Points) -> Array:
    rate = (1 / mixture.sigma)[None, :]
    low = (point.low[:, None] - mixture.mean[None, :]) * rate
    high = (point.high[:, None] - mixture.mean[None, :]) * rate
    return log_mass(low, high) - _log_inside(mixture)[None, :]


def _log_category(mixture: Parzen, point: Points) -> Array:
    # The mixture of `estimator`: the kept option, or one drawn from the prior's cell.
    is_same = are_same(point.place[:, None, None], mixture.mean[None, :, None])
    prior = (point.high - point.low)[:, None]
    share = mixture.share[None, :]
    return jnp.log(jnp.where(is_same, share, 0) + (1 - share) * prior)


_LOG_KERNELS = (_log_continuous, _log_stepped, _log_category)


def log_mass(low: Array, high: Array) -> Array:
    """Log of the standard normal probability of `[low, high]`, anywhere in the tails."""
    # By symmetry to the left tail, where erfc is small and exact.
    is_right = low > 0
    low, high = jnp.where(is_right, -high, low), jnp.where(is_right, -low, high)
    # Not to the right of 0 now, or 0 is inside: no cancellation but that of a narrow interval.
    mass = 0.5 * (jax.lax.erfc(-high / _ROOT2) - jax.lax.erfc(-low / _ROOT2))
    # Above subnormal numbers, which XLA may flush to zero.
    tiny = 64 * jnp.finfo(low.dtype).tiny
    # Beyond the reach of erfc: phi(z) / z, the first term of its expansion.
    far = jnp.minimum(high, -1)
    decay = jnp.exp(jnp.minimum(0.5 * (far**2 - low**2), -_NARROW))
    tail = -0.5 * far**2 - jnp.log(-far * _ROOT_2PI) + jnp.log1p(-decay)
    wide = jnp.where(mass > tiny, jnp.log(jnp.maximum(mass, tiny)), tail)
    # Narrow: the density in the middle, with the slope and the curvature of its logarithm.
    width, middle = high - low, 0.5 * (low + high)
    # sinh(s) / s: the lower end avoids 0 / 0, the upper one an overflow.
    slope = jnp.clip(0.5 * jnp.abs(middle) * width, 1e-3, 20)
    narrow = -0.5 * middle**2 + jnp.log(jnp.maximum(width, tiny) / _ROOT_2PI) - width**2 / 24
    narrow = narrow + jnp.log(jnp.sinh(slope) / slope)
    return jnp.where(width < _NARROW, narrow, wide)


def _log_inside(mixture: Parzen) -> Array:
    """Log of the untruncated kernel's probability inside the unit interval; at least a third."""
    # sigma is 1 at most and the mean inside, so at least Phi(1) - Phi(0) = 0.34 is inside: no tail.
    rate = 1 / (mixture.sigma * _ROOT2)
    return jnp.log(
        0.5 * (jax.lax.erf((1 - mixture.mean) * rate) + jax.lax.erf(mixture.mean * rate))
    )


def _append(array: Array, value: float) -> Array:
    last = jnp.full((array.shape[0], 1), value, array.dtype)
    return jnp.concatenate([array, last], axis=1)
