"""BBOB functions 20 to 24: many minima, little structure."""

from __future__ import annotations

import math

import jax.numpy as jnp

from jaxhpo.problems.bbob._instances import Instance
from jaxhpo.problems.bbob._transforms import Array, conditioning, oscillate, penalty


def schwefel(at: Instance, x: Array) -> Array:
    """Function 20."""
    d = x.shape[0]
    centre = 2 * jnp.abs(at.x_opt)
    z = 2 * jnp.sign(at.x_opt) * x
    z = jnp.concatenate([z[:1], z[1:] + 0.25 * (z[:-1] - centre[:-1])])
    z = 100 * (conditioning(10, d, x.dtype) * (z - centre) + centre)
    outside = jnp.sum(jnp.maximum(0, jnp.abs(z) - 500) ** 2)
    wells = jnp.sum(z * jnp.sin(jnp.sqrt(jnp.abs(z)))) / d
    return 0.01 * (outside + 418.9828872724339 - wells)


def gallagher(at: Instance, x: Array) -> Array:
    """Functions 21 (101 peaks) and 22 (21 peaks)."""
    distance = (at.rotation @ x)[None, :] - at.places
    bells = at.heights * jnp.exp(-jnp.sum(at.scales * distance**2, axis=1) / (2 * x.shape[0]))
    return oscillate(10 - jnp.max(bells)) ** 2 + penalty(x)


def katsuura(at: Instance, x: Array) -> Array:
    """Function 23."""
    d = x.shape[0]
    z = at.rotation @ (conditioning(100, d, x.dtype) * (at.other @ (x - at.x_opt)))
    scale = 2 ** jnp.arange(1, 32, dtype=x.dtype)
    fine = z[:, None] * scale[None, :]
    rough = jnp.sum(jnp.abs(fine - jnp.floor(fine + 0.5)) / scale[None, :], axis=1)
    terms = 1 + jnp.arange(1, d + 1, dtype=x.dtype) * rough
    return 10 / d**2 * (jnp.prod(terms ** (10 / d**1.2)) - 1) + penalty(x)


def lunacek(at: Instance, x: Array) -> Array:
    """Function 24: two funnels under ripples."""
    d = x.shape[0]
    near = 2.5
    shrink = 1 - 0.5 / (math.sqrt(d + 20) - 4.1)
    far = -math.sqrt((near**2 - 1) / shrink)
    y = 2 * jnp.sign(at.x_opt) * x
    z = at.rotation @ (conditioning(100, d, x.dtype) * (at.other @ (y - near)))
    funnels = jnp.minimum(jnp.sum((y - near) ** 2), d + shrink * jnp.sum((y - far) ** 2))
    return funnels + 10 * (d - jnp.sum(jnp.cos(2 * math.pi * z))) + 1e4 * penalty(x)


RUGGED = (schwefel, gallagher, gallagher, katsuura, lunacek)
