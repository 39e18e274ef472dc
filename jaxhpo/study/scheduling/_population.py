"""The trials that one rule judges together, as arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from jaxhpo._direction import to_minimized
from jaxhpo._status import Status

if TYPE_CHECKING:
    from jaxhpo.study.scheduling._rule import Decision, Rule
    from jaxhpo.study.storage._records import Record

_UNKNOWN = -1


class Population:
    """Trials of one population, in order of their numbers: row `i` is the `i`-th that began.

    Attributes:
        rule: what judges them.
        records: the trials that have begun.
    """

    def __init__(self, rule: Rule, direction: str) -> None:
        """A population of which no trial has begun."""
        self.rule, self._direction = rule, direction
        self.records: list[Record] = []
        self._rows: dict[int, int] = {}
        shape = (rule.size, len(rule.levels))
        self._value, self._told = np.full(shape, np.nan), np.zeros(shape, bool)
        self._status = np.full(rule.size, _UNKNOWN, np.int32)
        self._is_waiting = np.zeros(rule.size, bool)
        self._fold = rule.fold()
        self._known: dict[bytes, Decision] = {}
        self._is_closed = False
        self._last: Decision | None = None
        self._lowest = math.inf

    @property
    def has_room(self) -> bool:
        """Whether a trial is still to begin."""
        return len(self.records) < self.rule.size and not self._is_closed

    def close(self) -> None:
        """Counts the trials that have not begun as failed: there is no further point."""
        self._is_closed, self._last = True, None
        self._told[len(self.records) :, 0] = True

    @property
    def num_running(self) -> int:
        """How many trials run."""
        return int(np.count_nonzero(self._status == Status.RUNNING))

    @property
    def num_waiting(self) -> int:
        """How many trials wait."""
        return int(np.count_nonzero(self._is_waiting))

    def waiting(self, among: np.ndarray | None = None) -> list[Record]:
        """The trials that wait, of rows `among` `[n]` bool; None: those without a row as well."""
        if among is None:
            return [record for record in self.records if record.state == "WAITING"]
        return [self.records[row] for row in np.flatnonzero(self._is_waiting & among)]

    def row_of(self, trial_id: int) -> int | None:
        """A trial's row, or None: it began when the population was full."""
        row = self._rows.get(trial_id)
        return row if row is not None and row < self.rule.size else None

    def update(self, record: Record) -> None:
        """Takes note of a trial as it is now."""
        if record.trial_id in self._rows:
            self._write(record)
        elif not self.records or self.records[-1].number < record.number:
            self._rows[record.trial_id] = len(self.records)
            self.records.append(record)
            self._write(record)
        else:
            self._rearrange(sorted([*self.records, record], key=lambda one: one.number))

    def remove(self, record: Record) -> None:
        """Forgets a trial that has left for another population."""
        self._rearrange([one for one in self.records if one.trial_id != record.trial_id])

    def decide(self, asking: int | None = None) -> Decision:
        """Asks the rule who is to go on.

        Args:
            asking: the identifier of a trial that has reached a level and asks, or None.
        """
        if (promised := self._promised()) is not None:
            return promised
        status = self._status
        if asking is not None:
            status = status.copy()
            status[self._rows[asking]] = _UNKNOWN
        self._last, self._lowest = self._decide(status), math.inf
        return self._last

    def goes_on(self, asking: int) -> bool:
        """Whether the rule would let a trial go on if no other ran or were still to begin."""
        row = self._rows[asking]
        status = np.where(self._status == _UNKNOWN, Status.PRUNED, self._status).astype(np.int32)
        status[status == Status.RUNNING] = Status.PRUNED
        status[row] = _UNKNOWN
        return self._decide(status).trial == row

    def _promised(self) -> Decision | None:
        """What the last decision has said of the next one, where that still holds.

        A rung that was completed since lets trials go on to a level beyond those that were told
        since, so a trial whose next level is not beyond them comes before them all.
        """
        last = self._last
        for at, (row, level) in enumerate(() if last is None else last.then):
            is_idle = self._status[row] == _UNKNOWN
            if is_idle and not self._told[row, self.rule.levels.index(level)]:
                if level > self._lowest:
                    break
                assert last is not None
                self._last = last._replace(trial=row, level=level, then=last.then[at:])
                return self._last
        self._last = None
        return None

    def _rearrange(self, records: list[Record]) -> None:
        """Gives all trials their rows anew."""
        self.records, self._last = records, None
        self._rows = {one.trial_id: row for row, one in enumerate(records)}
        self._value[:], self._told[:], self._status[:] = np.nan, False, _UNKNOWN
        self._is_waiting[:] = False
        for one in records:
            self._write(one)
        if self._is_closed:
            self.close()

    def _decide(self, status: np.ndarray) -> Decision:
        """Asks the rule, once for the same facts."""
        facts = b"".join(one.tobytes() for one in (self._value, self._told, status))
        if facts not in self._known:
            decision = self.rule.decide(self._fold, self._value, self._told, status)
            self._known = {facts: decision}
        return self._known[facts]

    def _write(self, record: Record) -> None:
        row = self.row_of(record.trial_id)
        if row is None:
            return
        levels = self.rule.levels
        # The last level is reached where the trial has ended: it may have more to do there.
        losses = [record.curve.get(level, math.nan) for level in levels[:-1]]
        reached = [level in record.curve for level in levels[:-1]]
        last = record.curve[max(record.curve)] if record.curve else math.nan
        if record.state == "COMPLETE":  # one that ended sooner stands where it ended
            losses = [loss if is_in else last for loss, is_in in zip(losses, reached, strict=True)]
            losses, reached = [*losses, last], [True] * len(levels)
        elif record.state == "FAIL":
            count = sum(reached)
            losses = [*losses[:count], *[math.nan] * (len(levels) - count)]
            reached = [index <= count for index in range(len(levels))]
        else:
            losses, reached = [*losses, math.nan], [*reached, False]
        for level, is_in, was_in in zip(levels, reached, self._told[row].tolist(), strict=True):
            if is_in and not was_in:
                self._lowest = min(self._lowest, level)
        self._value[row] = to_minimized(np.asarray(losses), self._direction)
        self._told[row] = reached
        known = {"RUNNING": Status.RUNNING, "PRUNED": Status.PRUNED}
        self._status[row] = known.get(record.state, _UNKNOWN)
        self._is_waiting[row] = record.state == "WAITING"
