"""Which process has the state of which trial, and who trains it next."""

from __future__ import annotations

import numpy as np

from jaxhpo.population._states import HostStates
from jaxhpo.population.checkpoints._arrays import listed
from jaxhpo.population.distributed._processes import Processes


class Homes:
    """The processes at which the states of a group's trials are; the same in all of them."""

    def __init__(self, processes: Processes, num_trials: int) -> None:
        self._processes = processes
        self._home = np.zeros(num_trials, int)

    def copy(self, rows: np.ndarray, source: np.ndarray) -> None:
        """Notes that `rows` have the states of `source`, copied where those are."""
        self._home[rows] = self._home[source]

    def bring(self, states: HostStates, rows: np.ndarray, have_begun: bool) -> np.ndarray:
        """Shares trials out evenly, and brings the states of those that move.

        Args:
            states: of this process.
            rows: `[k]` the trials.
            have_begun: whether they have states.

        Returns:
            `[k]` the process that trains each.
        """
        owner = self._share_out(rows) if have_begun else self._evenly(len(rows))
        if have_begun:
            self.collect(states, rows[owner != self._home[rows]])
        self._home[rows] = owner
        return owner

    def collect(self, states: HostStates, rows: np.ndarray) -> None:
        """Gives every process the states of `rows`; they stay at home where they are."""
        if self._processes.count == 1 or not len(rows):
            return
        own = states.pick(rows)
        arrays = [own["alive"], *listed("leaf", own)]
        for process, (alive, *leaves) in enumerate(self._processes.gather(arrays)):
            here = self._home[rows] == process
            states.alive[rows[here]] = alive[here]
            for leaf, theirs in zip(states.leaves, leaves, strict=True):
                leaf[rows[here]] = theirs[here]

    def _evenly(self, count: int) -> np.ndarray:
        """Processes in turn, in blocks of nearly equal size."""
        sizes = [len(part) for part in np.array_split(np.arange(count), self._processes.count)]
        return np.repeat(np.arange(self._processes.count), sizes)

    def _share_out(self, rows: np.ndarray) -> np.ndarray:
        """An even share for each process, of which as many as possible are at home."""
        owner, room = self._home[rows].copy(), np.bincount(self._evenly(len(rows)))
        room = np.pad(room, (0, self._processes.count - len(room)))
        homeless = []
        for place, process in enumerate(owner):
            room[process] -= 1
            if room[process] < 0:
                homeless.append(place)
        left = np.repeat(np.arange(len(room)), np.maximum(room, 0))
        owner[homeless] = left[: len(homeless)]
        return owner
