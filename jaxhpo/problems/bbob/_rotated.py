"""BBOB functions 10 to 14 (ill-conditioned) and 15 to 19 (many minima, one structure)."""

from __future__ import annotations

import math

import jax.numpy as jnp

from jaxhpo.problems.bbob._instances import Instance
from jaxhpo.problems.bbob._separable import stretched
from jaxhpo.problems.bbob._transforms import Array, around, conditioning, oscillate, penalty, skew
from jaxhpo.problems.functions import _formulas as formulas


def ellipsoid_rotated(at: Instance, x: Array) -> Array:
    """Function 10."""
    return stretched(oscillate(at.rotation @ (x - at.x_opt)))


def discus(at: Instance, x: Array) -> Array:
    """Function 11."""
    z = oscillate(at.rotation @ (x - at.x_opt))
    return 1e6 * z[0] ** 2 + jnp.sum(z[1:] ** 2)


def bent_cigar(at: Instance, x: Array) -> Array:
    """Function 12."""
    z = at.rotation @ skew(0.5, at.rotation @ (x - at.x_opt))
    return z[0] ** 2 + 1e6 * jnp.sum(z[1:] ** 2)


def sharp_ridge(at: Instance, x: Array) -> Array:
    """Function 13."""
    z = around(at.rotation, conditioning(10, x.shape[0], x.dtype), at.other, x - at.x_opt)
    return z[0] ** 2 + 100 * jnp.sqrt(jnp.sum(z[1:] ** 2))


def different_powers(at: Instance, x: Array) -> Array:
    """Function 14."""
    d = x.shape[0]
    z = jnp.abs(at.rotation @ (x - at.x_opt))
    return jnp.sqrt(jnp.sum(z ** (2 + 4 * jnp.arange(d, dtype=x.dtype) / (d - 1))))


def rastrigin_rotated(at: Instance, x: Array) -> Array:
    """Function 15."""
    z = skew(0.2, oscillate(at.rotation @ (x - at.x_opt)))
    z = around(at.rotation, conditioning(10, x.shape[0], x.dtype), at.other, z)
    return formulas.rastrigin(z)


def weierstrass(at: Instance, x: Array) -> Array:
    """Function 16."""
    d = x.shape[0]
    z = oscillate(at.rotation @ (x - at.x_opt))
    z = around(at.rotation, conditioning(1 / 100, d, x.dtype), at.other, z)
    k = jnp.arange(12, dtype=x.dtype)
    height, speed = 0.5**k, 2 * math.pi * 3**k
    waves = jnp.sum(height[None, :] * jnp.cos(speed[None, :] * (z[:, None] + 0.5)))
    return 10 * (waves / d - jnp.sum(height * jnp.cos(speed / 2))) ** 3 + 10 / d * penalty(x)


def schaffers(at: Instance, x: Array) -> Array:
    """Function 17."""
    return _schaffers(at, x, 10)


def schaffers_conditioned(at: Instance, x: Array) -> Array:
    """Function 18."""
    return _schaffers(at, x, 1000)


def _schaffers(at: Instance, x: Array, alpha: float) -> Array:
    z = skew(0.5, at.rotation @ (x - at.x_opt))
    z = conditioning(alpha, x.shape[0], x.dtype) * (at.other @ z)
    s = z[:-1] ** 2 + z[1:] ** 2
    waves = s**0.25 * (1 + jnp.sin(50 * s**0.1) ** 2)
    return jnp.mean(waves) ** 2 + 10 * penalty(x)


def griewank_rosenbrock(at: Instance, x: Array) -> Array:
    """Function 19."""
    z = max(1.0, x.shape[0] ** 0.5 / 8) * (at.rotation @ x) + 0.5
    s = 100 * (z[:-1] ** 2 - z[1:]) ** 2 + (1 - z[:-1]) ** 2
    return 10 + 10 * jnp.mean(s / 4000 - jnp.cos(s))


ROTATED = (
    ellipsoid_rotated,
    discus,
    bent_cigar,
    sharp_ridge,
    different_powers,
    rastrigin_rotated,
    weierstrass,
    schaffers,
    schaffers_conditioned,
    griewank_rosenbrock,
)
