"""A sampler on the host: its state, its buffers, and the compiled programs that ask and tell.

What is proposed for a number depends on the key, on that number, and on what has been asked and
told before. What became of one point waits for the next ask and goes with it in one program, so
that a trial costs one call.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import (
    Array,
    Outcome,
    PyTree,
    Sampler,
    first_ask,
    has_proposal,
    name_of,
    name_of_function,
)
from jaxhpo._tracing import compilation_cache, lapack_threads, owned
from jaxhpo.ask_tell._compile_ahead import CompileAhead
from jaxhpo.ask_tell._compile_clock import CompileClock
from jaxhpo.ask_tell._host_draws import HostDraws
from jaxhpo.ask_tell._host_keys import folded, seed_key
from jaxhpo.ask_tell._stored_programs import stored
from jaxhpo.samplers.internal import traits_of
from jaxhpo.space import Space

# Streams of a driver's key beside those of the trials, which count up from 0.
_INIT_STREAM = 2**32 - 1
_TELL_STREAM = 2**32 - 2
_SMALLEST_PAD = 16

SMALLEST_CAPACITY = 64
"""Observations that a sampler's buffers hold at first; they double as they fill up."""

_FEW_CAPACITIES = (256, 2048, 16384)
"""The first ones where an empty row costs next to nothing: a program costs more than they do."""


class _TellArguments(NamedTuple):
    """Arguments of a tell: the data of its key, and padded rows."""

    key: np.ndarray
    unit: np.ndarray
    value: np.ndarray
    violation: np.ndarray
    se: np.ndarray


