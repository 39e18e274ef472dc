"""The formulas of the test functions: pure JAX, from `[d]` to a scalar in the same dtype.

References:
    Surjanovic and Bingham, "Virtual library of simulation experiments: test functions and
    datasets", https://www.sfu.ca/~ssurjano.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def sphere(x: Array) -> Array:
    """Minimum 0 at 0."""
    return jnp.sum(x**2)


def ackley(x: Array) -> Array:
    """Minimum 0 at 0; the small number keeps the gradient finite there."""
    root = jnp.sqrt(jnp.mean(x**2) + 1e-30)
    ripples = jnp.exp(jnp.mean(jnp.cos(2 * math.pi * x)))
    return -20 * jnp.exp(-0.2 * root) - ripples + 20 + math.e


def levy(x: Array) -> Array:
    """Minimum 0 at 1."""
    w = 1 + (x - 1) / 4
    inner = jnp.sum((w[:-1] - 1) ** 2 * (1 + 10 * jnp.sin(math.pi * w[:-1] + 1) ** 2))
    last = (w[-1] - 1) ** 2 * (1 + jnp.sin(2 * math.pi * w[-1]) ** 2)
    return jnp.sin(math.pi * w[0]) ** 2 + inner + last


def rosenbrock(x: Array) -> Array:
    """Minimum 0 at 1."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rastrigin(x: Array) -> Array:
    """Minimum 0 at 0."""
    return jnp.sum(x**2 - 10 * jnp.cos(2 * math.pi * x) + 10)


def griewank(x: Array) -> Array:
    """Minimum 0 at 0."""
    root = jnp.asarray(np.sqrt(np.arange(1, x.shape[0] + 1)), x.dtype)
    return jnp.sum(x**2) / 4000 - jnp.prod(jnp.cos(x / root)) + 1


def styblinski_tang(x: Array) -> Array:
    """Minimum -39.166 per dimension at -2.9035."""
    return 0.5 * jnp.sum(x**4 - 16 * x**2 + 5 * x)


def schwefel(x: Array) -> Array:
    """Minimum 0 at 420.97."""
    return 418.9828872724338 * x.shape[0] - jnp.sum(x * jnp.sin(jnp.sqrt(jnp.abs(x))))


def michalewicz(x: Array) -> Array:
    """Steepness 10."""
    i = jnp.arange(1, x.shape[0] + 1, dtype=x.dtype)
    return -jnp.sum(jnp.sin(x) * jnp.sin(i * x**2 / math.pi) ** 20)


def branin(x: Array) -> Array:
    """Minimum 5/(4 pi) at three points."""
    inner = x[1] - 5.1 / (4 * math.pi**2) * x[0] ** 2 + 5 / math.pi * x[0] - 6
    return inner**2 + 10 * (1 - 1 / (8 * math.pi)) * jnp.cos(x[0]) + 10


def six_hump_camel(x: Array) -> Array:
    """Minimum -1.0316 at two points."""
    a, b = x[0], x[1]
    return (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (4 * b**2 - 4) * b**2


def goldstein_price(x: Array) -> Array:
    """Minimum 3 at (0, -1)."""
    a, b = x[0], x[1]
    first = 19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2
    second = 18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2
    return (1 + (a + b + 1) ** 2 * first) * (30 + (2 * a - 3 * b) ** 2 * second)


def _hartmann(x: Array, scales: list[list[float]], places: list[list[int]], less: Any) -> Array:
    heights = jnp.asarray([1.0, 1.2, 3.0, 3.2], x.dtype) - less
    distance = (x[None, :] - 1e-4 * jnp.asarray(places, x.dtype)) ** 2
    return -jnp.sum(heights * jnp.exp(-jnp.sum(jnp.asarray(scales, x.dtype) * distance, axis=1)))


def hartmann3(x: Array, less: Any = 0.0) -> Array:
    """Minimum -3.86278; `less` is taken from the depth of each well."""
    scales = [[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]]
    places = [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]
    return _hartmann(x, scales, places, less)


def hartmann6(x: Array, less: Any = 0.0) -> Array:
    """Minimum -3.32237; `less` is taken from the depth of each well."""
    scales = [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
    places = [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
    return _hartmann(x, scales, places, less)
