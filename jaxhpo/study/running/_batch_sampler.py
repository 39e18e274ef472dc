"""A stored sampler that also hands out whole batches, as sweeps train them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxhpo.study._stored_sampler import MAX_ATTEMPTS, StoredSampler
from jaxhpo.study._trial import unit_of
from jaxhpo.study.storage._bulk import NumberTaken
from jaxhpo.study.storage._reserved import RESERVED, Batch, is_released
from jaxhpo.study.storage._rows import Ending
from jaxhpo.study.storage.outages._late_results import record_late_results


class BatchSampler(StoredSampler):
    """Reserves trials side by side, and ends them in one transaction."""

    def reserve(self, count: int, block: int, owner: list[str | int]) -> Batch:
        """Reserves trials that a batch has released, or else new ones, and writes them as running.

        They are running, and belong to this process, before anything is trained: no other one
        proposes them again, or takes their numbers.

        Args:
            count: how many.
            block: how many the compiled program proposes at once.
            owner: this process.

        Returns:
            The batch, which `end` and `release` end; empty only if the sampler has no further
            point.
        """
        attrs = {"owner": owner, RESERVED: True}
        for attempt in range(MAX_ATTEMPTS):
            first = self.next_number
            if self._has_released:
                if batch := self._reclaim(count, block, attrs):
                    return batch
                continue
            self._is_stale = True
            unit, values = self._proposer.propose(first, count, block)
            if len(unit) == 0:
                return Batch([], [], unit, values, [], owner)
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
            return Batch(list(numbers), list(trial_ids), unit, values, params, owner)
        raise AssertionError("unreachable: the last attempt takes any number")

    def _reclaim(self, count: int, block: int, attrs: dict[str, Any]) -> Batch | None:
        """Reserves up to `count` released trials again; None if others were faster."""
        released = [trial for trial in self._store.history() if is_released(trial)][:count]
        claimed = set(self._store.claim([trial._trial_id for trial in released], attrs))
        # The sampler learns of them from the history, as it would if the study were opened anew.
        self._is_stale = True
        claimed_trials = [trial for trial in released if trial._trial_id in claimed]
        if not claimed_trials:
            return None
        unit = np.asarray([unit_of(trial) for trial in claimed_trials])
        values = self._space.host_values(unit)
        numbers, trial_ids = (
            [t.number for t in claimed_trials],
            [t._trial_id for t in claimed_trials],
        )
        params = self._space.decode(values)
        return Batch(numbers, trial_ids, unit, values, params, attrs["owner"])

    def end(self, batch: Batch, endings: Sequence[Ending], size: int) -> list[Ending]:
        """Ends trials of a batch in one transaction, lets the others wait, and tells the sampler.

        Args:
            batch: from `reserve`.
            endings: how trials of it have ended, in their order.
            size: rows to pad the tell to.

        Returns:
            The endings, those left out of trials that others have ended or taken up.
        """
        was_stale, self._is_stale = self._is_stale, True
        ended = {ending.trial_id for ending in endings}
        self.release(batch, [i for i in batch.trial_ids if i not in ended])
        already_ended = set(self._store.finish(endings))
        record_late_results(self._store, [one for one in endings if one.trial_id in already_ended])
        recorded = [ending for ending in endings if ending.trial_id not in already_ended]
        # A batch that was cut short leaves proposals pending that nobody will tell.
        if was_stale or len(recorded) < len(batch.trial_ids):
            return recorded
        evaluations = self._to_evaluations(
            (batch.unit, [ending.value for ending in recorded]), recorded
        )
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
