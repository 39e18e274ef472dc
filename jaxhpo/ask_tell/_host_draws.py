"""The points of `random` on the host, to the bit: a short study is over before they compile.

A program that draws some uniform numbers takes a tenth of a second to trace and load and a second
to compile, which is more than all else in a study of a thousand cheap trials.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxhpo._base import Sampler
from jaxhpo.ask_tell._host_keys import folded, is_threefry, threefry
from jaxhpo.samplers.internal import plain_columns

_ONE = {4: (np.uint32, 9, 0x3F800000), 8: (np.uint64, 12, 0x3FF0000000000000)}
"""By the size of a float: its word, the bits that are no mantissa, and the number 1."""


class HostDraws:
    """What `random` proposes in a plain space of which it need not remember anything."""

    def __init__(self, count: np.ndarray, dtype: Any) -> None:
        """Takes the level counts `[d]` of the columns, 0 where continuous and -1 where unused."""
        self._count, self._dtype = count, np.dtype(dtype)

    @classmethod
    def of(cls, sampler: Sampler, dtype: Any) -> HostDraws | None:
        """The draws of a sampler; None for one that is not so simple, or other random numbers."""
        count = plain_columns(sampler)
        has_bits = is_threefry() and bool(jax.config.jax_threefry_partitionable)  # type: ignore[attr-defined]
        return cls(count, dtype) if has_bits and count is not None else None

    def ask(self, key_data: np.ndarray, first: int, asks: int) -> np.ndarray:
        """Points `[asks, d]` of trials from `first` on, for the key of the study."""
        # Row 0 of an ask has a key of its own, as in a batch.
        keys = [folded(folded(key_data, first + i), 0) for i in range(asks)]
        unit = uniform(np.asarray(keys), len(self._count), self._dtype)
        count = self._count.astype(self._dtype)
        place = np.clip(np.floor(unit * count), 0, np.maximum(count - 1, 0))
        centre = (place + self._dtype.type(0.5)) * (1 / np.maximum(count, 1))
        snapped = np.where(count > 0, centre, unit)
        return np.where(count < 0, 0.5, snapped).astype(self._dtype)


def uniform(keys: np.ndarray, count: int, dtype: np.dtype[Any]) -> np.ndarray:
    """`jax.random.uniform(key, (count,), dtype)` for each of several keys, `[k, count]`."""
    first, second = keys.astype(np.uint64).T[:, :, None]
    high, low = threefry(first, second, np.uint64(0), np.arange(count, dtype=np.uint64))
    bits = high ^ low if dtype.itemsize == 4 else (high << np.uint64(32)) | low
    word, shift, one = _ONE[dtype.itemsize]
    mantissa = bits.astype(word) >> word(shift)
    found: np.ndarray = (mantissa | word(one)).view(dtype) - dtype.type(1)
    return found
