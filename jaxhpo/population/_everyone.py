"""The rule of a sweep without a scheduler: all train to the end, as many at a time as fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jaxhpo.population._groups import Group
from jaxhpo.population._rule import Pieces
from jaxhpo.population.checkpoints._arrays import Arrays


class Everyone:
    """Trains block after block of a group, from report to report; a run asks it as a `Rule`.

    So the states of a block are all known at each report.

    Attributes:
        levels: the reports.
        points: None, since no point changes.
        scheduler: None.
        slopes: 0, since none are wanted.
        num_steps: steps that it takes in all.
        seconds: none are spent on it.
    """

    def __init__(
        self, groups: list[Group], steps: tuple[int, ...], most: Callable[[int], int]
    ) -> None:
        """Begins with the first trial.

        Args:
            groups: of the trials.
            steps: the reports.
            most: of a group's number, how many of its trials train at a time.
        """
        self.levels, self.points, self.scheduler, self.seconds = steps, None, None, 0.0
        self.slopes = 0
        self._groups, self._most = groups, most
        self._has_ended = np.zeros(sum(len(group.trials) for group in groups), bool)
        self.num_steps = len(self._has_ended) * steps[-1]
        self._group = self._first = self._level = 0
        self._last = 0  # of the block; not known before the group's program is

    def pieces(self) -> Pieces:
        """The block's next interval; no row if nothing is left to do."""
        if self._group == len(self._groups):
            trials, start, stop = np.zeros(0, np.int32), 0, 0
        else:
            group = self._groups[self._group].trials
            if self._last == self._first:
                self._last = min(self._first + self._most(self._group), len(group))
            trials = group[self._first : self._last]
            start = self.levels[self._level - 1] if self._level else 0
            stop = self.levels[self._level]
        whole = np.full(len(trials), 1, np.int32)
        none = np.zeros((len(trials), 0))
        return Pieces(trials, start * whole, stop * whole, trials, none, whole == 0)

    def tell(self, pieces: Pieces, losses: np.ndarray, slopes: None = None) -> np.ndarray:
        """Goes on to the next interval, block or group; `[n]` bool says which trials have ended."""
        del losses, slopes
        self._level += 1
        if self._level == len(self.levels):
            self._has_ended[pieces.trial] = True
            self._level, self._first = 0, self._last
            if self._first == len(self._groups[self._group].trials):
                self._group, self._first, self._last = self._group + 1, 0, 0
        return self._has_ended

    def snapshot(self) -> Arrays:
        """Where it stands."""
        where = np.asarray([self._group, self._first, self._last, self._level])
        return {"where": where, "has_ended": self._has_ended}

    def restore(self, found: Arrays) -> None:
        """Takes up what `snapshot` gave."""
        self._group, self._first, self._last, self._level = found["where"].tolist()
        self._has_ended = found["has_ended"]
