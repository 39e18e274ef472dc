"""Halton points from a counter: one radical inverse per dimension, in prime bases.

Scrambling applies a random permutation `digit -> (a * digit + c) mod b` to every digit place of
every base (random linear digit scrambling: Matousek, "On the L2-discrepancy for anchored boxes",
1998). It removes the correlation of large neighbouring bases and costs two numbers a digit.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array, Record

NUM_BITS = 32
"""Digits are kept until they resolve 2^-32; base 2 then has the most of them, 32."""

MAX_DIMS = 1024
"""Bases up to 8161: a product of two digits fits in 32 bits."""


class Halton(Record):
    """A (scrambled) Halton sequence.

    Attributes:
        bases: `[d]` uint32 primes.
        num_digits: `[d]` int32 digit places kept for each base.
        multipliers: `[32, d]` uint32 `a` of each digit's permutation.
        shifts: `[32, d]` uint32 `c` of each digit's permutation.
    """

    bases: Array
    num_digits: Array
    multipliers: Array
    shifts: Array

    def points(self, index: Array) -> Array:
        """Computes the points of the indices `[c]`: `[c, d]` in [0, 1), in default float dtype."""
        dtype = jnp.result_type(float)
        bases = self.bases[None, :]

        def place(j: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            rest, total, weight = carry
            digit = rest % bases
            digit = (digit * self.multipliers[j][None, :] + self.shifts[j][None, :]) % bases
            digit = jnp.where(j < self.num_digits[None, :], digit, jnp.uint32(0))
            total = total + digit.astype(dtype) * weight
            return rest // bases, total, weight / bases.astype(dtype)

        rest = jnp.broadcast_to(index.astype(jnp.uint32)[:, None], (index.shape[0], bases.shape[1]))
        start = (rest, jnp.zeros(rest.shape, dtype), 1 / bases.astype(dtype))
        _, total, _ = jax.lax.fori_loop(0, NUM_BITS, place, start)
        # All digits at their largest would round up to 1 in single precision.
        return jnp.minimum(total, jnp.asarray(1.0 - jnp.finfo(dtype).epsneg, dtype))


def plain_halton(bases: Array) -> Halton:
    """Builds the unscrambled sequence, whose first point is the origin."""
    shape = (NUM_BITS, bases.shape[0])
    return _halton(bases, jnp.ones(shape, jnp.uint32), jnp.zeros(shape, jnp.uint32))


def scrambled_halton(key: Array, bases: Array) -> Halton:
    """Draws a permutation for every digit place of every base.

    Args:
        key: consumed.
        bases: `[d]` uint32 primes.

    Returns:
        The scrambled sequence.
    """
    bases = jnp.asarray(bases)
    draws = jax.random.uniform(key, (2, NUM_BITS, bases.shape[0]), jnp.float32)
    multipliers = jnp.uint32(1) + _below(bases - jnp.uint32(1), draws[0])
    shifts = _below(bases, draws[1])
    return _halton(bases, multipliers, shifts)


def _below(bound: Array, draws: Array) -> Array:
    """Turns draws `[32, d]` from [0, 1) into integers below `bound` `[d]`; cheaper than randint."""
    number = jnp.floor(draws * bound.astype(jnp.float32)[None, :]).astype(jnp.uint32)
    return jnp.minimum(number, (bound - jnp.uint32(1))[None, :])  # the product may round up


def _halton(bases: Array, multipliers: Array, shifts: Array) -> Halton:
    bases = jnp.asarray(bases)
    places = jnp.ceil(NUM_BITS * jnp.log(2.0) / jnp.log(bases.astype(jnp.float32)))
    return Halton(bases, places.astype(jnp.int32), multipliers, shifts)


@functools.cache
def prime_bases(num_dims: int) -> np.ndarray:
    """Lists the first `num_dims` primes as uint32."""
    limit = max(16, int(num_dims * (np.log(num_dims + 1) + np.log(np.log(num_dims + 2) + 1)) + 16))
    sieve = np.ones(limit, dtype=bool)
    sieve[:2] = False
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = False
    return np.flatnonzero(sieve)[:num_dims].astype(np.uint32)
