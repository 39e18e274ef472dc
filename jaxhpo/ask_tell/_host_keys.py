"""Single keys on the host, to the bit those of `jax.random`: a hash is no reason for a program.

What a program hashes itself is compiled into some twenty kernels, for every hash again.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_MASK = 2**32 - 1
_PARITY = 0x1BD11BDA
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def seed_key(seed: np.integer) -> np.ndarray:
    """The data of `jax.random.key(seed)`, of an integer of JAX's default type."""
    if not is_threefry():
        return np.asarray(jax.random.key_data(jax.random.key(seed)))
    high = (int(seed) >> 32) & _MASK if seed.dtype.itemsize > 4 else 0
    return np.asarray([high, int(seed) & _MASK], np.uint32)


def folded(key_data: np.ndarray, number: int) -> np.ndarray:
    """The data of `jax.random.fold_in(key, number)`.

    Args:
        key_data: of the key.
        number: taken modulo 2**32.
    """
    number &= _MASK
    if not is_threefry():
        key = jax.random.wrap_key_data(jnp.asarray(key_data))
        return np.asarray(jax.random.key_data(jax.random.fold_in(key, np.uint32(number))))
    first, second = (int(word) for word in key_data)
    return np.asarray(threefry(first, second, 0, number), np.uint32)


def is_threefry() -> bool:
    """Whether JAX's default keys are those that are computed here."""
    return bool(jax.config.jax_default_prng_impl == "threefry2x32")  # type: ignore[attr-defined]


def threefry(first: Any, second: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Threefry-2x32 of 20 rounds of the words `x`, `y` under a key of two.

    Words are integers below 2**32, or uint64 arrays of them.

    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011,
    https://doi.org/10.1145/2063384.2063405.
    """
    schedule = (first, second, first ^ second ^ _PARITY)
    x, y = (x + first) & _MASK, (y + second) & _MASK
    for group in range(1, 6):
        for rotation in _ROTATIONS[(group - 1) % 2]:
            x = (x + y) & _MASK
            y = ((y << rotation) | (y >> (32 - rotation))) & _MASK ^ x
        x = (x + schedule[group % 3]) & _MASK
        y = (y + schedule[(group + 1) % 3] + group) & _MASK
    return x, y