class Driver:
    """A sampler with its state.

    Attributes:
        num_expected: observations that there will be at most; nothing is compiled ahead for more.
    """

    def __init__(
        self,
        sampler: Sampler,
        space: Space,
        seeds: Sequence[int],
        num_objectives: int,
        clock: CompileClock | None = None,
        width: int | None = None,
    ) -> None:
        """Takes up a sampler; nothing is compiled yet.

        Every study and every integration comes through here, so this is where JAX's compilation
        cache is turned on.

        Args:
            sampler: any sampler over the space.
            space: what it searches.
            seeds: decides everything: the key's seed, then numbers below 2**32 folded into it.
            num_objectives: values of one trial.
            clock: counts the time that compiling takes; None is a new one.
            width: coordinates of the sampler's points, if they are more than the space has: those
                beyond are unused (`space.Columns`).
        """
        compilation_cache.enable_compilation_cache()
        self._sampler, self._space, self._width = sampler, space, width or space.num_dims
        self._clock, self._called = clock or CompileClock(), set[Any]()
        self._ahead, self._block = CompileAhead(), 1
        self.num_expected = math.inf
        # What an integer is cut to here, `jax.random.key` cuts it to as well.
        key = seed_key(np.int64(seeds[0]).astype(jnp.result_type(int)))
        self._key = functools.reduce(folded, seeds[1:], key)
        self._tell_key = folded(self._key, _TELL_STREAM)
        self._dtype = np.dtype(jnp.result_type(float))
        self._draws = HostDraws.of(sampler, self._dtype)
        tail = () if num_objectives == 1 else (num_objectives,)
        self._no_rows = self._padded(
            0, np.zeros((0, self._width)), np.zeros((0, *tail)), None, None, 1
        )
        self.reset()

    def reset(self) -> None:
        """Forgets everything that was told and asked."""
        self._state: Any = None
        self._pending = self._no_rows
        self._capacity = 0

    def ask(self, number: int, asks: int = 1, block: int = 1) -> tuple[np.ndarray, PyTree]:
        """Asks for the points of the trials from `number` on.

        Args:
            number: decides the draws.
            asks: how often the sampler is asked, at most `block` times.
            block: one program is compiled for each value of it.

        Returns:
            `[asks · q, d]` unit points, NaN rows where there is no further one, and their values
            in the host's precision.
        """
        if self._draws is not None:
            unit = self._draws.ask(self._key, number, asks)[:, : self._space.num_dims]
            return unit, self._space.host_values(unit)
        self._start()
        self._block = block
        # Of several asks each has a key of its own, which the program folds.
        key = self._key if block > 1 else folded(self._key, number)
        with lapack_threads.one_thread():
            self._state, unit = self._run(
                tell_and_ask,
                block,
                self._sampler.tell,
                self._sampler.ask,
                key,
                self._state,
                self._pending,
                np.uint32(number),
                np.int32(asks),
                block,
            )
            self._pending = self._no_rows
            unit = np.asarray(unit)  # waits for the program
        unit = unit[: asks * (len(unit) // block), : self._space.num_dims]
        return unit, self._space.host_values(unit)

    def tell(
        self,
        count: int,
        unit: np.ndarray,
        value: np.ndarray,
        violation: np.ndarray | None,
        se: np.ndarray | None = None,
        *,
        size: int | None = None,
    ) -> None:
        """Tells the sampler the outcomes of points, asked or not.

        Args:
            count: decides the draws.
            unit: `[n, d]`.
            value: `[n]` (or `[n, m]`) to minimise; NaN where a trial failed.
            violation: `[n]` largest violation, or None where there are no constraints.
            se: known standard errors, shaped like `value`; NaN where there is none.
            size: pad to this many rows; by default one row stays alone, and more go up to a power
                of two.
        """
        if self._draws is not None:
            return  # nothing changes what is drawn
        n = len(unit)
        size = size or (1 if n == 1 else padded_size(n))
        self._flush()
        self._pending = self._padded(count, unit, value, violation, se, size)
        if size > 1:
            self._flush()

    def ensure_capacity(self, count: int) -> None:
        """Grows the sampler's buffers to hold `count` observations; one program per capacity."""
        if self._sampler.resize is None:
            return
        if count <= self._capacity:
            self._prepare_next(count)
        else:
            self._await_next()
            self._capacity = capacity_for(self._sampler, count)
            if self._state is None:
                self._start()
            else:
                resize = self._sampler.resize
                self._state = self._run(grow, 0, resize, self._state, self._capacity)

    def _prepare_next(self, count: int) -> None:
        """Has the next capacity compiled elsewhere, where it is near and there is time."""
        is_enough = self._capacity >= self.num_expected
        if self._state is None or is_enough or not self._ahead.is_due(count, self._capacity):
            return
        following = capacity_for(self._sampler, self._capacity + 1)
        arguments = (self._sampler, self._key, self._state, self._no_rows, self._block)
        self._ahead.go_on(prepare, following, *arguments)

    def _await_next(self) -> None:
        """Waits for what is compiled elsewhere; that counts as compiling here."""
        if self._ahead.is_running:
            began = time.perf_counter()
            with self._clock.waiting(name_of(self._sampler), self._capacity):
                self._ahead.wait()
            self._clock.seconds += time.perf_counter() - began

    def _start(self) -> None:
        """Makes the first state, if there is none, with the capacity that it is to have."""
        if self._state is None:
            resize = self._sampler.resize if self._capacity else None
            key = folded(self._key, _INIT_STREAM)
            arguments = (self._sampler.init, resize, key, self._capacity)
            self._state = self._run(_init, 0, *arguments)

    def _flush(self) -> None:
        """Runs the tell that is pending, if there is one."""
        if self._pending is not self._no_rows:
            self._start()
            rows = len(self._pending.unit)
            arguments = (self._sampler.tell, self._state, self._pending)
            self._state = self._run(_tell, rows, *arguments)
            self._pending = self._no_rows

    def _run(self, program: owned.OwnedJit, size: int, *args: Any) -> Any:
        """Calls a program; the first time at this capacity and size it may have to be compiled."""
        key = (program, self._capacity, size)
        if key in self._called:
            return program(*args)
        result = self._clock.call(name_of(self._sampler), self._capacity, program, *args)
        self._called.add(key)
        return result

    def _padded(
        self,
        count: int,
        unit: np.ndarray,
        value: np.ndarray,
        violation: np.ndarray | None,
        se: np.ndarray | None,
        size: int,
    ) -> _TellArguments:
        # Constraints that nobody has seen yet are met, so that they do not ask for other programs.
        unit = _widened(unit, self._width)
        violation = np.zeros(len(unit)) if violation is None else violation
        se = np.full(value.shape, np.nan) if se is None else se
        parts = (_pad(part, size, self._dtype) for part in (unit, value, violation, se))
        return _TellArguments(folded(self._tell_key, count), *parts)


def prepare(
    capacity: int, sampler: Sampler, key: np.ndarray, state: Any, rows: _TellArguments, block: int
) -> None:
    """Compiles what a driver needs at a larger capacity, and changes nothing.

    Args:
        capacity: the larger one.
        sampler: the driver's sampler.
        key: the data of a key.
        state: its state, at the capacity before.
        rows: a tell of nothing.
        block: asks of one program.
    """
    grown = grow(sampler.resize, state, capacity)
    arguments = (key, grown, rows, np.uint32(0), np.int32(block > 1), block)
    tell_and_ask(sampler.tell, sampler.ask, *arguments)


def capacity_for(sampler: Sampler, count: int) -> int:
    """Rows of the buffers in which a sampler holds `count` observations, if it grows at all."""
    if sampler.resize is None:
        return 0
    if traits_of(name_of(sampler)).has_cheap_rows:
        smallest = next((size for size in _FEW_CAPACITIES if size >= count), 0)
    else:
        smallest = SMALLEST_CAPACITY
    return max(smallest, padded_size(count))


def padded_size(n: int) -> int:
    """The next power of two, so that few programs are compiled."""
    return max(_SMALLEST_PAD, 1 << max(n - 1, 0).bit_length())


def proposal_shape_of(
    sampler: Sampler, space: Space | None = None, factory: Any = None, settings: Iterable[str] = ()
) -> jax.ShapeDtypeStruct:
    """Shape `[q, d]` and dtype of what one ask of a sampler gives; nothing is computed.

    Args:
        sampler: any sampler.
        space: what it searches, where that is known.
        factory: what made it. Of a sampler that a name has made the shape is known without a trace,
            which costs as much as a short study.
        settings: names of the settings that it was made with.
    """
    if space is not None and isinstance(factory, str) and not any("size" in s for s in settings):
        return jax.ShapeDtypeStruct((1, space.num_dims), jnp.result_type(float))
    shape: jax.ShapeDtypeStruct = jax.eval_shape(_first_ask.program(sampler), sampler)
    return shape


# One program per structure, so that the shape is traced once per process.
_first_ask = owned.jit(first_ask, functions_in=(0,))


def _pad(array: np.ndarray, size: int, dtype: Any) -> np.ndarray:
    """Fills up with rows of NaN, which `tell` ignores."""
    if len(array) == size:
        return np.array(array, dtype)
    padded = np.full((size, *array.shape[1:]), np.nan, dtype)
    padded[: len(array)] = array
    return padded


def _widened(unit: np.ndarray, width: int) -> np.ndarray:
    """Points with unused coordinates, which lie in the middle."""
    missing = width - unit.shape[1]
    return np.pad(unit, ((0, 0), (0, missing)), constant_values=0.5) if missing else unit


def _start(
    init: Callable[..., Any],
    resize: Callable[..., Any] | None,
    key: Array,
    capacity: int,
) -> Any:
    """The first state, in buffers of `capacity` rows if there is `resize`."""
    state = init(jax.random.wrap_key_data(key))
    return state if resize is None else resize(state, capacity)


@functools.cache
def _fewer_kernels() -> owned.Options:
    """Options with which the compiler takes half of its time, for programs that run as fast.

    Every reduction of more than 32 numbers is one kernel, not two; where there is one, the older
    way to make kernels.
    """
    if jax.default_backend() != "cpu":
        return ()
    passes = (("xla_disable_hlo_passes", "tree_reduction_rewriter"),)
    if jax.version.__version_info__ < (0, 11):
        return (*passes, ("xla_cpu_use_fusion_emitters", False))
    return passes


def _options(function: Any, *_: Any) -> owned.Options:
    """Of samplers of many small kernels, which run as fast when they are fewer."""
    is_meant = traits_of(name_of_function(function)).has_many_kernels
    return _fewer_kernels() if is_meant else ()


def _options_of_a_start(*_: Any) -> owned.Options:
    """Of programs that run once a capacity: compiling is their cost."""
    return _fewer_kernels()


_init = owned.jit(
    stored(_start, static_argnums=(3,)),
    functions_in=(0, 1),
    static_argnums=(3,),
    compiler_options=_options_of_a_start,
)


def _grow(resize: Callable[..., Any], state: Any, capacity: int) -> Any:
    """One program: run operation by operation, each of them would be compiled by itself."""
    return resize(state, capacity)


grow = owned.jit(
    stored(_grow, lambda resize, state, capacity: state, static_argnums=(2,)),
    functions_in=(0,),
    static_argnums=(2,),
    compiler_options=_options_of_a_start,
)


def _apply_tell(tell: Callable[..., Any], state: Any, arguments: _TellArguments) -> Any:
    value, se, violation = map(jnp.asarray, (arguments.value, arguments.se, arguments.violation))
    outcome = Outcome(value, se, violation)
    key = jax.random.wrap_key_data(jnp.asarray(arguments.key))
    return tell(key, state, jnp.asarray(arguments.unit), outcome)[0]


_tell = owned.jit(
    stored(_apply_tell, lambda tell, state, _: state),
    functions_in=(0,),
    compiler_options=_options,
)


def _apply_tell_and_ask(
    tell: Callable[..., Any],
    ask: Callable[..., Any],
    key_data: Array,
    state: Any,
    arguments: _TellArguments,
    first: jax.Array,
    asks: jax.Array,
    block: int,
) -> tuple[Any, jax.Array]:
    """Tells what there is, then asks `asks` times, at most `block`: one program for any number.

    The key is that of the ask, or with a `block` of several the one from which theirs are folded.
    """
    key = jax.random.wrap_key_data(key_data)
    has_news = jnp.any(has_proposal(jnp.asarray(arguments.unit)))
    news = _apply_tell(tell, state, arguments)
    state = jax.tree.map(lambda new, old: jnp.where(has_news, new, old), news, state)
    if block == 1:
        return ask(key, state)
    shape = jax.eval_shape(lambda f, k, x: f(k, x)[1], ask, key, state)
    rows = shape.shape[0]

    def body(i: jax.Array, carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        state, unit = carry
        number = first + i.astype(jnp.uint32) * jnp.uint32(rows)
        state, proposed = ask(jax.random.fold_in(key, number), state)
        return state, jax.lax.dynamic_update_slice_in_dim(unit, proposed, i * rows, 0)

    start = (state, jnp.full((block * rows, shape.shape[1]), jnp.nan, shape.dtype))
    return jax.lax.fori_loop(0, asks, body, start)


tell_and_ask = owned.jit(
    stored(_apply_tell_and_ask, lambda tell, ask, key, state, *_: (state, 0), static_argnums=(7,)),
    functions_in=(0, 1),
    static_argnums=(7,),
    compiler_options=_options,
)
