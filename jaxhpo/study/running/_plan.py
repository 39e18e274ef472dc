"""Points for the next numbers, where other processes take some of them with the same points."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxhpo.ask_tell import Proposer
from jaxhpo.study.storage._bulk import Others


class Plan:
    """Proposals for the numbers from `first` on.

    Attributes:
        first: the number of the first one.
    """

    def __init__(self, proposer: Proposer, first: int, count: int) -> None:
        """Proposes `count` points."""
        self.first, self._count, self._begin = first, count, first
        self._proposer = proposer
        unit, self._params = proposer.propose_params(first, count)
        self._unit = list(unit)

    @property
    def unit(self) -> list[np.ndarray]:
        """The points `[d]`, fewer than were asked for only if there is no further one."""
        return self._unit[self._place : self._place + self._count]

    @property
    def params(self) -> list[Any]:
        """Their Python params."""
        return self._params[self._place : self._place + self._count]

    @property
    def _place(self) -> int:
        return self.first - self._begin

    def move_to(self, first: int, others: Others) -> bool:
        """Moves on behind trials of other processes, if they are what this one would have proposed.

        The points of a sampler that ignores values follow from the seed and the number alone, as
        long as nobody adds points of his own. So the history need not be read again.

        Args:
            first: the number that is free.
            others: the trials before it, from the plan's first number on.

        Returns:
            Whether there are points for the numbers from `first` on.
        """
        missing = first - self._begin + self._count - len(self._unit)
        if missing > 0:
            unit, params = self._proposer.propose_params(self._begin + len(self._unit), missing)
            self._unit += list(unit)
            self._params = self._params + params
        if len(self._unit) <= first - self._begin:
            return False
        if not all(map(_is_planned, others, self._unit)):
            return False
        self.first = first
        return True


def _is_planned(other: tuple[str, Any], unit: np.ndarray) -> bool:
    """Whether a stored trial has this point, and does not wait to be begun by somebody."""
    state, own = other
    if state == "WAITING" or not isinstance(own, dict) or "unit" not in own:
        return False
    return np.array_equal(np.asarray(own["unit"], unit.dtype), unit)
