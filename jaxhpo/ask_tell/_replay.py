"""Proposals of a study: made from its seed and its history, queued until trials take them.

Trial `i` is asked with the key `fold_in(key(seed), i)`, so what is proposed depends on the seed, on
`i` and on what has been told, and on nothing else: not on how often a study was interrupted.
"""

from __future__ import annotations

import functools
import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxhpo._base import Sampler, name_of
from jaxhpo.ask_tell._compile_clock import CompileClock
from jaxhpo.ask_tell._compiled import Driver
from jaxhpo.samplers.internal import traits_of
from jaxhpo.space import Space

_AHEAD = 32
"""Points that are proposed at once where nothing that is told changes them."""


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
        is_in_turn: bool = False,
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
            is_in_turn: whether trials take their numbers one after the other, and `reset` follows
                where they do not, or where points are told that were not proposed. Then the points
                of a sampler that ignores values are proposed some trials ahead: they are the same.
        """
        self._space, self.sampler = space, sampler
        seeds = (seed,) if label is None else (seed, zlib.crc32(label.encode()))
        self._rows_per_ask: int = proposal_shape.shape[0]
        is_blind = traits_of(name_of(sampler)).ignores_values
        self._ahead = _AHEAD if is_in_turn and is_blind and self._rows_per_ask == 1 else 1
        self._driver = Driver(sampler, space, seeds, num_objectives, clock, width)
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
        self.num_proposed, self._is_cut = 0, False
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

    @property
    def proposes_ahead(self) -> bool:
        """Whether points are proposed ahead: their outcomes need not be told."""
        return self._ahead > 1

    @property
    def is_ahead(self) -> bool:
        """Whether some were, so that `reset` is to come before points that were not proposed."""
        return self._ahead > 1 and self.num_proposed > 0

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
        taken = self._take(first, count, block, first if num_points is None else num_points)
        unit = self._unit_of(taken)
        if not taken:
            return unit, None
        columns = zip(*(one.leaves for one in taken), strict=True)
        leaves = [np.stack(column) for column in columns]
        return unit, jax.tree.unflatten(taken[0].block.structure, leaves)

    def propose_params(self, first: int, count: int) -> tuple[np.ndarray, list[Any]]:
        """As `propose`, with Python params in place of values: decoded as they were proposed."""
        taken = self._take(first, count, 1, first)
        return self._unit_of(taken), [one.block.params[one.row] for one in taken]

    def _take(self, first: int, count: int, block: int, num_points: int) -> list[_Proposal]:
        """Takes points from the queue, and fills it before where they are too few."""
        while len(self._queue) < count and not self._is_cut:
            before = len(self._queue)
            missing, size = count - before, block
            if self._ahead > 1 and block == 1:
                size = self._ahead
                left = self._driver.num_expected - first - before
                missing = int(max(missing, min(left, size)))
            asks = min(size, -(-missing // self._rows_per_ask))
            self._ask(first + before, asks, size, num_points + before)
            if len(self._queue) < before + asks * self._rows_per_ask:
                break
        return [self._queue.popleft() for _ in range(min(count, len(self._queue)))]

    def _unit_of(self, taken: Sequence[_Proposal]) -> np.ndarray:
        unit = np.asarray([one.block.unit[one.row] for one in taken], self._dtype)
        return unit.reshape(len(taken), self._space.num_dims)

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

    def tell_proposed(
        self, evaluations: Evaluations, num_trials: int, size: int | None = None
    ) -> None:
        """As `tell`, of points that were proposed since the last `reset`."""
        if not self.proposes_ahead:
            self.tell(evaluations, num_trials, size)

    def unit_of(self, params: Sequence[Any]) -> np.ndarray:
        """Unit points `[m, d]` of Python params."""
        values = self._space.encode(list(params), np.float64)
        return np.asarray(self._space.to_unit(values), self._dtype)

    def _ask(self, number: int, asks: int, block: int, num_points: int) -> None:
        """Asks `asks` times and queues what was proposed."""
        self._driver.ensure_capacity(num_points + asks * self._rows_per_ask)
        rows, values = self._driver.ask(number, asks, block)
        self.num_proposed += len(rows)
        made = _Block(self._space, rows, *jax.tree.flatten(values))
        is_point = ~np.isnan(rows).any(axis=1)
        if self._ahead > 1 and not is_point.all():
            # Those behind were proposed as if this one had been skipped.
            is_point[np.argmin(is_point) :] = False
            self._is_cut = True
        self._queue.extend(_Proposal(made, row) for row in np.flatnonzero(is_point).tolist())


class _Block:
    """Points that were proposed at once.

    Attributes:
        space: their space.
        unit: `[m, d]`, NaN rows where there was no further one.
        columns: the leaves of their values, each with a leading axis.
        structure: the tree of the leaves.
    """

    def __init__(
        self, space: Space, unit: np.ndarray, columns: list[np.ndarray], structure: Any
    ) -> None:
        self.space, self.unit, self.columns, self.structure = space, unit, columns, structure

    @functools.cached_property
    def params(self) -> list[Any]:
        """The Python params of each."""
        values = jax.tree.unflatten(self.structure, self.columns)
        decoded: list[Any] = self.space.decode(values)
        return decoded


class _Proposal(NamedTuple):
    """One proposed point: its place in a block."""

    block: _Block
    row: int

    @property
    def leaves(self) -> list[np.ndarray]:
        """Its values."""
        return [column[self.row] for column in self.block.columns]
