"""The model-based half of the `gp` sampler: fits when they are due, and the next point."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxhpo import acquisition, gp
from jaxhpo._base import Array
from jaxhpo.samplers import _gp_model as model
from jaxhpo.samplers._gp_active import active_rows
from jaxhpo.samplers._gp_score import makers, score
from jaxhpo.samplers._gp_settings import GpSettings, Options, Precision, inside
from jaxhpo.samplers._gp_state import Observations
from jaxhpo.samplers._region import Region

_FIT_EVALS = 30


def refit(
    settings: GpSettings,
    rows: Observations,
    thetas: tuple[Array, ...],
    num_fitted: Array,
    region: Region | None = None,
) -> tuple[tuple[Array, ...], Array]:
    """Hyperparameters of each model brought up to date, and the count of the last fit.

    Args:
        settings: the settings.
        rows: what is known.
        thetas: `[g + 2]` hyperparameters of each model.
        num_fitted: `[]` int32, count of the last fit.
        region: told rows outside it are not seen.

    Returns:
        New `thetas` and `num_fitted`.
    """
    options = settings.options
    q = options.batch_size
    schedule = model.Schedule(-(-options.num_startup // q) * q, q)
    outer = thetas[0].dtype
    with inside(settings) as precision:
        table = _table(settings, precision, rows, region)
        prior = gp.cast(settings.prior, precision.work)
        fitted, count = model.refit(
            settings.kernel,
            prior,
            schedule,
            makers(options),
            table,
            gp.cast(thetas, precision.work),
            num_fitted,
            _FIT_EVALS,
            lambda table, mask: _active(options, table, mask)[0],
        )
        return gp.cast(fitted, outer), count


def search(
    settings: GpSettings,
    key: Array,
    rows: Observations,
    thetas: tuple[Array, ...],
    region: Region | None = None,
) -> Array:
    """The allowed new point `[d]` of highest acquisition; NaN if there is none."""
    outer, options = jnp.result_type(float), settings.options
    shift = jax.random.uniform(key, (settings.space.num_dims + 2,), outer)
    known = jnp.where(rows.is_known[:, None], rows.unit, jnp.nan)
    luck = settings.table[:, -1].astype(outer) + shift[-1]
    with inside(settings) as precision:
        table = _table(settings, precision, rows, region)
        count = jnp.sum(rows.is_known, dtype=jnp.int32)
        table, number = _active(options, table, table.is_told)
        thetas = gp.cast(thetas, precision.work)
        scored = score(settings, precision, jax.random.fold_in(key, 1), table, count, thetas)
        incumbent = rows.unit[number[scored.incumbent]]
        log_lengthscale = gp.unravel(scored.theta).log_lengthscale
        box = None
        if region is not None:
            box = region.box(incumbent, log_lengthscale.astype(outer), settings.space)
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
            settings.kernel.spread(jnp.exp(log_lengthscale)),
            luck - jnp.floor(luck),
            options.budget,
        )
        return jnp.where(found.value > -jnp.inf, found.unit, jnp.nan)


def _active(options: Options, table: model.Table, mask: Array) -> tuple[model.Table, Array]:
    """The told rows in `mask` that the model is given, and their numbers."""
    n = table.value.shape[0]
    if n <= options.num_active:
        return table._replace(is_told=mask), jnp.arange(n, dtype=jnp.int32)
    return active_rows(table, mask, options.num_startup, options.num_active)


def _table(
    settings: GpSettings, precision: Precision, rows: Observations, region: Region | None
) -> model.Table:
    with jax.enable_x64(precision.is_double_outside):
        features = settings.embedding.features(settings.space, rows.unit)
        is_told, is_pending = rows.is_told, rows.is_known & ~rows.is_told
        if region is not None:
            is_told &= region.holds_rows(is_told.shape[0])
    table = model.Table(features, rows.value, rows.se, rows.violation, is_told, is_pending)
    cast: model.Table = gp.cast(table, precision.work)
    return cast
