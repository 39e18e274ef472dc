"""The 24 noiseless BBOB functions in JAX, on the published instances.

A function is a pure function of an `Instance` and a point, so that one program runs over points,
over instances of a function, or over both. In float32 the values have about six digits: near the
optimum of the ill-conditioned functions, and in the finest ripples of functions 16 and 23, float64
is needed to see progress.

References:
    Hansen, Finck, Ros and Auger, "Real-parameter black-box optimization benchmarking 2009:
    noiseless functions definitions", 2009, https://inria.hal.science/inria-00362633.
    Hansen et al., "COCO: a platform for comparing continuous optimizers in a black-box setting",
    2021, https://doi.org/10.1080/10556788.2020.1808977.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo.problems.bbob._instances import NUM_FUNCTIONS as NUM_FUNCTIONS
from jaxhpo.problems.bbob._instances import Instance as Instance
from jaxhpo.problems.bbob._instances import instance as instance
from jaxhpo.problems.bbob._rotated import ROTATED
from jaxhpo.problems.bbob._rugged import RUGGED
from jaxhpo.problems.bbob._separable import SEPARABLE
from jaxhpo.problems.functions._functions import Function

__all__ = [
    "NUM_FUNCTIONS",
    "ROTATED",
    "RUGGED",
    "SEPARABLE",
    "Function",
    "Instance",
    "evaluate",
    "instance",
    "problem",
]

_FUNCTIONS = (*SEPARABLE, *ROTATED, *RUGGED)


def evaluate(function: int, at: Instance, x: Any) -> jax.Array:
    """The value of one point; pure, and vmappable over `at` and `x`.

    Args:
        function: static; 1 to 24.
        at: an instance of that function.
        x: `[d]` a point, usually in [-5, 5].

    Returns:
        `[]` the value, in the dtype of `x`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxhpo as hpo
        >>> bbob = hpo.problems.bbob
        >>> many = [bbob.instance(8, 3, number) for number in (1, 2, 3)]
        >>> stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *many)
        >>> values = jax.vmap(lambda at: bbob.evaluate(8, at, jnp.zeros(3)))(stacked)
        >>> values.shape
        (3,)
    """
    if not isinstance(function, int) or not 1 <= function <= NUM_FUNCTIONS:
        raise _checks.fail("bbob.evaluate", "function", "a number from 1 to 24", function)
    x = jnp.asarray(x)
    at = jax.tree.map(lambda part: jnp.asarray(part, x.dtype), at)
    return _FUNCTIONS[function - 1](at, x) + at.f_opt


def problem(function: int, num_dims: int, number: int = 1) -> Function:
    """One instance as a test function in [-5, 5]^d.

    Args:
        function: 1 to 24.
        num_dims: at least 2.
        number: the instance.

    Returns:
        The function with its minimum.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.bbob.problem(8, 5).name
        'bbob08_i01_5d'
    """
    at = instance(function, num_dims, number)
    return Function(
        name=f"bbob{function:02d}_i{number:02d}_{num_dims}d",
        evaluate=lambda x: evaluate(function, at, x),
        low=(-5.0,) * num_dims,
        high=(5.0,) * num_dims,
        minimum=float(at.f_opt),
        minimizers=(tuple(at.x_opt.tolist()),),
    )
