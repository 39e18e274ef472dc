"""Bayesian optimization of two or three objectives: one Gaussian process each, and log-EHVI."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo import _checks, acquisition
from jaxhpo import gp as engine
from jaxhpo._base import Array, Outcome, PyTree, Sampler, has_proposal, make_sampler
from jaxhpo.samplers import _gp_model as model
from jaxhpo.samplers._gp_multi_score import active, makers, score
from jaxhpo.samplers._gp_settings import (
    NOISE_FLOOR,
    GpSettings,
    Options,
    check_choice,
    first_state,
    inside,
    make_settings,
)
from jaxhpo.samplers._gp_state import GpState, check_room
from jaxhpo.samplers._stream import check_space, told_points
from jaxhpo.samplers._visited import Visited
from jaxhpo.space import Space

_FIT_EVALS = 30


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GpMultiSettings:
    """Settings of `gp_multi`: those of `gp`, and the number of objectives (static)."""

    base: GpSettings
    num_objectives: int = dataclasses.field(metadata={"static": True})


class GpMultiInfo(NamedTuple):
    """What `gp_multi` reports of a tell.

    Attributes:
        status: `[]` int32, `Status.EMPTY` if no further point is left, else `Status.COMPLETE`.
        num_told: `[]` int32, points told so far.
        num_failed: `[]` int32, those with a value that was NaN or infinite.
        num_dropped: `[]` int32, points that the buffers had no row for.
        lengthscale: `[m, d]` lengthscales of each objective's model in the last fit.
    """

    status: Array
    num_told: Array
    num_failed: Array
    num_dropped: Array
    lengthscale: Array


def gp_multi(
    space: Space,
    *,
    num_objectives: int = 2,
    batch_size: int = 1,
    capacity: int = 256,
    num_startup: int | None = None,
    kernel: str = "matern52",
    constrained: bool = False,
    num_candidates: int = 512,
    num_lanes: int = 6,
    num_active: int = 512,
    precision: str = "float64",
) -> Sampler:
    """Bayesian optimization of two or three objectives by the expected gain in dominated volume.

    Each objective has an exact Gaussian process as in `gp`. A proposal maximises the logarithm of
    the expected hypervolume improvement, exact for independent objectives, in their standardised
    values. Its reference point lies a tenth of the front's extent beyond the front, and no nearer
    than the mean of the start-up points. Pending points count with a draw of their values.

    When to use it: trials dearer than a second, up to a few hundred of them. For cheaper trials or
    more objectives use `nsga2` or `nsga3`.

    Args:
        space: the search space; its bounds may be traced.
        num_objectives: static; 2 or 3 (1 is plain expected improvement).
        batch_size: static; rows of one `ask`.
        capacity: static; observations that the state holds, as in `gp`.
        num_startup: static; points told before the models take over, as in `gp`.
        kernel: static; "matern52" or "rbf".
        constrained: static; whether `Outcome.violation` gets a model of its own, as in `gp`.
        num_candidates: static; points at which the acquisition function is tried first.
        num_lanes: static; quasi-Newton searches that start from the best of them, at least 3.
        num_active: static; observations that the models are conditioned on, at most.
        precision: static; "float64" or "float32", as in `gp`.

    Returns:
        The sampler. Proposals are never repeated; rows of NaN follow when a finite space is used
        up.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range or an unknown name, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-1.0, 3.0)})
        >>> sampler = hpo.samplers.gp_multi(space, num_objectives=2)

    References:
        Ament et al., "Unexpected improvements to expected improvement for Bayesian optimization",
        2023, https://arxiv.org/abs/2310.20708.
        Emmerich, Deutz and Klinkenberg, "Hypervolume-based expected improvement", 2011,
        https://doi.org/10.1109/CEC.2011.5949880.
    """
    space = check_space("gp_multi", space)
    m = _checks.check_int("gp_multi", "num_objectives", num_objectives, 1)
    if m > 3:
        raise _checks.fail("gp_multi", "num_objectives", "at most 3 (use nsga3 for more)", m)
    start = min(10, max(4, space.num_dims + 1)) if num_startup is None else num_startup
    check_choice("gp_multi", "kernel", kernel, ("matern52", "rbf"))
    check_choice("gp_multi", "precision", precision, tuple(NOISE_FLOOR))
    if not isinstance(constrained, bool):
        raise TypeError(
            f"gp_multi: `constrained` must be a bool, got {_checks.describe(constrained)}."
        )
    num_candidates = _checks.check_int("gp_multi", "num_candidates", num_candidates, 16)
    num_lanes = _checks.check_int("gp_multi", "num_lanes", num_lanes, 3)
    options = Options(
        batch_size=_checks.check_int("gp_multi", "batch_size", batch_size, 1),
        capacity=_checks.check_int("gp_multi", "capacity", capacity, 1),
        num_startup=_checks.check_int("gp_multi", "num_startup", start, 1),
        goal="log_ei",
        constrained=constrained,
        precision=precision,
        num_basins=0,
        num_active=_checks.check_int("gp_multi", "num_active", num_active, 32),
        budget=acquisition.Budget(num_candidates, num_candidates // 4, num_lanes),
    )
    settings = GpMultiSettings(make_settings(space, options, kernel=kernel), m)
    return make_sampler(settings, _init, _ask, _tell, _resize)


def _init(settings: GpMultiSettings, key: Array) -> GpState:
    m, state = settings.num_objectives, first_state(settings.base, key)
    theta = state.thetas[0]
    num_models = m + settings.base.options.constrained
    value = jnp.zeros((state.rows.value.shape[0], m), state.rows.value.dtype)
    return dataclasses.replace(
        state,
        rows=dataclasses.replace(state.rows, value=value),
        thetas=tuple(theta.copy() for _ in range(num_models)),
    )


def _ask(settings: GpMultiSettings, key: Array, state: GpState) -> tuple[GpState, Array]:
    base = settings.base
    has_model = state.rows.num_told >= base.options.num_startup
    thetas, num_fitted = _refit(settings, state)
    state = dataclasses.replace(state, thetas=thetas, num_fitted=num_fitted)

    def row(state: GpState, key: Array) -> tuple[GpState, Array]:
        key_search, key_start = jax.random.split(key)
        nothing = jnp.full(base.space.num_dims, jnp.nan, jnp.result_type(float))
        unit = jax.lax.cond(has_model, lambda: _search(base, key_search, state), lambda: nothing)
        start, unit = jax.lax.cond(
            has_proposal(unit),
            lambda: (_close(base, state.start, unit), unit),
            lambda: _follow(base, key_start, state.start),
        )
        unit = base.space.snap(unit)
        return dataclasses.replace(state, start=start, rows=state.rows.ask(unit)), unit

    q = base.options.batch_size
    if q == 1:
        state, unit = row(state, key)
        return state, unit[None]
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(q, dtype=jnp.uint32))
    return jax.lax.scan(row, state, keys)


def _refit(settings: GpMultiSettings, state: GpState) -> tuple[tuple[Array, ...], Array]:
    """Hyperparameters of each model brought up to date, and the count of the last fit."""
    base, options = settings.base, settings.base.options
    q, outer = options.batch_size, state.thetas[0].dtype
    schedule = model.Schedule(-(-options.num_startup // q) * q, q)
    with inside(base) as precision:
        fitted, count = model.refit(
            base.kernel,
            engine.cast(base.prior, precision.work),
            schedule,
            makers(options, settings.num_objectives),
            _table(base, state),
            engine.cast(state.thetas, precision.work),
            state.num_fitted,
            _FIT_EVALS,
            lambda table, mask: active(options, table, mask)[0],
        )
        return engine.cast(fitted, outer), count


def _search(base: GpSettings, key: Array, state: GpState) -> Array:
    """The allowed new point `[d]` of the highest expected gain; NaN if there is none."""
    outer, options, rows = jnp.result_type(float), base.options, state.rows
    key_shift, key_centre = jax.random.split(key)
    shift = jax.random.uniform(key_shift, (base.space.num_dims + 2,), outer)
    lots = jax.random.uniform(key_centre, (min(rows.status.shape[0], options.num_active),), outer)
    known = jnp.where(rows.is_known[:, None], rows.unit, jnp.nan)
    luck = base.table[:, -1].astype(outer) + shift[-1]
    with inside(base) as precision:
        table = _table(base, state)
        table, number = active(options, table, table.is_told)
        thetas = engine.cast(state.thetas, precision.work)
        scored = score(base, precision, table, thetas)
        # Around a point of the front, another one each time.
        centre = engine.argmax(jnp.where(scored.is_front, lots, -1.0))
        problem = acquisition.Problem(
            base.space, base.embedding, known, precision.is_double_outside
        )
        candidates = acquisition.candidate_points(
            problem, base.table.astype(outer), rows.unit[number[centre]], shift, options.budget
        )
        found = acquisition.optimize(
            scored.function,
            problem,
            candidates,
            base.kernel.spread(jnp.exp(scored.log_lengthscale)),
            luck - jnp.floor(luck),
            options.budget,
        )
        return jnp.where(found.value > -jnp.inf, found.unit, jnp.nan)


def _table(base: GpSettings, state: GpState) -> model.Table:
    """Observations in working precision; a trial that failed in one objective failed in all."""
    rows = state.rows
    with inside(base) as precision:
        with jax.enable_x64(precision.is_double_outside):
            features = base.embedding.features(base.space, rows.unit)
        has_failed = ~jnp.all(jnp.isfinite(rows.value), axis=1)
        value = jnp.where(has_failed[:, None], jnp.nan, rows.value)
        is_pending = rows.is_known & ~rows.is_told
        table = model.Table(features, value, rows.se, rows.violation, rows.is_told, is_pending)
        cast: model.Table = engine.cast(table, precision.work)
        return cast


def _tell(
    settings: GpMultiSettings, key: Array, state: GpState, unit: Any, outcome: Outcome
) -> tuple[GpState, GpMultiInfo]:
    base, m = settings.base, settings.num_objectives
    unit = told_points("gp_multi.tell", base.space, unit, outcome)
    if outcome.value.shape not in ((len(unit), m), *(((len(unit),),) if m == 1 else ())):
        expected = f"of shape [q, {m}], since num_objectives={m}"
        raise _checks.fail("gp_multi.tell", "outcome.value", expected, outcome.value.shape)
    check_room("gp_multi.tell", state.rows, unit)
    start, info = base.start.tell(key, state.start, unit, outcome)
    value = outcome.value.reshape(len(unit), m)
    rows = state.rows.tell(unit, Outcome(value, violation=outcome.violation))
    tally = state.tally.add(has_proposal(unit), outcome)
    state = dataclasses.replace(state, rows=rows, start=start, tally=tally)
    scales = [jnp.exp(engine.unravel(theta).log_lengthscale) for theta in state.thetas[:m]]
    return state, GpMultiInfo(
        info.status, tally.num_told, tally.num_failed, rows.num_dropped, jnp.stack(scales)
    )


def _resize(settings: GpMultiSettings, state: GpState, capacity: int) -> GpState:
    """The same knowledge in buffers of another capacity (static)."""
    del settings  # the capacity is the shape of the buffers
    return dataclasses.replace(state, rows=state.rows.resize(capacity))


def _close(base: GpSettings, start: PyTree, unit: Array) -> PyTree:
    """Closes a proposed configuration of a finite space."""
    if base.lattice is None or not isinstance(start.known, Visited):
        return start
    known = start.known.add(*base.lattice.number(base.space, unit[None]))
    return dataclasses.replace(start, known=known)


def _follow(base: GpSettings, key: Array, start: PyTree) -> tuple[PyTree, Array]:
    """The next point of the low-discrepancy sequence."""
    start, unit = base.start.ask(key, start)
    return start, unit[0]
