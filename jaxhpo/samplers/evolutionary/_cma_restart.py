"""When CMA-ES starts anew, and with which population."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Record

RESTARTS = ("ipop", "bipop", "none")

_FLAT = 1e-12
"""Range of values over the last generations below which a run is over (Hansen's tolfun)."""


class Restarts(Record):
    """Population size and what decides on restarts.

    Attributes:
        size: `[]` int32, present population size.
        large: `[]` int32, the last size that came from doubling.
        is_small: `[]` bool, whether the present run belongs to the small ones (BIPOP).
        used: `[2]` int32, evaluations in large and in small runs.
        num_restarts: `[]` int32.
        span: `[2, g]` smallest and largest value of the last generations.
    """

    size: Array
    large: Array
    is_small: Array
    used: Array
    num_restarts: Array
    span: Array

    def record(self, generation: Array, best: Array, worst: Array) -> Restarts:
        """Notes a finished generation."""
        row = generation % self._term()
        span = self.span.at[:, row].set(jnp.stack([best, worst]))
        used = self.used.at[self.is_small.astype(jnp.int32)].add(self.size)
        return dataclasses.replace(self, span=span, used=used)

    def is_flat(self, generation: Array) -> Array:
        """Whether values have not differed for 10 + 30 d/λ generations."""
        term = self._term()
        is_recent = jnp.arange(self.span.shape[1], dtype=jnp.int32) < term
        largest = jnp.max(jnp.where(is_recent, self.span[1], -jnp.inf))
        smallest = jnp.min(jnp.where(is_recent, self.span[0], jnp.inf))
        return (generation > term) & (largest - smallest < _FLAT)

    def restarted(self, key: Array, rule: str, first: int, most: int) -> tuple[Restarts, Array]:
        """The next run's population, and the factor of its step size.

        Args:
            key: consumed.
            rule: static; "ipop" or "bipop" (Hansen, 2009, https://doi.org/10.1145/1570256.1570333).
            first: static; the first population size.
            most: static; the largest.

        Returns:
            The record, and the factor.
        """
        dtype = self.span.dtype
        doubled = jnp.minimum(2 * self.large, most)
        size, is_small, factor = doubled, jnp.zeros((), bool), jnp.ones((), dtype)
        if rule == "bipop":
            is_small = self.used[1] < self.used[0]
            u = jax.random.uniform(key, (2,), dtype)
            ratio = 0.5 * self.large.astype(dtype) / first
            small = jnp.floor(first * ratio ** (u[0] ** 2)).astype(jnp.int32)
            size = jnp.where(is_small, jnp.clip(small, 4, most), doubled)
            factor = jnp.where(is_small, 10 ** (-2 * u[1]), 1)
        return Restarts(
            size,
            jnp.where(is_small, self.large, doubled),
            is_small,
            self.used,
            self.num_restarts + 1,
            jnp.full_like(self.span, jnp.inf),
        ), factor

    def _term(self) -> Array:
        """Generations looked back on; the buffer holds those of the smallest population, 4."""
        num_dims_30 = 4 * (self.span.shape[1] - 10)  # ⌈30 d / 4⌉ columns beside the first ten
        return jnp.minimum(10 + -(-num_dims_30 // self.size), self.span.shape[1])


def first_restarts(population_size: int, num_dims: int) -> Restarts:
    """The record of a fresh run."""
    size, zero = jnp.asarray(population_size, jnp.int32), jnp.zeros((), jnp.int32)
    columns = 10 + math.ceil(30 * num_dims / 4)
    span = jnp.full((2, columns), jnp.inf, jnp.result_type(float))
    is_small = jnp.ones((), bool)
    return Restarts(size, size, is_small, jnp.zeros(2, jnp.int32), zero, span)
