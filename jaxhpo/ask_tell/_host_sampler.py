"""A sampler for systems that own the trials: ask by number, tell what ended.

Nothing here is stored. The point of trial `i` follows from the seed, from `i` and from what has
been told, so a worker that starts anew and is told the same trials goes on as the old one would.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxhpo.ask_tell._compile_clock import CompileClock
from jaxhpo.ask_tell._compiled import proposal_shape_of
from jaxhpo.ask_tell._replay import Evaluations, Proposer
from jaxhpo.ask_tell._sampler_spec import SamplerSpec
from jaxhpo.space import Space


class HostSampler:
    """One sampler over one space, with its state.

    Attributes:
        clock: counts the time that compiling takes.
    """

    def __init__(
        self, spec: SamplerSpec, space: Space, seed: int, label: str, num_objectives: int
    ) -> None:
        """Makes the sampler; nothing is compiled yet.

        Args:
            spec: which sampler.
            space: what is searched.
            seed: of everything.
            label: names this space among others of the same seed, whose draws must differ.
            num_objectives: values of one trial.
        """
        searched = spec.searched(space)
        sampler = spec.make(searched, num_objectives)
        proposal_shape = proposal_shape_of(sampler, space, spec.sampler, spec.settings)
        self._space, self._num_objectives = space, num_objectives
        self.clock = CompileClock(spec.where)
        self._proposer = Proposer(
            space, sampler, seed, proposal_shape, num_objectives, label, self.clock,
            searched.num_dims,
        )  # fmt: skip
        self._num_told = 0

    def reset(self) -> None:
        """Forgets everything that was told and asked."""
        self._proposer.reset()
        self._num_told = 0

    def ask(self, number: int) -> tuple[np.ndarray, Any] | None:
        """Proposes the point of a trial.

        Args:
            number: the trial's number; it decides the draws.

        Returns:
            The unit row `[d]` and the params, or None where the space has no further point.
        """
        unit, values = self._proposer.propose(number, 1, num_points=self._num_points())
        return (unit[0], self._space.decode(values)[0]) if len(unit) else None

    def _num_points(self) -> int:
        """Points that the sampler has at most: one that was asked may have been told as well."""
        return self._proposer.num_proposed + self._num_told

    def tell(self, unit: np.ndarray, value: np.ndarray, violation: np.ndarray | None) -> None:
        """Tells the sampler the outcomes of points, asked or not.

        Args:
            unit: `[n, d]`.
            value: `[n, m]` to minimise; NaN where a trial failed.
            violation: `[n]` largest violation, or None without constraints.
        """
        if len(unit) == 0:
            return
        self._num_told += len(unit)
        shaped = value if self._num_objectives > 1 else value[:, 0]
        self._proposer.tell(Evaluations(unit, shaped, violation), self._num_points())

    def unit_of(self, params: list[Any]) -> np.ndarray:
        """Unit points `[n, d]` of params that lie in the space."""
        return self._proposer.unit_of(params)
