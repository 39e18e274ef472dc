"""Points that a population-based sampler has drawn: asked, told, ranked and forgotten."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Outcome, has_proposal
from jaxhpo.samplers._gp_state import (
    PENDING,
    SAME,
    Observations,
    largest_violation,
    no_observations,
)
from jaxhpo.samplers._placing import place_rows

_FEW = 512
"""Rows up to which comparing all pairs beats sorting."""

_STALE = 2
"""Points asked so many generations ago keep no row; told later, they count as anybody's points."""


class Ranked(NamedTuple):
    """The rows that make up a generation.

    Attributes:
        points: `[p, d]` points as the distribution drew them, before rounding.
        is_used: `[p]` bool, which rows make up the generation.
        rank: `[p]` int32 place among them, 0 the best.
        best: `[]` smallest value of a feasible point, infinite if there is none.
        worst: `[]` largest value, infinite if a trial failed or broke a constraint.
        has_value: `[]` bool, whether any trial succeeded.
    """

    points: Array
    is_used: Array
    rank: Array
    best: Array
    worst: Array
    has_value: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """Points that are pending, or told and not yet used; in the order in which they came.

    Attributes:
        seen: what was asked and told.
        raw: `[p, d]` points as drawn.
        is_own: `[p]` bool, whether a row has one: false where it is somebody else's.
        age: `[p]` int32 generation in which a row was asked; -1 where it no longer counts.
    """

    seen: Observations
    raw: Array
    is_own: Array
    age: Array

    def ask(self, unit: Array, raw: Array, generation: Array) -> Rows:
        """Appends pending points `[d]` or `[q, d]`; NaN is none."""
        unit, raw = jnp.atleast_2d(unit), jnp.atleast_2d(raw)
        slot = self.seen.slots(has_proposal(unit))
        return Rows(
            self.seen.ask(unit),
            place_rows(self.raw, slot, raw),
            place_rows(self.is_own, slot, jnp.ones(slot.shape, bool)),
            place_rows(self.age, slot, jnp.broadcast_to(generation, slot.shape)),
        )

    def tell(self, unit: Array, outcome: Outcome) -> Rows:
        """Resolves and appends points `[q, d]`."""
        return dataclasses.replace(self, seen=self.seen.tell(unit, outcome))

    def are_just(self, unit: Array) -> Array:
        """Whether the points `[q, d]` are all that there is, pending and in this order."""
        seen, q = self.seen, unit.shape[0]
        is_next = (seen.status[:q] == PENDING) & (self.age[:q] >= 0)
        is_same = jnp.all(jnp.abs(unit - seen.unit[:q]) <= SAME, axis=1)
        return (seen.num_rows == q) & jnp.all(is_next & is_same)

    def num_told(self) -> Array:
        """Told points that count, int32."""
        return jnp.sum(self._counts(), dtype=jnp.int32)

    def ranked(self, size: Array) -> Ranked:
        """Ranks the first `size` told points: by value, then by violation, failures last."""
        counts = self._counts()
        is_used = counts & (jnp.cumsum(counts.astype(jnp.int32), dtype=jnp.int32) <= size)
        points = jnp.where(self.is_own[:, None], self.raw, self.seen.unit)
        return _ranked(points, self.seen.value, self.seen.violation, is_used)

    def ranked_at_once(self, outcome: Outcome) -> Ranked:
        """Ranks the first rows by an outcome `[q]` of theirs that has not been told."""
        q, dtype = outcome.value.shape[0], self.raw.dtype
        violation = jnp.zeros(q, dtype)
        if outcome.violation is not None:
            violation = largest_violation(outcome.violation, dtype)
        return _ranked(self.raw[:q], outcome.value.astype(dtype), violation, jnp.ones(q, bool))

    def emptied(self) -> Rows:
        """Drops all rows, which must be pending: the numbers of rows not told stay 0."""
        seen, zero = self.seen, jnp.zeros((), jnp.int32)
        seen = dataclasses.replace(seen, status=jnp.zeros_like(seen.status), num_rows=zero)
        return dataclasses.replace(self, seen=seen, is_own=jnp.zeros_like(self.is_own))

    def forget(self, is_used: Array, generation: Array, has_restarted: Array) -> Rows:
        """Drops used rows and stale ones; after a restart pending rows no longer count."""
        seen, p = self.seen, self.age.shape[0]
        is_pending = seen.status == PENDING
        is_stale = is_pending & (self.age < generation - _STALE)
        is_void = (self.age < 0) & seen.is_told
        keep = seen.is_known & ~is_used & ~is_stale & ~is_void
        place = jnp.cumsum(keep.astype(jnp.int32), dtype=jnp.int32) - 1
        place = jnp.where(keep, place, p)

        def pack(buffer: Array, filling: float) -> Array:
            return place_rows(jnp.full_like(buffer, filling), place, buffer)

        kept = Observations(
            pack(seen.unit, 0),
            pack(seen.value, 0),
            pack(seen.se, 0),
            pack(seen.violation, 0),
            pack(seen.status, 0),
            jnp.sum(keep, dtype=jnp.int32),
            seen.num_dropped,
        )
        # Generations start at 0 again after a restart.
        age = jnp.where(has_restarted & is_pending, -1, self.age)
        return Rows(kept, pack(self.raw, 0), pack(self.is_own, False), pack(age, 0))

    def _counts(self) -> Array:
        return self.seen.is_told & (self.age >= 0)


def _ranked(points: Array, value: Array, violation: Array, is_used: Array) -> Ranked:
    has_failed, is_broken = ~jnp.isfinite(value), violation > 0
    group = jnp.where(has_failed, 2, jnp.where(is_broken, 1, 0))
    group = jnp.where(is_used, group, 3)
    score = jnp.where(group == 0, value, jnp.where(group == 1, violation, 0))
    return Ranked(
        points,
        is_used,
        _ranks(group, score),
        jnp.min(jnp.where(group == 0, value, jnp.inf)),
        jnp.max(jnp.where(group == 0, value, jnp.where(group == 3, -jnp.inf, jnp.inf))),
        jnp.any(group < 2),
    )


def _ranks(group: Array, score: Array) -> Array:
    """Places `[p]`, int32, by group, then by score, then in order."""
    number = jnp.arange(group.shape[0], dtype=jnp.int32)
    if group.shape[0] > _FEW:
        order = jnp.lexsort((score, group))
        return jnp.zeros_like(number).at[order].set(number)
    same_group, same_score = (part[:, None] == part[None, :] for part in (group, score))
    is_earlier = number[:, None] < number[None, :]
    is_better = (score[:, None] < score[None, :]) | (same_score & is_earlier)
    is_before = (group[:, None] < group[None, :]) | (same_group & is_better)
    return jnp.sum(is_before, axis=0, dtype=jnp.int32)


def no_rows(num_rows: int, num_dims: int) -> Rows:
    """Makes empty buffers."""
    seen = no_observations(num_rows, num_dims)
    is_own = jnp.zeros(num_rows, bool)
    return Rows(seen, jnp.zeros_like(seen.unit), is_own, jnp.zeros(num_rows, jnp.int32))
