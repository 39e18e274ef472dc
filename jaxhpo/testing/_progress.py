"""Does it search: thresholds on two functions whose optimum is nowhere near a symmetric place."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxhpo import space as hps
from jaxhpo._base import PyTree
from jaxhpo.search import minimize
from jaxhpo.testing._case import SamplerCase

_NUM_SEEDS = 3


def _sphere(key: jax.Array, params: PyTree) -> jax.Array:
    """Minimum 0 at (1.3, -0.7)."""
    return (params["x"] - 1.3) ** 2 + (params["y"] + 0.7) ** 2


def _branin(key: jax.Array, params: PyTree) -> jax.Array:
    """Minimum 0.397887 at three points (Surjanovic and Bingham, Virtual Library of Simulation)."""
    x, y = params["x"], params["y"]
    inner = y - 5.1 / (4 * jnp.pi**2) * x**2 + 5 / jnp.pi * x - 6
    return inner**2 + 10 * (1 - 1 / (8 * jnp.pi)) * jnp.cos(x) + 10


def _worst_of_seeds(
    case: SamplerCase, objective: Callable[..., jax.Array], box: dict[str, tuple[float, float]]
) -> float:
    space = hps.Space({name: hps.uniform(*bounds) for name, bounds in box.items()})
    sampler = case.make(space)
    return max(
        float(
            minimize(
                case.objective(objective, space),
                space,
                sampler,
                key=seed,
                num_trials=case.progress_trials,
            ).best_value
        )
        for seed in range(_NUM_SEEDS)
    )


def check_sphere(case: SamplerCase) -> None:
    """The sphere in an asymmetric box."""
    worst = _worst_of_seeds(case, _sphere, {"x": (-2.0, 5.0), "y": (-6.0, 1.0)})
    assert worst < case.sphere_below, f"reached {worst:.4g}, promised {case.sphere_below}"


def check_branin(case: SamplerCase) -> None:
    """Branin's function in its usual box."""
    worst = _worst_of_seeds(case, _branin, {"x": (-5.0, 10.0), "y": (0.0, 15.0)})
    assert worst < case.branin_below, f"reached {worst:.4g}, promised {case.branin_below}"


CHECKS = {"sphere": check_sphere, "branin": check_branin}
