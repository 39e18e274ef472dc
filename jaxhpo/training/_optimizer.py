"""optax's optimizers as they are used: built from hyperparameters, with the arguments they ask for.

Optimizers beyond `update(grads, state, params)` take more by keyword (optax's
`GradientTransformationExtraArgs`): the loss and its gradient (`polyak_sgd`, `momo`,
`reduce_on_plateau`), the loss as a function (`lbfgs`, line searches, `sophia`) or its gradient as
one (`sam`). A training step knows all of them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxhpo._checks import check_callable, describe
from jaxhpo.training._gradient import gradient

_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")


class Slope(NamedTuple):
    """The training loss at one step.

    Attributes:
        loss: `loss(params) -> (scalar, aux)`.
        params: where it was differentiated.
        value: `[]`.
        grads: pytree like `params`.
    """

    loss: Callable[[Any], tuple[jax.Array, Any]]
    params: Any
    value: jax.Array
    grads: Any


def optimizer_factory(
    where: str, optimizer: Any, argument: str = "optimizer"
) -> Callable[[Any], optax.GradientTransformation]:
    """Accepts `optimizer(hparams) -> GradientTransformation`, or a transformation as it is."""
    fixed = _as_transformation(optimizer)
    if fixed is not None:
        return lambda hparams: fixed
    check_callable(where, argument, optimizer)

    def build(hparams: Any) -> optax.GradientTransformation:
        built = optimizer(hparams)
        made = _as_transformation(built)
        if made is None:
            raise TypeError(
                f"{where}: `{argument}` must return an optax.GradientTransformation, got "
                f"{describe(built)}."
            )
        return made

    return build


def _as_transformation(value: Any) -> optax.GradientTransformation | None:
    """A transformation, or an object that acts as one (`optax.MultiSteps`); None for others."""
    if isinstance(value, optax.GradientTransformation):
        return value
    if isinstance(value, optax.MultiSteps):
        return optax.GradientTransformationExtraArgs(value.init, value.update)
    return None


@contextlib.contextmanager
def _standard_promotion() -> Iterator[None]:
    """Optax mixes dtypes and ranks itself, whatever the user asks of their own code."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def start_optimizer(optimizer: optax.GradientTransformation, params: Any) -> tuple[Any, Any]:
    """Parameters, in pairs where the optimizer keeps fast and slow ones, and its first state."""
    with _standard_promotion():
        opt_state = optimizer.init(params)
    is_pair = isinstance(params, optax.LookaheadParams)
    if isinstance(opt_state, optax.LookaheadState) and not is_pair:
        params = optax.LookaheadParams.init_synced(params)
    return params, opt_state


def differentiate(loss: Callable[[Any], tuple[jax.Array, Any]], params: Any) -> tuple[Slope, Any]:
    """The slope of a loss with auxiliary values, and these."""
    point = trained(params)

    def with_value(point: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        value, aux = loss(point)
        return value, (value, aux)

    grads, (value, aux) = gradient(with_value, has_aux=True)(point)
    return Slope(loss, point, value, grads), aux


def apply_optimizer(
    optimizer: optax.GradientTransformation, slope: Slope, opt_state: Any, params: Any
) -> tuple[Any, Any]:
    """One step of the optimizer: new parameters and state."""

    def value_fn(point: Any, obj_fn: Any = None, grad_fn: Any = None) -> jax.Array:
        # A line search hands on to the loss whatever it does not know, and insists on it.
        return slope.loss(point)[0]

    def grad_fn(point: Any, _: Any = None) -> Any:
        return gradient(value_fn)(point)

    extras = {"value": slope.value, "grad": slope.grads, "value_fn": value_fn}
    extras |= {"obj_fn": value_fn, "grad_fn": grad_fn}
    with _standard_promotion():
        while True:
            try:
                updates, opt_state = optimizer.update(slope.grads, opt_state, params, **extras)
                return optax.apply_updates(params, updates), opt_state
            except TypeError as error:
                # Optax's convention is to ignore what one does not know; not all do.
                unknown = _UNKNOWN.search(str(error))
                if unknown is None or extras.pop(unknown[1], None) is None:
                    raise


def trained(params: Any) -> Any:
    """The parameters that a loss is differentiated at: the fast ones of `optax.lookahead`."""
    return params.fast if isinstance(params, optax.LookaheadParams) else params


def evaluated(params: Any, opt_state: Any) -> Any:
    """The parameters that an optimizer means to be used: optax's own rule for each."""
    if isinstance(params, optax.LookaheadParams):
        return params.slow
    is_free = lambda node: isinstance(node, optax.contrib.ScheduleFreeState)  # noqa: E731
    free = [node for node in jax.tree.leaves(opt_state, is_leaf=is_free) if is_free(node)]
    if len(free) != 1:
        return params
    with _standard_promotion():
        means = optax.contrib.schedule_free_eval_params(free[0], params)
    return jax.tree.map(keep_dtype, means, params)


def keep_dtype(new: Any, old: Any) -> jax.Array:
    """Gives a leaf its old dtype: float64 hyperparameters must not widen a float32 state."""
    return jnp.asarray(new).astype(jnp.asarray(old).dtype)
