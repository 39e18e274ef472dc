"""A stored sampler that also hands out whole batches, as sweeps train them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from jaxhpo._status import Status
from jaxhpo.study._stored_sampler import MAX_ATTEMPTS, StoredSampler
from jaxhpo.study._trial import status_of, unit_of
from jaxhpo.study.storage._bulk import NumberTaken
from jaxhpo.study.storage._reserved import RESERVED, Batch, is_released, own_attrs
from jaxhpo.study.storage._rows import Ending
from jaxhpo.study.storage.outages._late_results import record_late_results, recover_spooled


class BatchSampler(StoredSampler):
    """Reserves trials side by side, and ends them in one transaction."""

    def reserve(
        self,
        count: int,
        block: int,
        owner: list[str | int],
        *,
        whole: Callable[[int, int], bool] | None = None,
        name: str | None = None,
    ) -> Batch:
        """Reserves trials that a batch has released, or else new ones, and writes them as running.

        They are running, and belong to this process, before anything is trained: no other one
        proposes them again, or takes their numbers.

        Args:
            count: how many.
            block: how many the compiled program proposes at once.
            owner: this process.
            whole: whether a batch of which some trials have ended is taken up with them, by the
                number that wait and that of all; None: such trials are like any others.
            name: of the batch; None makes one up.

        Returns:
            The batch, which `end` and `release` end; empty only if the sampler has no further
            point.
        """
        name = name or secrets.token_hex(8)
        attrs = {"owner": owner, RESERVED: name}
        for attempt in range(MAX_ATTEMPTS):
            first = self.next_number
            if self._has_released:
                if batch := self._reclaim(count, owner, name, whole):
                    return batch
                continue
            self._is_stale = True
            unit, values = self._proposer.propose(first, count, block)
            if len(unit) == 0:
                return Batch([], [], unit, values, [], owner, name, np.zeros(0, np.int32))
            params = self._space.decode(values)
            rows = self._running_rows(unit, params, attrs)
            try:
                is_last = attempt == MAX_ATTEMPTS - 1
                written = self._store.append(rows, None if is_last else first)
            except NumberTaken:
                continue
            self.clock.take()
            self._is_stale = written[0][0] != first or self._is_mid_batch
            self._next_number = written[-1][0] + 1
            numbers, trial_ids = zip(*written, strict=True)
            before = np.full(len(numbers), Status.EMPTY, np.int32)
            return Batch(list(numbers), list(trial_ids), unit, values, params, owner, name, before)
        raise AssertionError("unreachable: the last attempt takes any number")

    def released_batch(self) -> tuple[int, int]:
        """How many trials of the first batch that was released wait, and how many it has."""
        mates, ended = _first_batch(self._store.history())
        return len(mates), len(mates) + len(ended)

    def _reclaim(
        self,
        count: int,
        owner: list[str | int],
        name: str,
        whole: Callable[[int, int], bool] | None,
    ) -> Batch | None:
        """Reserves released trials again; None if others were faster."""
        history = self._store.history()
        mates, ended = _first_batch(history)
        if whole and ended and whole(len(mates), len(mates) + len(ended)):
            name = own_attrs(mates[0])[RESERVED]
        else:
            mates, ended = [trial for trial in history if is_released(trial)][:count], []
        if not mates:
            self._is_stale = True
            return None
        attrs = {"owner": owner, RESERVED: name}
        claimed = set(self._store.claim([trial._trial_id for trial in mates], attrs))
        # The sampler learns of them from the history, as it would if the study were opened anew.
        self._is_stale = True
        if len(claimed) < len(mates):  # others have a part: it is no whole any more
            ended = []
        if not claimed:
            return None
        mine = [trial for trial in mates if trial._trial_id in claimed]
        trials = sorted(mine + ended, key=lambda trial: trial.number)
        unit = np.asarray([unit_of(trial) for trial in trials])
        values = self._space.host_values(unit)
        return Batch(
            [trial.number for trial in trials],
            [trial._trial_id for trial in trials],
            unit,
            values,
            self._space.decode(values),
            owner,
            name,
            np.asarray([_status_before(trial) for trial in trials], np.int32),
        )

    def end_some(self, endings: Sequence[Ending]) -> list[Ending]:
        """Ends trials of a batch that goes on, in one transaction; the sampler is not told yet.

        Returns:
            The endings, those left out of trials that others have ended or taken up.
        """
        already_ended = set(self._store.finish(endings))
        record_late_results(self._store, [one for one in endings if one.trial_id in already_ended])
        return [ending for ending in endings if ending.trial_id not in already_ended]

    def end(
        self,
        batch: Batch,
        endings: Sequence[Ending],
        size: int,
        before: Collection[Ending] = (),
    ) -> list[Ending]:
        """Ends trials of a batch in one transaction, lets the others wait, and tells the sampler.

        Args:
            batch: from `reserve`.
            endings: how trials of it have ended, in their order.
            size: rows to pad the tell to.
            before: what `end_some` gave.

        Returns:
            The endings, those left out of trials that others have ended or taken up.
        """
        was_stale, self._is_stale = self._is_stale, True
        ended = {ending.trial_id for ending in (*endings, *before)}
        self.release(batch, [i for i in batch.trial_ids if i not in ended])
        recorded = self.end_some(endings)
        if self._store.has_spooled:  # at a rung, when the storage was away
            recover_spooled(self._store)
            return recorded
        # A batch that was cut short leaves proposals pending that nobody will tell.
        is_whole = len(recorded) + len(before) == len(batch.trial_ids)
        if was_stale or not is_whole:
            return recorded
        known = {ending.trial_id: ending for ending in (*recorded, *before)}
        told = [known[trial_id] for trial_id in batch.trial_ids]
        evaluations = self._to_evaluations((batch.unit, [ending.value for ending in told]), told)
        if not self._switch_sampler():
            self._proposer.tell_proposed(evaluations, self._next_number, size)
            self._is_stale = self._is_mid_batch
        return recorded

    def release(self, batch: Batch, trial_ids: Sequence[int] | None = None) -> None:
        """Lets trials of a batch wait, all of them by default, for whoever trains the next one."""
        self._is_stale = True
        owner = batch.owner
        self._store.release(
            batch.trial_ids if trial_ids is None else trial_ids,
            lambda found: tuple(found or ()) == tuple(owner),
        )


def _first_batch(history: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Of the first batch of which trials wait, those, and those that have ended."""
    released = [trial for trial in history if is_released(trial)]
    name = own_attrs(released[0])[RESERVED] if released else None
    mates = [trial for trial in released if own_attrs(trial)[RESERVED] == name]
    ended = [
        trial
        for trial in history
        if isinstance(name, str)  # some batches have no name
        and own_attrs(trial).get(RESERVED) == name
        and _status_before(trial) is not Status.EMPTY
    ]
    return mates, ended


def _status_before(trial: Any) -> Status:
    """How a stored trial has ended; EMPTY if it has not."""
    status = status_of(trial)
    return Status.EMPTY if status in (Status.RUNNING, Status.WAITING) else status
