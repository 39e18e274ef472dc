"""NSGA-III: fronts first, then the directions that fewest members cover."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks, pareto
from jaxhpo._base import Array, Outcome, Sampler, make_sampler
from jaxhpo._linalg import matmul, solve
from jaxhpo.samplers._traits import register
from jaxhpo.samplers.evolutionary import _nsga_rounds as rounds
from jaxhpo.samplers.evolutionary._nsga_rounds import Members, NsgaInfo, NsgaSettings, NsgaState
from jaxhpo.space import Space

_OFF_AXIS = 1e-6
"""Weight of the other axes when the extreme point of an axis is looked for (from the paper)."""


@register(several_objectives=True)
def nsga3(
    space: Space,
    *,
    num_objectives: int = 3,
    divisions: int | None = None,
    batch_size: int = 1,
    population_size: int | None = None,
    offspring_size: int = 1,
    crossover: str = "uniform",
    crossover_probability: float = 0.9,
    swapping_probability: float = 0.5,
    mutation_probability: float | None = None,
    crossover_eta: float = 15.0,
    mutation_eta: float = 20.0,
) -> Sampler:
    """NSGA-III: a population that covers evenly spread directions of many objectives.

    As `nsga2`, but within the last front that survives in part, those members stay whose direction
    from the ideal point has fewest others, the nearest to it first. Objectives are scaled by the
    plane through the extreme points, so that their units do not matter.

    When to use it: three or more objectives. For two, `nsga2` is simpler and no worse.

    Args:
        space: the search space; its bounds may be traced.
        num_objectives: static; values of a trial.
        divisions: static; steps along each edge of the simplex of directions. None takes as many as
            a population of 100 can cover: 12 for three objectives, 6 for four, 5 for five.
        batch_size: static; rows of one `ask`.
        population_size: static; members, at least 4. None takes one a direction, 50 at least.
        offspring_size: static; as in `nsga2`.
        crossover: static; as in `nsga2`.
        crossover_probability: as in `nsga2`; traced.
        swapping_probability: as in `nsga2`; traced.
        mutation_probability: as in `nsga2`; traced.
        crossover_eta: as in `nsga2`; traced.
        mutation_eta: as in `nsga2`; traced.

    Returns:
        The sampler. Where a coordinate is discrete nothing is proposed twice, and on a finite space
        rows of NaN follow when it is used up.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)})
        >>> sampler = hpo.samplers.nsga3(space, num_objectives=4)

    References:
        Deb and Jain, "An evolutionary many-objective optimization algorithm using reference-point
        based nondominated sorting approach", 2014, https://doi.org/10.1109/TEVC.2013.2281535.
    """
    m = _checks.check_count("nsga3", "num_objectives", num_objectives, 1)
    if divisions is None:
        divisions = _most_divisions(m)
    divisions = _checks.check_count("nsga3", "divisions", divisions, 1)
    rows = pareto.reference_directions(m, divisions)
    # Ties between directions go to the first: no corner of the simplex may be the first.
    rows = np.random.default_rng(0).permutation(rows)
    settings = rounds.make_settings(
        "nsga3",
        space,
        directions=rows / np.linalg.norm(rows, axis=1, keepdims=True),
        num_objectives=m,
        batch_size=batch_size,
        population_size=max(50, len(rows)) if population_size is None else population_size,
        offspring_size=offspring_size,
        crossover=crossover,
        crossover_probability=crossover_probability,
        swapping_probability=swapping_probability,
        mutation_probability=mutation_probability,
        crossover_eta=crossover_eta,
        mutation_eta=mutation_eta,
    )
    return make_sampler(settings, rounds.init, rounds.ask, _tell, name="nsga3")


def _most_divisions(num_objectives: int, most: int = 100) -> int:
    """The finest division with at most `most` directions, and for two objectives with 50."""
    divisions = 1
    while divisions < 49 and math.comb(divisions + num_objectives, num_objectives - 1) <= most:
        divisions += 1
    return divisions


def _tell(
    settings: NsgaSettings, key: Array, state: NsgaState, unit: Array, outcome: Outcome
) -> tuple[NsgaState, NsgaInfo]:
    return rounds.tell(settings, _survive, "nsga3.tell", key, state, unit, outcome)


def _survive(settings: NsgaSettings, members: Members) -> tuple[Array, Array]:
    """By front, and in the front that fits in part by niche; parents compete by front."""
    assert settings.directions is not None
    rank = pareto.ranks(members.value, members.violation)
    p, c = settings.population_size, rank.shape[0]
    last = jnp.sort(rank)[p - 1]
    is_near = (rank <= last) & (rank < c)
    scaled = _scaled(members.value, rank, is_near)
    # Distance from the line through a direction w of length 1: |f|² - (f·w)².
    along = matmul(scaled, settings.directions.T)
    apart = jnp.maximum(jnp.sum(scaled**2, axis=1)[:, None] - along**2, 0)
    niche = jnp.argmin(apart, axis=1).astype(jnp.int32)
    distance = jnp.min(apart, axis=1)
    turn = _turns(niche, distance, rank < last, rank == last, settings.directions.shape[0])
    order = jnp.lexsort((turn, rank)).astype(jnp.int32)
    return order, rank


def _scaled(value: Array, rank: Array, is_near: Array) -> Array:
    """Objectives from the ideal point, in units of the plane through the extreme points."""
    m, dtype = value.shape[1], value.dtype
    shown = is_near[:, None]
    ideal = jnp.min(jnp.where(shown, value, jnp.inf), axis=0)
    ideal = jnp.where(jnp.isfinite(ideal), ideal, 0)
    moved = jnp.where(shown, value - ideal[None, :], 0)
    weight = jnp.where(jnp.eye(m, dtype=bool), 1.0, _OFF_AXIS).astype(dtype)
    reach = jnp.max(moved[None, :, :] / weight[:, None, :], axis=2)
    extreme = moved[jnp.argmin(jnp.where(is_near[None, :], reach, jnp.inf), axis=1)]
    # Units may differ by orders of magnitude; the plane is found in those of the first front.
    is_front = (is_near & (rank == jnp.min(rank)))[:, None]
    widest = jnp.max(jnp.where(is_front, moved, 0), axis=0)
    unit = jnp.where(widest > 0, widest, 1)
    plane = solve(extreme / unit[None, :], jnp.ones(m, dtype))
    intercept = 1 / jnp.where(plane == 0, 1, plane)
    # Not a plane that cuts all axes: the first front's own extent instead.
    is_sound = jnp.all((plane > 0) & jnp.isfinite(intercept) & (intercept > _OFF_AXIS))
    farthest = jnp.max(moved, axis=0) / unit
    intercept = jnp.where(is_sound, jnp.minimum(intercept, jnp.maximum(farthest, 1)), 1)
    return moved / (unit * intercept)[None, :]


def _turns(niche: Array, distance: Array, is_sure: Array, is_open: Array, count: int) -> Array:
    """When each open row is taken, int32 `[c]`: the emptiest niche first, its nearest row.

    The paper draws the row at random unless the niche is empty; the nearest needs no key, so that
    an interrupted study goes on as it would have.
    """
    c = niche.shape[0]
    members = jnp.zeros(count, jnp.int32).at[niche].add(is_sure.astype(jnp.int32))

    def take(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        turn, is_left, members, number = carry
        has_row = jnp.zeros(count, bool).at[niche].max(is_left)
        which = jnp.argmin(jnp.where(has_row, members, c + 1)).astype(jnp.int32)
        row = jnp.argmin(jnp.where(is_left & (niche == which), distance, jnp.inf))
        return (
            turn.at[row].set(number),
            is_left.at[row].set(False),
            members.at[which].add(1),
            number + 1,
        )

    start = (jnp.zeros(c, jnp.int32), is_open, members, jnp.zeros((), jnp.int32))
    turn, _, _, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[1]), take, start)
    return turn
