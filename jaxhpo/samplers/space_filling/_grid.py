"""Every point of a grid, once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Record, Sampler, make_sampler, static_field
from jaxhpo.samplers._parts._bitset import Visited
from jaxhpo.samplers._parts._configurations import Lattice
from jaxhpo.samplers._parts._pending import Counts, TellInfo, check_space
from jaxhpo.samplers._parts._validation import checked_trials
from jaxhpo.samplers._traits import register
from jaxhpo.space import Space

MAX_POINTS = 2**24
"""One bit a point is kept: 2 MiB at most."""


class GridSettings(Record):
    """Settings of `grid`: the space is traced, the rest is static."""

    space: Space
    lattice: Lattice = static_field()
    batch_size: int = static_field()


class GridState(Record):
    """State of `grid`.

    Attributes:
        counts: points observed so far, and how many of them failed.
        visited: the grid points asked or told, and those that stand for no allowed configuration.
    """

    counts: Counts
    visited: Visited


@register(ignores_values=True, plans_ahead=True, is_finite=True)
def grid(
    space: Space, *, points_per_dim: int | Mapping[str, int] = 5, batch_size: int = 1
) -> Sampler:
    """Grid search: every point of the grid once, the last dimension fastest.

    A discrete coordinate contributes all its levels, a continuous one evenly spaced levels of its
    scale (of the logarithm, on a log scale; of probability, for a normal), both ends included.
    Parameters of inactive branches are not varied, and points that break a constraint are left out.
    NaN rows follow when all is used up, also within the last batch. A point of the grid that is
    told without being asked is not asked again; one off the grid changes nothing.

    When to use it: to tabulate one to three dimensions. In more, `qmc` tells more a trial.

    Args:
        space: the search space; its bounds may be traced.
        points_per_dim: static; levels of a continuous coordinate, one number for all or a dict from
            the leaf's name (a leaf that is missing there gets 5). One level lies in the middle.
        batch_size: static; rows of one `ask`.

    Returns:
        The sampler; it uses no randomness.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number of points below 1, an unknown or discrete leaf in `points_per_dim`,
            more than 2^24 points, or a space with nothing to search.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "kind": ["a", "b"]})
        >>> sampler = hpo.samplers.grid(space, points_per_dim=3, batch_size=8)
        >>> key = jax.random.key(0)
        >>> state, unit = sampler.ask(key, sampler.init(key))
        >>> unit[:4].tolist(), int(jax.numpy.isnan(unit[:, 0]).sum())
        ([[0.0, 0.25], [0.0, 0.75], [0.5, 0.25], [0.5, 0.75]], 2)
    """
    space = check_space("grid", space)
    batch_size = _checks.check_count("grid", "batch_size", batch_size, 1)
    continuous = tuple(int(count) == 0 for count in space.num_levels)
    levels = tuple(
        points if is_continuous else int(count)
        for points, is_continuous, count in zip(
            _points_per_column(space, points_per_dim), continuous, space.num_levels, strict=True
        )
    )
    size = math.prod(levels)
    if size > MAX_POINTS:
        raise ValueError(
            f"grid: `space` must give a grid of at most {MAX_POINTS} points, got {size}; lower "
            "`points_per_dim`, coarsen the steps, or use `qmc` or `random`."
        )
    lattice = Lattice(levels, continuous, is_exact=True)
    return make_sampler(GridSettings(space, lattice, batch_size), _init, _ask, _tell, name="grid")


def _points_per_column(space: Space, points_per_dim: int | Mapping[str, int]) -> list[int]:
    """Spreads the setting over the unit columns."""
    if not isinstance(points_per_dim, Mapping):
        points = _checks.check_count("grid", "points_per_dim", points_per_dim, 1)
        return [points] * space.num_dims
    discrete = {leaf.name: getattr(leaf.dimension, "num_levels", 0) > 0 for leaf in space.leaves}
    for name in points_per_dim:
        if discrete.get(name, True):
            names = [name for name, is_discrete in discrete.items() if not is_discrete]
            raise _checks.fail("grid", "points_per_dim", f"keyed by leaves among {names}", name)
    columns: list[int] = []
    for leaf in space.leaves:
        where = f"points_per_dim[{leaf.name!r}]"
        points = _checks.check_count("grid", where, points_per_dim.get(leaf.name, 5), 1)
        columns += [points] * (leaf.stop - leaf.start)
    return columns


def _init(settings: GridSettings, key: Array) -> GridState:
    del key  # the grid is deterministic
    return GridState(Counts.zero(), settings.lattice.open_set(settings.space))


def _ask(settings: GridSettings, key: Array, state: GridState) -> tuple[GridState, Array]:
    del key  # the grid is deterministic
    rank = jnp.arange(settings.batch_size, dtype=jnp.int32)
    is_left = rank < state.visited.num_open()
    number = jnp.where(is_left, state.visited.nth_open(rank), 0)
    unit = settings.lattice.points(settings.space, number)
    state = dataclasses.replace(state, visited=state.visited.add(number, is_left))
    return state, jnp.where(is_left[:, None], unit, jnp.nan)


def _tell(
    settings: GridSettings, key: Array, state: GridState, unit: Array, outcome: Outcome
) -> tuple[GridState, TellInfo]:
    del key  # nothing is learnt
    unit, outcome = checked_trials("grid.tell", settings.space, unit, outcome)
    counts = state.counts.add(unit, outcome)
    visited = state.visited.add(*settings.lattice.number(settings.space, unit))
    return GridState(counts, visited), counts.info(visited.num_open() == 0)
