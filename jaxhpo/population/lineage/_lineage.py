"""What each trial of a population went on from, and with which hyperparameters."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxhpo._checks import check_int, fail
from jaxhpo.population.checkpoints._arrays import Arrays, listed, numbered


@dataclasses.dataclass(frozen=True)
class Lineage:
    """States and hyperparameters of `n` trials over time, in the pieces between `s` steps.

    Attributes:
        steps: `[s]` int32 steps at which the pieces end, increasing.
        parent: `[n, s]` int32 trial from whose state each piece began: the trial itself, or the one
            that it copied; -1 where a piece was not begun.
        hparams: the values that each piece was trained with: leaves `[n, s, ...]`.
    """

    steps: np.ndarray
    parent: np.ndarray
    hparams: Any

    @property
    def copies(self) -> np.ndarray:
        """`[n]` how often each trial has gone on from another's state."""
        own = np.arange(len(self.parent))[:, None]
        count: np.ndarray = np.sum((self.parent >= 0) & (self.parent != own), axis=1)
        return count

    def ancestors(self, trial: int) -> np.ndarray:
        """Which trials trained the state of a trial.

        Args:
            trial: its number.

        Returns:
            `[s]` int32 the trial that trained each piece; -1 behind the last one that it has.

        Raises:
            ValueError: no trial of that number.
        """
        n, num_pieces = self.parent.shape
        trial = check_int("Lineage.ancestors", "trial", trial, 0)
        if trial >= n:
            raise fail("Lineage.ancestors", "trial", f"below {n}", trial)
        found = np.full(num_pieces, -1, np.int32)
        for piece in range(num_pieces - 1, -1, -1):
            if self.parent[trial, piece] >= 0:
                found[piece] = trial
                trial = int(self.parent[trial, piece])
        return found

    def schedule(self, trial: int) -> Any:
        """The hyperparameters that led to the state of a trial, over time.

        Args:
            trial: its number.

        Returns:
            The values, leaves `[r, ...]` for the `r` pieces that it has, which end at `steps[:r]`.

        Raises:
            ValueError: no trial of that number.
        """
        who = self.ancestors(trial)
        pieces = np.flatnonzero(who >= 0)
        return jax.tree.map(lambda leaf: leaf[who[pieces], pieces], self.hparams)


class LineageRecorder:
    """Collects a `Lineage`, piece by piece.

    Attributes:
        current: `[n, ...]` values that the trials are trained with.
    """

    def __init__(self, hparams: Any, levels: tuple[int, ...]) -> None:
        self.current = jax.tree.map(np.array, hparams)
        n = len(jax.tree.leaves(self.current)[0])
        self._levels = np.asarray(levels, np.int32)
        self._parent = np.full((n, len(levels)), -1, np.int32)
        self._hparams = jax.tree.map(
            lambda leaf: np.repeat(leaf[:, None], len(levels), axis=1), self.current
        )

    def move(self, trials: np.ndarray, values: Any) -> None:
        """Notes that trials go on with other values, leaves `[k, ...]`."""

        def put(leaf: np.ndarray, value: Any) -> None:
            leaf[trials] = value

        jax.tree.map(put, self.current, values)

    def add(
        self, trials: np.ndarray, parent: np.ndarray, start: np.ndarray, stop: np.ndarray
    ) -> None:
        """Notes pieces that begin, each from the step of its `start` to that of its `stop`."""
        first = np.searchsorted(self._levels, start, side="right")
        last = np.searchsorted(self._levels, stop)
        for trial, source, a, b in zip(trials, parent, first, last, strict=True):
            self._parent[trial, a : b + 1] = trial
            self._parent[trial, a] = source

        def put(leaf: np.ndarray, value: np.ndarray) -> None:
            for trial, a in zip(trials, first, strict=True):
                leaf[trial, a:] = value[trial]

        jax.tree.map(put, self._hparams, self.current)

    def snapshot(self) -> Arrays:
        """The lineage so far, as arrays."""
        return {
            "parent": self._parent,
            **numbered("current", jax.tree.leaves(self.current)),
            **numbered("hparams", jax.tree.leaves(self._hparams)),
        }

    def restore(self, found: Arrays) -> None:
        """Takes up what `snapshot` gave."""
        self._parent[:] = found["parent"]
        for name, tree in (("current", self.current), ("hparams", self._hparams)):
            for leaf, stored in zip(jax.tree.leaves(tree), listed(name, found), strict=True):
                leaf[:] = stored

    def finish(self) -> Lineage:
        """The lineage so far."""
        return Lineage(self._levels, self._parent.copy(), self._hparams)
