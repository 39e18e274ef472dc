"""From an objective that JAX can differentiate to one that reports its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, PyTree
from jaxhpo._tracing.owned import Function, as_pytree
from jaxhpo.space import Space

_EDGE = 1e-6
"""At the ends of the unit interval the slope is that of a point so far inside."""


def with_gradient(
    objective: Callable[[Array, PyTree], Any], space: Space
) -> Callable[[Array, PyTree], Outcome]:
    """Wraps an objective so that it returns its gradient with respect to the unit cube as well.

    The value is the objective's own. Coordinates that are discrete or inactive have gradient 0.

    Args:
        objective: `objective(key, params)` -> scalar or `Outcome` of one trial; differentiable.
        space: the space that `params` come from; its bounds are traced.

    Returns:
        `objective(key, params) -> Outcome` with `gradient` `[d]`; a pytree, so that wrapping the
        same objective again compiles nothing again.

    Raises:
        TypeError: an argument of a wrong type.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> space = hpo.Space({"lr": hpo.log_uniform(1e-2, 1.0)})
        >>> objective = hpo.with_gradient(lambda key, params: params["lr"] ** 2, space)
        >>> outcome = objective(jax.random.key(0), {"lr": jax.numpy.asarray(0.1)})
        >>> round(float(outcome.value), 4), round(float(outcome.gradient[0]), 4)
        (0.01, 0.0921)
    """
    _checks.check_takes("with_gradient", "objective", objective, "key, params")
    if not isinstance(space, Space):
        raise TypeError(f"with_gradient: `space` must be a Space, got {_checks.describe(space)}.")
    return Function(_evaluate, as_pytree(objective), space)


def _evaluate(objective: Callable[..., Any], space: Space, key: Array, params: PyTree) -> Outcome:
    dtype = jnp.result_type(float)
    unit = jnp.clip(space.to_unit(params).astype(dtype), _EDGE, 1 - _EDGE)
    here = space.from_unit(unit)

    def value_at(unit: Array) -> tuple[Array, Outcome]:
        # The params themselves, with the slope of the space's own map: no rounding of the value.
        there = space.from_unit(unit)
        moved = jax.tree.map(_with_slope, params, there, here)
        returned = objective(key, moved)
        outcome = returned if isinstance(returned, Outcome) else Outcome(returned)
        return jnp.asarray(outcome.value).astype(dtype), outcome

    slope, outcome = jax.grad(value_at, has_aux=True)(unit)
    return outcome._replace(gradient=slope)


def _with_slope(param: Any, there: Array, here: Array) -> Array:
    param = jnp.asarray(param)
    if not jnp.issubdtype(param.dtype, jnp.floating):
        return param
    return param + (there - jax.lax.stop_gradient(here)).astype(param.dtype)
