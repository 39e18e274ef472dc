"""CMA-ES: the factory and its three functions."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Sampler, make_sampler
from jaxhpo._linalg import matmul
from jaxhpo.samplers import _cma_update as cma
from jaxhpo.samplers._cma_restart import RESTARTS, Restarts, first_restarts
from jaxhpo.samplers._drawn_rows import Rows, no_rows
from jaxhpo.samplers._guard import Guard, make_guard
from jaxhpo.samplers._pieces import in_pieces, summed_violation
from jaxhpo.samplers._random import RandomState
from jaxhpo.samplers._stream import check_space, told_points
from jaxhpo.space import Space, cell_ends

_Attempt = tuple[Array, Array, Array, Array]
_SPARE_ROWS = 64
_DRAWS, _ATTEMPTS = 2, 48
"""Draws at once and attempts before a point outside is moved to the bounds; `cmaes` tries 100."""

_TOP, _PRIOR = 0.1, 0.1
"""Warm start: the share of source points that counts, and the deviation added (Nomura et al.)."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CmaSettings:
    """Settings of `cma_es`; `first` is the first distribution, `margin` a probability."""

    space: Space
    guard: Guard
    first: cma.Gaussian
    margin: Array
    is_discrete: tuple[bool, ...] = dataclasses.field(metadata={"static": True})
    batch_size: int = dataclasses.field(metadata={"static": True})
    population_size: int = dataclasses.field(metadata={"static": True})
    most: int = dataclasses.field(metadata={"static": True})
    separable: bool = dataclasses.field(metadata={"static": True})
    restarts: str = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CmaState:
    """State of `cma_es`.

    Attributes:
        gaussian: the search distribution.
        rows: points pending, or told and not yet used.
        restarts: population size, and what decides on restarts.
        known: state of the random search, which also keeps count of a finite space.
    """

    gaussian: cma.Gaussian
    rows: Rows
    restarts: Restarts
    known: RandomState


class CmaInfo(NamedTuple):
    """What `cma_es` reports of a tell.

    Attributes:
        status: `[]` int32, `Status.EMPTY` if no further point is left, else `Status.COMPLETE`.
        num_told: `[]` int32, points told so far.
        num_failed: `[]` int32, those whose value was NaN or infinite.
        generation: `[]` int32, generations since the last restart.
        sigma: `[]` step size, in units of the cube's edge.
        population_size: `[]` int32.
        num_restarts: `[]` int32.
    """

    status: Array
    num_told: Array
    num_failed: Array
    generation: Array
    sigma: Array
    population_size: Array
    num_restarts: Array


