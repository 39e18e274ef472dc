"""Checks of arguments before anything is traced: which argument, what was expected, what came.

Range checks run on concrete values only, so that a traced setting may pass through `vmap`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import numbers
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._checks.suggest import did_you_mean


def real_numbers(where: str, argument: str, array: Any) -> np.ndarray:
    """An array of real numbers as float64, on the host.

    Raises:
        TypeError: anything else.
    """
    try:
        found = np.asarray(array)
        if found.dtype.kind not in "cSU":
            return found.astype(np.float64)
    except (TypeError, ValueError):
        pass
    expected = "an array of real numbers"
    raise TypeError(f"{where}: `{argument}` must be {expected}, got {describe(array)}.")


def check_instance(where: str, argument: str, value: Any, kind: type, expected: str) -> Any:
    """Requires an object of a class and returns it."""
    if not isinstance(value, kind):
        raise TypeError(f"{where}: `{argument}` must be {expected}, got {describe(value)}.")
    return value


def is_traced(value: Any) -> bool:
    """Tells whether `value` is known only inside a trace."""
    return isinstance(value, jax.core.Tracer)


def describe(value: Any, limit: int = 80) -> str:
    """Shows what came, on one line, cut to `limit` characters."""
    text = " ".join(line.strip() for line in repr(value).splitlines())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def fail(where: str, argument: str, expected: str, got: Any) -> ValueError:
    """Builds the house's one error sentence."""
    return ValueError(f"{where}: `{argument}` must be {expected}, got {describe(got)}.")


def check_number(where: str, argument: str, value: Any) -> Any:
    """Requires a finite real number (or a traced scalar) and returns it."""
    if is_traced(value):
        return value
    if hasattr(value, "shape") and value.shape == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{where}: `{argument}` must be a real number, got {describe(value)}.")
    if not math.isfinite(value):
        raise fail(where, argument, "finite", value)
    return value


def is_in_cube(unit: Any) -> bool:
    """Tells whether all coordinates are in [0, 1] or NaN; True of what is traced.

    NumPy looks at them: JAX traces what it does with known arrays inside a trace.
    """
    if is_traced(unit):
        return True
    unit = np.asarray(unit)
    return not bool(np.any((unit < 0) | (unit > 1)))


def check_positive(where: str, argument: str, value: Any) -> Any:
    """Requires a finite number above zero and returns it."""
    value = check_number(where, argument, value)
    if not is_traced(value) and value <= 0:
        raise fail(where, argument, "greater than 0", value)
    return value


def check_not_negative(where: str, argument: str, value: Any) -> Any:
    """Requires a finite number of at least zero and returns it."""
    value = check_number(where, argument, value)
    if not is_traced(value) and value < 0:
        raise fail(where, argument, "at least 0", value)
    return value


def check_count(where: str, argument: str, value: Any, minimum: int) -> int:
    """Requires an integer of at least `minimum` that an int32 can hold, and returns it."""
    value = check_int(where, argument, value, minimum)
    if value >= 2**31:
        raise fail(where, argument, "below 2**31", value)
    return value


def unknown_name(where: str, argument: str, names: Sequence[str], got: str) -> ValueError:
    """Error for a name that is none of those there are; it says which one may be meant."""
    error = str(fail(where, argument, f"one of {', '.join(names)}", got)).removesuffix(".")
    return ValueError(f"{error}{did_you_mean(got, names) or '.'}")


def check_choice(where: str, argument: str, value: Any, options: Collection[str]) -> str:
    """Requires one of a few names and returns it."""
    if not isinstance(value, str) or value not in options:
        raise fail(where, argument, f"one of {', '.join(map(repr, options))}", value)
    return value


@contextlib.contextmanager
def noted(text: str) -> Iterator[None]:
    """Adds a note to an error that a user's function raises for what it was given."""
    try:
        yield
    except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
        if text not in getattr(error, "__notes__", ()):
            error.add_note(text)
        raise


def check_int(where: str, argument: str, value: Any, minimum: int) -> int:
    """Requires a Python integer (a static setting) of at least `minimum` and returns it."""
    if hasattr(value, "shape") and hasattr(value, "item") and not is_traced(value):
        value = value.item() if value.shape == () else value
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{where}: `{argument}` must be an integer of at least {minimum}, "
            f"got {describe(value)}."
        )
    if value < minimum:
        raise fail(where, argument, f"at least {minimum}", value)
    return int(value)


def check_size(where: str, argument: str, value: Any, minimum: int, most: int = 10_000) -> int:
    """Requires an integer that sizes something in memory; far beyond any use it is a mistake."""
    value = check_int(where, argument, value, minimum)
    if value > most:
        raise fail(where, argument, f"at most {most:,}", value)
    return value


