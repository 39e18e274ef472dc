"""Test functions of one objective, with their minimum and minimisers as data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo.problems.functions import _formulas as formulas
from jaxhpo.problems.functions._box import BoxFunction, box_point

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Function(BoxFunction):
    """A function of `[d]` in a box, and what is known of it.

    Attributes:
        name: its name.
        evaluate: `evaluate(x [d]) -> []`, pure JAX, in the dtype of `x`.
        low: `[d]` lower bounds.
        high: `[d]` upper bounds.
        minimum: smallest value in the box; None where nobody knows.
        minimizers: `[k, d]` all points (or those known) at which it is reached.
    """

    name: str
    evaluate: Callable[[Array], Array]
    low: tuple[float, ...]
    high: tuple[float, ...]
    minimum: float | None
    minimizers: tuple[tuple[float, ...], ...] = ()

    def objective(self, key: Array, params: Any) -> Array:
        """The function as an objective over `space`; nothing in it is random."""
        del key
        return self.evaluate(box_point(params))

    def shifted(self, seed: int = 7) -> Function:
        """The same landscape moved by up to a quarter of the box per dimension.

        A search that starts in the middle, or favours it, then gains nothing. What moves out of
        the box is gone: only the points of `minimizers` that stay inside are kept.

        Args:
            seed: of the NumPy generator that draws the move.

        Returns:
            The function.
        """
        low, high = np.asarray(self.low), np.asarray(self.high)
        seed = _checks.check_seed("Function.shifted", "seed", seed)
        move = np.random.default_rng(seed).uniform(-1, 1, self.num_dims) * (high - low) / 4
        moved = [tuple((np.asarray(point) + move).tolist()) for point in self.minimizers]
        kept = tuple(p for p in moved if ((low <= p) & (np.asarray(p) <= high)).all())
        function = self.evaluate
        return dataclasses.replace(
            self,
            name=f"{self.name}_shifted",
            evaluate=lambda x: function(x - jnp.asarray(move, x.dtype)),
            minimum=self.minimum if kept else None,
            minimizers=kept,
        )


def _cube(
    name: str,
    evaluate: Callable[[Array], Array],
    d: int,
    bounds: tuple[float, float],
    minimum: float,
    place: float,
    fewest: int = 1,
) -> Function:
    """A function of any number of dimensions whose minimiser has equal coordinates."""
    d = _checks.check_size(name, "num_dims", d, fewest)
    low, high = bounds
    return Function(name, evaluate, (low,) * d, (high,) * d, minimum, ((place,) * d,))


def sphere(num_dims: int = 2) -> Function:
    """Sum of squares."""
    return _cube("sphere", formulas.sphere, num_dims, (-5.12, 5.12), 0.0, 0.0)


def ackley(num_dims: int = 2) -> Function:
    """A funnel under ripples.

    Example:
        >>> import jaxhpo as hpo
        >>> function = hpo.problems.ackley(3)
        >>> function.minimum, function.space.num_dims
        (0.0, 3)
        >>> result = hpo.minimize(function.objective, function.space, "qmc", key=0, num_trials=8)
        >>> bool(result.best_value > function.minimum)
        True
    """
    return _cube("ackley", formulas.ackley, num_dims, (-32.768, 32.768), 0.0, 0.0)


def levy(num_dims: int = 2) -> Function:
    """Valleys across a bowl."""
    return _cube("levy", formulas.levy, num_dims, (-10.0, 10.0), 0.0, 1.0)


def rosenbrock(num_dims: int = 2) -> Function:
    """A bent valley."""
    return _cube("rosenbrock", formulas.rosenbrock, num_dims, (-5.0, 10.0), 0.0, 1.0, fewest=2)


def rastrigin(num_dims: int = 2) -> Function:
    """A bowl with a minimum at every integer point."""
    return _cube("rastrigin", formulas.rastrigin, num_dims, (-5.12, 5.12), 0.0, 0.0)


def griewank(num_dims: int = 2) -> Function:
    """A wide bowl under a product of cosines."""
    return _cube("griewank", formulas.griewank, num_dims, (-600.0, 600.0), 0.0, 0.0)


def styblinski_tang(num_dims: int = 2) -> Function:
    """Two basins per dimension; the minimum is -39.17 per dimension."""
    num_dims = _checks.check_size("styblinski_tang", "num_dims", num_dims, 1)
    minimum = -39.16616570377142 * num_dims
    bounds = (-5.0, 5.0)
    return _cube(
        "styblinski_tang", formulas.styblinski_tang, num_dims, bounds, minimum, -2.903534027771177
    )


def schwefel(num_dims: int = 2) -> Function:
    """Many basins; the best is in a corner, far from the second."""
    bounds = (-500.0, 500.0)
    return _cube("schwefel", formulas.schwefel, num_dims, bounds, 0.0, 420.968746227497)


def michalewicz(num_dims: int = 2) -> Function:
    """Steep valleys on plains, d! local minima. Separable: minimisers come from d searches."""
    num_dims = _checks.check_size("michalewicz", "num_dims", num_dims, 1)
    place = [_michalewicz_place(i + 1) for i in range(num_dims)]
    values = [_michalewicz_term(i + 1, x) for i, x in enumerate(place)]
    bounds = ((0.0,) * num_dims, (math.pi,) * num_dims)
    return Function(
        "michalewicz", formulas.michalewicz, *bounds, float(np.sum(values)), (tuple(place),)
    )


def branin() -> Function:
    """Three equal minima in two dimensions."""
    places = ((-math.pi, 12.275), (math.pi, 2.275), (3 * math.pi, 2.475))
    minimum = 5 / (4 * math.pi)
    return Function("branin", formulas.branin, (-5.0, 0.0), (10.0, 15.0), minimum, places)


def six_hump_camel() -> Function:
    """Six minima in two dimensions, two of them equal and best."""
    places = (
        (0.08984201368301331, -0.7126564032704135),
        (-0.08984201368301331, 0.7126564032704135),
    )
    bounds = ((-3.0, -2.0), (3.0, 2.0))
    return Function("six_hump_camel", formulas.six_hump_camel, *bounds, -1.031628453489877, places)


def goldstein_price() -> Function:
    """Values over six orders of magnitude in two dimensions."""
    bounds = ((-2.0, -2.0), (2.0, 2.0))
    return Function("goldstein_price", formulas.goldstein_price, *bounds, 3.0, ((0.0, -1.0),))


def hartmann3() -> Function:
    """Four wells in three dimensions."""
    place = (0.11458884, 0.55564884, 0.85254695)
    return Function(
        "hartmann3", formulas.hartmann3, (0.0,) * 3, (1.0,) * 3, -3.862779787332, (place,)
    )


def hartmann6() -> Function:
    """Four wells in six dimensions."""
    place = (0.20168951, 0.15001069, 0.47687398, 0.27533243, 0.31165162, 0.65730054)
    return Function("hartmann6", formulas.hartmann6, (0.0,) * 6, (1.0,) * 6, -3.32236801, (place,))


def _michalewicz_term(i: int, x: Any) -> Any:
    return -np.sin(x) * np.sin(i * np.square(x) / np.pi) ** 20


def _michalewicz_place(i: int) -> float:
    """Where one term is smallest: a grid, then finer ones around its best point."""
    low, high = 0.0, math.pi
    for _ in range(6):
        grid = np.linspace(low, high, 2001)
        best = float(grid[np.argmin(_michalewicz_term(i, grid))])
        step = (high - low) / 2000
        low, high = max(0.0, best - step), min(math.pi, best + step)
    return best


FUNCTIONS: dict[str, Callable[..., Function]] = {
    "ackley": ackley,
    "branin": branin,
    "goldstein_price": goldstein_price,
    "griewank": griewank,
    "hartmann3": hartmann3,
    "hartmann6": hartmann6,
    "levy": levy,
    "michalewicz": michalewicz,
    "rastrigin": rastrigin,
    "rosenbrock": rosenbrock,
    "schwefel": schwefel,
    "six_hump_camel": six_hump_camel,
    "sphere": sphere,
    "styblinski_tang": styblinski_tang,
}
"""Every function by name; those of any number of dimensions take `num_dims`."""