def cma_es(
    space: Space,
    *,
    batch_size: int = 1,
    population_size: int | None = None,
    mean: Any = None,
    sigma: float = 1 / 6,
    source: tuple[Any, Any] | None = None,
    separable: bool = False,
    adapts_rates: bool = False,
    restarts: str = "ipop",
    max_doublings: int = 4,
) -> Sampler:
    """Covariance matrix adaptation: a normal distribution that learns scales and correlations.

    Points are drawn from N(m, σ²C) over the unit cube; once λ of them have been told, m moves to
    the better ones, and σ and C learn from the steps that succeeded (negative weights included).
    Points outside are drawn again, then moved to the bounds. In discrete coordinates a margin keeps
    the probability of leaving the present value above 1/(dλ). Points told in any order, late, or
    without being asked count in the generation that is open when they come.

    When to use it: hundreds to many thousands of trials of a continuous objective, up to some
    hundred dimensions, above all where parameters interact; `separable` beyond. Categories are
    treated as if their order meant something, and inactive parameters drift: for such spaces prefer
    `tpe`.

    Args:
        space: the search space; its bounds may be traced.
        batch_size: static; rows of one `ask`.
        population_size: static; λ, at least 4; None means 4 + ⌊3 ln d⌋, or `batch_size` if more.
        mean: `[d]` first m in the unit cube; None means the centre. Traced.
        sigma: first σ, in units of the cube's edge; traced.
        source: points `[s, d]` of the unit cube and their values `[s]` from a related task, to the
            best tenth of which the first m, σ and C are then fitted.
        separable: static; C stays diagonal: less to learn, time in proportion to d.
        adapts_rates: static; learning rates follow the signal-to-noise ratio, for noisy or
            multimodal objectives at the default population size.
        restarts: static; what happens when the distribution has collapsed or values no longer
            differ: "ipop" starts anew elsewhere with twice the population, "bipop" alternates with
            small populations and steps, "none" goes on.
        max_doublings: static; the population grows to λ·2^`max_doublings` at most.

    Returns:
        The sampler. On a finite space nothing is proposed twice, and rows of NaN follow when it is
        used up.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range or an unknown name, `adapts_rates` with `separable`, or
            a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-2.0, 3.0), "y": hpo.uniform(-2.0, 3.0)})
        >>> def objective(key, params):
        ...     return (params["x"] - 1.0) ** 2 + 10.0 * (params["y"] - params["x"]) ** 2
        >>> result = hpo.minimize(objective, space, "cma_es", key=0, num_trials=150)
        >>> bool(result.best_value < 1e-3)
        True

    References:
        Hansen, "The CMA evolution strategy: a tutorial", 2016, https://arxiv.org/abs/1604.00772.
        Auger and Hansen, "A restart CMA evolution strategy with increasing population size", 2005,
        https://doi.org/10.1109/CEC.2005.1554902. Hamano et al., 2022,
        https://arxiv.org/abs/2205.13482 (margin). Nomura et al., 2021,
        https://arxiv.org/abs/2012.06932 (warm start), and 2023, https://arxiv.org/abs/2304.03473
        (learning rates).
    """
    space = check_space("cma_es", space)
    d, dtype = space.num_dims, jnp.result_type(float)
    batch_size = _checks.check_int("cma_es", "batch_size", batch_size, 1)
    if population_size is None:
        population_size = max(4 + math.floor(3 * math.log(d)), batch_size)
    population_size = _checks.check_int("cma_es", "population_size", population_size, 4)
    max_doublings = _checks.check_int("cma_es", "max_doublings", max_doublings, 0)
    for name, flag in (("separable", separable), ("adapts_rates", adapts_rates)):
        if not isinstance(flag, bool):
            raise TypeError(f"cma_es: `{name}` must be a bool, got {_checks.describe(flag)}.")
    if separable and adapts_rates:
        raise _checks.fail("cma_es", "adapts_rates", "False where `separable`", adapts_rates)
    if not isinstance(restarts, str) or restarts not in RESTARTS:
        raise _checks.fail("cma_es", "restarts", f"one of {', '.join(RESTARTS)}", restarts)
    sigma = _checks.check_positive("cma_es", "sigma", sigma)
    cov = None
    step = jnp.asarray(sigma, dtype)
    if source is not None:
        mean, step, cov = _fit(source, d, separable)
    mean = jnp.full(d, 0.5, dtype) if mean is None else jnp.asarray(mean, dtype)
    if mean.shape != (d,):
        raise _checks.fail("cma_es", "mean", f"of shape ({d},)", mean.shape)
    settings = CmaSettings(
        space=space,
        guard=make_guard(space),
        first=cma.new_gaussian(
            mean,
            step,
            cov,
            separable=separable,
            adapts_rates=adapts_rates,
        ),
        margin=jnp.asarray(1 / (d * population_size), dtype),
        is_discrete=tuple(levels > 0 for levels in space.num_levels.tolist()),
        batch_size=batch_size,
        population_size=population_size,
        most=population_size * (1 if restarts == "none" else 2**max_doublings),
        separable=separable,
        restarts=restarts,
    )
    return make_sampler(settings, _init, _ask, _tell)


