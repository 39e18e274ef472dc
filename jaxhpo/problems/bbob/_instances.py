"""What distinguishes the instances of a BBOB function: rotations, place and value of the optimum.

NumPy in float64, by the rules of the benchmark's published definition: its own random generator and
its seeds, so that an instance here is the instance that others mean by the same numbers.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import numpy as np

from jaxhpo import _checks

NUM_FUNCTIONS = 24
_MODULUS = 2147483647
_SHARED_SEED = {4: 3, 18: 17}
"""Functions that have the seed of another one, so that both have the same optimum."""
_PEAKS = {21: 101, 22: 21}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Instance:
    """One instance of one function, as arrays; instances of a function stack for `vmap`.

    Attributes:
        x_opt: `[d]` where the minimum is.
        f_opt: `[]` its value.
        rotation: `[d, d]` the first rotation, R.
        other: `[d, d]` the second rotation, Q.
        places: `[k, d]` peaks of functions 21 and 22, rotated; k is 0 elsewhere.
        scales: `[k, d]` their widths.
        heights: `[k]` their heights.
    """

    x_opt: Any
    f_opt: Any
    rotation: Any
    other: Any
    places: Any
    scales: Any
    heights: Any


def instance(function: int, num_dims: int, number: int = 1) -> Instance:
    """Generates an instance in NumPy float64.

    Args:
        function: 1 to 24.
        num_dims: at least 2.
        number: at least 1; any instance.

    Returns:
        The instance. `jax.tree.map(lambda *a: np.stack(a), *instances)` stacks several for `vmap`.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import jaxhpo as hpo
        >>> float(hpo.problems.bbob.instance(1, 2, 1).f_opt)
        79.48
    """
    where = "bbob.instance"
    function = _checks.check_int(where, "function", function, 1)
    if function > NUM_FUNCTIONS:
        raise _checks.fail(where, "function", f"at most {NUM_FUNCTIONS}", function)
    d = _checks.check_size(where, "num_dims", num_dims, 2, 1_000)
    number = _checks.check_size(where, "number", number, 1, 100_000)
    return _instance(function, d, number)


@functools.lru_cache(maxsize=256)
def _instance(function: int, d: int, number: int) -> Instance:
    seed = _SHARED_SEED.get(function, function) + 10000 * number
    rotation, other = _rotation(seed + 1000000, d), _rotation(seed, d)
    if function in (9, 19, 21, 22):  # these have one rotation, with the plain seed
        rotation = other
    none = np.zeros((0, d))
    peaks = _peaks(function, seed, d, other) if function in _PEAKS else (none, none, np.zeros(0))
    x_opt = _place(function, seed, d, other)
    return Instance(x_opt, np.float64(_value(seed)), rotation, other, *peaks)


def uniform(count: int, seed: int) -> np.ndarray:
    """Numbers in (0, 1) from a Lehmer generator (16807 modulo 2^31 - 1) behind a shuffle of 32."""
    current, shuffle = max(abs(seed), 1), np.zeros(32, np.int64)
    for i in range(39, -1, -1):
        current = 16807 * current % _MODULUS
        if i < 32:
            shuffle[i] = current
    drawn, numbers = int(shuffle[0]), np.empty(count)
    for i in range(count):
        current = 16807 * current % _MODULUS
        slot = drawn // 67108865
        drawn = int(shuffle[slot])
        shuffle[slot] = current
        numbers[i] = drawn / 2.147483647e9
    return np.where(numbers == 0, 1e-99, numbers)


def gauss(count: int, seed: int) -> np.ndarray:
    """Normal numbers from twice as many uniform ones."""
    u = uniform(2 * count, seed)
    numbers = np.sqrt(-2 * np.log(u[:count])) * np.cos(2 * np.pi * u[count:])
    return np.where(numbers == 0, 1e-99, numbers)


def _rotation(seed: int, d: int) -> np.ndarray:
    """Orthogonal `[d, d]`: Gram and Schmidt's procedure on the columns of normal numbers."""
    matrix = gauss(d * d, seed).reshape(d, d).T.copy()
    for i in range(d):
        for j in range(i):
            matrix[:, i] -= (matrix[:, i] @ matrix[:, j]) * matrix[:, j]
        matrix[:, i] /= math.sqrt(matrix[:, i] @ matrix[:, i])
    return matrix


def _value(seed: int) -> float:
    """The minimum's value: a Cauchy number, two decimals, within 1000 of 0."""
    ratio = gauss(1, seed)[0] / gauss(1, seed + 1)[0]
    return min(1000.0, max(-1000.0, math.floor(100 * 100 * ratio + 0.5) / 100))


def _place(function: int, seed: int, d: int, rotation: np.ndarray) -> np.ndarray:
    """Where the minimum is."""
    u = uniform(d, seed + 1000000 if function == 12 else seed)
    x = 8 * np.floor(1e4 * u) / 1e4 - 4
    x = np.where(x == 0, -1e-5, x)
    if function == 4:
        x[::2] = np.abs(x[::2])
    elif function == 5:
        x = np.where(x < 0, -5.0, 5.0)
    elif function == 8:
        x *= 0.75
    elif function in (9, 19):
        x = 0.5 * rotation.sum(axis=0) / max(1.0, math.sqrt(d) / 8)
    elif function == 20:
        x = np.where(u < 0.5, -0.5, 0.5) * 4.2096874637
    elif function in _PEAKS:
        width, shift = _box_of_peaks(function)
        x = 0.8 * (width * uniform(d * _PEAKS[function], seed)[:d] - shift)
    elif function == 24:
        x = np.where(gauss(d, seed) < 0, -1.25, 1.25)
    return x


def _box_of_peaks(function: int) -> tuple[float, float]:
    return (10.0, 5.0) if function == 21 else (9.8, 4.9)


def _peaks(
    function: int, seed: int, d: int, rotation: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, scales and heights of Gallagher's peaks; the first is the best."""
    k = _PEAKS[function]
    conditions = np.empty(k)
    conditions[0] = math.sqrt(1000.0) if function == 21 else 1000.0
    conditions[1:] = 1000.0 ** (np.argsort(uniform(k - 1, seed), kind="stable") / (k - 2))
    heights = np.concatenate([[10.0], np.arange(k - 1) / (k - 2) * 8.0 + 1.1])
    scales = np.empty((k, d))
    for i in range(k):
        order = np.argsort(uniform(d, seed + 1000 * i), kind="stable")
        scales[i] = conditions[i] ** (order / (d - 1) - 0.5)
    width, shift = _box_of_peaks(function)
    places = width * uniform(d * k, seed).reshape(k, d) - shift
    places[0] *= 0.8
    return places @ rotation.T, scales, heights
