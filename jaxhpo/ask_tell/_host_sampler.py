"""A sampler for systems that own the trials: ask by number, tell what ended.

Nothing here is stored. The point of trial `i` follows from the seed, from `i` and from what has
been told, so a worker that starts anew and is told the same trials goes on as the old one would.
"""

from __future__ import annotations

import zlib
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np

from jaxhpo.ask_tell._compiled import Driver, asked_shape
from jaxhpo.ask_tell._recipe import Recipe
from jaxhpo.progress import told_if_slow
from jaxhpo.space import Space


class HostSampler:
    """One sampler over one space, with its state."""

    def __init__(
        self, recipe: Recipe, space: Space, seed: int, label: str, num_objectives: int
    ) -> None:
        """Makes the sampler; nothing is compiled yet.

        Args:
            recipe: which sampler.
            space: what is searched.
            seed: of everything.
            label: names this space among others of the same seed, whose draws must differ.
            num_objectives: values of one trial.
        """
        self._space = space
        key = jax.random.fold_in(jax.random.key(seed), np.uint32(zlib.crc32(label.encode())))
        sampler = recipe.make(space, num_objectives)
        self._driver = Driver(sampler, space, key, num_objectives)
        self._rows_an_ask: int = asked_shape(sampler).shape[0]
        self._num_objectives = num_objectives
        self._where, self._has_asked = recipe.where, False
        self.reset()

    def reset(self) -> None:
        """Forgets everything that was told and asked."""
        self._driver.reset()
        self._queue: deque[tuple[np.ndarray, Any]] = deque()
        self._held = 0

    def ask(self, number: int) -> tuple[np.ndarray, Any] | None:
        """Proposes the point of a trial.

        Args:
            number: the trial's number; it decides the draws.

        Returns:
            The unit row `[d]` and the params, or None where the space has no further point.
        """
        if not self._queue:
            with self._waiting():
                self._driver.make_room(self._held + self._rows_an_ask)
                unit, values = self._driver.ask(number)
            self._held += len(unit)
            rows = self._space.decode(values)
            has_point = ~np.isnan(unit).any(axis=1)
            self._queue.extend((unit[i], rows[i]) for i in np.flatnonzero(has_point))
        return self._queue.popleft() if self._queue else None

    def _waiting(self) -> AbstractContextManager[None]:
        """Says once what takes so long where the first proposal does."""
        if self._has_asked:
            return nullcontext()
        self._has_asked = True
        return told_if_slow(f"{self._where}: the sampler is being compiled for its first proposal")

    def tell(self, unit: np.ndarray, value: np.ndarray, violation: np.ndarray | None) -> None:
        """Says what became of points, asked or not.

        Args:
            unit: `[n, d]`.
            value: `[n, m]` to minimise; NaN where a trial failed.
            violation: `[n]` largest violation, or None without constraints.
        """
        if len(unit) == 0:
            return
        self._held += len(unit)
        self._driver.make_room(self._held + self._rows_an_ask)
        shaped = value if self._num_objectives > 1 else value[:, 0]
        self._driver.tell(self._held, unit, shaped, violation)

    def unit_of(self, params: list[Any]) -> np.ndarray:
        """Unit points `[n, d]` of params that lie in the space."""
        return np.asarray(self._space.to_unit(self._space.encode(params, np.float64)))