def _fit(source: Any, num_dims: int, separable: bool) -> tuple[Array, Array, Array]:
    """First mean, step and covariance from the best tenth of a related task's points."""
    unit, value = (jnp.asarray(part, jnp.result_type(float)) for part in source)
    if unit.ndim != 2 or unit.shape[1] != num_dims or value.shape != unit.shape[:1]:
        expected = f"points [s, {num_dims}] and values [s]"
        raise _checks.fail("cma_es", "source", expected, (unit.shape, value.shape))
    count = math.floor(unit.shape[0] * _TOP)
    if count < 1:
        raise _checks.fail("cma_es", "source", "of 10 points at least", unit.shape[0])
    best = unit[jnp.argsort(jnp.where(jnp.isfinite(value), value, jnp.inf))[:count]]
    mean = jnp.mean(best, axis=0)
    offset = best - mean[None, :]
    full = matmul(offset.T, offset) / count + _PRIOR**2 * jnp.eye(num_dims, dtype=unit.dtype)
    if separable:
        variance = jnp.diagonal(full)
        sigma = jnp.exp(jnp.mean(jnp.log(variance)) / 2)
        return mean, sigma, variance / sigma**2
    sigma = jnp.exp(jnp.linalg.slogdet(full)[1] / (2 * num_dims))
    return mean, sigma, full / sigma**2


def _init(settings: CmaSettings, key: Array) -> CmaState:
    num_rows = settings.most + max(_SPARE_ROWS, 2 * settings.batch_size)
    return CmaState(
        settings.first,
        no_rows(num_rows, settings.space.num_dims),
        first_restarts(settings.population_size, settings.space.num_dims),
        settings.guard.init(key),
    )


def _ask(settings: CmaSettings, key: Array, state: CmaState) -> tuple[CmaState, Array]:
    def row(state: CmaState, key: Array) -> tuple[CmaState, Array]:
        key_draw, key_start = jax.random.split(key)
        unit, raw = _draw(settings, key_draw, state)
        known, unit = settings.guard.settle(state.known, key_start, unit)
        raw = jnp.where(jnp.isnan(raw), unit, raw)
        rows = state.rows.ask(unit, raw, state.gaussian.generation)
        return dataclasses.replace(state, rows=rows, known=known), unit

    if settings.batch_size == 1:
        state, unit = row(state, key)
        return state, unit[None]
    numbers = jnp.arange(settings.batch_size, dtype=jnp.uint32)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers)
    if settings.guard.may_refuse:  # what one row takes is refused to the next
        return jax.lax.scan(row, state, keys)
    key_draws = jax.vmap(lambda key: jax.random.split(key)[0])(keys)
    unit, raw = jax.vmap(lambda key: _draw(settings, key, state))(key_draws)
    rows = state.rows.ask(unit, raw, state.gaussian.generation)
    return dataclasses.replace(state, rows=rows), unit


def _draw(settings: CmaSettings, key: Array, state: CmaState) -> tuple[Array, Array]:
    """Draws an allowed point `[d]` inside the bounds, snapped and raw; NaN if there was none."""
    gaussian, d = state.gaussian, settings.space.num_dims
    is_discrete = jnp.asarray(settings.is_discrete)[None, :]
    dtype = gaussian.mean.dtype

    def attempt(carry: _Attempt) -> _Attempt:
        number = carry[0]
        normal = jax.random.normal(jax.random.fold_in(key, number), (_DRAWS, d), dtype)
        raw = cma.sample(gaussian, normal)
        is_inside = jnp.all(is_discrete | ((raw >= 0) & (raw <= 1)), axis=1)
        raw = jnp.where(is_discrete, raw, jnp.clip(raw, 0, 1))
        mean = gaussian.mean[None, :]
        stretched = mean + (raw - mean) * gaussian.stretch[None, :]
        unit = jnp.clip(jnp.where(is_discrete, stretched, raw), 0, 1)
        unit = settings.space.snap(unit)
        is_allowed = settings.guard.allowed(state.known, unit)
        # The best row: inside and allowed; else allowed, after having been moved to the bounds.
        grade = is_allowed.astype(jnp.int32) * (1 + is_inside.astype(jnp.int32))
        best = jnp.argmax(grade)
        is_good = grade[best] > 0
        unit, raw = (jnp.where(is_good, part[best], jnp.nan) for part in (unit, raw))
        return number + 1, grade[best] == 2, unit, raw

    nothing = jnp.full(d, jnp.nan, dtype)
    start = (jnp.zeros((), jnp.int32), jnp.zeros((), bool), nothing, nothing)
    _, _, unit, raw = jax.lax.while_loop(
        lambda carry: ~carry[1] & (carry[0] < _ATTEMPTS), attempt, start
    )
    return unit, raw


