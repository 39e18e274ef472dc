"""CMA-ES: the factory and its three functions."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Sampler, make_sampler, setting
from jaxhpo._linalg import matmul
from jaxhpo.samplers._parts._chunks import by_piece, by_row, summed_violation
from jaxhpo.samplers._parts._fallback import make_guard
from jaxhpo.samplers._parts._pending import TellInfo, check_space, num_waiting
from jaxhpo.samplers._parts._validation import checked_trials, real_array
from jaxhpo.samplers._traits import register
from jaxhpo.samplers.evolutionary import _cma_update as cma
from jaxhpo.samplers.evolutionary._cma_restart import RESTARTS, first_restarts
from jaxhpo.samplers.evolutionary._cma_steps import CmaSettings, CmaState, absorb, draw
from jaxhpo.samplers.evolutionary._generation_buffer import no_rows
from jaxhpo.space import Space

_TOP, _PRIOR = 0.1, 0.1
"""Warm start: the share of source points that counts, and the deviation added (Nomura et al.)."""


class CmaInfo(TellInfo):
    """What `cma_es` reports of a tell, besides `TellInfo`.

    Attributes:
        generation: `[]` int32, generations since the last restart.
        sigma: `[]` step size, in units of the cube's edge.
        population_size: `[]` int32.
        num_restarts: `[]` int32.
    """

    generation: Array
    sigma: Array
    population_size: Array
    num_restarts: Array


@register(resumes_exactly=False)
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

    When to use it: hundreds to many thousands of trials of an objective, up to some hundred
    dimensions, above all where parameters interact; `separable` beyond. Categories are treated as
    if their order meant something, and inactive parameters drift: a few of either do little harm in
    long studies; where most are such, prefer `tpe`.

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
    batch_size = _checks.check_count("cma_es", "batch_size", batch_size, 1)
    if population_size is None:
        population_size = max(4 + math.floor(3 * math.log(d)), batch_size)
    population_size = _checks.check_count("cma_es", "population_size", population_size, 4)
    max_doublings = _checks.check_count("cma_es", "max_doublings", max_doublings, 0)
    if max_doublings > 30:
        raise _checks.fail("cma_es", "max_doublings", "at most 30", max_doublings)
    separable = _checks.check_bool("cma_es", "separable", separable)
    adapts_rates = _checks.check_bool("cma_es", "adapts_rates", adapts_rates)
    if separable and adapts_rates:
        raise _checks.fail("cma_es", "adapts_rates", "False where `separable`", adapts_rates)
    restarts = _checks.check_choice("cma_es", "restarts", restarts, RESTARTS)
    sigma = _checks.check_positive("cma_es", "sigma", sigma)
    cov = None
    step = setting(sigma, dtype)
    mean = setting(np.full(d, 0.5), dtype) if mean is None else _given_mean(mean, d, dtype)
    if source is not None:
        mean, step, cov = _fit(source, d, separable)
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
        margin=setting(1 / (d * population_size), dtype),
        is_discrete=tuple(levels > 0 for levels in space.num_levels.tolist()),
        batch_size=batch_size,
        population_size=population_size,
        most=population_size * (1 if restarts == "none" else 2**max_doublings),
        separable=separable,
        restarts=restarts,
    )
    return make_sampler(settings, _init, _ask, _tell, name="cma_es")


def _given_mean(mean: Any, num_dims: int, dtype: Any) -> Array:
    mean = real_array("cma_es", "mean", mean).astype(dtype)
    if mean.shape != (num_dims,):
        raise _checks.fail("cma_es", "mean", f"of shape ({num_dims},)", mean.shape)
    _check_inside("mean", mean)
    return mean


def _check_inside(argument: str, unit: Array) -> None:
    """Requires points of the unit cube where they are known."""
    if _checks.is_traced(unit):
        return
    if not _checks.is_in_cube(unit) or np.isnan(np.asarray(unit)).any():
        raise _checks.fail("cma_es", argument, "in the unit cube", unit)


def _fit(source: Any, num_dims: int, separable: bool) -> tuple[Array, Array, Array]:
    """First mean, step and covariance from the best tenth of a related task's points."""
    if not isinstance(source, tuple | list) or len(source) != 2:
        expected = "a pair of points and values"
        raise TypeError(f"cma_es: `source` must be {expected}, got {_checks.describe(source)}.")
    dtype = jnp.result_type(float)
    unit, value = (real_array("cma_es", "source", part).astype(dtype) for part in source)
    if unit.ndim != 2 or unit.shape[1] != num_dims or value.shape != unit.shape[:1]:
        expected = f"points [s, {num_dims}] and values [s]"
        raise _checks.fail("cma_es", "source", expected, (unit.shape, value.shape))
    _check_inside("source", unit)
    if not _checks.is_traced(value):
        is_finite = np.isfinite(np.asarray(value))
        unit, value = unit[is_finite], value[is_finite]
    count = math.floor(unit.shape[0] * _TOP)
    if count < 1:
        expected = "10 points with a finite value at least"
        raise _checks.fail("cma_es", "source", expected, f"{unit.shape[0]} of them")
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
    num_rows = settings.most + num_waiting(settings.batch_size)
    return CmaState(
        settings.guard.init(key),
        settings.first,
        no_rows(num_rows, settings.space.num_dims),
        first_restarts(settings.population_size, settings.space.num_dims),
    )


def _ask(settings: CmaSettings, key: Array, state: CmaState) -> tuple[CmaState, Array]:
    def row(state: CmaState, key: Array) -> tuple[CmaState, Array]:
        key_draw, key_start = jax.random.split(key)
        unit, raw = (part[0] for part in draw(settings, key_draw, state, 1))
        known = state.known
        if settings.guard.may_refuse:
            known, unit = settings.guard.settle(known, key_start, unit)
            raw = jnp.where(jnp.isnan(raw), unit, raw)
        rows = state.rows.ask(unit[None], raw[None], state.gaussian.generation)
        return dataclasses.replace(state, rows=rows, known=known), unit

    # What one row takes is refused to the next.
    if settings.batch_size == 1 or settings.guard.may_refuse:
        return by_row(row, state, key, settings.batch_size)
    unit, raw = draw(settings, key, state, settings.batch_size)
    rows = state.rows.ask(unit, raw, state.gaussian.generation)
    return dataclasses.replace(state, rows=rows), unit


def _tell(
    settings: CmaSettings, key: Array, state: CmaState, unit: Array, outcome: Outcome
) -> tuple[CmaState, CmaInfo]:
    unit, outcome = checked_trials("cma_es.tell", settings.space, unit, outcome, ())
    known, info = settings.guard.tell(state.known, key, unit, outcome)
    state = dataclasses.replace(state, known=known)
    observed = (unit, Outcome(outcome.value, violation=summed_violation(outcome.violation)))
    # Long histories come in pieces of a population, so that the buffers can take them.
    state = by_piece(
        lambda state, observed, number: absorb(
            settings, key if number is None else jax.random.fold_in(key, number), state, observed
        ),
        state,
        observed,
        settings.population_size,
    )
    restarts = state.restarts
    return state, CmaInfo(
        info.status,
        info.num_observed,
        info.num_failed,
        state.gaussian.generation,
        state.gaussian.sigma,
        restarts.size,
        restarts.num_restarts,
    )
