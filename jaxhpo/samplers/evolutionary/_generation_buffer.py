"""Points that a population-based sampler has drawn: asked, told, ranked and forgotten."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Outcome, Record, has_proposal
from jaxhpo.samplers._parts._cond import once_if
from jaxhpo.samplers._parts._observations import (
    EMPTY,
    PENDING,
    Observations,
    largest_violation,
    no_observations,
)
from jaxhpo.samplers._parts._same import are_same
from jaxhpo.samplers._parts._scatter import place_rows

_FEW = 512
"""Rows up to which comparing pairs beats sorting."""

_BLOCK = 8
"""Rows that are compared with all others at once."""

_UNUSED = 3
"""Group of the rows that are no part of a generation, behind that of failures."""

_STALE = 2
"""Points asked so many generations ago lose their row; told later, they count as never asked."""


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


class Rows(Record):
    """Points that are pending, or observed and not yet used; in the order in which they came.

    Attributes:
        seen: the points asked and told.
        raw: `[p, d]` points as drawn.
        is_own: `[p]` bool, whether a row has one: false where it is somebody else's.
        age: `[p]` int32 generation in which a row was asked; -1 where it no longer counts.
    """

    seen: Observations
    raw: Array
    is_own: Array
    age: Array

    def ask(self, unit: Array, raw: Array, generation: Array) -> Rows:
        """Appends pending points `[d]` or `[q, d]`; NaN is none.

        Where no row is free, the oldest pending points lose theirs; told later, they count as
        points that were never asked.
        """
        unit, raw = jnp.atleast_2d(unit), jnp.atleast_2d(raw)
        rows = self._with_free_rows(unit)
        slot = rows.seen.slots(has_proposal(unit))
        return Rows(
            rows.seen.ask(unit),
            place_rows(rows.raw, slot, raw),
            place_rows(rows.is_own, slot, jnp.ones(slot.shape, bool)),
            place_rows(rows.age, slot, jnp.broadcast_to(generation, slot.shape)),
        )

    def tell(self, unit: Array, outcome: Outcome) -> Rows:
        """Resolves and appends points `[q, d]`."""
        rows = self._with_free_rows(unit, resolves=True)
        return dataclasses.replace(rows, seen=rows.seen.tell(unit, outcome))

    def are_just(self, unit: Array) -> Array:
        """Whether the points `[q, d]` are all that there is, pending and in this order."""
        seen, q = self.seen, unit.shape[0]
        is_next = (seen.status[:q] == PENDING) & (self.age[:q] >= 0)
        return (seen.num_rows == q) & jnp.all(is_next & are_same(unit, seen.unit[:q]))

    def num_observed(self) -> Array:
        """Observed points that count, int32."""
        return jnp.sum(self._counts(), dtype=jnp.int32)

    def ranked(self, size: Array) -> Ranked:
        """Ranks the first `size` observed points: by value, then by violation, failures last."""
        counts = self._counts()
        is_used = counts & (jnp.cumsum(counts.astype(jnp.int32), dtype=jnp.int32) <= size)
        points = jnp.where(self.is_own[:, None], self.raw, self.seen.unit)
        return _ranked(points, self.seen.value, self.seen.violation, is_used)

    def ranked_at_once(self, outcome: Outcome) -> Ranked:
        """Ranks the first rows by an outcome `[q]` of theirs that is not stored yet."""
        q, dtype = outcome.value.shape[0], self.raw.dtype
        violation = jnp.zeros(q, dtype)
        if outcome.violation is not None:
            violation = largest_violation(outcome.violation, dtype)
        return _ranked(self.raw[:q], outcome.value.astype(dtype), violation, jnp.ones(q, bool))

    def emptied_if(self, condition: Array) -> Rows:
        """Drops all rows where the condition `[]` holds; they must be pending."""
        seen = self.seen
        seen = dataclasses.replace(
            seen,
            status=jnp.where(condition, EMPTY, seen.status),
            num_rows=jnp.where(condition, 0, seen.num_rows),
        )
        return dataclasses.replace(self, seen=seen, is_own=self.is_own & ~condition)

    def forget(self, is_used: Array, generation: Array, has_restarted: Array) -> Rows:
        """Drops used rows and stale ones; after a restart pending rows no longer count."""
        seen = self.seen
        is_pending = seen.status == PENDING
        is_stale = is_pending & (self.age < generation - _STALE)
        is_void = (self.age < 0) & seen.is_observed
        keep = seen.is_known & ~is_used & ~is_stale & ~is_void
        # Generations start at 0 again after a restart.
        age = jnp.where(has_restarted & is_pending, -1, self.age)
        kept = dataclasses.replace(self, age=age)
        # Mostly no row is kept.
        kept = once_if(jnp.any(keep), lambda rows: rows._packed(keep), kept)
        return kept._cut(jnp.sum(keep, dtype=jnp.int32))

    def _with_free_rows(self, unit: Array, *, resolves: bool = False) -> Rows:
        """Frees rows for points `[q, d]`, those of the oldest pending points where none is free.

        If they resolve rows (static), those that equal pending ones need no new row.
        """
        n = self.age.shape[0]

        def drop(rows: Rows) -> Rows:
            is_new, is_spare = has_proposal(unit), rows.seen.status == PENDING
            if resolves:
                is_match = are_same(unit[:, None], rows.seen.unit[None]) & is_spare[None, :]
                is_new &= ~jnp.any(is_match, axis=1)
                is_spare &= ~jnp.any(is_match, axis=0)
            missing = rows.seen.num_rows + jnp.sum(is_new, dtype=jnp.int32) - n
            place = jnp.cumsum(is_spare.astype(jnp.int32), dtype=jnp.int32)
            keep = rows.seen.is_known & ~(is_spare & (place <= missing))
            return rows._packed(keep)._cut(jnp.sum(keep, dtype=jnp.int32))

        return once_if(self.seen.num_rows + unit.shape[0] > n, drop, self)

    def _packed(self, keep: Array) -> Rows:
        """Moves the rows to keep `[p]` to the front; the contents behind them are arbitrary."""
        place = jnp.cumsum(keep.astype(jnp.int32), dtype=jnp.int32) - 1
        place = jnp.where(keep, place, keep.shape[0])
        return self._mapped(lambda buffer: place_rows(buffer, place, buffer))

    def _cut(self, num_rows: Array) -> Rows:
        """Clears all rows but the first."""
        is_kept = jnp.arange(self.age.shape[0], dtype=jnp.int32) < num_rows

        def clear(buffer: Array) -> Array:
            shown = is_kept.reshape(-1, *[1] * (buffer.ndim - 1))
            return jnp.where(shown, buffer, jnp.zeros_like(buffer))

        rows = self._mapped(clear)
        return dataclasses.replace(rows, seen=dataclasses.replace(rows.seen, num_rows=num_rows))

    def _mapped(self, change: Callable[[Array], Array]) -> Rows:
        """Applies a function to each buffer of rows."""
        return jax.tree.map(lambda leaf: leaf if leaf.ndim == 0 else change(leaf), self)

    def _counts(self) -> Array:
        return self.seen.is_observed & (self.age >= 0)


def _ranked(points: Array, value: Array, violation: Array, is_used: Array) -> Ranked:
    has_failed, is_broken = ~jnp.isfinite(value), violation > 0
    group = jnp.where(has_failed, 2, jnp.where(is_broken, 1, 0))
    group = jnp.where(is_used, group, _UNUSED)
    score = jnp.where(group == 0, value, jnp.where(group == 1, violation, 0))
    return Ranked(
        points,
        is_used,
        _ranks(group, score),
        jnp.min(jnp.where(group == 0, value, jnp.inf)),
        jnp.max(jnp.where(group == 0, value, jnp.where(group == _UNUSED, -jnp.inf, jnp.inf))),
        jnp.any(group < 2),
    )


def _ranks(group: Array, score: Array) -> Array:
    """Places `[p]`, int32, by group, then by score, then in order."""
    number = jnp.arange(group.shape[0], dtype=jnp.int32)
    if group.shape[0] > _FEW:
        order = jnp.lexsort((score, group))
        return jnp.zeros_like(number).at[order].set(number)
    keys = (number, group, score)

    def block(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        first, rank = carry
        rows = tuple(jax.lax.dynamic_slice_in_dim(part, first, width) for part in keys)
        is_next = rows[0] >= first  # the last slice begins earlier than asked
        return first + width, rank + _num_before(rows, keys, is_next)

    # Unused rows are behind all others: most buffers hold more of them than of the others.
    width = min(_BLOCK, group.shape[0])
    end = jnp.max(jnp.where(group < _UNUSED, number + 1, 0))
    start = (jnp.zeros_like(end), jnp.zeros_like(number))
    return jax.lax.while_loop(lambda carry: carry[0] < end, block, start)[1]


def _num_before(rows: tuple[Array, ...], others: tuple[Array, ...], counts: Array) -> Array:
    """How many rows `[b]` that count come before each of the others `[p]`; int32."""
    number, group, score = (part[:, None] for part in rows)
    other_number, other_group, other_score = (part[None, :] for part in others)
    is_better = (score < other_score) | ((score == other_score) & (number < other_number))
    is_before = (group < other_group) | ((group == other_group) & is_better)
    return jnp.sum(is_before & counts[:, None], axis=0, dtype=jnp.int32)


def no_rows(num_rows: int, num_dims: int) -> Rows:
    """Makes empty buffers."""
    seen = no_observations(num_rows, num_dims)
    is_own = jnp.zeros(num_rows, bool)
    return Rows(seen, jnp.zeros_like(seen.unit), is_own, jnp.zeros(num_rows, jnp.int32))
