"""The search for the best next point: candidates, quasi-Newton lanes, sweeps over what is discrete.

Points live in the unit cube in default float dtype; the score is computed from features, in float64
where the engine runs in it. What the space forbids and what is known already scores minus infinity.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array
from jaxhpo.acquisition._embedding import Embedding
from jaxhpo.gp import argmax, minimize_box
from jaxhpo.space import Space

_TOLERANCE = 1e-4
_MAX_STEP = 0.5
_MAX_LEVELS = 16
_SWEEPS = 2
_SLACK = 1e-5
"""A point on the border of the box is inside, rounded or not."""

_GRID = 2.0**18
"""Continuous coordinates that a search has found are multiples of one over it: finer than the
search, and coarse enough that a resumed study proposes the same point to the bit."""

_NUM_MOVED = 20
"""Coordinates that a candidate in a box moves, on average at most."""


ScoreFn = Callable[[Array, Array], tuple[Array, Array]]
"""From features `[c, F]` and the unit points `[c, d]` that they belong to, to values `[c]` and
gradients `[c, F]` with respect to the features."""


class Budget(NamedTuple):
    """How hard to search; static Python integers.

    Attributes:
        num_global: candidates spread over the whole space.
        num_local: candidates around the incumbent.
        num_lanes: quasi-Newton lanes.
        num_evals: evaluations of each lane.
    """

    num_global: int = 512
    num_local: int = 128
    num_lanes: int = 6
    num_evals: int = 30


class Found(NamedTuple):
    """What a search found.

    Attributes:
        unit: `[d]` snapped point.
        value: `[]` its score; minus infinity if no candidate was allowed and new.
    """

    unit: Array
    value: Array


class Box(NamedTuple):
    """A part of the unit cube, `[d]` each: its centre and its bounds."""

    centre: Array
    lower: Array
    upper: Array


class Problem(NamedTuple):
    """Where to search.

    Attributes:
        space: the search space.
        embedding: its features.
        known: `[n, d]` points that must not be proposed again; NaN rows are none.
        is_double: whether default floats are float64 outside.
        box: the part of the cube to search, or None for all of it.
    """

    space: Space
    embedding: Embedding
    known: Array
    is_double: bool
    box: Box | None = None

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """The precision of the caller, in which the space computes."""
        with jax.enable_x64(self.is_double):
            yield

    @property
    def dtype(self) -> np.dtype:
        """Default float dtype outside."""
        return np.dtype(np.float64 if self.is_double else np.float32)

    def prepare(self, unit: Array, *, must_be_new: bool = True) -> tuple[Array, Array, Array]:
        """Snapped points `[c, d]`, features `[c, F]`, and which are allowed (and new) `[c]`."""
        with self.outside():
            unit = self.space.snap(unit)
            features = self.embedding.features(self.space, unit)
            allowed = self.is_allowed(unit)
            if must_be_new:
                allowed &= ~_is_known(unit, self.known)
        return unit, features, allowed

    def is_allowed(self, unit: Array) -> Array:
        """Which points meet the constraints and lie in the box `[c]`."""
        allowed = jnp.ones(unit.shape[:-1], bool)
        if self.box is not None:
            is_below = unit < self.box.lower[None, :] - _SLACK
            is_above = unit > self.box.upper[None, :] + _SLACK
            allowed = ~jnp.any(is_below | is_above, axis=-1)
        if self.space.has_constraints:
            allowed &= self.space.feasible(self.space.from_unit(unit))
        return allowed

    def bounds(self, width: Array) -> tuple[Array, Array]:
        """Bounds `[F]` of the continuous features, over `width`."""
        lower, upper = jnp.zeros_like(width), jnp.ones_like(width)
        if self.box is not None:
            columns = np.asarray(self.embedding.columns)
            free = np.flatnonzero(columns >= 0)
            lower = lower.at[columns[free]].set(self.box.lower[free].astype(width.dtype))
            upper = upper.at[columns[free]].set(self.box.upper[free].astype(width.dtype))
        return lower / width, upper / width


def _is_known(unit: Array, known: Array) -> Array:
    """Which rows `[c]` lie within rounding of a known row."""
    near = 8.0 * float(np.finfo(np.float32).eps)
    # NaN compares false; a maximum over it is not NaN in every compiled program.
    is_near = jnp.abs(unit[:, None, :] - known[None, :, :]) < near
    return jnp.any(jnp.all(is_near, axis=2), axis=1)


def optimize(
    score: ScoreFn,
    problem: Problem,
    candidates: Array,
    lengthscale: Array,
    luck: Array,
    budget: Budget,
) -> Found:
    """Finds the point of highest score.

    The best candidate, the best local one and a random choice among the rest, in proportion to
    their (exponentiated) score, start one quasi-Newton lane each in the continuous coordinates,
    scaled by their lengthscales. Discrete coordinates are then swept: all values of a coordinate
    with up to 16, beyond that the neighbours at distances 1, 2, 4, … and values spread over the
    range. The best allowed and new point of all of these is returned.

    Args:
        score: log-scaled acquisition function of features.
        problem: where to search.
        candidates: `[c, d]` points; the last `budget.num_local` are the local ones.
        lengthscale: `[F]` of the features.
        luck: `[c]` uniform numbers of (0, 1) for the random choice.
        budget: static sizes.

    Returns:
        What was `Found`.
    """
    has_free = bool(problem.embedding.is_free.any())
    has_discrete = any(column < 0 for column in problem.embedding.columns)
    # Points with a continuous coordinate are new unless clipped: only the starts are looked at.
    unit, features, allowed = problem.prepare(candidates, must_be_new=not has_free)
    work = lengthscale.dtype
    features = features.astype(work)
    value = jnp.where(allowed, score(features, unit)[0], -jnp.inf)
    value = jnp.where(jnp.isnan(value), -jnp.inf, value)
    start = _choose_starts(value, luck.astype(work), budget)
    _, _, is_new = problem.prepare(unit[start])
    lanes = Lanes(unit[start], features[start], jnp.where(is_new, value[start], -jnp.inf))
    if has_free:
        lanes = _climb(score, problem, lanes, lengthscale, budget)
    if has_discrete:

        def round_(_: Array, lanes: Lanes) -> Lanes:
            lanes = _sweep(score, problem, lanes)
            return _climb(score, problem, lanes, lengthscale, budget) if has_free else lanes

        lanes = jax.lax.fori_loop(*_range(_SWEEPS), round_, lanes)
    best = argmax(lanes.value)
    return Found(lanes.unit[best], lanes.value[best])


class Lanes(NamedTuple):
    """Points being improved: `[r, d]` unit, `[r, F]` features, `[r]` scores."""

    unit: Array
    features: Array
    value: Array


def _choose_starts(value: Array, luck: Array, budget: Budget) -> Array:
    """The best candidate, the best local one, and a draw without replacement among all."""
    local = value.shape[0] - budget.num_local + argmax(value[-budget.num_local :])
    # Adding Gumbel noise and taking the largest draws in proportion to exp(value).
    gumbel = -jnp.log(-jnp.log(jnp.clip(luck, 1e-6, 1.0 - 1e-6)))
    _, drawn = jax.lax.top_k(value + gumbel, max(budget.num_lanes - 2, 1))
    return jnp.concatenate([jnp.stack([argmax(value), local]), drawn.astype(jnp.int32)])


def _climb(
    score: ScoreFn, problem: Problem, lanes: Lanes, lengthscale: Array, budget: Budget
) -> Lanes:
    """Improves the continuous coordinates of each lane, within the cube and the constraints."""
    shape, is_free = lanes.features.shape, jnp.asarray(problem.embedding.is_free)
    one_width = jnp.where(is_free, lengthscale, 1.0)
    width, lower, upper, is_free = (
        jnp.broadcast_to(row, shape) for row in (one_width, *problem.bounds(one_width), is_free)
    )
    with problem.outside():
        active = problem.space.active_columns(lanes.unit)
    moves = is_free & active[:, np.asarray(problem.embedding.groups)]

    def function(z: Array) -> tuple[Array, Array]:
        inner = jnp.where(moves, z * width, lanes.features)
        points = problem.embedding.replace_free(lanes.unit, inner)
        value, gradient = score(inner, points)
        value = -value
        if problem.space.has_constraints:
            with problem.outside():
                ok = problem.is_allowed(problem.space.snap(points))
            value = jnp.where(ok, value, jnp.inf)
        return value, jnp.where(moves, -gradient * width, 0.0)

    here = lanes.features / width
    found = minimize_box(
        function,
        here,
        jnp.where(moves, lower, here),
        jnp.where(moves, upper, here),
        max_evals=budget.num_evals,
        tolerance=_TOLERANCE,
        inverse=jnp.ones_like(one_width),
        max_step=_MAX_STEP,
    )
    inner = jnp.where(moves, found.x * width, lanes.features)
    inner = jnp.where(is_free, jnp.round(inner * _GRID) / _GRID, inner)
    unit, features, allowed = problem.prepare(problem.embedding.replace_free(lanes.unit, inner))
    value = jnp.where(allowed & jnp.isfinite(found.value), -found.value, -jnp.inf)
    return _better(lanes, Lanes(unit, features.astype(width.dtype), value))


def _better(old: Lanes, new: Lanes) -> Lanes:
    is_better = new.value > old.value
    return Lanes(
        jnp.where(is_better[:, None], new.unit, old.unit),
        jnp.where(is_better[:, None], new.features, old.features),
        jnp.where(is_better, new.value, old.value),
    )


def _sweep(score: ScoreFn, problem: Problem, lanes: Lanes) -> Lanes:
    """Goes through the discrete coordinates once and takes the best value of each."""
    space = problem.space
    coordinates = np.flatnonzero(np.asarray(problem.embedding.columns) < 0).astype(np.int32)
    levels = np.asarray(problem.embedding.levels, np.int32)[coordinates]
    offsets, spread, num_options = _options(levels)
    num_lanes, d = lanes.unit.shape

    def one(i: Array, lanes: Lanes) -> Lanes:
        at = jnp.asarray(coordinates)[i]
        with problem.outside():
            now = space.levels(lanes.unit)
            current = jnp.take_along_axis(now, jnp.full((num_lanes, 1), at), axis=1)
            options = jnp.asarray(spread)[i][None, :] + jnp.where(
                jnp.asarray(offsets)[i][None, :] == 0, 0, current + jnp.asarray(offsets)[i][None, :]
            )
            options = jnp.clip(options, 0, jnp.asarray(levels)[i] - 1).astype(jnp.int32)
            is_here = jnp.arange(d, dtype=jnp.int32) == at
            tried = jnp.where(is_here[None, None, :], options[:, :, None], now[:, None, :])
            centres = space.from_levels(tried, problem.dtype)
            unit = jnp.where(is_here[None, None, :], centres, lanes.unit[:, None, :])
        unit, features, allowed = problem.prepare(unit.reshape(-1, d))
        features = features.astype(lanes.features.dtype)
        value = jnp.where(allowed, score(features, unit)[0], -jnp.inf)
        value = jnp.where(jnp.isnan(value), -jnp.inf, value).reshape(num_lanes, num_options)
        best = argmax(value)
        row = jnp.arange(num_lanes, dtype=jnp.int32) * num_options + best
        new = Lanes(unit[row], features[row], jnp.max(value, axis=1))
        return _better(lanes, new)

    if len(coordinates) == 0:
        return lanes
    return jax.lax.fori_loop(*_range(len(coordinates)), one, lanes)


def _range(count: int) -> tuple[Array, Array]:
    """Bounds of a loop whose index is int32 in either precision."""
    return jnp.zeros((), jnp.int32), jnp.asarray(count, jnp.int32)


def _options(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Tables of what to try in each discrete coordinate.

    Returns:
        `[k, v]` offsets from the present level, `[k, v]` levels of their own where the offset is 0,
        and `v`.
    """
    largest = int(levels.max(initial=1))
    if largest <= _MAX_LEVELS:
        spread = np.minimum(np.arange(largest)[None, :], levels[:, None] - 1)
        return np.zeros_like(spread, np.int32), spread.astype(np.int32), largest
    steps = [sign * 2**k for k in range(int(np.log2(largest)) + 1) for sign in (1, -1)]
    offsets = np.tile(np.asarray([0] * _MAX_LEVELS + steps, np.int32), (len(levels), 1))
    spread = np.zeros_like(offsets)
    spread[:, :_MAX_LEVELS] = np.round(
        np.linspace(0, 1, _MAX_LEVELS)[None, :] * (levels[:, None] - 1)
    )
    return offsets, spread, offsets.shape[1]


