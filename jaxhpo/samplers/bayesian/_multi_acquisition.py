"""What the `gp_multi` sampler maximises: the expected gain in volume, or of a scalarisation."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxhpo import acquisition, gp, pareto
from jaxhpo._base import Array
from jaxhpo.samplers._parts._observations import Observations
from jaxhpo.samplers.bayesian import _targets as model
from jaxhpo.samplers.bayesian._acquisition import Evidence, Scored, Term, feasibility_term
from jaxhpo.samplers.bayesian._active_rows import active_rows
from jaxhpo.samplers.bayesian._search import Rules, observation_table
from jaxhpo.samplers.bayesian._settings import GpSettings, Precision

_MAX_FRONT = {1: 1, 2: 64, 3: 16}
"""Most points of the front that are kept, by number of objectives: `n` points make `n + 1` boxes of
two objectives and `(n + 1)²` of three, and the cost is one term per box."""

_MARGIN = 0.1
"""Distance of the reference point beyond the front, over its extent (BoTorch's default)."""

_MOST_BY_VOLUME = max(_MAX_FRONT)

_LEAST_SHARE = 0.02
"""Least share of an objective in the direction of a scalarisation: with none, its weight would be
infinite and it alone would count."""

Makers = tuple[Callable[[model.Table, Array, Array], model.Targets], ...]


def several_rules(settings: GpSettings, num_objectives: int) -> Rules:
    """One model per objective; a trial that failed in one objective failed in all."""

    def table(settings: GpSettings, precision: Precision, rows: Observations) -> model.Table:
        has_failed = ~jnp.all(jnp.isfinite(rows.value), axis=1)
        value = jnp.where(has_failed[:, None], jnp.nan, rows.value)
        return observation_table(settings, precision, rows, value, rows.is_observed)

    select = functools.partial(_select, settings)
    return Rules(table, _makers(settings, num_objectives), select, score)


def _makers(settings: GpSettings, num_objectives: int) -> Makers:
    """One function per model: from table, mask and sharpness to targets; violation last."""
    count, constrained = settings.num_startup, settings.options.constrained

    def of_objective(j: int, table: model.Table, mask: Array, sharpness: Array) -> model.Targets:
        column = table._replace(value=table.value[:, j], se=table.se[:, j])
        return model.objective_targets(
            column, mask, sharpness, num_reference=count, constrained=constrained
        )

    def of_violation(table: model.Table, mask: Array, sharpness: Array) -> model.Targets:
        column = table._replace(value=table.value[:, 0])
        return model.violation_targets(column, mask, sharpness, num_reference=count)

    objectives = tuple(functools.partial(of_objective, j) for j in range(num_objectives))
    return (*objectives, of_violation) if constrained else objectives


def _select(settings: GpSettings, table: model.Table, mask: Array) -> tuple[model.Table, Array]:
    """The observed rows in `mask` that the models are given, and their numbers."""
    # Rows are ranked by the sum of the objectives, each divided by its range.
    finite = (mask & jnp.all(jnp.isfinite(table.value), axis=1))[:, None]
    low = jnp.min(jnp.where(finite, table.value, jnp.inf), axis=0)
    high = jnp.max(jnp.where(finite, table.value, -jnp.inf), axis=0)
    span = jnp.where(high > low, high - low, 1.0)
    total = jnp.sum((table.value - low[None, :]) / span[None, :], axis=1)
    return active_rows(table, mask, settings.num_startup, settings.options.num_active, total)


def score(settings: GpSettings, precision: Precision, evidence: Evidence) -> Scored:
    """The acquisition function given all known points; a pending one has a draw of its values.

    The key draws the point to search around, and the weights of a scalarisation.
    """
    key, table, _, fitted = evidence
    options, m = settings.options, table.value.shape[1]
    prior = gp.cast(settings.prior, precision.work)
    made = zip(_makers(settings, m), fitted, strict=True)
    targets = [make(table, table.is_observed, one.sharpness) for make, one in made]
    is_good = targets[0].is_good
    posteriors = []
    for one, target in zip(fitted[:m], targets[:m], strict=True):
        posterior = model.condition_with_fantasies(
            settings.kernel, prior, one.theta, table, target
        ).posterior
        posteriors.append(posterior.reweigh(posterior.weights[:, :1]))
    drawn = [posterior.predict(table.features).mean[:, 0] for posterior in posteriors]
    observed = [target.data.target for target in targets[:m]]
    value = jnp.where(table.is_pending[:, None], jnp.stack(drawn, 1), jnp.stack(observed, 1))
    value = jnp.where((is_good | table.is_pending)[:, None], value, jnp.nan)
    # 64 random bits cannot be drawn where float64 is on locally alone.
    key_weight, key_centre = jax.random.split(key)
    weight = jax.random.exponential(key_weight, (m,), jnp.float32)
    # Sorting is for the caller's precision: it numbers rows.
    outer = value.astype(np.float64 if precision.is_double_outside else np.float32)
    with jax.enable_x64(precision.is_double_outside):
        acquisition_function, is_centre = (_volume if m <= _MOST_BY_VOLUME else _scalar)(
            outer, weight
        )
    function = functools.partial(_gain, posteriors, gp.cast(acquisition_function, precision.work))
    if options.constrained:
        has_good = jnp.any(is_good)
        feasibility = feasibility_term(settings.kernel, prior, fitted[m].theta, targets[m])
        function = functools.partial(_with_feasibility, function, feasibility, has_good)
        least = jnp.where(table.is_observed & ~is_good, table.violation, jnp.inf)
        is_centre = jnp.where(has_good, is_centre, least == jnp.min(least))
    scales = [gp.unravel(one.theta).log_lengthscale for one in fitted[:m]]
    tie_breakers = jax.random.uniform(key_centre, is_centre.shape, jnp.float32)
    centre = gp.argmax(jnp.where(is_centre, tie_breakers, -1.0))
    return Scored(function, centre, jnp.mean(jnp.stack(scales), axis=0), jnp.zeros((), bool))


AcquisitionFunction = Callable[[Array, Array], Array]
"""From means `[m]` and variances `[m]` to the value to maximise; unbatched."""


def _volume(value: Array, weight: Array) -> tuple[AcquisitionFunction, Array]:
    """The gain in volume below the reference, and the front of targets `[n, m]`."""
    del weight
    n, m = value.shape
    is_front, best, worst = _front(value)
    distance = pareto.crowding_distance(value, jnp.where(is_front, 0, 1).astype(jnp.int32))
    # More than fit: the least crowded stay, the ends first.
    wanted = jnp.where(is_front, jnp.minimum(distance, 2.0 * m + 1.0), -1.0)
    _, rows = jax.lax.top_k(wanted, min(_MAX_FRONT[m], n))
    front = jnp.where(is_front[rows][:, None], value[rows], jnp.nan)
    reference = jnp.where(jnp.isfinite(worst), worst + _MARGIN * (worst - best), 0.0)
    # Targets have mean zero over the start-up: what is better than that always counts.
    boxes = acquisition.free_boxes(front, jnp.maximum(reference, 0.0))
    return Partial(_log_ehvi, boxes), is_front


def _scalar(value: Array, weight: Array) -> tuple[AcquisitionFunction, Array]:
    """The improvement of a scalarisation with drawn weights, and its best row to search around."""
    _, best, worst = _front(value)
    has_any = jnp.isfinite(best)
    span = jnp.where(has_any & (worst > best), worst - best, 1.0)
    # The scalar is least where the line from the ideal point in this direction meets the front.
    direction = jnp.maximum(weight / jnp.sum(weight), _LEAST_SHARE).astype(value.dtype)
    scale = acquisition.Chebyshev(1.0 / (direction * span), jnp.where(has_any, best, 0.0))
    reached = scale(value)
    reached = jnp.where(jnp.isnan(reached), jnp.inf, reached)
    least = jnp.min(reached)
    acquisition_function = Partial(
        _log_chebyshev, scale, jnp.where(jnp.isfinite(least), least, 0.0)
    )
    return acquisition_function, reached == least


def _front(value: Array) -> tuple[Array, Array, Array]:
    """Which targets `[n, m]` are on the front, and its ends in each objective."""
    is_front = pareto.front_mask(value)
    worst = jnp.max(jnp.where(is_front[:, None], value, -jnp.inf), axis=0)
    best = jnp.min(jnp.where(is_front[:, None], value, jnp.inf), axis=0)
    return is_front, best, worst


def _log_ehvi(boxes: acquisition.Boxes, mean: Array, variance: Array) -> Array:
    return acquisition.log_ehvi(mean, variance, boxes)


def _log_chebyshev(
    scale: acquisition.Chebyshev, best: Array, mean: Array, variance: Array
) -> Array:
    return acquisition.log_chebyshev_ei(mean, variance, scale, best)


def _gain(
    posteriors: list[gp.Posterior],
    acquisition_function: AcquisitionFunction,
    features: Array,
    unit: Array,
) -> tuple[Array, Array]:
    """The acquisition function at `[c]` points, and its gradient `[c, F]`."""
    del unit
    found = [posterior.predict_with_pull(features) for posterior in posteriors]
    mean = jnp.concatenate([prediction.mean for prediction, _ in found], axis=1)
    variance = jnp.stack([prediction.variance for prediction, _ in found], axis=1)
    slopes = jax.vmap(jax.value_and_grad(acquisition_function, argnums=(0, 1)))
    value, (by_mean, by_variance) = slopes(mean, variance)
    pulled = [pull(by_mean[:, j, None], by_variance[:, j]) for j, (_, pull) in enumerate(found)]
    return value, functools.reduce(jnp.add, pulled)


def _with_feasibility(
    gain: acquisition.ScoreFn,
    feasibility: Term,
    has_good: Array,
    features: Array,
    unit: Array,
) -> tuple[Array, Array]:
    """Gain and feasibility; before anything feasible is known only the second counts."""
    (value, gradient), (log_p, slope) = gain(features, unit), feasibility(features)
    return jnp.where(has_good, value, 0.0) + log_p, jnp.where(has_good, gradient, 0.0) + slope
