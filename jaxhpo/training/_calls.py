"""The user's functions, called: states as strong arrays, and errors that name what came back.

Every family of methods calls `init`, `step` and `loss` through here, so a state is brought to one
form once, and a mistake has one sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import describe
from jaxhpo._tracing.concrete import explain_concrete
from jaxhpo.training._training import Training


def call_init(where: str, training: Training, key: Any, hparams: Any) -> Any:
    """The state before the first step, as strong arrays.

    Raises:
        TypeError: nothing came back, or a leaf that is no array, or a traced value was needed as a
            Python number.
    """
    with explain_concrete(where, "training.init", lambda h: training.init(key, h), hparams):
        state = training.init(key, hparams)
    if state is None:
        raise TypeError(f"{where}: `training.init` must return a state, got None.")
    loose = as_arrays(where, "training.init", state, weak=True)
    return jax.tree.map(strong, _settled(training, key, hparams, loose))


def _settled(training: Training, key: Any, hparams: Any, state: Any) -> Any:
    """Gives Python numbers in a first state the dtypes that a step gives them, as a scan would."""
    if not any(getattr(leaf, "weak_type", False) for leaf in jax.tree.leaves(state)):
        return state
    try:
        new = jax.eval_shape(
            lambda s: training.step(key, hparams, s, jnp.zeros((), jnp.int32)), state
        )
        return jax.tree.map(_promoted, state, new)
    except Exception:
        return state  # The step itself will say what is wrong.


def _promoted(old: Any, new: Any) -> Any:
    is_new = old.weak_type and not getattr(new, "weak_type", False)
    fits = is_new and old.shape == new.shape and jnp.can_cast(old.dtype, new.dtype, "same_kind")
    return jax.lax.convert_element_type(old, new.dtype) if fits else old


def call_step(where: str, training: Training, key: Any, hparams: Any, state: Any, t: Any) -> Any:
    """The state after one step, leaf for leaf of the same shape and dtype.

    Raises:
        TypeError: another structure, shape or dtype than that of `state`, or a traced value was
            needed as a Python number.
    """
    run = lambda h: training.step(key, h, state, t)  # noqa: E731
    with explain_concrete(where, "training.step", run, hparams):
        new = training.step(key, hparams, state, t)
    _check_structure(where, state, new)
    new = as_arrays(where, "training.step", new, weak=True)
    paths: list[Any]
    treedef: Any
    paths, treedef = jax.tree_util.tree_flatten_with_path(state)
    pairs = zip(paths, jax.tree.leaves(new), strict=True)
    return treedef.unflatten([_like(where, path, old, leaf) for (path, old), leaf in pairs])


def call_loss(where: str, training: Training, hparams: Any, state: Any) -> jax.Array:
    """The validation loss, a real scalar.

    Raises:
        TypeError: no number, or a traced value was needed as a Python number.
        ValueError: not a scalar, or not real.
    """
    with explain_concrete(where, "training.loss", lambda h: training.loss(h, state), hparams):
        loss = training.loss(hparams, state)
    return check_loss(where, loss)


def check_loss(where: str, loss: Any) -> jax.Array:
    """Requires a real scalar from `training.loss`, at trace time, and returns it as a float."""
    try:
        loss = jnp.asarray(loss)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{where}: `training.loss` must return a scalar, got {describe(loss)}."
        ) from error
    if loss.shape != () or not jnp.issubdtype(loss.dtype, jnp.number):
        raise ValueError(
            f"{where}: `training.loss` must return a scalar, got shape {loss.shape} and dtype "
            f"{loss.dtype}."
        )
    if jnp.issubdtype(loss.dtype, jnp.complexfloating):
        raise ValueError(f"{where}: `training.loss` must be real, got dtype {loss.dtype}.")
    return loss if jnp.issubdtype(loss.dtype, jnp.floating) else loss.astype(jnp.result_type(float))


def strong(leaf: Any) -> jax.Array:
    """An array without a weak type, which would change under a loop and cost a second trace."""
    leaf = jnp.asarray(leaf)
    is_weak = getattr(leaf, "weak_type", False)
    return jax.lax.convert_element_type(leaf, leaf.dtype) if is_weak else leaf


def as_arrays(where: str, name: str, state: Any, *, weak: bool = False) -> Any:
    """A state of arrays: Python numbers and NumPy arrays become JAX's.

    Args:
        where: the function to name in errors.
        name: what returned the state.
        state: any pytree.
        weak: whether Python numbers stay weakly typed; static.
    """
    make: Callable[[Any], jax.Array] = jnp.asarray if weak else strong

    def convert(path: Any, leaf: Any) -> jax.Array:
        try:
            return make(leaf)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{where}: `{name}` must return a pytree of arrays, got {describe(leaf)} for "
                f"state{jax.tree_util.keystr(path)}."
            ) from error

    return jax.tree_util.tree_map_with_path(convert, state)


def _check_structure(where: str, old: Any, new: Any) -> None:
    expected: Any = jax.tree.structure(old)
    got: Any = jax.tree.structure(new)
    if expected != got:
        shown = "None" if new is None else got
        raise TypeError(
            f"{where}: `training.step` must return the structure that `training.init` returns, "
            f"{expected}, got {shown}."
        )


def _like(where: str, path: Any, old: Any, new: Any) -> Any:
    """Requires the leaf that `init` gave; a Python number in its place takes that leaf's dtype."""
    if getattr(new, "weak_type", False) and jnp.can_cast(new.dtype, old.dtype, "same_kind"):
        new = jax.lax.convert_element_type(new, old.dtype)
    if old.shape != new.shape or old.dtype != new.dtype:
        raise TypeError(
            f"{where}: `training.step` must keep each leaf as `training.init` returns it; "
            f"state{jax.tree_util.keystr(path)} is {old.dtype}{list(old.shape)} after init and "
            f"{new.dtype}{list(new.shape)} after a step."
        )
    return new
