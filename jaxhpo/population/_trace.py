"""A training traced once: checked, its arrays pulled out, and its memory estimated.

Each of the user's functions is called exactly once per program, on one abstract trial. The rest of
the sweep works on the recorded jaxprs. Arrays that the functions close over (the data) become
arguments of the program, so that they are stored once and not compiled into it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.training.internal import Training, call_init, call_loss, call_step, strong, whole_data


@dataclasses.dataclass(frozen=True)
class TracedTraining:
    """Unbatched functions of flat leaves, and what is known of them before compiling.

    Attributes:
        init: `init(consts, key, leaves) -> state leaves`.
        step: `step(consts, key, leaves, state leaves, t) -> state leaves`.
        loss: `loss(consts, leaves, state leaves) -> []`.
        consts: the arrays that the functions close over.
        jaxprs: what the functions compute, recorded.
        state: shape and dtype of each state leaf, unbatched; keys as their data.
        packing: how the flat leaves make up the user's state.
        loss_dtype: dtype of the loss.
        work_bytes: an upper bound for what one trial's init, step or loss holds at once.
        step_bytes: the same for the step alone, which is what runs most.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    loss: Callable[..., Any]
    consts: tuple[Any, ...]
    jaxprs: tuple[Any, ...]
    state: tuple[jax.ShapeDtypeStruct, ...]
    packing: Packing
    loss_dtype: Any
    work_bytes: int
    step_bytes: int

    @property
    def state_bytes(self) -> int:
        """Bytes of one trial's state."""
        return sum(num_bytes(leaf) for leaf in self.state)

    @property
    def const_bytes(self) -> int:
        """Bytes of the arrays that all trials share."""
        return sum(num_bytes(leaf) for leaf in self.consts)


def trace_training(
    where: str, training: Training, rebuild: Callable[[Any], Any], leaves: Any, key: jax.Array
) -> TracedTraining:
    """Traces `init`, `step` and `loss` on one abstract trial and checks what they return.

    Args:
        where: the function to name in errors.
        training: the user's functions.
        rebuild: flat traced leaves -> the user's hyperparameters.
        leaves: abstract unbatched hyperparameter leaves.
        key: any key of the implementation in use.

    Returns:
        The traced training.

    Raises:
        TypeError: `step` returns another structure, shape or dtype than `init`.
        ValueError: `loss` is not a real scalar.
    """
    with whole_data():
        return _trace(where, training, rebuild, leaves, key)


def _trace(
    where: str, training: Training, rebuild: Callable[[Any], Any], leaves: Any, key: jax.Array
) -> TracedTraining:
    key_like = jax.ShapeDtypeStruct((), key.dtype)
    seen: list[Any] = []

    def init(k: Any, h: Any) -> Any:
        state = call_init(where, training, k, rebuild(h))
        seen.append(Packing.of(state))
        return pack(state)

    init_jaxpr, flat = jax.make_jaxpr(init, return_shape=True)(key_like, leaves)
    flat = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in flat]
    (packing,) = seen

    def step(k: Any, h: Any, s: Any, t: Any) -> Any:
        return pack(call_step(where, training, k, rebuild(h), packing.unpack(s), t))

    step_jaxpr = jax.make_jaxpr(step)(key_like, leaves, flat, jax.ShapeDtypeStruct((), np.int32))
    loss_jaxpr, loss = jax.make_jaxpr(
        lambda h, s: call_loss(where, training, rebuild(h), packing.unpack(s)),
        return_shape=True,
    )(leaves, flat)

    sizes = [_work_bytes(j.jaxpr) for j in (init_jaxpr, step_jaxpr, loss_jaxpr)]
    consts = _Consts()
    run_init, run_step, run_loss = (consts.hoist(j) for j in (init_jaxpr, step_jaxpr, loss_jaxpr))
    return TracedTraining(
        init=lambda c, k, h: run_init(c, k, *h),
        step=lambda c, k, h, s, t: run_step(c, k, *h, *s, t),
        loss=lambda c, h, s: run_loss(c, *h, *s)[0],
        consts=tuple(consts.arrays),
        jaxprs=tuple(j.jaxpr for j in (init_jaxpr, step_jaxpr, loss_jaxpr)),
        state=tuple(flat),
        packing=packing,
        loss_dtype=loss.dtype,
        work_bytes=max(sizes),
        step_bytes=sizes[1],
    )


def pack(state: Any) -> list[Any]:
    """Flattens a state; a typed key becomes its data, so that every leaf is a plain array."""
    return [jax.random.key_data(a) if _is_key(a) else a for a in jax.tree.leaves(state)]


class Packing(NamedTuple):
    """How to undo `pack`: the state's structure, and the implementation of each key leaf."""

    treedef: Any
    impls: tuple[Any, ...]

    @classmethod
    def of(cls, state: Any) -> Packing:
        """Reads it off a state of arrays, traced ones included."""
        leaves, treedef = jax.tree.flatten(state)
        return cls(treedef, tuple(jax.random.key_impl(a) if _is_key(a) else None for a in leaves))

    def unpack(self, leaves: Any) -> Any:
        """Undoes `pack`, also with leading batch axes."""
        restored = [
            a if impl is None else jax.random.wrap_key_data(jnp.asarray(a), impl=impl)
            for a, impl in zip(leaves, self.impls, strict=True)
        ]
        return jax.tree.unflatten(self.treedef, restored)


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def num_bytes(leaf: Any) -> int:
    """Bytes of an array or of its description; a typed key counts as its key data."""
    size = math.prod(leaf.shape)
    if _is_key(leaf):
        return size * 4 * math.prod(jax.eval_shape(jax.random.key_data, leaf).shape[-1:])
    return size * np.dtype(leaf.dtype).itemsize


def uses_x64() -> bool:
    """Tells whether this thread computes in float64 where it may; other threads must follow."""
    return bool(jax.dtypes.canonicalize_dtype(np.float64) == np.float64)


class _Consts:
    """Collects closed-over arrays, each once, and turns jaxprs into functions that take them."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []
        self._place: dict[int, int] = {}
        self._keep: list[Any] = []

    def hoist(self, closed: Any) -> Callable[..., list[Any]]:
        """Returns `run(consts, *flat_args) -> flat results` for a closed jaxpr."""
        places = [self._index(c) for c in closed.consts]

        def run(consts: Any, *args: Any) -> list[Any]:
            bound = [consts[p] for p in places]
            return [strong(r) for r in jax.core.eval_jaxpr(closed.jaxpr, bound, *args)]

        return run

    def _index(self, const: Any) -> int:
        if id(const) not in self._place:
            self._place[id(const)] = len(self.arrays)
            self._keep.append(const)
            self.arrays.append(jnp.asarray(const))
        return self._place[id(const)]


def _work_bytes(jaxpr: Any) -> int:
    """Sums the results of all equations: nothing is freed, so it bounds what is held at once."""
    total = 0
    for eqn in jaxpr.eqns:
        inner = [_work_bytes(j) for j in _inner_jaxprs(eqn.params)]
        total += sum(num_bytes(v.aval) for v in eqn.outvars if hasattr(v.aval, "shape"))
        total += max(inner, default=0)
    return total


def _inner_jaxprs(params: Any) -> list[Any]:
    """Finds the jaxprs of an equation's bodies and branches, closed or not."""
    found = []
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                found.append(inner)
    return found