def check_dtype(where: str, argument: str, value: Any) -> np.dtype[Any]:
    """Requires what NumPy takes for a type of real numbers."""
    try:
        found = np.dtype(value)
    except (TypeError, ValueError):
        found = None
    if found is None or not jnp.issubdtype(found, jnp.floating):
        raise TypeError(
            f"{where}: `{argument}` must be a floating dtype, such as np.float32, got "
            f"{describe(value)}."
        )
    return found


def check_sequence(where: str, argument: str, value: Any, expected: str) -> list[Any]:
    """Requires something to go through, no text and no mapping; its items as a list."""
    if not isinstance(value, str | bytes | dict):
        with contextlib.suppress(TypeError):
            return list(value)
    raise TypeError(f"{where}: `{argument}` must be {expected}, got {describe(value)}.")


def check_bool(where: str, argument: str, value: Any) -> bool:
    """Requires True or False and returns it."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{where}: `{argument}` must be True or False, got {describe(value)}.")
    return bool(value)


def check_seed(where: str, argument: str, value: Any) -> int:
    """Requires an integer that a key can be made of and returns it."""
    seed = check_int(where, argument, value, 0)
    if seed >= 2**63:
        raise fail(where, argument, "below 2**63", value)
    return seed


def check_callable(where: str, argument: str, value: Any) -> Callable[..., Any]:
    """Requires something that can be called and returns it."""
    if not callable(value):
        raise TypeError(f"{where}: `{argument}` must be callable, got {describe(value)}.")
    return value


def check_takes(where: str, argument: str, value: Any, names: str) -> Callable[..., Any]:
    """Requires a function that can be called with so many arguments, and returns it.

    Args:
        where: the public function, for errors.
        argument: its argument.
        value: the function.
        names: the arguments that it will be given, such as "key, params".
    """
    check_callable(where, argument, value)
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # some builtins say nothing
        return value
    try:
        signature.bind(*names.split(", "))
    except TypeError as error:
        raise TypeError(
            f"{where}: `{argument}` must be callable as {argument.split('.')[-1]}({names}), got "
            f"one that takes {signature}."
        ) from error
    return value


def check_key(where: str, key: Any) -> jax.Array:
    """Accepts a typed key, an integer seed or an old-style raw key, and returns a typed key."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        if not -(2**63) <= key < 2**63:
            raise fail(where, "key", "a key, or an integer seed of 64 bits", key)
        return jax.random.key(int(key))
    if isinstance(key, jax.Array) and key.ndim == 0 and jnp.issubdtype(key.dtype, jnp.integer):
        return jax.random.key(key)  # a seed that is traced, or lies on a device
    typed = _as_typed(key)
    if typed is None:
        raise TypeError(
            f"{where}: `key` must be a key from jax.random.key(seed) or an integer seed, "
            f"got {describe(key)}."
        )
    if typed.ndim:
        raise fail(where, "key", "one key (vmap over several, or minimize_many)", typed.shape)
    return typed


def check_keys(where: str, argument: str, keys: Any) -> jax.Array:
    """Requires `[s]` keys, typed or raw, at least one, and returns typed ones."""
    typed = _as_typed(keys)
    if typed is None:
        expected = "an array of keys, such as jax.random.split(jax.random.key(0), 8)"
        raise TypeError(f"{where}: `{argument}` must be {expected}, got {describe(keys)}.")
    if typed.ndim != 1 or typed.shape[0] == 0:
        raise fail(where, argument, "of shape [s], s at least 1", typed.shape)
    return typed


def _as_typed(keys: Any) -> jax.Array | None:
    """Typed keys of typed or old-style raw ones; None of anything else."""
    if not isinstance(keys, jax.Array | np.ndarray):
        return None
    if jax.dtypes.issubdtype(keys.dtype, jax.dtypes.prng_key):
        return keys  # type: ignore[return-value]
    is_raw = keys.dtype == np.uint32 and keys.ndim > 0
    if not is_raw or keys.shape[-1:] != _raw_shape():
        return None
    return jax.random.wrap_key_data(jnp.asarray(keys))


@functools.cache
def _shape_of_raw(impl: str) -> tuple[int, ...]:
    key = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=impl)))
    shape: tuple[int, ...] = key.shape
    return shape


def _raw_shape() -> tuple[int, ...]:
    """Words of one raw key of the kind that JAX makes by default."""
    return _shape_of_raw(str(getattr(jax.config, "jax_default_prng_impl")))  # noqa: B009
