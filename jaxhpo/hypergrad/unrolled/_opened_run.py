"""A training run opened up for differentiation: flat states, one traced step, derivatives by part.

The step is traced once and checked; every estimator replays that trace. States travel as lists of
leaves, split into real ones, which carry derivatives, and others (counters, keys).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from jaxhpo._checks import is_traced
from jaxhpo.hypergrad.unrolled import _safe
from jaxhpo.training import Training, trial_keys
from jaxhpo.training.internal import (
    call_init,
    call_loss,
    call_step,
    has_primitive,
    is_inexact,
    mixed_mode,
    sub_jaxprs,
)

Array = jax.Array
Real = list[Array]


class Carry(NamedTuple):
    """A training state, flat: its real leaves and the others."""

    real: Real
    other: list[Array]


class Run(NamedTuple):
    """One training run at given hyperparameters, as functions of flat states.

    Attributes:
        hparams: the hyperparameters' pytree.
        start: the state before the first step.
        init: `init(hparams) -> carry`, which gave the start.
        init_vjp: cotangent of the start's real leaves -> cotangent of the hyperparameters.
        step: `step(hparams, carry, t) -> carry`.
        loss: `loss(hparams, carry) -> []`.
        state: `state(carry)`, the user's pytree.
        is_param: which real leaves are trained parameters.
    """

    hparams: Any
    start: Carry
    init: Callable[[Any], Carry]
    init_vjp: Callable[[Real], Any]
    step: Callable[[Any, Carry, Array], Carry]
    loss: Callable[[Any, Carry], Array]
    state: Callable[[Carry], Any]
    is_param: tuple[bool, ...]

    def step_vjp(self, hparams: Any, carry: Carry, t: Array) -> Callable[[Real], tuple[Any, Real]]:
        """The pullback of one step: cotangent after it -> (of hyperparameters, before it)."""

        def real_part(hparams: Any, real: Real) -> Real:
            return self.step(hparams, Carry(real, carry.other), t).real

        return jax.vjp(real_part, hparams, carry.real)[1]

    def loss_vjp(self, hparams: Any, carry: Carry) -> tuple[Array, Any, Real]:
        """The outer loss and its derivatives by hyperparameters and state."""

        def value(hparams: Any, real: Real) -> Array:
            return self.loss(hparams, Carry(real, carry.other))

        loss, pullback = jax.vjp(value, hparams, carry.real)
        return loss, *pullback(jnp.ones_like(loss))

    def size(self, real: Real) -> Array:
        """Largest absolute entry among the parameters' cotangents."""
        parts = [part for part, flag in zip(real, self.is_param, strict=True) if flag and part.size]
        dtype = jnp.result_type(*parts) if parts else jnp.result_type(float)
        sizes = [jnp.max(jnp.abs(part)).astype(dtype) for part in parts]
        return jnp.max(jnp.stack(sizes)) if sizes else jnp.zeros((), dtype)


def open_run(where: str, training: Training, key: Array, hparams: Any, *, mixed: bool) -> Run:
    """Initialises a run, traces its step once, and checks that it can be differentiated.

    Args:
        where: the estimator's name, for errors.
        training: the run's functions.
        key: `[]` the run's key.
        hparams: pytree of real arrays.
        mixed: whether inner gradients get their forward-over-reverse derivative.

    Returns:
        The `Run`.

    Raises:
        TypeError: a step that changes the state's structure, shapes or dtypes.
        ValueError: a step that draws randomness that no key controls, or has side effects.
    """
    key_init, key_step = trial_keys(key)
    is_real: list[bool] = []
    treedefs: list[Any] = []

    def init_real(hparams: Any) -> tuple[Real, list[Array]]:
        leaves, treedef = jax.tree.flatten(call_init(where, training, key_init, hparams))
        is_real[:] = [is_inexact(leaf) for leaf in leaves]
        treedefs[:] = [treedef]
        real, other = _split(leaves, is_real)
        return real, other

    real, pullback, other = jax.vjp(init_real, hparams, has_aux=True)
    # What JAX knows while it traces comes back as Python numbers.
    treedef, start = treedefs[0], Carry(real, [jnp.asarray(leaf) for leaf in other])

    def state_of(carry: Carry) -> Any:
        return jax.tree.unflatten(treedef, _merge(carry, is_real))

    def raw_step(hparams: Any, carry: Carry, t: Array) -> Carry:
        state = call_step(where, training, key_step, hparams, state_of(carry), t)
        return Carry(*_split(jax.tree.leaves(state), is_real))

    with mixed_mode(mixed):
        step = _trace_step(where, raw_step, hparams, start)

    def loss(hparams: Any, carry: Carry) -> Array:
        return call_loss(where, training, hparams, state_of(carry))

    return Run(
        hparams=hparams,
        start=start,
        init=lambda hparams: Carry(*init_real(hparams)),
        init_vjp=lambda cotangent: pullback(cotangent)[0],
        step=step,
        loss=loss,
        state=state_of,
        is_param=_param_flags(state_of(start), is_real),
    )


