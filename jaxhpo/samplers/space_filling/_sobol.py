"""Sobol points from a counter, with 32-bit integer operations only.

Point `n` is the XOR of the direction numbers that the Gray code of `n` selects (Antonov and Saleev,
1979), so any point can be had without the ones before it. The primitive polynomials and initial
numbers are those of Joe and Kuo, "Constructing Sobol sequences with better two-dimensional
projections", 2008, https://doi.org/10.1137/070709359. Scrambling is Matousek's random linear matrix
scramble with a digital shift, "On the L2-discrepancy for anchored boxes", 1998.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._base import Array, Record
from jaxhpo.samplers.space_filling._sobol_table import NUMBERS

NUM_BITS = 32
MAX_DIMS = 1111
"""Dimensions whose polynomial has degree 13 or less: the numbers can be read off 2^16 points."""

_EXTRA_EQUATIONS = 2


class Sobol(Record):
    """A (scrambled) Sobol sequence.

    Attributes:
        directions: `[d, 32]` uint32 direction numbers, most significant bit first.
        shift: `[d]` uint32 digital shift.
    """

    directions: Array
    shift: Array

    def points(self, index: Array) -> Array:
        """Computes the points of the indices `[c]`: `[c, d]` in [0, 1), in default float dtype."""
        index = index.astype(jnp.uint32)
        gray = index ^ (index >> jnp.uint32(1))
        places = jnp.arange(NUM_BITS, dtype=jnp.uint32)
        chosen = (gray[:, None] >> places[None, :]) & jnp.uint32(1)
        terms = chosen[:, None, :] * self.directions[None, :, :]
        digits = jax.lax.reduce(terms, np.uint32(0), jax.lax.bitwise_xor, (2,))
        return _to_float(digits ^ self.shift[None, :])


def plain_sobol(directions: Array) -> Sobol:
    """Builds the unscrambled sequence, whose first point is the origin."""
    return Sobol(jnp.asarray(directions), jnp.zeros(directions.shape[:1], jnp.uint32))


def scrambled_sobol(key: Array, directions: Array) -> Sobol:
    """Draws a random linear matrix scramble and a digital shift.

    Each output bit is its input bit plus a random sum of the more significant input bits. That
    keeps every elementary interval's share of points, and makes each point uniform.

    Args:
        key: consumed.
        directions: `[d, 32]` uint32 unscrambled direction numbers.

    Returns:
        The scrambled sequence.
    """
    d = directions.shape[0]
    random_bits = jax.random.bits(key, (d, NUM_BITS + 1), jnp.uint32)
    own = jnp.uint32(1) << jnp.arange(NUM_BITS - 1, -1, -1, dtype=jnp.uint32)
    above = ~(own | (own - jnp.uint32(1)))
    rows = (random_bits[:, 1:] & above[None, :]) | own[None, :]
    overlap = jnp.asarray(directions)[:, :, None] & rows[:, None, :]
    parity = jax.lax.population_count(overlap) & jnp.uint32(1)
    terms = parity * own[None, None, :]
    scrambled = jax.lax.reduce(terms, np.uint32(0), jax.lax.bitwise_or, (2,))
    return Sobol(scrambled, random_bits[:, 0])


@functools.cache
def direction_numbers(num_dims: int) -> np.ndarray:
    """Computes the `[num_dims, 32]` uint32 direction numbers of the unscrambled sequence.

    Common dimensions come from a table; SciPy is only imported for the ones beyond it.
    """
    numbers = NUMBERS if num_dims <= 1 + len(NUMBERS) else recover_numbers(num_dims)
    rows = [np.uint32(1) << np.arange(NUM_BITS - 1, -1, -1, dtype=np.uint32)]
    rows += [_expand(coefficients, initial) for coefficients, *initial in numbers[: num_dims - 1]]
    return np.stack(rows[:num_dims])


def _expand(coefficients: int, initial: list[int]) -> np.ndarray:
    """Runs the recurrence of a primitive polynomial whose degree is `len(initial)`."""
    degree = len(initial)
    row = [number << (NUM_BITS - 1 - j) for j, number in enumerate(initial)]
    for j in range(degree, NUM_BITS):
        value = row[j - degree] ^ (row[j - degree] >> degree)
        for i in range(1, degree):
            if (coefficients >> (degree - 1 - i)) & 1:
                value ^= row[j - i]
        row.append(value)
    return np.array(row, dtype=np.uint32)


def recover_numbers(num_dims: int) -> tuple[tuple[int, ...], ...]:
    """Reads the polynomial and the initial numbers of each dimension off SciPy's public points.

    Returns:
        For dimensions 2 to `num_dims`: the inner coefficients of the polynomial as bits, then
        `degree` initial numbers.
    """
    from scipy.stats import qmc

    num_known = _largest_degree(num_dims) + _EXTRA_EQUATIONS + 1
    engine = qmc.Sobol(num_dims, scramble=False, bits=30)
    known = np.zeros((num_dims, num_known), dtype=np.int64)
    previous = np.zeros(num_dims, dtype=np.int64)
    for j in range(num_known):
        engine.fast_forward(2**j - engine.num_generated)
        point = np.rint(engine.random(1)[0] * 2.0**NUM_BITS).astype(np.int64)
        previous = point ^ previous  # gray(2^j) selects numbers j and j - 1
        known[:, j] = previous
    return tuple(_solve([int(number) for number in row]) for row in known[1:])


def _largest_degree(num_dims: int) -> int:
    """Finds the degree of the last dimension's polynomial; they come in order of degree."""
    covered, degree = 1, 0
    while covered < num_dims:
        degree += 1
        order = 2**degree - 1
        units = sum(1 for k in range(1, order + 1) if np.gcd(k, order) == 1)
        covered += units // degree
    return degree


def _solve(row: list[int]) -> tuple[int, ...]:
    """Finds the recurrence of least degree that all the known direction numbers obey.

    Number `j` has its lowest set bit at place `j`, so the equations are triangular.
    """
    for degree in range(1, len(row) - _EXTRA_EQUATIONS + 1):
        found = {_coefficients(row, degree, j) for j in range(degree, len(row))}
        if len(found) == 1 and (coefficients := found.pop()) is not None:
            return (coefficients, *(row[j] >> (NUM_BITS - 1 - j) for j in range(degree)))
    raise RuntimeError("the Sobol points of the installed SciPy follow no recurrence.")


def _coefficients(row: list[int], degree: int, j: int) -> int | None:
    """Solves equation `j` of a recurrence for its inner coefficients; None if it has none."""
    rest = row[j] ^ row[j - degree] ^ (row[j - degree] >> degree)
    coefficients = 0
    for i in range(1, degree):
        bit = (rest >> (NUM_BITS - 1 - (j - i))) & 1
        rest ^= row[j - i] * bit
        coefficients = 2 * coefficients + bit
    return coefficients if rest == 0 else None


def _to_float(digits: Array) -> Array:
    """Turns 32 binary digits into a number of [0, 1), dropping those that would round up to 1."""
    dtype = jnp.result_type(float)
    if dtype == jnp.float64:
        return digits.astype(dtype) * jnp.asarray(2.0**-32, dtype)
    return (digits >> jnp.uint32(8)).astype(dtype) * jnp.asarray(2.0**-24, dtype)
