"""Proposals of a study: made from its seed and its history, queued until trials take them.

Trial `i` is asked with the key `fold_in(key(seed), i)`, so what is proposed depends on the seed, on
`i` and on what has been told, and on nothing else: not on how often a study was interrupted.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxhpo._base import Sampler
from jaxhpo.ask_tell._compile_clock import CompileClock
from jaxhpo.ask_tell._compiled import Driver
from jaxhpo.space import Space


class Evaluations(NamedTuple):
    """Points of trials and what their evaluation gave, in order of the trials' numbers.

    Attributes:
        unit: `[n, d]` points of the unit cube.
        value: `[n]` (or `[n, m]`) values to minimise; NaN for a trial that failed or still runs
            elsewhere.
        violation: `[n]` largest violation, or None in a study without constraints.
        se: known standard errors, shaped like `value`, NaN where there is none; None is nowhere.
    """

    unit: np.ndarray
    value: np.ndarray
    violation: np.ndarray | None = None
    se: np.ndarray | None = None

    def rows(self, rows: slice) -> Evaluations:
        """Part of the trials."""
        parts = (None if part is None else part[rows] for part in (self.violation, self.se))
        return Evaluations(self.unit[rows], self.value[rows], *parts)


class Proposer:
    """A sampler with its state. Nothing here is stored: seed and history give it back.

    Attributes:
        sampler: what proposes.
        num_proposed: points asked for since the last `reset`, those in the queue included.
    """

    def __init__(
        self,
        space: Space,
        sampler: Sampler,
        seed: int,
        proposal_shape: Any,
        num_objectives: int = 1,
        label: str | None = None,
        clock: CompileClock | None = None,
        width: int | None = None,
    ) -> None:
        """Takes up a sampler.

        Args:
            space: the study's space.
            sampler: any sampler over it, of any batch size.
            seed: the study's seed.
            proposal_shape: shape and dtype of one ask, as `proposal_shape_of` gives it.
            num_objectives: values of one trial.
            label: tells apart samplers of one seed whose draws must differ; None is without.
            clock: counts the time that compiling takes; None is a new one.
            width: coordinates of the sampler's points, if they are more than the space has.
        """
        self._space, self.sampler = space, sampler
        seeds = (seed,) if label is None else (seed, zlib.crc32(label.encode()))
        self._driver = Driver(sampler, space, seeds, num_objectives, clock, width)
        self._rows_per_ask: int = proposal_shape.shape[0]
        self._dtype = np.dtype(proposal_shape.dtype)
        self.reset()

    def expect(self, num_points: float) -> None:
        """Says how many points there will be at most: for more nothing is compiled ahead."""
        self._driver.num_expected = num_points

    def reset(self, evaluations: Evaluations | None = None) -> None:
        """Resets the sampler and replays a history.

        Args:
            evaluations: the whole history, or None for a new study.
        """
        self._driver.reset()
        self.num_proposed = 0
        self._queue: deque[_Proposal] = deque()
        if evaluations is None or len(evaluations.value) == 0:
            return
        # A sampler that proposes in batches may have been stopped inside one: the rest of that
        # batch is proposed again, from what was known before it.
        n = len(evaluations.value)
        num_whole = n - n % self._rows_per_ask
        if num_whole:
            self.tell(evaluations.rows(slice(num_whole)), num_whole)
        if num_whole < n:
            self._ask(num_whole, 1, 1, num_whole)
            for _ in range(min(n - num_whole, len(self._queue))):
                self._queue.popleft()
            self.tell(evaluations.rows(slice(num_whole, None)), n)

    def is_mid_batch(self, count: int) -> bool:
        """Whether a history of so many trials ends inside a batch of the sampler."""
        return count % self._rows_per_ask != 0

    def propose(
        self, first: int, count: int, block: int = 1, num_points: int | None = None
    ) -> tuple[np.ndarray, Any]:
        """Proposes points for the trials `first`, `first + 1`, ….

        Args:
            first: number of the first trial.
            count: how many points.
            block: how many asks one compiled program makes at most; one program is compiled for
                each value of it.
            num_points: upper bound on the points that the sampler has been asked for or told; None
                takes `first`, which is right where no number was left out.

        Returns:
            Points `[m, d]` and their values pytree in the host's precision; `m` is less than
            `count` only if the sampler has no further point.
        """
        num_points = first if num_points is None else num_points
        while len(self._queue) < count:
            missing = count - len(self._queue)
            asks = min(block, -(-missing // self._rows_per_ask))
            before = len(self._queue)
            self._ask(first + before, asks, block, num_points + before)
            if len(self._queue) < before + asks * self._rows_per_ask:
                break
        taken = [self._queue.popleft() for _ in range(min(count, len(self._queue)))]
        unit = np.asarray([p.unit for p in taken], self._dtype)
        unit = unit.reshape(len(taken), self._space.num_dims)
        if not taken:
            return unit, None
        columns = zip(*(p.leaves for p in taken), strict=True)
        leaves = [np.stack(column) for column in columns]
        return unit, jax.tree.unflatten(taken[0].structure, leaves)

    def tell(self, evaluations: Evaluations, num_trials: int, size: int | None = None) -> None:
        """Tells the sampler the outcomes of trials.

        Args:
            evaluations: the trials.
            num_trials: how many trials the study has now, these included.
            size: pad to this many rows; by default one row stays alone, and more go up to a power
                of two.
        """
        self._driver.ensure_capacity(num_trials + len(self._queue))
        self._driver.tell(num_trials, *evaluations, size=size)

    def unit_of(self, params: Sequence[Any]) -> np.ndarray:
        """Unit points `[m, d]` of Python params."""
        values = self._space.encode(list(params), np.float64)
        return np.asarray(self._space.to_unit(values), self._dtype)

    def _ask(self, number: int, asks: int, block: int, num_points: int) -> None:
        """Asks `asks` times and queues what was proposed."""
        self._driver.ensure_capacity(num_points + asks * self._rows_per_ask)
        rows, values = self._driver.ask(number, asks, block)
        self.num_proposed += len(rows)
        columns, structure = jax.tree.flatten(values)
        for i in np.flatnonzero(~np.isnan(rows).any(axis=1)):
            self._queue.append(_Proposal(rows[i], [column[i] for column in columns], structure))


class _Proposal(NamedTuple):
    """One proposed point: its unit row `[d]`, and its values as leaves of a tree structure."""

    unit: np.ndarray
    leaves: list[np.ndarray]
    structure: Any
