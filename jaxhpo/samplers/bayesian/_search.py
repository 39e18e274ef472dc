"""The model-based half of the `gp` sampler: fits when they are due, and the next point."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo import acquisition, gp
from jaxhpo._base import Array
from jaxhpo.samplers._parts._observations import Observations
from jaxhpo.samplers.bayesian import _fits as fits
from jaxhpo.samplers.bayesian import _targets as model
from jaxhpo.samplers.bayesian._acquisition import Evidence, Scored, makers, score
from jaxhpo.samplers.bayesian._active_rows import active_rows
from jaxhpo.samplers.bayesian._local_turns import bounds
from jaxhpo.samplers.bayesian._settings import GpSettings, Precision, inside
from jaxhpo.samplers.bayesian._trust_region import Region
from jaxhpo.space.internal import num_used

_FIT_EVALS = 30


class Rules(NamedTuple):
    """Where model-based samplers differ: functions, bound before tracing.

    Attributes:
        table: `(settings, precision, rows) -> Table`, in working precision.
        makers: one per model: from the table, a mask and a sharpness to its targets.
        select: `(table, mask) -> (table, numbers)`, the observed rows that the models see.
        score: `(settings, precision, evidence) -> Scored`.
        fit_every: up to this count, fits are one batch apart; up to twice it two, and so on.
    """

    table: Callable[[GpSettings, Precision, Observations], model.Table]
    makers: tuple[Callable[..., model.Targets], ...]
    select: Callable[[model.Table, Array], tuple[model.Table, Array]]
    score: Callable[[GpSettings, Precision, Evidence], Scored]
    fit_every: int = 48


def single_rules(settings: GpSettings, region: Region | None = None) -> Rules:
    """One objective, seen through the observations of a region if there is one."""

    def table(settings: GpSettings, precision: Precision, rows: Observations) -> model.Table:
        is_observed = rows.is_observed
        if region is not None:
            is_observed &= region.holds_rows(is_observed.shape[0])
        return observation_table(settings, precision, rows, rows.value, is_observed)

    def select(table: model.Table, mask: Array) -> tuple[model.Table, Array]:
        return active_rows(table, mask, settings.num_startup, settings.options.num_active)

    # Fits cost most of a study of one model, and those of one region are of few points.
    return Rules(table, makers(settings), select, score, 16 if region is None else 48)


def observation_table(
    settings: GpSettings, precision: Precision, rows: Observations, value: Array, is_observed: Array
) -> model.Table:
    """Observations in working precision, with their features."""
    with jax.enable_x64(precision.is_double_outside):
        features = settings.embedding.features(settings.space, rows.unit)
        is_pending = rows.is_known & ~rows.is_observed
    table = model.Table(features, value, rows.se, rows.violation, is_observed, is_pending)
    cast: model.Table = gp.cast(table, precision.work)
    return cast


def refit(
    settings: GpSettings,
    rules: Rules,
    rows: Observations,
    fitted: tuple[model.Fitted, ...],
    num_fitted: Array,
) -> tuple[tuple[model.Fitted, ...], Array]:
    """Brings the fitted parameters of each model up to date.

    Args:
        settings: the settings.
        rules: of the sampler.
        rows: what is known.
        fitted: of each model.
        num_fitted: `[]` int32, count of the last fit.

    Returns:
        The new `fitted`, and the count of the last fit.
    """
    schedule = fits.Schedule(settings.epochs, settings.options.batch_size, rules.fit_every)
    outer = fitted[0].theta.dtype
    with inside(settings) as precision:
        prior = gp.cast(settings.prior, precision.work)
        found, count = fits.refit(
            settings.kernel,
            prior,
            schedule,
            rules.makers,
            rules.table(settings, precision, rows),
            gp.cast(fitted, precision.work),
            num_fitted,
            _FIT_EVALS,
            lambda table, mask: rules.select(table, mask)[0],
        )
        return gp.cast(found, outer), count


def search(
    settings: GpSettings,
    rules: Rules,
    key: Array,
    rows: Observations,
    fitted: tuple[model.Fitted, ...],
    region: Region | None = None,
) -> Array:
    """The allowed new point `[d]` of highest acquisition; NaN if there is none."""
    outer, options = jnp.result_type(float), settings.options
    d = settings.space.num_dims
    shift = jax.random.uniform(key, (d + 2,), outer)
    # The same numbers whether columns are unused or not: the last two follow those in use.
    last = jax.lax.dynamic_slice_in_dim(shift, num_used(settings.space), 2)
    shift = jnp.concatenate([shift[:d], last])
    known = jnp.where(rows.is_known[:, None], rows.unit, jnp.nan)
    uniforms = settings.table[:, -1].astype(outer) + shift[-1]
    with inside(settings) as precision:
        table = rules.table(settings, precision, rows)
        count = jnp.sum(rows.is_known, dtype=jnp.int32)
        table, number = rules.select(table, table.is_observed)
        fitted = gp.cast(fitted, precision.work)
        evidence = Evidence(jax.random.fold_in(key, 1), table, count, fitted)
        scored = rules.score(settings, precision, evidence)
        incumbent = rows.unit[number[scored.incumbent]]
        box = None
        if region is not None:
            region = bounds(region, ~scored.is_leaving)
            box = region.box(incumbent, scored.log_lengthscale.astype(outer), settings.space)
        problem = acquisition.Problem(
            settings.space, settings.embedding, known, precision.is_double_outside, box
        )
        candidates = acquisition.candidate_points(
            problem, settings.table.astype(outer), incumbent, shift, options.budget
        )
        found = acquisition.optimize(
            scored.function,
            problem,
            candidates,
            settings.kernel.spread(jnp.exp(scored.log_lengthscale)),
            uniforms - jnp.floor(uniforms),
            options.budget,
        )
        return jnp.where(found.value > -jnp.inf, found.unit, jnp.nan)
