"""The observations of a model-based sampler, in buffers of fixed capacity."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Record, has_proposal
from jaxhpo.samplers._parts._chunks import by_piece
from jaxhpo.samplers._parts._same import are_same
from jaxhpo.samplers._parts._scatter import place_rows

EMPTY, PENDING, OBSERVED = 0, 1, 2

_BLOCK = 64
"""Points of one tell that are compared with all rows at once."""


class Observations(Record):
    """Points asked and told, in the order in which they became known.

    An asked point takes a row at once and gets its value when it is told, so the order of tells
    does not matter. Rows from `num_rows` on are empty.

    Attributes:
        unit: `[n, d]` snapped points.
        value: `[n]` (or `[n, m]`) as observed; NaN or infinite for a failure; 0 in other rows.
        se: known standard error of each value, 0 if none and in other rows.
        violation: `[n]` largest constraint violation, 0 if none and in other rows.
        status: `[n]` int32, `EMPTY`, `PENDING` or `OBSERVED`.
        num_rows: `[]` int32, rows in use.
        num_dropped: `[]` int32, points that found no row.
    """

    unit: Array
    value: Array
    se: Array
    violation: Array
    status: Array
    num_rows: Array
    num_dropped: Array

    @property
    def is_observed(self) -> Array:
        """Which rows are observed, `[n]` bool."""
        return self.status == OBSERVED

    @property
    def is_known(self) -> Array:
        """Which rows are in use, `[n]` bool."""
        return self.status != EMPTY

    @property
    def num_observed(self) -> Array:
        """Number of observed rows, int32."""
        return jnp.sum(self.is_observed, dtype=jnp.int32)

    def ask(self, unit: Array) -> Observations:
        """Appends points `[d]` or `[q, d]` as pending; NaN is none."""
        unit = jnp.atleast_2d(unit)
        slot = self.slots(has_proposal(unit))
        pending = jnp.full(slot.shape, PENDING, jnp.int32)
        return dataclasses.replace(
            self._count(has_proposal(unit)),
            unit=place_rows(self.unit, slot, unit),
            status=place_rows(self.status, slot, pending),
        )

    def slots(self, is_new: Array) -> Array:
        """The rows that new points `[q]` take, int32; out of range for those that find none."""
        n = self.unit.shape[0]
        place = self.num_rows + jnp.cumsum(is_new, dtype=jnp.int32) - 1
        return jnp.where(is_new, jnp.minimum(place, n), n)

    def tell(self, unit: Array, outcome: Outcome) -> Observations:
        """Resolves the pending rows that equal the points `[q, d]` and appends the others."""
        dtype = self.unit.dtype
        value = outcome.value.astype(dtype)
        se, violation = jnp.zeros_like(value), jnp.zeros(unit.shape[0], dtype)
        if outcome.se is not None:
            se = _known_error(outcome.se.astype(dtype))
        if outcome.violation is not None:
            violation = largest_violation(outcome.violation, dtype)
        points = (unit, value, se, violation)
        return by_piece(lambda rows, block, _: rows._tell_block(*block), self, points, _BLOCK)

    def _tell_block(self, unit: Array, *news: Array) -> Observations:
        """Tells points `[q, d]` that are compared with each other and with every row."""
        is_mine = are_same(unit[:, None], self.unit[None]) & (self.status == PENDING)[None, :]
        if unit.shape[0] > 1:
            # Of equal observed points, each resolves a pending row of its own, in order.
            is_same = are_same(unit[:, None], unit[None]) & jnp.tri(unit.shape[0], k=-1, dtype=bool)
            turn = jnp.sum(is_same, axis=1, dtype=jnp.int32)
            is_mine &= jnp.cumsum(is_mine, axis=1, dtype=jnp.int32) == turn[:, None] + 1
        n = self.unit.shape[0]
        number = jnp.arange(n, dtype=jnp.int32)
        slot = jnp.min(jnp.where(is_mine, number[None, :], n), axis=1)
        is_pending = slot < n
        observed = jnp.asarray(OBSERVED, jnp.int32)
        rows = self._write(slot, unit, news, observed)
        return rows._append(unit, observed, has_proposal(unit) & ~is_pending, news)

    def resize(self, capacity: int) -> Observations:
        """The same rows in buffers of another capacity; rows beyond it are dropped.

        Args:
            capacity: static.

        Returns:
            The observations.
        """
        n = self.unit.shape[0]
        capacity = _checks.check_count("resize", "capacity", capacity, 1)

        def fit(buffer: Array) -> Array:
            if capacity <= n:
                return buffer[:capacity]
            padding = jnp.zeros((capacity - n, *buffer.shape[1:]), buffer.dtype)
            return jnp.concatenate([buffer, padding])

        names = ("unit", "value", "se", "violation", "status")
        buffers = {name: fit(getattr(self, name)) for name in names}
        kept = jnp.minimum(self.num_rows, jnp.asarray(capacity, jnp.int32))
        dropped = self.num_dropped + self.num_rows - kept
        return Observations(**buffers, num_rows=kept, num_dropped=dropped)

    def _append(
        self, unit: Array, status: Array, is_new: Array, news: tuple[Array, ...]
    ) -> Observations:
        """Adds rows, and counts points that found no free one."""
        return self._write(self.slots(is_new), unit, news, status)._count(is_new)

    def _count(self, is_new: Array) -> Observations:
        """Counts new rows, and those that find no place."""
        n = self.unit.shape[0]
        total = self.num_rows + jnp.sum(is_new, dtype=jnp.int32)
        kept = jnp.minimum(total, jnp.asarray(n, jnp.int32))
        dropped = self.num_dropped + total - kept
        return dataclasses.replace(self, num_rows=kept, num_dropped=dropped)

    def _write(
        self, slot: Array, unit: Array, news: tuple[Array, ...], status: Array
    ) -> Observations:
        names = ("unit", "value", "se", "violation", "status")
        rows = (unit, *news, jnp.broadcast_to(status, slot.shape))
        written = {
            name: place_rows(getattr(self, name), slot, row)
            for name, row in zip(names, rows, strict=True)
        }
        return dataclasses.replace(self, **written)


def no_observations(capacity: int, num_dims: int) -> Observations:
    """Makes empty buffers."""
    dtype = jnp.result_type(float)
    value, se, violation = (jnp.zeros(capacity, dtype) for _ in range(3))
    num_rows, num_dropped = (jnp.zeros((), jnp.int32) for _ in range(2))
    status = jnp.zeros(capacity, jnp.int32)
    unit = jnp.zeros((capacity, num_dims), dtype)
    return Observations(unit, value, se, violation, status, num_rows, num_dropped)


def check_capacity(where: str, rows: Observations, unit: Any) -> None:
    """Raises, outside `jit`, for more points than the buffers have capacity for."""
    if _checks.is_traced(rows.num_rows) or _checks.is_traced(unit):
        return
    free = rows.unit.shape[0] - int(rows.num_rows) + int(jnp.sum(rows.status == PENDING))
    count = int(jnp.sum(has_proposal(unit)))
    if count > free:
        capacity = rows.unit.shape[0]
        raise ValueError(
            f"{where}: `unit` must fit the {free} rows that are free of {capacity}, got {count} "
            "points; make the sampler with a larger `capacity`, or use its `resize`."
        )


def _known_error(se: Array) -> Array:
    """Standard errors, finite; 0 where they are NaN or negative."""
    return jnp.where(se > 0, jnp.minimum(se, jnp.finfo(se.dtype).max), 0)


def largest_violation(violation: Array, dtype: Any) -> Array:
    """The largest violation of each row; NaN counts as violated."""
    violation = violation.astype(dtype).reshape(violation.shape[0], -1)
    return jnp.max(jnp.where(jnp.isnan(violation), 1.0, violation), axis=1)
