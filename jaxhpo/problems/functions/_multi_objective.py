"""Problems of several objectives, with their Pareto fronts as data."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks, pareto
from jaxhpo.problems.functions._box import ConstrainedBoxFunction

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class MultiObjective(ConstrainedBoxFunction):
    """A function of `[d]` in a box with several values, and what is known of its front.

    Attributes:
        name: its name.
        evaluate: `evaluate(x [d]) -> [m]`, minimised, pure JAX, in the dtype of `x`.
        low: `[d]` lower bounds.
        high: `[d]` upper bounds.
        ideal: `[m]` smallest value of each objective on the front.
        nadir: `[m]` largest value of each objective on the front.
        reference: `[m]` a point that bounds the dominated volume, beyond the nadir.
        front: `front(n) -> [k, m]`, about `n` points of the front, float64 NumPy.
        violation: `violation(x [d]) -> [c]`, broken where above 0; None without constraints.
    """

    name: str
    evaluate: Callable[[Array], Array]
    low: tuple[float, ...]
    high: tuple[float, ...]
    ideal: tuple[float, ...]
    nadir: tuple[float, ...]
    reference: tuple[float, ...]
    front: Callable[[int], np.ndarray]
    violation: Callable[[Array], Array] | None = None

    @property
    def num_objectives(self) -> int:
        """`m`."""
        return len(self.ideal)


def zdt1(num_dims: int = 30) -> MultiObjective:
    """A convex front; one coordinate moves along it, the others towards it.

    Example:
        >>> import jaxhpo as hpo
        >>> problem = hpo.problems.zdt1(5)
        >>> problem.num_objectives, problem.front(3).round(3).tolist()
        (2, [[0.0, 1.0], [0.5, 0.293], [1.0, 0.0]])

    References:
        Zitzler, Deb and Thiele, "Comparison of multiobjective evolutionary algorithms: empirical
        results", 2000, https://doi.org/10.1162/106365600568202.
    """

    def evaluate(x: Array) -> Array:
        g = 1 + 9 * jnp.mean(x[1:])
        return jnp.stack([x[0], g * (1 - jnp.sqrt(x[0] / g))])

    return _zdt("zdt1", evaluate, num_dims, lambda t: 1 - np.sqrt(t))


def zdt2(num_dims: int = 30) -> MultiObjective:
    """As `zdt1` with a concave front."""

    def evaluate(x: Array) -> Array:
        g = 1 + 9 * jnp.mean(x[1:])
        return jnp.stack([x[0], g * (1 - (x[0] / g) ** 2)])

    return _zdt("zdt2", evaluate, num_dims, lambda t: 1 - t**2)


def zdt3(num_dims: int = 30) -> MultiObjective:
    """As `zdt1` with a front in five pieces."""

    def evaluate(x: Array) -> Array:
        g = 1 + 9 * jnp.mean(x[1:])
        ratio = x[0] / g
        wave = ratio * jnp.sin(10 * math.pi * x[0])
        return jnp.stack([x[0], g * (1 - jnp.sqrt(ratio) - wave)])

    problem = _zdt(
        "zdt3", evaluate, num_dims, lambda t: 1 - np.sqrt(t) - t * np.sin(10 * math.pi * t)
    )
    # Ends of the last piece: its largest first value, its smallest second one.
    return dataclasses.replace(problem, ideal=(0.0, -0.7733690), nadir=(0.8518328, 1.0))


def zdt4(num_dims: int = 10) -> MultiObjective:
    """The front of `zdt1` behind 21^(d-1) local ones."""

    def evaluate(x: Array) -> Array:
        rest = x[1:]
        g = 1 + 10 * rest.shape[0] + jnp.sum(rest**2 - 10 * jnp.cos(4 * math.pi * rest))
        return jnp.stack([x[0], g * (1 - jnp.sqrt(x[0] / g))])

    problem = _zdt("zdt4", evaluate, num_dims, lambda t: 1 - np.sqrt(t))
    d = problem.num_dims
    return dataclasses.replace(
        problem, low=(0.0,) + (-5.0,) * (d - 1), high=(1.0,) + (5.0,) * (d - 1)
    )


def zdt6(num_dims: int = 10) -> MultiObjective:
    """A concave front that few points map to, and ever fewer near it."""

    def evaluate(x: Array) -> Array:
        first = 1 - jnp.exp(-4 * x[0]) * jnp.sin(6 * math.pi * x[0]) ** 6
        g = 1 + 9 * jnp.mean(x[1:]) ** 0.25
        return jnp.stack([first, g * (1 - (first / g) ** 2)])

    start = 0.2807753191  # smallest first value
    problem = _zdt("zdt6", evaluate, num_dims, lambda t: 1 - t**2, start)
    return dataclasses.replace(problem, ideal=(start, 0.0), nadir=(1.0, 1 - start**2))


def _zdt(
    name: str,
    evaluate: Callable[[Array], Array],
    num_dims: int,
    curve: Callable[[np.ndarray], np.ndarray],
    start: float = 0.0,
) -> MultiObjective:
    d = _checks.check_size(name, "num_dims", num_dims, 2)

    def front(n: int) -> np.ndarray:
        t = np.linspace(start, 1, n)
        return _kept(np.stack([t, curve(t)], axis=1))

    one = (1.0,) * d
    return MultiObjective(
        name, evaluate, (0.0,) * d, one, (0.0, 0.0), (1.0, 1.0), (1.1, 1.1), front
    )


def dtlz1(num_objectives: int = 3, num_dims: int | None = None) -> MultiObjective:
    """A plane as the front, behind 11^k - 1 local ones.

    References:
        Deb, Thiele, Laumanns and Zitzler, "Scalable test problems for evolutionary multiobjective
        optimization", 2005, https://doi.org/10.1007/1-84628-137-7_6.
    """
    m, d = _sizes("dtlz1", num_objectives, num_dims, 5)

    def evaluate(x: Array) -> Array:
        rest = x[m - 1 :] - 0.5
        g = 100 * (rest.shape[0] + jnp.sum(rest**2 - jnp.cos(20 * math.pi * rest)))
        return 0.5 * (1 + g) * _products(x[: m - 1], 1 - x[: m - 1])

    return MultiObjective(
        "dtlz1", evaluate, (0.0,) * d, (1.0,) * d, (0.0,) * m, (0.5,) * m, (0.55,) * m,
        lambda n: 0.5 * _simplex(m, n),
    )  # fmt: skip


def dtlz2(num_objectives: int = 3, num_dims: int | None = None) -> MultiObjective:
    """An eighth of a sphere as the front."""
    m, d = _sizes("dtlz2", num_objectives, num_dims, 10)
    return MultiObjective(
        "dtlz2", functools.partial(sphere_values, m), (0.0,) * d, (1.0,) * d, (0.0,) * m,
        (1.0,) * m, (1.1,) * m, lambda n: sphere_front(m, n),
    )  # fmt: skip


def dtlz7(num_objectives: int = 3, num_dims: int | None = None) -> MultiObjective:
    """A front in 2^(m-1) pieces."""
    m, d = _sizes("dtlz7", num_objectives, num_dims, 20)

    def height(first: Any, g: Any, xp: Any) -> Any:
        return m - xp.sum(first / (1 + g) * (1 + xp.sin(3 * math.pi * first)), axis=-1)

    def evaluate(x: Array) -> Array:
        first = x[: m - 1]
        g = 1 + 9 * jnp.mean(x[m - 1 :])
        return jnp.concatenate([first, ((1 + g) * height(first, g, jnp))[None]])

    def front(n: int) -> np.ndarray:
        side = max(2, round(n ** (1 / (m - 1))))
        axes = np.meshgrid(*[np.linspace(0, 1, side)] * (m - 1), indexing="ij")
        first = np.stack([axis.ravel() for axis in axes], axis=1)
        return _kept(np.concatenate([first, 2 * height(first, 1.0, np)[:, None]], axis=1))

    # Where the last piece ends in a coordinate: the maximum of t (1 + sin 3πt), t in [0, 1].
    top, most = 0.8594008566, 1.6929913430
    ideal = (0.0,) * (m - 1) + (2 * (m - (m - 1) * most / 2),)
    nadir = (top,) * (m - 1) + (2.0 * m,)
    return MultiObjective(
        "dtlz7",
        evaluate,
        (0.0,) * d,
        (1.0,) * d,
        ideal,
        nadir,
        (1.0,) * (m - 1) + (2.1 * m,),
        front,
    )


def sphere_values(num_objectives: int, x: Array) -> Array:
    """The values `[m]` of `dtlz2`."""
    angle = x[: num_objectives - 1] * (math.pi / 2)
    g = jnp.sum((x[num_objectives - 1 :] - 0.5) ** 2)
    return (1 + g) * _products(jnp.cos(angle), jnp.sin(angle))


def sphere_front(num_objectives: int, n: int) -> np.ndarray:
    """About `n` points of the front of `dtlz2`."""
    points = _simplex(num_objectives, n)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _products(along: Array, across: Array) -> Array:
    """`[m]`: all of `along`; all but the last and one of `across`; …; the first of `across`."""
    ones = jnp.ones(1, along.dtype)
    grown = jnp.concatenate([ones, jnp.cumprod(along)])
    return jnp.flip(grown * jnp.concatenate([across, ones]))


def _simplex(num_objectives: int, n: int) -> np.ndarray:
    """At least `n` points of the simplex, evenly spread."""
    divisions = 1
    while math.comb(divisions + num_objectives - 1, divisions) < n:
        divisions += 1
    return pareto.reference_directions(num_objectives, divisions)


def _kept(points: np.ndarray) -> np.ndarray:
    """Those that no other one dominates."""
    is_front = [
        not ((points <= point).all(axis=1) & (points < point).any(axis=1)).any() for point in points
    ]
    return points[np.asarray(is_front)]


def _sizes(name: str, num_objectives: int, num_dims: int | None, extra: int) -> tuple[int, int]:
    m = _checks.check_size(name, "num_objectives", num_objectives, 2, 100)
    d = m + extra - 1 if num_dims is None else num_dims
    return m, _checks.check_size(name, "num_dims", d, m)
