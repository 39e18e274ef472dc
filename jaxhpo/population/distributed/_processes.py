"""What the processes of one `jax.distributed` program tell each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxhpo._checks import fail

_WORD = 4


class Processes:
    """The processes that share a sweep; all of them call every method, in the same order.

    Attributes:
        count: how many there are.
        index: which one this is.
    """

    def __init__(self, count: int = 1, index: int = 0) -> None:
        self.count, self.index = count, index

    def gather(self, arrays: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """Gives each process the arrays of all, bit for bit.

        Args:
            arrays: of the same shapes and dtypes in every process.

        Returns:
            The arrays of each process.
        """
        if self.count == 1:
            return [list(arrays)]
        from jax.experimental import multihost_utils

        raw = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
        # Few sizes need few programs.
        words = 1 << max(0, math.ceil(len(raw) / _WORD) - 1).bit_length()
        buffer = np.frombuffer(raw.ljust(words * _WORD, b"\0"), np.uint32)
        together = np.asarray(multihost_utils.process_allgather(buffer))
        return [_split(row, arrays) for row in together.reshape(self.count, words)]

    def least(self, number: int) -> int:
        """The smallest of the processes' numbers."""
        return min(int(found) for (found,) in self.gather([np.asarray(number, np.int64)]))

    def any(self, flag: bool) -> bool:
        """Whether one of them says so."""
        return any(bool(found) for (found,) in self.gather([np.asarray(flag)]))

    def check_same(self, where: str, argument: str, expected: str, numbers: Any) -> None:
        """Requires the same numbers in all processes.

        Args:
            where: the function to name in errors.
            argument: its argument.
            expected: what it must be.
            numbers: an array.

        Raises:
            ValueError: they differ; in every process.
        """
        found = [one for (one,) in self.gather([np.asarray(numbers)])]
        if not all(np.array_equal(one, found[0]) for one in found):
            raise fail(where, argument, expected, [one.tolist() for one in found])


def processes_of(devices: Sequence[Any]) -> Processes:
    """The processes that share a sweep: this one alone if all devices are its own."""
    if all(device.process_index == jax.process_index() for device in devices):
        return Processes()
    return Processes(jax.process_count(), jax.process_index())


def _split(words: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    raw, found, start = np.ascontiguousarray(words).tobytes(), [], 0
    for array in like:
        stop = start + array.nbytes
        found.append(np.frombuffer(raw[start:stop], array.dtype).reshape(array.shape).copy())
        start = stop
    return found
