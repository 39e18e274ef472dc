"""Low-discrepancy search: scrambled Sobol or Halton points, one after the other."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Record, Sampler, make_sampler, setting, static_field
from jaxhpo.samplers._parts._bitset import Visited
from jaxhpo.samplers._parts._configurations import HASHED_BITS, Lattice, finite_lattice
from jaxhpo.samplers._parts._pending import (
    MAX_INFEASIBLE,
    Counts,
    Pending,
    TellInfo,
    check_space,
    empty_pending,
)
from jaxhpo.samplers._parts._validation import checked_trials
from jaxhpo.samplers._traits import register
from jaxhpo.samplers.space_filling import _halton, _sobol
from jaxhpo.space import Space

_CHUNK = 16
_Search = tuple[Array, Array, Array, Array, Array]
_POINTS_PER_CELL = 32
"""On an enumerated space the sequence is followed for so many points a configuration; what it has
missed by then follows in the order of numbers."""

_PLAIN = {"sobol": _sobol.plain_sobol, "halton": _halton.plain_halton}
_SCRAMBLED = {"sobol": _sobol.scrambled_sobol, "halton": _halton.scrambled_halton}
_NUMBERS = {"sobol": _sobol.direction_numbers, "halton": _halton.prime_bases}
_MAX_DIMS = {"sobol": _sobol.MAX_DIMS, "halton": _halton.MAX_DIMS}


class QmcSettings(Record):
    """Settings of `qmc`; `numbers` are the direction numbers or the bases."""

    space: Space
    numbers: Array
    lattice: Lattice | None = static_field()
    sequence: str = static_field()
    scramble: bool = static_field()
    batch_size: int = static_field()


class QmcState(Record):
    """State of `qmc`.

    Attributes:
        sequence: the sequence as scrambled by `init`.
        index: `[]` int32, the next point of the sequence.
        counts: points observed so far, and how many of them failed.
        known: points asked and not told (`Pending`), or on a finite space the configurations not to
            propose again (`Visited`).
    """

    sequence: Any
    index: Array
    counts: Counts
    known: Pending | Visited


@register(ignores_values=True, plans_ahead=True, takes_columns=True, has_many_kernels=True)
def qmc(
    space: Space,
    *,
    sequence: str = "sobol",
    scramble: bool = True,
    batch_size: int = 1,
) -> Sampler:
    """Quasi-random search: each proposal fills the largest gap that the ones before it left.

    The proposals are points of one low-discrepancy sequence, continued by as many points as are
    known (asked, or told without being asked). Points that break a constraint are passed over. On a
    finite space the sequence is followed to its next configuration that is not known, until all are
    used up; NaN rows follow.

    When to use it: instead of `random` whenever there are fewer than some thousand trials, and to
    start a model. Powers of two are the best numbers of trials for "sobol".

    Args:
        space: the search space; its bounds may be traced.
        sequence: static; "sobol" (at most 1,111 dimensions, 53 without importing SciPy) or "halton"
            (at most 1,024).
        scramble: static; whether `init` draws a random scramble from its key. Without it the points
            are those of `scipy.stats.qmc`, the first of them a corner of the space.
        batch_size: static; rows of one `ask`.

    Returns:
        The sampler. Its state fingerprints the latest 64 pending points (or one batch, if more);
        older ones are only counted. A row for which 65,536 points in a row broke the constraints
        is NaN.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an unknown sequence, too many dimensions for it, `batch_size` below 1, or a
            space with nothing to search.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
        >>> sampler = hpo.samplers.qmc(space, scramble=False, batch_size=4)
        >>> key_init, key_ask = jax.random.split(jax.random.key(0))
        >>> state, unit = sampler.ask(key_ask, sampler.init(key_init))
        >>> unit[:, 0].tolist()
        [0.0, 0.5, 0.75, 0.25]

    References:
        Joe and Kuo, "Constructing Sobol sequences with better two-dimensional projections", 2008,
        https://doi.org/10.1137/070709359. Owen, "On dropping the first Sobol' point", 2020,
        https://arxiv.org/abs/2008.08051, on why scrambling is the default.
    """
    space = check_space("qmc", space)
    sequence = _checks.check_choice("qmc", "sequence", sequence, _PLAIN)
    scramble = _checks.check_bool("qmc", "scramble", scramble)
    batch_size = _checks.check_count("qmc", "batch_size", batch_size, 1)
    if space.num_dims > _MAX_DIMS[sequence]:
        expected = f"of at most {_MAX_DIMS[sequence]} dimensions for {sequence!r}; use `random`"
        raise _checks.fail("qmc", "space", expected, space.num_dims)
    numbers = setting(_NUMBERS[sequence](space.num_dims))
    lattice = finite_lattice(space)
    settings = QmcSettings(space, numbers, lattice, sequence, scramble, batch_size)
    return make_sampler(settings, _init, _ask, _tell, name="qmc")


def _init(settings: QmcSettings, key: Array) -> QmcState:
    if settings.scramble:
        sequence = _SCRAMBLED[settings.sequence](key, settings.numbers)
    else:
        sequence = _PLAIN[settings.sequence](settings.numbers)
    known: Pending | Visited
    if settings.lattice is None:
        known = empty_pending(settings.batch_size)
    else:
        known = settings.lattice.open_set(settings.space)
    return QmcState(sequence, jnp.zeros((), jnp.int32), Counts.zero(), known)


def _ask(settings: QmcSettings, key: Array, state: QmcState) -> tuple[QmcState, Array]:
    del key  # all randomness is in the scramble
    q = settings.batch_size
    if isinstance(state.known, Visited):
        return _ask_finite(settings, state, state.known)
    if settings.space.has_constraints:
        index, unit = jax.lax.scan(
            lambda index, _: _next_feasible(settings, state.sequence, index),
            state.index,
            length=q,
        )
    else:
        index = state.index + q
        unit = _points(settings, state.sequence, state.index, q)
    return dataclasses.replace(state, index=index, known=state.known.add(unit)), unit


def _tell(
    settings: QmcSettings, key: Array, state: QmcState, unit: Array, outcome: Outcome
) -> tuple[QmcState, TellInfo]:
    del key  # nothing is learnt
    unit, outcome = checked_trials("qmc.tell", settings.space, unit, outcome)
    counts = state.counts.add(unit, outcome)
    if settings.lattice is not None and isinstance(state.known, Visited):
        known = state.known.add(*settings.lattice.number(settings.space, unit))
        info = counts.info(known.num_open() == 0)
        return dataclasses.replace(state, known=known, counts=counts), info
    assert isinstance(state.known, Pending)
    pending, num_new = state.known.resolve(unit)
    index = _advance(settings, state, num_new)
    state = dataclasses.replace(state, known=pending, counts=counts, index=index)
    return state, counts.info(jnp.zeros((), bool))


def _points(settings: QmcSettings, sequence: Any, index: Array, count: int) -> Array:
    """Gives `count` snapped points from `index` on."""
    return settings.space.snap(sequence.points(index + jnp.arange(count, dtype=jnp.int32)))


def _advance(settings: QmcSettings, state: QmcState, count: Array) -> Array:
    """Passes over `count` feasible points of the sequence."""
    if not settings.space.has_constraints:
        return state.index + count
    return jax.lax.fori_loop(
        jnp.zeros((), jnp.int32),
        count,
        lambda _, index: _next_feasible(settings, state.sequence, index)[0],
        state.index,
    )


def _next_feasible(settings: QmcSettings, sequence: Any, start: Array) -> tuple[Array, Array]:
    """Finds the first feasible point at or after `start`.

    Returns:
        The index after it and the point `[d]`; `start` and NaN if too many in a row are infeasible.
    """
    space = settings.space

    def look(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        index, _, _ = carry
        unit = _points(settings, sequence, index, _CHUNK)
        allowed = space.allows(unit)
        first = jnp.argmax(allowed).astype(jnp.int32)
        found = allowed[first]
        return index + jnp.where(found, first + 1, _CHUNK), unit[first], found

    nothing = jnp.full(space.num_dims, jnp.nan, jnp.result_type(float))
    index, unit, found = jax.lax.while_loop(
        lambda carry: ~carry[2] & (carry[0] - start < MAX_INFEASIBLE),
        look,
        (start, nothing, jnp.zeros((), bool)),
    )
    return jnp.where(found, index, start), jnp.where(found, unit, jnp.nan)


def _ask_finite(settings: QmcSettings, state: QmcState, visited: Visited) -> tuple[QmcState, Array]:
    """Follows the sequence to its next open configurations.

    What is proposed depends on the set of known configurations only: `index` just remembers that
    everything before it is closed.
    """
    (index, visited, _), unit = jax.lax.scan(
        lambda carry, _: _next_open(settings, state.sequence, *carry),
        (state.index, visited, visited.num_open()),
        length=settings.batch_size,
    )
    return dataclasses.replace(state, index=index, known=visited), unit


def _next_open(
    settings: QmcSettings, sequence: Any, start: Array, visited: Visited, num_open: Array
) -> tuple[tuple[Array, Visited, Array], Array]:
    """Finds the first open configuration at or after `start` and closes it.

    Returns:
        The index after it, the closed set and what is left open; and the point `[d]`.
    """
    space, lattice = settings.space, settings.lattice
    assert lattice is not None
    # A hashed set holds 2^22 bits: a longer run of closed points means that it is full.
    stop = _POINTS_PER_CELL * lattice.size if lattice.is_exact else 2**30
    longest = stop if lattice.is_exact else 4 * HASHED_BITS

    def look(carry: _Search) -> _Search:
        index, _, run = carry[:3]
        unit = _points(settings, sequence, index, _CHUNK)
        number, _ = lattice.number(space, unit)
        is_open = ~visited.contains(number)
        is_open &= index + jnp.arange(_CHUNK, dtype=jnp.int32) < stop
        if not lattice.is_exact:
            allowed = space.allows(unit)
            is_open &= allowed
            run = jnp.where(jnp.any(allowed), 0, run + _CHUNK)
        first = jnp.argmax(is_open).astype(jnp.int32)
        found = is_open[first]
        index = index + jnp.where(found, first + 1, _CHUNK)
        return index, found, run, number[first], unit[first]

    def goes_on(carry: _Search) -> Array:
        index, found, run = carry[:3]
        is_short = (index < stop) & (index - start < longest) & (run < MAX_INFEASIBLE)
        return ~found & is_short & (num_open > 0)

    nothing = jnp.full(space.num_dims, jnp.nan, jnp.result_type(float))
    zero = jnp.zeros((), jnp.int32)
    index, found, _, number, unit = jax.lax.while_loop(
        goes_on, look, (start, jnp.zeros((), bool), zero, zero, nothing)
    )
    if lattice.is_exact:
        number, unit = lattice.point_or_rest(space, visited, found, number, unit, zero)
        found = num_open > 0
    visited = visited.add(number[None], found[None])
    left = num_open - found.astype(jnp.int32)
    return (index, visited, left), jnp.where(found, unit, jnp.nan)