def _tell(
    settings: CmaSettings, key: Array, state: CmaState, unit: Array, outcome: Outcome
) -> tuple[CmaState, CmaInfo]:
    unit = told_points("cma_es.tell", settings.space, unit, outcome)
    if outcome.value.ndim != 1:
        expected = "of shape [q]: `cma_es` takes one objective"
        raise _checks.fail("cma_es.tell", "outcome.value", expected, outcome.value.shape)
    known, info = settings.guard.tell(state.known, key, unit, outcome)
    state = dataclasses.replace(state, known=known)
    told = (unit, Outcome(outcome.value, violation=summed_violation(outcome.violation)))
    # Long histories come in pieces of a population, so that the buffers can take them.
    size = settings.population_size
    if unit.shape[0] <= size:
        state = _absorb(settings, key, state, told)
    else:
        told = in_pieces(told, size)
        pieces = told[0].shape[0]
        state, _ = jax.lax.scan(
            lambda state, item: (
                _absorb(settings, jax.random.fold_in(key, item[0]), state, item[1]),
                None,
            ),
            state,
            (jnp.arange(pieces, dtype=jnp.uint32), told),
        )
    restarts = state.restarts
    return state, CmaInfo(
        info.status,
        info.num_told,
        info.num_failed,
        state.gaussian.generation,
        state.gaussian.sigma,
        restarts.size,
        restarts.num_restarts,
    )


def _absorb(
    settings: CmaSettings, key: Array, state: CmaState, told: tuple[Array, Outcome]
) -> CmaState:
    """Takes told points, and updates the distribution as often as a population is complete."""
    state = dataclasses.replace(state, rows=state.rows.tell(*told))
    return jax.lax.while_loop(
        lambda state: state.rows.num_told() >= state.restarts.size,
        lambda state: _next_generation(settings, key, state),
        state,
    )


def _next_generation(settings: CmaSettings, key: Array, state: CmaState) -> CmaState:
    d, restarts = settings.space.num_dims, state.restarts
    size = restarts.size
    if settings.restarts == "none":  # known to the compiler, and so are the constants
        size = jnp.asarray(settings.population_size, jnp.int32)
    constants = cma.strategy(size, settings.most, d, separable=settings.separable)
    found = state.rows.ranked(restarts.size)
    weights = constants.weights.at[found.rank].get(mode="fill", fill_value=0)
    weights = jnp.where(found.is_used, weights, 0)
    moved = cma.update(state.gaussian, constants, found.points, weights)
    if any(settings.is_discrete):
        low, high = cell_ends(settings.space.leaves, jnp.clip(moved.mean, 0, 1)[None])
        is_discrete = jnp.asarray(settings.is_discrete)
        moved = cma.correct_margin(moved, low[0], high[0], is_discrete, settings.margin)
    # A population of failures teaches nothing.
    gaussian = jax.tree.map(
        lambda new, old: jnp.where(found.has_value, new, old), moved, state.gaussian
    )
    restarts = restarts.record(gaussian.generation, found.best, found.worst)
    is_over = jnp.zeros((), bool)
    if settings.restarts != "none":
        is_over = restarts.is_flat(gaussian.generation)
        is_over |= cma.is_stuck(gaussian, settings.first.sigma)
        restarts, gaussian = _restarted(settings, key, restarts, gaussian, is_over)
    rows = state.rows.forget(found.is_used, gaussian.generation, is_over)
    return CmaState(gaussian, rows, restarts, state.known)


def _restarted(
    settings: CmaSettings, key: Array, restarts: Restarts, gaussian: cma.Gaussian, is_over: Array
) -> tuple[Restarts, cma.Gaussian]:
    """Starts anew elsewhere where the run is over."""
    key_mean, key_regime = jax.random.split(jax.random.fold_in(key, restarts.num_restarts))
    after, factor = restarts.restarted(
        key_regime, settings.restarts, settings.population_size, settings.most
    )
    d, first = settings.space.num_dims, settings.first
    fresh = cma.new_gaussian(
        jax.random.uniform(key_mean, (d,), first.mean.dtype),
        first.sigma * factor,
        None,
        separable=settings.separable,
        adapts_rates=first.rates is not None,
    )
    return jax.tree.map(
        lambda new, old: jnp.where(is_over, new, old), (after, fresh), (restarts, gaussian)
    )
