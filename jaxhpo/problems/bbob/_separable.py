"""BBOB functions 1 to 5 (separable) and 6 to 9 (moderate conditioning): value without `f_opt`."""

from __future__ import annotations

import jax.numpy as jnp

from jaxhpo.problems.bbob._instances import Instance
from jaxhpo.problems.bbob._transforms import (
    Array,
    around,
    conditioning,
    oscillate,
    penalty,
    powers,
    skew,
)
from jaxhpo.problems.functions import _formulas as formulas


def sphere(at: Instance, x: Array) -> Array:
    """Function 1."""
    return jnp.sum((x - at.x_opt) ** 2)


def ellipsoid(at: Instance, x: Array) -> Array:
    """Function 2."""
    return stretched(oscillate(x - at.x_opt))


def rastrigin(at: Instance, x: Array) -> Array:
    """Function 3."""
    z = skew(0.2, oscillate(x - at.x_opt))
    return formulas.rastrigin(conditioning(10, x.shape[0], x.dtype) * z)


def bueche_rastrigin(at: Instance, x: Array) -> Array:
    """Function 4."""
    z = oscillate(x - at.x_opt)
    is_stretched = (jnp.arange(x.shape[0]) % 2 == 0) & (z > 0)
    z = conditioning(10, x.shape[0], x.dtype) * jnp.where(is_stretched, 10 * z, z)
    return formulas.rastrigin(z) + 100 * penalty(x)


def linear_slope(at: Instance, x: Array) -> Array:
    """Function 5."""
    slope = jnp.sign(at.x_opt) * powers(10, x.shape[0], x.dtype)
    inside = jnp.where(x * at.x_opt < 25, x, at.x_opt)
    return jnp.sum(5 * jnp.abs(slope) - slope * inside)


def attractive_sector(at: Instance, x: Array) -> Array:
    """Function 6."""
    diagonal = conditioning(10, x.shape[0], x.dtype)
    z = around(at.rotation, diagonal, at.other, x - at.x_opt)
    z = jnp.where(z * at.x_opt > 0, 100 * z, z)
    return oscillate(jnp.sum(z**2)) ** 0.9


def step_ellipsoid(at: Instance, x: Array) -> Array:
    """Function 7."""
    z = conditioning(10, x.shape[0], x.dtype) * (at.other @ (x - at.x_opt))
    steps = jnp.where(jnp.abs(z) > 0.5, jnp.floor(z + 0.5), jnp.floor(10 * z + 0.5) / 10)
    steep = jnp.sum(powers(100, x.shape[0], x.dtype) * (at.rotation @ steps) ** 2)
    return 0.1 * jnp.maximum(1e-4 * jnp.abs(z[0]), steep) + penalty(x)


def rosenbrock(at: Instance, x: Array) -> Array:
    """Function 8."""
    return formulas.rosenbrock(_valley_scale(x.shape[0]) * (x - at.x_opt) + 1)


def rosenbrock_rotated(at: Instance, x: Array) -> Array:
    """Function 9."""
    return formulas.rosenbrock(_valley_scale(x.shape[0]) * (at.rotation @ x) + 0.5)


def stretched(z: Array) -> Array:
    """The ellipsoid of condition 1e6."""
    return jnp.sum(powers(1e6, z.shape[0], z.dtype) * z**2)


def _valley_scale(d: int) -> float:
    return max(1.0, d**0.5 / 8)


SEPARABLE = (
    sphere,
    ellipsoid,
    rastrigin,
    bueche_rastrigin,
    linear_slope,
    attractive_sector,
    step_ellipsoid,
    rosenbrock,
    rosenbrock_rotated,
)