def _trace_step(
    where: str, step: Callable[..., Carry], hparams: Any, start: Carry
) -> Callable[[Any, Carry, Array], Carry]:
    """Traces the step, refuses what cannot be replayed, and returns it with safe derivatives."""
    t = jnp.zeros((), jnp.int32)
    closed, shape = jax.make_jaxpr(step, return_shape=True)(hparams, start, t)
    again = jax.make_jaxpr(lambda *args: step(*args))(hparams, start, t)  # a new function: no cache
    is_pure = not has_primitive(closed.jaxpr, ("io_callback",)) and not _draws(closed.jaxpr)
    if not is_pure or not _same(closed, again):
        raise ValueError(
            f"{where}: `training.step` must be the same step whenever it is replayed, but two "
            "traces of it differ or it calls back to Python code that does not repeat itself, and "
            "no estimator has a derivative of a run that nothing repeats. Draw batches, noise and "
            "dropout from its `key` and `t`, for example with jax.random.fold_in(key, t); "
            "training.from_optax does."
        )
    treedef = jax.tree.structure(shape)

    def replay(hparams: Any, carry: Carry, t: Array) -> Carry:
        args = jax.tree.leaves((hparams, carry, t))
        leaves = _safe.evaluate(closed.jaxpr, closed.consts, args)
        return Carry(*jax.tree.unflatten(treedef, map(_typed, leaves, closed.out_avals)))

    return replay


def _draws(jaxpr: Any) -> bool:
    """Tells whether a `pure_callback` is none: it does not answer the same question twice alike.

    One with a custom rule has its author's word (`equinox.error_if`, which only raises).
    """
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "pure_callback" and not _answers_alike(eqn):
            return True
        has_rule = eqn.primitive.name.startswith(("custom_jvp_call", "custom_vjp_call"))
        if not has_rule and any(map(_draws, sub_jaxprs(eqn))):
            return True
    return False


def _answers_alike(eqn: Any) -> bool:
    """Calls back twice, with zeros; what refuses zeros is taken at its word."""
    inputs = [np.zeros(atom.aval.shape, atom.aval.dtype) for atom in eqn.invars]
    try:
        one, two = (jax.tree.leaves(eqn.params["callback"](*inputs)) for _ in range(2))
        return all(_equal(a, b) for a, b in zip(one, two, strict=True))
    except Exception:
        return True


def _typed(leaf: Any, aval: Any) -> Array:
    """What a step returns whatever its input stands in the trace as a Python number."""
    return leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf, aval.dtype)


def _same(one: Any, two: Any) -> bool:
    """Tells whether two traces are the same program with the same constants."""
    consts = zip(one.consts, two.consts, strict=False)
    return (
        len(one.consts) == len(two.consts)
        and all((a is b or is_traced(a) or is_traced(b) or _equal(a, b)) for a, b in consts)
        and list(_fingerprint(one.jaxpr)) == list(_fingerprint(two.jaxpr))
    )


def _equal(a: Any, b: Any) -> bool:
    if jnp.issubdtype(jnp.result_type(a), jax.dtypes.extended):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)


def _fingerprint(jaxpr: Any) -> Iterator[Any]:
    """Primitives and literals, nested jaxprs included, in order."""
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for atom in eqn.invars:
            if isinstance(atom, jax.extend.core.Literal):
                yield np.asarray(atom.val).tobytes()
        for value in eqn.params.values():
            for item in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(item, "jaxpr", item)
                if hasattr(inner, "eqns"):
                    yield from _fingerprint(inner)
                    consts = getattr(item, "consts", ())
                    yield from (np.asarray(c).tobytes() for c in consts if not is_traced(c))
                elif isinstance(item, int | float | str):
                    yield item


def _split(leaves: list[Any], is_real: list[bool]) -> tuple[Real, list[Array]]:
    pairs = list(zip(leaves, is_real, strict=True))
    return [leaf for leaf, flag in pairs if flag], [leaf for leaf, flag in pairs if not flag]


def _merge(carry: Carry, is_real: list[bool]) -> list[Array]:
    sources = {True: iter(carry.real), False: iter(carry.other)}
    return [next(sources[flag]) for flag in is_real]


def _param_flags(state: Any, is_real: list[bool]) -> tuple[bool, ...]:
    """Which real leaves lie under `state.params` or `state["params"]`; all, if there is none."""
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(state)[0]]
    names = [jax.tree_util.keystr(path[:1], simple=True) if path else "" for path in paths]
    flags = [name == "params" for name, flag in zip(names, is_real, strict=True) if flag]
    return tuple(flags) if any(flags) else tuple(True for _ in flags)


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Turns JAX's refusals of a derivative into advice on what to use instead."""
    try:
        yield
    except (ValueError, TypeError) as error:
        text = str(error)
        if "Reverse-mode differentiation does not work" in text:
            raise ValueError(
                f"{where}: `training` holds a lax.while_loop or a fori_loop with traced bounds, "
                "which has no reverse derivative. Use a lax.scan with a mask, a fori_loop with "
                "Python bounds, or hypergrad.forward."
            ) from error
        if "forward-mode autodiff (jvp) to a custom_vjp" in text:
            raise ValueError(
                f"{where}: `training` holds a function with a custom reverse rule "
                "(jax.custom_vjp), which has no forward derivative. Use hypergrad.unrolled."
            ) from error
        if "callbacks do not support JVP" in text:
            raise ValueError(
                f"{where}: `training` calls back to Python (jax.pure_callback) with what is "
                "differentiated. Give the call a rule with jax.custom_jvp, or close over its value."
            ) from error
        raise