def candidate_points(
    problem: Problem, table: Array, incumbent: Array, shift: Array, budget: Budget
) -> Array:
    """Candidates for one search: a shifted low-discrepancy set, and some around the incumbent.

    In a box, the set fills the box; of more than 20 coordinates each candidate moves only some, the
    others stay at the centre (Eriksson et al., 2019, section 3).

    Args:
        problem: where to search.
        table: `[c, d + 2]` low-discrepancy points of the unit cube; fixed.
        incumbent: `[d]` snapped point to search around.
        shift: `[d + 2]` uniform numbers, drawn for this search.
        budget: static sizes; `c = num_global + num_local`.

    Returns:
        `[c, d]` points, not snapped. A local one moves the continuous coordinates by up to a radius
        between 1e-4 and 0.3, and each discrete coordinate with a probability of 0.2 or `1 / d`.
    """
    shifted = table + shift[None, :]
    shifted = shifted - jnp.floor(shifted)
    points, extra = shifted[:, :-2], shifted[:, -2]
    local, d = points[budget.num_global :], points.shape[1]
    log_low, log_high = float(np.log(1e-4)), float(np.log(0.3))
    radius = jnp.exp(log_low + (log_high - log_low) * extra[budget.num_global :])[:, None]
    near = jnp.clip(incumbent[None, :] + radius * (2.0 * local - 1.0), 0.0, 1.0)
    rate = max(0.2, 1.0 / d)
    redrawn = jnp.where(local < rate, local / rate, incumbent[None, :])
    is_continuous = jnp.asarray(np.asarray(problem.embedding.columns) >= 0)
    near = jnp.where(is_continuous[None, :], near, redrawn)
    spread = points[: budget.num_global]
    if problem.box is not None:
        spread = _into_box(spread, problem.box)
        near = jnp.clip(near, problem.box.lower[None, :], problem.box.upper[None, :])
    return jnp.concatenate([spread, near])


def _into_box(points: Array, box: Box) -> Array:
    """Points of the unit cube `[c, d]` moved into a box."""
    d = points.shape[1]
    inside = box.lower[None, :] + (box.upper - box.lower)[None, :] * points
    if d <= _NUM_MOVED:
        return inside
    # Another point of the same set says which coordinates move; one always does.
    lot = jnp.roll(points, points.shape[0] // 2, axis=0)
    moves = (lot < _NUM_MOVED / d) | (lot == jnp.min(lot, axis=1, keepdims=True))
    return jnp.where(moves, inside, box.centre[None, :])
