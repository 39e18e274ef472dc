"""Problems with constraints, of one objective and of several, with what is known as data."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo.problems.functions._box import ConstrainedBoxFunction
from jaxhpo.problems.functions._multi_objective import (
    MultiObjective,
    _kept,
    sphere_front,
    sphere_values,
)

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Constrained(ConstrainedBoxFunction):
    """A function of `[d]` in a box under constraints, and its best feasible point.

    Attributes:
        name: its name.
        evaluate: `evaluate(x [d]) -> []`, minimised, pure JAX, in the dtype of `x`.
        violation: `violation(x [d]) -> [c]`, broken where above 0.
        low: `[d]` lower bounds.
        high: `[d]` upper bounds.
        minimum: smallest feasible value.
        minimizer: `[d]` where it is reached; constraints hold there up to rounding.
    """

    name: str
    evaluate: Callable[[Array], Array]
    violation: Callable[[Array], Array]
    low: tuple[float, ...]
    high: tuple[float, ...]
    minimum: float
    minimizer: tuple[float, ...]


def gramacy() -> Constrained:
    """A plane with a wavy and a round constraint; three local minima.

    Example:
        >>> import jaxhpo as hpo
        >>> problem = hpo.problems.gramacy()
        >>> result = hpo.minimize(problem.objective, problem.space, "de", key=0, num_trials=400)
        >>> bool(result.best_value < problem.minimum + 0.05)
        True

    References:
        Gramacy et al., "Modeling an augmented Lagrangian for blackbox constrained optimization",
        2016, https://doi.org/10.1080/00401706.2015.1014065.
    """

    def violation(x: Array) -> Array:
        wave = 0.5 * jnp.sin(2 * math.pi * (x[0] ** 2 - 2 * x[1]))
        return jnp.stack([1.5 - x[0] - 2 * x[1] - wave, x[0] ** 2 + x[1] ** 2 - 1.5])

    return Constrained(
        "gramacy", jnp.sum, violation, (0.0, 0.0), (1.0, 1.0), 0.5997880, (0.1951226, 0.4046654)
    )


def g04() -> Constrained:
    """Five dimensions, six constraints, two of them active.

    References:
        Liang et al., "Problem definitions and evaluation criteria for the CEC 2006 special session
        on constrained real-parameter optimization", 2006 (as the other `g` problems).
    """

    def evaluate(x: Array) -> Array:
        return 5.3578547 * x[2] ** 2 + 0.8356891 * x[0] * x[4] + 37.293239 * x[0] - 40792.141

    def violation(x: Array) -> Array:
        a, b, c, d, e = x
        u = 85.334407 + 0.0056858 * b * e + 0.0006262 * a * d - 0.0022053 * c * e
        v = 80.51249 + 0.0071317 * b * e + 0.0029955 * a * b + 0.0021813 * c**2
        w = 9.300961 + 0.0047026 * c * e + 0.0012547 * a * c + 0.0019085 * c * d
        return jnp.stack([u - 92, -u, v - 110, 90 - v, w - 25, 20 - w])

    low, high = (78.0, 33.0, 27.0, 27.0, 27.0), (102.0, 45.0, 45.0, 45.0, 45.0)
    best = (78.0, 33.0, 29.9952560256815985, 45.0, 36.7758129057882073)
    return Constrained("g04", evaluate, violation, low, high, -30665.53867178333, best)


def g06() -> Constrained:
    """Two dimensions; the feasible crescent is 0.007 % of the box."""

    def evaluate(x: Array) -> Array:
        return (x[0] - 10) ** 3 + (x[1] - 20) ** 3

    def violation(x: Array) -> Array:
        outer = 100 - (x[0] - 5) ** 2 - (x[1] - 5) ** 2
        return jnp.stack([outer, (x[0] - 6) ** 2 + (x[1] - 5) ** 2 - 82.81])

    best = (14.095, 0.8429607892154796)
    return Constrained(
        "g06", evaluate, violation, (13.0, 0.0), (100.0, 100.0), -6961.81387558015, best
    )


def g08() -> Constrained:
    """Two dimensions, many local minima, the best inside the feasible set."""

    def evaluate(x: Array) -> Array:
        top = jnp.sin(2 * math.pi * x[0]) ** 3 * jnp.sin(2 * math.pi * x[1])
        return -top / (x[0] ** 3 * (x[0] + x[1]))

    def violation(x: Array) -> Array:
        return jnp.stack([x[0] ** 2 - x[1] + 1, 1 - x[0] + (x[1] - 4) ** 2])

    best = (1.227971352607526, 4.245373366122749)
    return Constrained(
        "g08", evaluate, violation, (0.0, 0.0), (10.0, 10.0), -0.0958250414180359, best
    )


def g09() -> Constrained:
    """Seven dimensions, four constraints, two of them active."""

    def evaluate(x: Array) -> Array:
        a, b, c, d, e, f, g = x
        square = (a - 10) ** 2 + 5 * (b - 12) ** 2 + 3 * (d - 11) ** 2 + 7 * f**2
        return square + c**4 + 10 * e**6 + g**4 - 4 * f * g - 10 * f - 8 * g

    def violation(x: Array) -> Array:
        a, b, c, d, e, f, g = x
        return jnp.stack(
            [
                2 * a**2 + 3 * b**4 + c + 4 * d**2 + 5 * e - 127,
                7 * a + 3 * b + 10 * c**2 + d - e - 282,
                23 * a + b**2 + 6 * f**2 - 8 * g - 196,
                4 * a**2 + b**2 - 3 * a * b + 2 * c**2 + 5 * f - 11 * g,
            ]
        )

    best = (
        2.33049935147405174, 1.95137236847114592, -0.477541399510615805, 4.36572624923625874,
        -0.624486959100388983, 1.03813099410962173, 1.5942266780671519,
    )  # fmt: skip
    low, high = (-10.0,) * 7, (10.0,) * 7
    return Constrained("g09", evaluate, violation, low, high, 680.630057374402, best)


def g24() -> Constrained:
    """Two dimensions; the feasible set is in two pieces."""

    def evaluate(x: Array) -> Array:
        return -x[0] - x[1]

    def violation(x: Array) -> Array:
        a, b = x
        one = -2 * a**4 + 8 * a**3 - 8 * a**2 + b - 2
        return jnp.stack([one, -4 * a**4 + 32 * a**3 - 88 * a**2 + 96 * a + b - 36])

    best = (2.32952019747762, 3.17849307411774)
    return Constrained("g24", evaluate, violation, (0.0, 0.0), (3.0, 4.0), -5.50801327159536, best)


def bnh() -> MultiObjective:
    """Two objectives, two round constraints (Binh and Korn 1997)."""

    def evaluate(x: Array) -> Array:
        return jnp.stack([4 * jnp.sum(x**2), jnp.sum((x - 5) ** 2)])

    def violation(x: Array) -> Array:
        inside = (x[0] - 5) ** 2 + x[1] ** 2 - 25
        return jnp.stack([inside, 7.7 - (x[0] - 8) ** 2 - (x[1] + 3) ** 2])

    def front(n: int) -> np.ndarray:
        # Along the diagonal to (3, 3), then along the edge of the box.
        t = np.linspace(0, 5, n)
        x = np.stack([t, np.minimum(t, 3)], axis=1)
        return np.stack([4 * (x**2).sum(axis=1), ((x - 5) ** 2).sum(axis=1)], axis=1)

    return MultiObjective(
        "bnh", evaluate, (0.0, 0.0), (5.0, 3.0), (0.0, 4.0), (136.0, 50.0), (140.0, 50.0), front,
        violation,
    )  # fmt: skip


def osy() -> MultiObjective:
    """Two objectives, six constraints; the front is in five pieces (Osyczka and Kundu 1995)."""

    def values(x: Any, xp: Any) -> Any:
        a, b, c, d, e, _ = x
        first = 25 * (a - 2) ** 2 + (b - 2) ** 2 + (c - 1) ** 2 + (d - 4) ** 2 + (e - 1) ** 2
        return xp.stack([-first, sum(one**2 for one in x)])

    def violation(x: Array) -> Array:
        a, b, c, d, e, f = x
        linear = [2 - a - b, a + b - 6, b - a - 2, a - 3 * b - 2]
        return jnp.stack([*linear, (c - 3) ** 2 + d - 4, 4 - (e - 3) ** 2 - f])

    def front(n: int) -> np.ndarray:
        t = np.linspace(0, 1, max(2, n // 5))
        one, zero = np.ones_like(t), np.zeros_like(t)
        third = 1 + 4 * t
        a = 4.056 + (5 - 4.056) * t
        pieces = [
            (5 * one, one, third, zero, 5 * one, zero),
            (5 * one, one, third, zero, one, zero),
            (a, (a - 2) / 3, one, zero, one, zero),
            (zero, 2 * one, 1 + 2.732 * t, zero, one, zero),
            (t, 2 - t, one, zero, one, zero),
        ]
        points = np.concatenate([values(piece, np).T for piece in pieces])
        points = np.unique(_kept(points), axis=0)
        return points

    return MultiObjective(
        "osy",
        lambda x: values(tuple(x), jnp),
        (0.0, 0.0, 1.0, 0.0, 1.0, 0.0),
        (10.0, 10.0, 5.0, 6.0, 5.0, 10.0),
        (-274.0, 4.0),
        (-42.0, 76.0),
        (-20.0, 80.0),
        front,
        violation,
    )


def c2_dtlz2(num_objectives: int = 3, num_dims: int | None = None) -> MultiObjective:
    """The front of `dtlz2` where it is near a corner or the middle (Jain and Deb 2014)."""
    m = _checks.check_size("c2_dtlz2", "num_objectives", num_objectives, 2, 100)
    d = _checks.check_size("c2_dtlz2", "num_dims", m + 9 if num_dims is None else num_dims, m)
    radius = 0.4 if m <= 3 else 0.5

    def outside(f: Any, xp: Any) -> Any:
        # |f - e_i|² = |f|² - 2 f_i + 1.
        corner = xp.sum(f**2, axis=-1) + 1 - 2 * xp.max(f, axis=-1)
        middle = xp.sum((f - 1 / math.sqrt(m)) ** 2, axis=-1)
        return xp.minimum(corner, middle) - radius**2

    def violation(x: Array) -> Array:
        return outside(sphere_values(m, x), jnp)[None]

    def front(n: int) -> np.ndarray:
        points = sphere_front(m, 2 * n)
        return points[outside(points, np) <= 0]

    return MultiObjective(
        "c2_dtlz2", functools.partial(sphere_values, m), (0.0,) * d, (1.0,) * d, (0.0,) * m,
        (1.0,) * m, (1.1,) * m, front, violation,
    )  # fmt: skip
