"""The sampler on the host: its state, its keys, and one compiled program to ask and one to tell.

Trial `i` is asked with the key `fold_in(key(seed), i)`, so what is proposed depends on the seed, on
`i` and on what has been told, and on nothing else: not on how often a study was interrupted.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Outcome, Sampler
from jaxhpo.space import Space

# Streams of the seed's key beside those of the trials, which count up from 0.
_INIT_STREAM = 2**32 - 1
_TELL_STREAM = 2**32 - 2
_SMALLEST_PAD = 16

SMALLEST_CAPACITY = 64
"""Observations that a sampler's buffers hold at first; they double as they fill up."""


class Told(NamedTuple):
    """What is known of trials, in order of their numbers.

    Attributes:
        unit: `[n, d]` points of the unit cube.
        value: `[n]` (or `[n, m]`) values to minimise; NaN for a trial that failed or still runs
            elsewhere.
        violation: `[n]` largest violation, or None in a study without constraints.
    """

    unit: np.ndarray
    value: np.ndarray
    violation: np.ndarray | None = None

    def rows(self, rows: slice) -> Told:
        """Part of the trials."""
        violation = None if self.violation is None else self.violation[rows]
        return Told(self.unit[rows], self.value[rows], violation)


class Proposer:
    """A sampler with its state. Nothing here is stored: seed and history give it back."""

    def __init__(self, space: Space, sampler: Sampler, seed: int, asked: Any) -> None:
        """Takes up a sampler.

        Args:
            space: the study's space.
            sampler: any sampler over it, of any batch size.
            seed: the study's seed.
            asked: shape and dtype of one ask, as `asked_shape` gives it.
        """
        self._space = space
        self._sampler = sampler
        self._key = jax.random.key(seed)
        self._init_key = jax.random.fold_in(self._key, _INIT_STREAM)
        self._tell_key = jax.random.fold_in(self._key, _TELL_STREAM)
        self._rows_an_ask: int = asked.shape[0]
        self._dtype = np.dtype(asked.dtype)
        self.reset()

    def reset(self, told: Told | None = None) -> None:
        """Puts the state where a study with this history has it.

        Args:
            told: the whole history, or None for a new study.
        """
        self._state = _init(self._sampler, self._init_key)
        self._capacity = 0
        self._queue: deque[_Proposal] = deque()
        if told is None or len(told.value) == 0:
            return
        # A sampler that proposes in batches may have been stopped inside one: the rest of that
        # batch is proposed again, from what was known before it.
        n = len(told.value)
        whole = n - n % self._rows_an_ask
        if whole:
            self.tell(told.rows(slice(whole)), whole)
        if whole < n:
            self._ask(whole, 1, 1)
            for _ in range(min(n - whole, len(self._queue))):
                self._queue.popleft()
            self.tell(told.rows(slice(whole, None)), n)

    def propose(self, first: int, count: int, block: int = 1) -> tuple[np.ndarray, Any]:
        """Proposes points for the trials `first`, `first + 1`, ….

        Args:
            first: number of the first trial.
            count: how many points.
            block: how many asks one compiled program makes at most; one program is compiled for
                each value of it.

        Returns:
            Points `[m, d]` and their values pytree, as NumPy arrays; `m` is less than `count` only
            if the sampler has no further point.
        """
        while len(self._queue) < count:
            missing = count - len(self._queue)
            asks = min(block, -(-missing // self._rows_an_ask))
            before = len(self._queue)
            self._ask(first + before, asks, block)
            if len(self._queue) < before + asks * self._rows_an_ask:
                break
        taken = [self._queue.popleft() for _ in range(min(count, len(self._queue)))]
        unit = np.asarray([p.unit for p in taken], self._dtype)
        unit = unit.reshape(len(taken), self._space.num_dims)
        if not taken:
            return unit, None
        columns = zip(*(p.leaves for p in taken), strict=True)
        leaves = [np.stack(column) for column in columns]
        return unit, jax.tree.unflatten(taken[0].structure, leaves)

    def tell(self, told: Told, known: int, size: int | None = None) -> None:
        """Tells the sampler what became of trials.

        Args:
            told: the trials.
            known: how many trials the study has now, these included.
            size: pad to this many rows; by default one row stays alone, and more go up to a power
                of two.
        """
        self._make_room(known + len(self._queue))
        n = len(told.value)
        size = size or (1 if n == 1 else padded_size(n))
        self._state = _tell_rows(
            self._sampler.tell,
            self._tell_key,
            self._state,
            np.uint32(known),
            _pad(told.unit, size, self._dtype),
            _pad(told.value, size, self._dtype),
            None if told.violation is None else _pad(told.violation, size, self._dtype),
        )

    def unit_of(self, params: Sequence[Any]) -> np.ndarray:
        """Unit points `[m, d]` of Python params."""
        values = self._space.encode(list(params))
        return np.asarray(self._space.to_unit(values), self._dtype)

    def _ask(self, number: int, asks: int, block: int) -> None:
        """Asks `asks` times and queues what was proposed."""
        self._make_room(number + asks * self._rows_an_ask)
        self._state, unit, values = _ask_block(
            self._sampler.ask,
            self._space,
            self._key,
            self._state,
            np.uint32(number),
            np.int32(asks),
            block,
        )
        rows = np.asarray(unit)[: asks * self._rows_an_ask]
        columns, structure = jax.tree.flatten(jax.tree.map(np.asarray, values))
        for i in np.flatnonzero(~np.isnan(rows).any(axis=1)):
            self._queue.append(_Proposal(rows[i], [column[i] for column in columns], structure))

    def _make_room(self, count: int) -> None:
        """Lets the sampler's buffers hold `count` observations; one program a capacity."""
        if self._sampler.resize is not None and count > self._capacity:
            self._capacity = max(SMALLEST_CAPACITY, padded_size(count))
            self._state = self._sampler.resize(self._state, self._capacity)


class _Proposal(NamedTuple):
    """One proposed point: its unit row `[d]`, and its values as leaves of a tree structure."""

    unit: np.ndarray
    leaves: list[np.ndarray]
    structure: Any


def asked_shape(sampler: Sampler) -> jax.ShapeDtypeStruct:
    """Shape `[q, d]` and dtype of what one ask of a sampler gives; nothing is computed."""
    shape: jax.ShapeDtypeStruct = jax.eval_shape(_first_ask, sampler, jax.random.key(0))
    return shape


@jax.jit
def _first_ask(sampler: Sampler, key: jax.Array) -> jax.Array:
    """One program a structure, so that the shape is traced once a process."""
    unit: jax.Array = sampler.ask(key, sampler.init(key))[1]
    return unit


def padded_size(n: int) -> int:
    """The next power of two, so that few programs are compiled."""
    return max(_SMALLEST_PAD, 1 << max(n - 1, 0).bit_length())


def _pad(array: np.ndarray, size: int, dtype: Any = None) -> np.ndarray:
    """Fills up with rows of NaN, which `tell` ignores."""
    array = np.asarray(array, dtype)
    padded = np.full((size, *array.shape[1:]), np.nan, array.dtype)
    padded[: len(array)] = array
    return padded


@jax.jit
def _init(sampler: Sampler, key: jax.Array) -> Any:
    return sampler.init(key)


@functools.partial(jax.jit, static_argnames="block")
def _ask_block(
    ask: Callable[..., Any],
    space: Space,
    key: jax.Array,
    state: Any,
    first: jax.Array,
    asks: jax.Array,
    block: int,
) -> tuple[Any, jax.Array, Any]:
    """Asks `asks` times, at most `block`: one program for any number of proposals."""
    shape = jax.eval_shape(lambda f, k, x: f(k, x)[1], ask, key, state)
    rows = shape.shape[0]

    def body(i: jax.Array, carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        state, unit = carry
        number = first + i.astype(jnp.uint32) * jnp.uint32(rows)
        state, proposed = ask(jax.random.fold_in(key, number), state)
        return state, jax.lax.dynamic_update_slice_in_dim(unit, proposed, i * rows, 0)

    start = (state, jnp.full((block * rows, shape.shape[1]), jnp.nan, shape.dtype))
    state, unit = jax.lax.fori_loop(0, asks, body, start)
    return state, unit, space.from_unit(unit)


@jax.jit
def _tell_rows(
    tell: Callable[..., Any],
    key: jax.Array,
    state: Any,
    known: jax.Array,
    unit: jax.Array,
    value: jax.Array,
    violation: jax.Array | None,
) -> Any:
    outcome = Outcome(value, violation=violation)
    state, _ = tell(jax.random.fold_in(key, known), state, unit, outcome)
    return state
