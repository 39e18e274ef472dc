"""Independent draws from the space's own distribution; without replacement where it is finite."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Record, Sampler, make_sampler, static_field
from jaxhpo.samplers._parts._bitset import Visited
from jaxhpo.samplers._parts._chunks import row_keys
from jaxhpo.samplers._parts._configurations import Lattice, finite_lattice
from jaxhpo.samplers._parts._pending import MAX_INFEASIBLE, Counts, TellInfo, check_space
from jaxhpo.samplers._parts._validation import checked_trials
from jaxhpo.samplers._traits import register
from jaxhpo.space import Space
from jaxhpo.space.internal import Columns, columns_of

_CANDIDATES = 16
_Attempt = tuple[Array, Array, Array, Array, Array]
_EXACT_ROUNDS = 64
"""On an enumerated space the draw from what is left takes over after 1,024 rejected candidates."""


class RandomSettings(Record):
    """Settings of `random`: the space is traced, the rest is static."""

    space: Space
    lattice: Lattice | None = static_field()
    batch_size: int = static_field()


class RandomState(Record):
    """State of `random`.

    Attributes:
        counts: points observed so far, and how many of them failed.
        visited: configurations not to propose (again); None where the space is not finite (unless
            a `Guard` keeps account there, which this sampler leaves as it is).
    """

    counts: Counts
    visited: Visited | None


@register(ignores_values=True, takes_columns=True, has_many_kernels=True)
def random(space: Space, *, batch_size: int = 1) -> Sampler:
    """Random search: each proposal is a draw from the space's own distribution.

    On a finite space nothing is proposed twice, in the order of successive draws without
    replacement (weights respected), and NaN rows follow when all is used up. Up to 2^20
    combinations are tracked one by one; beyond, a hashed set of 2^22 bits takes care, which may
    pass over a fresh configuration but never repeats one.

    When to use it: as the baseline, with thousands of cheap trials, or in many dimensions. With
    few trials `qmc` covers the space more evenly.

    Args:
        space: the search space; its bounds may be traced.
        batch_size: static; rows of one `ask`. Row `r` uses `fold_in(key, r)`.

    Returns:
        The sampler. A row for which 65,536 draws in a row broke the constraints is NaN.

    Raises:
        TypeError: `space` is not a `Space` or `batch_size` not an integer.
        ValueError: `batch_size` below 1, or a space with nothing to search.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> sampler = hpo.samplers.random(hpo.Space({"x": [1, 2, 3]}), batch_size=4)
        >>> key_init, key_ask = jax.random.split(jax.random.key(0))
        >>> state, unit = sampler.ask(key_ask, sampler.init(key_init))
        >>> bool(jax.numpy.isnan(unit[:3]).any()), bool(jax.numpy.isnan(unit[3]).all())
        (False, True)

    References:
        Bergstra and Bengio, "Random search for hyper-parameter optimization", 2012,
        https://jmlr.org/papers/v13/bergstra12a.html.
    """
    space = check_space("random", space)
    batch_size = _checks.check_count("random", "batch_size", batch_size, 1)
    settings = RandomSettings(space, finite_lattice(space), batch_size)
    return make_sampler(settings, _init, _ask, _tell, name="random")


def plain_columns(sampler: Sampler) -> np.ndarray | None:
    """Level counts `[d]` of the columns of a `random` that draws each of them by itself.

    0 is a continuous column and -1 one that is not used. None is any other sampler, one that
    remembers, has constraints or a batch, or a column on a logarithmic grid.
    """
    settings = next(iter(getattr(sampler.ask, "args", ())), None)
    if not isinstance(settings, RandomSettings) or settings.batch_size > 1:
        return None
    if settings.lattice is not None or any(map(_checks.is_traced, jax.tree.leaves(settings))):
        return None
    space = settings.space
    columns = space if isinstance(space, Columns) else columns_of(space, space.num_dims)
    if columns is None or np.asarray(columns.scale)[2].any():
        return None
    return np.asarray(columns.count)


def _init(settings: RandomSettings, key: Array) -> RandomState:
    del key  # nothing random is fixed for the whole study
    lattice = settings.lattice
    visited = None if lattice is None else lattice.open_set(settings.space)
    return RandomState(Counts.zero(), visited)


def _ask(settings: RandomSettings, key: Array, state: RandomState) -> tuple[RandomState, Array]:
    keys = row_keys(key, settings.batch_size)
    if settings.lattice is None or state.visited is None:
        return state, jax.vmap(lambda key_row: _draw_free(settings.space, key_row))(keys)

    (visited, _), unit = jax.lax.scan(
        lambda carry, key_row: _draw_unvisited(settings, key_row, *carry),
        (state.visited, state.visited.num_open()),
        keys,
    )
    return dataclasses.replace(state, visited=visited), unit


def _tell(
    settings: RandomSettings, key: Array, state: RandomState, unit: Array, outcome: Outcome
) -> tuple[RandomState, TellInfo]:
    del key  # nothing is learnt
    unit, outcome = checked_trials("random.tell", settings.space, unit, outcome)
    counts, visited = state.counts.add(unit, outcome), state.visited
    if settings.lattice is None or visited is None:
        return RandomState(counts, visited), counts.info(jnp.zeros((), bool))
    visited = visited.add(*settings.lattice.number(settings.space, unit))
    return RandomState(counts, visited), counts.info(visited.num_open() == 0)


def _draw_free(space: Space, key: Array) -> Array:
    """Draws one feasible point `[d]` of a space that is not finite."""
    dtype = jnp.result_type(float)
    if not space.has_constraints:
        return space.snap(jax.random.uniform(key, (1, space.num_dims), dtype))[0]
    shape = (_CANDIDATES, space.num_dims)

    def attempt(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        count, _, _ = carry
        draws = jax.random.uniform(jax.random.fold_in(key, count), shape, dtype)
        unit = space.snap(draws)
        allowed = space.allows(unit)
        first = jnp.argmax(allowed)
        return count + 1, jnp.where(allowed[first], unit[first], jnp.nan), allowed[first]

    start = (jnp.zeros((), jnp.int32), _no_point(space), jnp.zeros((), bool))
    _, unit, _ = jax.lax.while_loop(
        lambda carry: ~carry[2] & (carry[0] < MAX_INFEASIBLE // _CANDIDATES), attempt, start
    )
    return unit


def _draw_unvisited(
    settings: RandomSettings, key: Array, visited: Visited, num_open: Array
) -> tuple[tuple[Visited, Array], Array]:
    """Draws one open configuration `[d]` of a finite space and closes it."""
    space, lattice = settings.space, settings.lattice
    assert lattice is not None
    rounds = _EXACT_ROUNDS if lattice.is_exact else MAX_INFEASIBLE // _CANDIDATES
    shape = (_CANDIDATES, space.num_dims + 1)

    def attempt(carry: _Attempt) -> _Attempt:
        count = carry[0]
        draws = jax.random.uniform(jax.random.fold_in(key, count), shape, jnp.result_type(float))
        unit = space.snap(draws[:, 1:])
        number, _ = lattice.number(space, unit)
        allowed = ~visited.contains(number)
        if not lattice.is_exact:
            allowed &= space.allows(unit)
        first = jnp.argmax(allowed)
        return count + 1, allowed[first], number[first], unit[first], draws[0, 0]

    zero = jnp.zeros((), jnp.int32)
    nothing = _no_point(space)
    start = (zero, jnp.zeros((), bool), zero, nothing, nothing[0])
    _, found, number, unit, spare = jax.lax.while_loop(
        lambda carry: ~carry[1] & (carry[0] < rounds) & (num_open > 0), attempt, start
    )
    if lattice.is_exact:
        # `spare` is independent of the candidates: it draws from whatever is left.
        rank = jnp.minimum((spare * num_open.astype(spare.dtype)).astype(jnp.int32), num_open - 1)
        number, unit = lattice.point_or_rest(space, visited, found, number, unit, rank)
        found = num_open > 0
    visited = visited.add(number[None], found[None])
    return (visited, num_open - found.astype(jnp.int32)), jnp.where(found, unit, jnp.nan)


def _no_point(space: Space) -> Array:
    return jnp.full(space.num_dims, jnp.nan, jnp.result_type(float))
