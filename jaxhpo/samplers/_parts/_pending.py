"""What the samplers that do not learn from values have in common: counting and pending points."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Record, has_proposal
from jaxhpo._status import Status
from jaxhpo.samplers._parts._configurations import mix_hash
from jaxhpo.samplers._parts._same import take_first
from jaxhpo.space import Space

MIN_PENDING = 64

_FEW = 64
"""Points per tell up to which matching in a loop is faster than by a sort."""

MAX_INFEASIBLE = 2**16
"""Infeasible candidates in a row after which a constrained search for a point gives up."""


class TellInfo(Record):
    """What a sampler reports of a tell; many report more.

    Attributes:
        status: `[]` int32, `Status.EMPTY` if no further point is left, else `Status.COMPLETE`.
        num_observed: `[]` int32, points observed so far.
        num_failed: `[]` int32, those with a value that was NaN or infinite.
    """

    status: Array
    num_observed: Array
    num_failed: Array


class BufferInfo(TellInfo):
    """The same of a sampler that keeps its observations in buffers.

    Attributes:
        num_dropped: `[]` int32, points that the buffers had no row for.
    """

    num_dropped: Array


class Counts(Record):
    """How many points have been observed, and how many of them failed; int32 scalars."""

    num_observed: Array
    num_failed: Array

    @classmethod
    def zero(cls) -> Counts:
        """Starts at zero."""
        zero = jnp.zeros((), jnp.int32)
        return cls(zero, zero)

    def add(self, unit: Array, outcome: Outcome) -> Counts:
        """The counts after a tell of points `[q, d]`."""
        is_point = has_proposal(unit)
        finite = jnp.isfinite(outcome.value).reshape(is_point.shape[0], -1).all(axis=1)
        return Counts(
            self.num_observed + jnp.sum(is_point, dtype=jnp.int32),
            self.num_failed + jnp.sum(is_point & ~finite, dtype=jnp.int32),
        )

    def info(self, is_exhausted: Array) -> TellInfo:
        """The info of a tell."""
        status = jnp.where(is_exhausted, int(Status.EMPTY), int(Status.COMPLETE))
        return TellInfo(status.astype(jnp.int32), self.num_observed, self.num_failed)


class Pending(Record):
    """Points asked and not yet told: a ring of 64-bit fingerprints.

    For samplers that only count. Those that learn from pending points keep the points themselves
    with their values (`Observations`), which takes a row for each.

    More points than fit may be pending. The oldest then lose their fingerprint and are only
    counted, and that many unknown points are taken for them as they are told: every point is still
    counted once.

    Attributes:
        marks: `[n, 2]` uint32 fingerprints.
        is_set: `[n]` bool, which slots are taken.
        head: `[]` int32, next slot to write.
        num_unmarked: `[]` int32, pending points without a fingerprint.
    """

    marks: Array
    is_set: Array
    head: Array
    num_unmarked: Array

    def add(self, unit: Array) -> Pending:
        """Records the proposals `[q, d]`; NaN rows are none, and `q` is at most `n`."""
        is_point = has_proposal(unit)
        n = self.is_set.shape[0]
        place = jnp.cumsum(is_point.astype(jnp.int32), dtype=jnp.int32) - 1
        slot = jnp.where(is_point, (self.head + place) % n, n)
        lost = jnp.sum(self.is_set.at[slot].get(mode="fill", fill_value=False), dtype=jnp.int32)
        return Pending(
            self.marks.at[slot].set(fingerprint(unit), mode="drop"),
            self.is_set.at[slot].set(True, mode="drop"),
            (self.head + jnp.sum(is_point, dtype=jnp.int32)) % n,
            self.num_unmarked + lost,
        )

    def resolve(self, unit: Array) -> tuple[Pending, Array]:
        """Removes the observed points `[q, d]`, each once, in whatever order they come.

        Returns:
            The points still pending, and the number of observed ones that nobody had asked for.
        """
        observed, is_point = fingerprint(unit), has_proposal(unit)
        match = _match_one_by_one if unit.shape[0] <= _FEW else _match_sorted
        is_resolved, is_known = match(self.marks, self.is_set, observed, is_point)
        num_unknown = jnp.sum(is_point & ~is_known, dtype=jnp.int32)
        taken = jnp.minimum(num_unknown, self.num_unmarked)
        is_set = self.is_set & ~is_resolved
        pending = Pending(self.marks, is_set, self.head, self.num_unmarked - taken)
        return pending, num_unknown - taken


def _match_one_by_one(
    marks: Array, is_set: Array, observed: Array, is_point: Array
) -> tuple[Array, Array]:
    """Pairs equal pending and observed rows one to one, in a loop over the observed.

    Cheap to compile, and to run for a few observed rows.

    Args:
        marks: `[n, 2]` uint32 fingerprints of pending points.
        is_set: `[n]` bool; the others are none.
        observed: `[q, 2]` uint32 fingerprints of observed points.
        is_point: `[q]` bool; the others are none.

    Returns:
        `[n]` and `[q]` bool: which rows are paired.
    """
    slot = take_first(
        is_set, (observed, is_point), lambda row: jnp.all(marks == row[0][None, :], axis=1) & row[1]
    )
    return jnp.zeros_like(is_set).at[slot].set(True, mode="drop"), slot < is_set.shape[0]


def _match_sorted(
    marks: Array, is_set: Array, observed: Array, is_point: Array
) -> tuple[Array, Array]:
    """Does what `_match_one_by_one` does in n log n time.

    Sorting brings equal rows together, pending ones in front: of `a` pending and `b` observed
    rows the first min(a, b) are paired.
    """
    n = marks.shape[0]
    marks, is_valid = jnp.concatenate([marks, observed]), jnp.concatenate([is_set, is_point])
    is_observed = jnp.arange(marks.shape[0]) >= n
    order = jnp.lexsort((is_observed, marks[:, 1], marks[:, 0], is_valid))
    marks, is_valid, is_observed = marks[order], is_valid[order], is_observed[order]
    changes = jnp.any(marks[1:] != marks[:-1], axis=1) | (is_valid[1:] != is_valid[:-1])
    group = jnp.cumsum(jnp.concatenate([jnp.zeros(1, bool), changes]), dtype=jnp.int32)
    num_pending, num_observed = (
        jnp.zeros(marks.shape[0], jnp.int32).at[group].add(part.astype(jnp.int32))
        for part in (~is_observed, is_observed)
    )
    starts = jnp.searchsorted(group, group, side="left").astype(jnp.int32)
    rank = jnp.arange(marks.shape[0], dtype=jnp.int32) - starts
    rank = jnp.where(is_observed, rank - num_pending[group], rank)
    is_paired = is_valid & (rank < jnp.minimum(num_pending, num_observed)[group])
    is_paired = jnp.zeros_like(is_paired).at[order].set(is_paired)
    return is_paired[:n], is_paired[n:]


def num_waiting(batch_size: int) -> int:
    """Rows for pending points where a sampler needs more than their marks: two batches at least."""
    return max(MIN_PENDING, 2 * batch_size)


def empty_pending(batch_size: int) -> Pending:
    """An empty ring with capacity for `MIN_PENDING` pending points and one batch at least."""
    n = max(MIN_PENDING, batch_size)
    zero = jnp.zeros((), jnp.int32)
    return Pending(jnp.zeros((n, 2), jnp.uint32), jnp.zeros(n, bool), zero, zero)


def fingerprint(unit: Array) -> Array:
    """Hashes points `[c, d]` to `[c, 2]` uint32; equal points have equal fingerprints."""
    unit = jnp.where(unit == 0, 0, unit)  # -0.0 is equal to 0.0 and has other bits
    words = jax.lax.bitcast_convert_type(unit, jnp.uint32)
    words = words.reshape(unit.shape[0], -1)  # float64 gives two words per coordinate
    seeds = jnp.asarray([0x9E3779B9, 0x7F4A7C15], jnp.uint32)
    state = jnp.broadcast_to(seeds[None, :], (unit.shape[0], 2))
    for column in range(words.shape[1]):
        state = mix_hash(state, words[:, column, None])
    return state


def check_space(where: str, space: Any) -> Space:
    """Requires a space with at least one coordinate to search."""
    if not isinstance(space, Space):
        raise TypeError(f"{where}: `space` must be a Space, got {_checks.describe(space)}.")
    if space.num_dims == 0:
        raise _checks.fail(where, "space", "one with a dimension that is not fixed", space.names)
    return space
