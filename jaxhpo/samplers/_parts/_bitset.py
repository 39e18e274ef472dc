"""A set of numbers as bits: which configurations must not be proposed (again)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Record

_WORD = 32


class Visited(Record):
    """Numbers 0, 1, … `32 w - 1`, one bit each; a set bit means closed.

    Attributes:
        words: `[w]` uint32.
    """

    words: Array

    def contains(self, position: Array) -> Array:
        """Tells which positions (int32, any shape) are closed."""
        word = self.words[position // _WORD]
        return (word >> (position % _WORD).astype(jnp.uint32)) & jnp.uint32(1) > 0

    def add(self, position: Array, keep: Array) -> Visited:
        """Closes the positions `[c]` where `keep` `[c]` is true."""
        size = self.words.shape[0] * _WORD
        # Words out of range are dropped by the scatter, so rows that are not kept go there.
        position = jnp.where(keep & ~self.contains(position), position, size)
        if position.shape[0] > 1:
            position = jnp.sort(position)
            repeats = jnp.concatenate([jnp.zeros(1, bool), position[1:] == position[:-1]])
            position = jnp.where(repeats, size, position)
        bits = jnp.uint32(1) << (position % _WORD).astype(jnp.uint32)
        # Distinct clear bits: their sum is their union.
        return Visited(self.words.at[position // _WORD].add(bits, mode="drop"))

    def num_open(self) -> Array:
        """Counts the open positions, int32 scalar."""
        return jnp.sum(jax.lax.population_count(~self.words).astype(jnp.int32), dtype=jnp.int32)

    def nth_open(self, n: Array) -> Array:
        """Finds the open positions of rank `n` `[c]` (from 0), int32 `[c]`.

        Meaningless where `n` is not below `num_open()`.
        """
        counts = jax.lax.population_count(~self.words).astype(jnp.int32)
        ends = jnp.cumsum(counts, dtype=jnp.int32)
        index = jnp.searchsorted(ends, n, side="right").astype(jnp.int32)
        index = jnp.minimum(index, self.words.shape[0] - 1)
        rank = n - (ends[index] - counts[index])
        places = jnp.arange(_WORD, dtype=jnp.uint32)
        is_open = ((~self.words[index])[:, None] >> places[None, :]) & jnp.uint32(1)
        seen = jnp.cumsum(is_open.astype(jnp.int32), axis=1, dtype=jnp.int32)
        place = jnp.argmax(seen > rank[:, None], axis=1).astype(jnp.int32)
        return index * _WORD + place


def all_open(size: int) -> Visited:
    """Opens the positions below `size` and closes the padding of the last word."""
    num_words = -(-size // _WORD)
    rest = size - (num_words - 1) * _WORD
    last = jnp.uint32(0) if rest == _WORD else ~jnp.uint32(2**rest - 1)
    return Visited(jnp.zeros(num_words, jnp.uint32).at[-1].set(last))


def closed_where(closed: Array) -> Visited:
    """Packs `[size]` bools; the padding of the last word is closed."""
    size = closed.shape[0]
    padded = jnp.concatenate([closed, jnp.ones(-size % _WORD, bool)]).reshape(-1, _WORD)
    places = jnp.arange(_WORD, dtype=jnp.uint32)
    bits = padded.astype(jnp.uint32) << places[None, :]
    return Visited(jnp.sum(bits, axis=1, dtype=jnp.uint32))
