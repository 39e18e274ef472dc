"""The state that the methods of a study share: its storage, its sampler, its best value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxhpo._direction import is_better
from jaxhpo._status import Status
from jaxhpo.study._base_study import BaseStudy
from jaxhpo.study._trial import Trial, summary_of

if TYPE_CHECKING:
    from jaxhpo.study.running._batch_sampler import BatchSampler
    from jaxhpo.study.running._failures import Counts
    from jaxhpo.study.storage._rows import Ending, Row
    from jaxhpo.study.storage.files._checkpoints import Checkpoints


class StudyCore(BaseStudy):
    """The part of `Study` that its loops, records and tells need."""

    _sampler: BatchSampler
    # Failures of the call that runs now; None between calls.
    _counts: Counts | None = None
    # Trials that failed as the study was opened, because their process has vanished.
    _lost: Sequence[int] = ()
    # Best value for the progress display; None until it has been looked up or there is one.
    _best_value: float | None = None
    _best_is_known: bool
    stop_reason: str | None = None
    _checkpoints: Checkpoints | None = None

    @property
    def _kept_checkpoints(self) -> Checkpoints:
        """What trials that wait can go on from."""
        if self._checkpoints is None:
            from jaxhpo.study.storage.files._checkpoints import Checkpoints

            place = (self._store.location, self.name, self._meta["space_hash"])
            self._checkpoints = Checkpoints(*place)
        return self._checkpoints

    def resume_hint(self) -> str:
        """One line that says how to resume this study later."""
        storage = self._store.display_name
        if storage == "memory":
            return "The study is in memory and ends with this process."
        return f"Resume it with Study(space, storage={storage!r}, name={self.name!r})."

    def _on_trials_ended(self, ended: Sequence[Trial | Row | Ending]) -> None:
        """Updates the failure counts and the best value."""
        if self._counts is not None:
            self._counts.add(ended)
        self._update_best(ended)

    def _update_best(self, ended: Sequence[Trial | Row | Ending]) -> None:
        """Updates the best value."""
        for trial in ended:
            if isinstance(trial.value, tuple) or isinstance(self._direction, tuple):
                return  # several objectives have no best value
            is_best = is_better(trial.value, self._best_value, self._direction)
            if trial.status is Status.COMPLETE and is_best:
                self._best_value = trial.value

    def _best_value_or_none(self) -> float | None:
        if not self._best_is_known:
            self._update_best(self._summaries())
            self._best_is_known = True
        return self._best_value

    def _summaries(self) -> list[Trial]:
        """Trials among which the best one is; of a database whose tables are read, that alone."""
        if isinstance(self._direction, tuple):
            return []
        if self._store.has_tables:
            best = self._store.best(is_maximized=self._direction == "maximize")
            return [Trial(best[0], None, best[1], Status.COMPLETE)] if best else []
        return [summary_of(stored) for stored in self._store.trials()]
