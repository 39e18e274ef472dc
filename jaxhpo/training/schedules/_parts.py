"""What the traced schedules are made of: checked numbers of one dtype, and smooth pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._checks import check_number, fail, is_traced

Array = jax.Array
Schedule = Callable[[Any], Array]


def reals(where: str, **values: Any) -> list[Array]:
    """Checked numbers as arrays of one real dtype: that of the arrays among them."""
    checked = [check_number(where, name, value) for name, value in values.items()]
    dtypes = [getattr(value, "dtype", None) for value in values.values()]
    real = [d for d in dtypes if d is not None and jnp.issubdtype(d, jnp.floating)]
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*real) if real else jnp.result_type(float)
    arrays = [jnp.asarray(value, dtype) for value in checked]
    for name, value, array in zip(values, checked, arrays, strict=True):
        if not is_traced(array) and not np.isfinite(np.asarray(array, np.float64)):
            raise fail(where, name, f"finite in {dtype}", value)
    return arrays


def flat_stages(where: str, init_value: Any, stages: Any) -> list[Array]:
    """The first value, then step and factor of each stage in turn."""
    try:
        pairs = sorted(stages.items()) if isinstance(stages, Mapping) else list(stages or ())
    except (TypeError, ValueError):  # nothing to go through, or steps that have no order
        pairs = [None]
    if any(not isinstance(pair, tuple | list) or len(pair) != 2 for pair in pairs):
        raise fail(where, "boundaries_and_scales", "a dict or pairs (step, factor)", stages)
    named = {f"boundaries_and_scales[{i}]": n for i, n in enumerate(n for p in pairs for n in p)}
    numbers = reals(where, init_value=init_value, **named)
    if any(not is_traced(scale) and scale < 0 for scale in numbers[2::2]):
        raise fail(where, "boundaries_and_scales", "factors of at least 0", stages)
    return numbers


def check_positive(where: str, argument: str, value: Any) -> None:
    """Requires a number above zero, where it is known."""
    if not is_traced(value) and not check_number(where, argument, value) > 0:
        raise fail(where, argument, "greater than 0", value)


def real(count: Any, like: Array) -> Array:
    """A step number as a real number."""
    return jnp.asarray(count).astype(like.dtype)


def ratio(passed: Array, steps: Array) -> Array:
    """`passed / steps`; all of it where there are no steps."""
    return jnp.where(steps > 0, passed / jnp.where(steps > 0, steps, 1), 1)


def half_cosine(count: Array, steps: Array, exponent: Array) -> Array:
    """From 1 at step 0 to 0 after `steps`."""
    wave = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(ratio(count, steps), 1)))
    return power_of(wave, exponent)


def power_of(base: Array, exponent: Array) -> Array:
    """`base ** exponent` of a base that is not negative."""
    # The inner `where` keeps the derivative at a base of 0 finite.
    at_zero = (exponent == 0).astype(base.dtype)
    return jnp.where(base > 0, jnp.where(base > 0, base, 1) ** exponent, at_zero)


def whole(steps: Any) -> Any:
    """Steps without their fraction, as optax rounds them."""
    return jnp.floor(steps) if is_traced(steps) else int(steps)
