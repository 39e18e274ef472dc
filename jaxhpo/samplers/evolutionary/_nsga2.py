"""NSGA-II: fronts first, then the least crowded."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxhpo import _checks, pareto
from jaxhpo._base import Array, Outcome, Sampler, make_sampler
from jaxhpo.samplers._traits import register
from jaxhpo.samplers.evolutionary import _nsga_rounds as rounds
from jaxhpo.samplers.evolutionary._nsga_rounds import Members, NsgaInfo, NsgaSettings, NsgaState
from jaxhpo.space import Space


@register(several_objectives=True)
def nsga2(
    space: Space,
    *,
    num_objectives: int = 2,
    batch_size: int = 1,
    population_size: int = 50,
    offspring_size: int = 1,
    crossover: str = "uniform",
    crossover_probability: float = 0.9,
    swapping_probability: float = 0.5,
    mutation_probability: float | None = None,
    crossover_eta: float = 15.0,
    mutation_eta: float = 20.0,
) -> Sampler:
    """NSGA-II: a population that spreads along the Pareto front of two or three objectives.

    Points are sorted into fronts, by constrained domination: feasible before infeasible, then less
    violation, then dominance. Within a front those with distant neighbours come first. The first
    points are a Latin hypercube; each later one is a child of two members, each the better of two
    drawn at random.

    When to use it: several objectives and hundreds of trials or more. For four or more objectives
    take `nsga3`.

    Args:
        space: the search space; its bounds may be traced.
        num_objectives: static; values of a trial. 1 is allowed, and plain evolution.
        batch_size: static; rows of one `ask`.
        population_size: static; members, at least 4.
        offspring_size: static; children told between two survivals. 1 learns from each trial at
            once; `population_size` is the generation of the paper.
        crossover: static; "uniform", which takes each coordinate from either parent (as Optuna
            does; better within some hundreds of trials), or "sbx", which mixes numbers around the
            parents' (as the paper does).
        crossover_probability: that a child has two parents rather than one; traced.
        swapping_probability: of uniform crossover, for each coordinate; traced.
        mutation_probability: for each coordinate; None means one in `d`; traced.
        crossover_eta: distribution index of "sbx", the larger the closer to the parents; traced.
        mutation_eta: distribution index of mutation; traced.

    Returns:
        The sampler. Where a coordinate is discrete nothing is proposed twice, and on a finite space
        rows of NaN follow when it is used up.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range, or a space with nothing to search.

    Example:
        >>> import jax.numpy as jnp, jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-1.0, 3.0)})
        >>> def objective(key, params):
        ...     return jnp.stack([params["x"] ** 2, (params["x"] - 2.0) ** 2])
        >>> result = hpo.minimize(objective, space, "nsga2", key=0, num_trials=200)
        >>> int(result.front.sum()) > 50
        True

    References:
        Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm:
        NSGA-II", 2002, https://doi.org/10.1109/4235.996017.
        Durillo, Nebro, Luna and Alba, "On the effect of the steady-state selection scheme in
        multi-objective genetic algorithms", 2009, https://doi.org/10.1007/978-3-642-01020-0_18.
    """
    settings = rounds.make_settings(
        "nsga2",
        space,
        directions=None,
        num_objectives=_checks.check_count("nsga2", "num_objectives", num_objectives, 1),
        batch_size=batch_size,
        population_size=population_size,
        offspring_size=offspring_size,
        crossover=crossover,
        crossover_probability=crossover_probability,
        swapping_probability=swapping_probability,
        mutation_probability=mutation_probability,
        crossover_eta=crossover_eta,
        mutation_eta=mutation_eta,
    )
    return make_sampler(settings, rounds.init, rounds.ask, _tell, name="nsga2")


def _tell(
    settings: NsgaSettings, key: Array, state: NsgaState, unit: Array, outcome: Outcome
) -> tuple[NsgaState, NsgaInfo]:
    return rounds.tell(settings, _survive, "nsga2.tell", key, state, unit, outcome)


def _survive(settings: Any, members: Members) -> tuple[Array, Array]:
    """By front, then by crowding distance; parents compete by the same order."""
    del settings
    rank = pareto.ranks(members.value, members.violation)
    distance = pareto.crowding_distance(members.value, rank)
    order = jnp.lexsort((-distance, rank)).astype(jnp.int32)
    place = jnp.arange(order.shape[0], dtype=jnp.int32)
    return order, jnp.zeros_like(place).at[order].set(place)
