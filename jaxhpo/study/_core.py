"""What runs of a study work on: its rows, its sampler, and what it has seen of its trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxhpo._direction import is_better
from jaxhpo._status import Status
from jaxhpo.study._reading import Readable
from jaxhpo.study._trial import Trial, outline_of

if TYPE_CHECKING:
    from jaxhpo.study._stored_sampler import StoredSampler
    from jaxhpo.study.running._failures import Tally
    from jaxhpo.study.storage._rows import Ending, Row


class StudyCore(Readable):
    """The part of `Study` that its loops, records and tells need."""

    _sampler: StoredSampler
    # Failures of the call that runs now; None between calls.
    _tally: Tally | None = None
    # Best value for the progress display; None until it has been looked up or there is one.
    _best_value: float | None = None
    _best_is_known: bool
    stop_reason: str | None = None

    def resume_hint(self) -> str:
        """One line that says how to go on with this study later."""
        if self._store.shown == "memory":
            return "The study lives in memory and ends with this process."
        return (
            f"Study(space, storage={self._store.shown!r}, name={self.name!r}) goes on from there."
        )

    def _note(self, ended: Sequence[Trial | Row | Ending]) -> None:
        """Takes note of ended trials, for the progress display and the line about failures."""
        if self._tally is not None:
            self._tally.add(ended)
        self._note_best(ended)

    def _note_best(self, ended: Sequence[Trial | Row | Ending]) -> None:
        """Keeps the best value in step."""
        for trial in ended:
            if isinstance(trial.value, tuple) or isinstance(self._direction, tuple):
                return  # several objectives have no best value
            is_best = is_better(trial.value, self._best_value, self._direction)
            if trial.status is Status.COMPLETE and is_best:
                self._best_value = trial.value

    def _best_value_or_none(self) -> float | None:
        if not self._best_is_known:
            self._note_best([outline_of(stored) for stored in self._store.history()])
            self._best_is_known = True
        return self._best_value
