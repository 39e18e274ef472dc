"""Test problems over spaces that are no box: mixed, categorical and conditional."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo import space as hps
from jaxhpo.problems.functions import _formulas as formulas
from jaxhpo.space import Space

Array = jax.Array


class Landscape(NamedTuple):
    """An objective over a space of any kind, with what is known of it.

    Attributes:
        name: its name.
        space: what is searched.
        objective: `objective(key, params) -> []`, pure JAX.
        minimum: smallest value, or None where nobody knows.
    """

    name: str
    space: Space
    objective: Callable[[Array, Any], Array]
    minimum: float | None


def mixed(seed: int = 0) -> Landscape:
    """Four reals, two integers and two choices: Levy's function with a bias per option.

    An option moves the minimum of the real parameters, so that choices and reals depend on each
    other. The minimum is 0.

    Args:
        seed: of the NumPy generator that draws places and biases.

    Returns:
        The problem.
    """
    rng = np.random.default_rng(_checks.check_seed("mixed", "seed", seed))
    places, biases = rng.uniform(-4, 4, (4, 4)), np.append(rng.uniform(0.5, 3, 3), 0.0)
    costs = np.asarray([0.0, 1.0, 2.5])[rng.permutation(3)]
    best = rng.integers(2, 18, 2)
    space = Space(
        {
            "x": hps.uniform(-6.0, 6.0, shape=(4,)),
            "n": hps.integer(0, 20),
            "k": hps.integer(1, 1024, log=True),
            "kind": ["a", "b", "c", "d"],
            "mode": ["fast", "safe", "none"],
        }
    )

    def objective(key: Array, params: Any) -> Array:
        del key
        x = params["x"]
        kind, mode = params["kind"], params["mode"]
        value = formulas.levy(x - jnp.asarray(places, x.dtype)[kind] + 1)
        away = (params["n"].astype(x.dtype) - float(best[0])) / 5
        power = jnp.log2(params["k"].astype(x.dtype)) - float(best[1] // 2)
        table = jnp.asarray(biases, x.dtype)[kind] + jnp.asarray(costs, x.dtype)[mode]
        return value + away**2 + power**2 / 4 + table

    return Landscape("mixed", space, objective, 0.0)


def categorical(num_dims: int = 8, num_options: int = 5, seed: int = 0) -> Landscape:
    """Choices only: a cost per option, and one per pair of options of neighbouring parameters.

    The minimum is found by dynamic programming along the chain of neighbours.

    Args:
        num_dims: parameters, at least 2.
        num_options: options of each, at least 2.
        seed: of the NumPy generator that draws the costs.

    Returns:
        The problem.
    """
    d = _checks.check_size("categorical", "num_dims", num_dims, 2)
    c = _checks.check_size("categorical", "num_options", num_options, 2, 100)
    rng = np.random.default_rng(_checks.check_seed("categorical", "seed", seed))
    alone, paired = rng.exponential(1.0, (d, c)), rng.exponential(0.5, (d - 1, c, c))
    cheapest = alone[0]
    for i in range(1, d):
        cheapest = (cheapest[:, None] + paired[i - 1]).min(axis=0) + alone[i]
    letters = [chr(ord("a") + i) for i in range(c)]
    space = Space({"choice": hps.choice(letters, shape=(d,))})

    def objective(key: Array, params: Any) -> Array:
        del key
        index = params["choice"]
        column, dtype = jnp.arange(d, dtype=jnp.int32), jnp.result_type(float)
        single = jnp.asarray(alone, dtype)[column, index]
        pairs = jnp.asarray(paired, dtype)[column[:-1], index[:-1], index[1:]]
        return jnp.sum(single) + jnp.sum(pairs)

    return Landscape("categorical", space, objective, float(cheapest.min()))


def conditional() -> Landscape:
    """Three models, each with parameters of its own; the minimum is 0, in the second."""
    space = Space(
        {
            "model": hps.choice(
                {
                    "linear": {"penalty": hps.log_uniform(1e-6, 1e2)},
                    "kernel": {
                        "width": hps.log_uniform(1e-3, 1e3),
                        "penalty": hps.log_uniform(1e-6, 1e2),
                        "degree": hps.integer(1, 6),
                    },
                    "trees": {"depth": hps.integer(1, 30), "rate": hps.log_uniform(1e-3, 1.0)},
                }
            ),
            "scale": hps.uniform(0.0, 4.0),
        }
    )

    def objective(key: Array, params: Any) -> Array:
        del key
        model, scale = params["model"], params["scale"]
        linear, kernel, trees = model.options

        def log(value: Array) -> Array:
            return jnp.log10(value.astype(scale.dtype))

        degree = kernel["degree"].astype(scale.dtype)
        losses = (
            0.8 + 0.1 * (log(linear["penalty"]) - 0.5) ** 2,
            0.3 * (log(kernel["width"]) + log(kernel["penalty"]) + 1) ** 2
            + 0.2 * (log(kernel["penalty"]) + 2) ** 2
            + 0.05 * (degree - 3) ** 2,
            0.3
            + 0.5 * (log(trees["rate"]) + 1) ** 2
            + 0.002 * (trees["depth"].astype(scale.dtype) - 8) ** 2,
        )
        return jnp.stack(losses)[model.index] + 0.2 * (scale - 1.3) ** 2

    return Landscape("conditional", space, objective, 0.0)
