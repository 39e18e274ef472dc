"""Checks of the points and outcomes that a sampler is told, and their conversion to arrays."""

from __future__ import annotations

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome
from jaxhpo.space import Space


def checked_trials(
    where: str,
    space: Space,
    unit: Any,
    outcome: Any,
    objectives: tuple[int, ...] | None = None,
) -> tuple[Array, Outcome]:
    """Checks points and their outcomes; the values themselves only where they are not traced.

    Args:
        where: the `tell` function, for errors.
        space: the search space.
        unit: `[q, d]` points of the unit cube, q at least 1; NaN rows are none.
        outcome: what became of them, in arrays or nested lists.
        objectives: shape of one trial's value: `()` where the sampler takes one objective, `(m,)`
            where it is made for `m`, None where it takes any number.

    Returns:
        The snapped points in default float dtype, and the outcome in floating arrays.

    Raises:
        TypeError: no `Outcome`, or a part of it that is no array of real numbers.
        ValueError: a shape that does not fit, or a point outside the unit cube.
    """
    points = real_array(where, "unit", unit)
    if points.ndim != 2 or points.shape[1] != space.num_dims or points.shape[0] == 0:
        expected = f"of shape [q, {space.num_dims}], q at least 1"
        raise _checks.fail(where, "unit", expected, points.shape)
    # Inside a trace JAX turns an array of NumPy's into a tracer.
    if not _checks.is_in_cube(unit if isinstance(unit, np.ndarray) else points):
        raise _checks.fail(where, "unit", "in the unit cube", unit)
    outcome = _checked_outcome(where, points.shape[0], space.num_dims, outcome)
    if objectives is not None:
        outcome = _of_objectives(where, objectives, outcome)
    return space.snap(points.astype(jnp.result_type(float))), outcome


def _checked_outcome(where: str, q: int, d: int, outcome: Any) -> Outcome:
    """The outcome of `q` points in `d` dimensions."""
    if not isinstance(outcome, Outcome):
        expected = "an Outcome, such as Outcome(values)"
        raise TypeError(f"{where}: `outcome` must be {expected}, got {_checks.describe(outcome)}.")
    value, se, violation, gradient = (
        None if part is None else real_array(where, f"outcome.{name}", part)
        for name, part in outcome._asdict().items()
    )
    if value is None or value.ndim not in (1, 2) or value.shape[0] != q:
        got = None if value is None else value.shape
        expected = f"of shape [{q}] like the rows of `unit`, or [{q}, m]"
        raise _checks.fail(where, "outcome.value", expected, got)
    if se is not None and se.shape != value.shape:
        expected = f"of shape {value.shape} like `outcome.value`"
        raise _checks.fail(where, "outcome.se", expected, se.shape)
    if violation is not None and (violation.ndim not in (1, 2) or violation.shape[0] != q):
        expected = f"of shape [{q}] or [{q}, c]"
        raise _checks.fail(where, "outcome.violation", expected, violation.shape)
    if gradient is not None and gradient.shape != (*value.shape, d):
        expected = f"of shape {(*value.shape, d)}"
        raise _checks.fail(where, "outcome.gradient", expected, gradient.shape)
    return Outcome(value, se, violation, gradient)


def _of_objectives(where: str, objectives: tuple[int, ...], outcome: Outcome) -> Outcome:
    """The outcome with values `[q, *objectives]`; `[q]` will do for `[q, 1]`."""
    if objectives == (1,) and outcome.value.ndim == 1:
        one = Outcome(outcome.value, outcome.se, gradient=outcome.gradient)
        one = jax.tree.map(lambda part: part[:, None], one)
        outcome = one._replace(violation=outcome.violation)
    if outcome.value.shape[1:] != objectives:
        expected = f"of shape [q]: `{where.split('.')[0]}` takes one objective"
        if objectives:
            m = objectives[0]
            expected = f"of shape [q, {m}], since num_objectives={m}"
        raise _checks.fail(where, "outcome.value", expected, outcome.value.shape)
    return outcome


def real_array(where: str, argument: str, array: Any) -> Array:
    """An array, or nested lists, of real numbers as a floating array."""
    numbers = None
    if isinstance(array, jax.Array):
        numbers = array if _is_real(array.dtype) else None
    elif array is not None and not any(isinstance(leaf, str) for leaf in jax.tree.leaves(array)):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            numbers = jnp.asarray(_as_floats(array))
    if numbers is None or not _is_real(numbers.dtype):
        expected = "an array of real numbers"
        got = _checks.describe(array)
        raise TypeError(f"{where}: `{argument}` must be {expected}, got {got}.")
    if not jnp.issubdtype(numbers.dtype, jnp.floating):
        numbers = numbers.astype(jnp.result_type(float))
    return numbers


def _is_real(dtype: Any) -> bool:
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)


def _as_floats(array: Any) -> Any:
    """Integers as floats, before JAX cuts them to 32 bits; what holds tracers stays as it is."""
    try:
        host = np.asarray(array)
    except jax.errors.TracerArrayConversionError:
        return array
    return host.astype(np.float64) if host.dtype.kind in "iubO" else host
