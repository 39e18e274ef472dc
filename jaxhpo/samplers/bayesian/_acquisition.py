"""What the `gp` sampler maximises: an acquisition function of the posterior, and its weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import acquisition, gp
from jaxhpo._base import Array
from jaxhpo.samplers.bayesian import _basins
from jaxhpo.samplers.bayesian import _targets as model
from jaxhpo.samplers.bayesian._basins import cap_lengthscales, is_leaving, settled_basins
from jaxhpo.samplers.bayesian._settings import GpSettings, Precision

_NUM_PROBES = 64
_NUM_MINIMA = 16
"""Draws of the minimum of max-value entropy search."""

_CLEARANCE = 1e-3
"""Least distance of a drawn minimum below the best mean, in deviations of all targets: a minimum
that is known to be reached would carry no information."""


Term = Callable[[Array], tuple[Array, Array]]
"""From features (or unit points) to values and gradients; the log acquisition is a sum of terms."""


class Scored(NamedTuple):
    """An acquisition function.

    Attributes:
        function: from features `[c, F]` and unit points `[c, d]` to values and gradients.
        incumbent: `[]` row of the table to search around.
        log_lengthscale: `[g]` of the function, by which the search is scaled.
        is_leaving: `[]` bool, whether it leaves a minimum that has been reached.
    """

    function: acquisition.ScoreFn
    incumbent: Array
    log_lengthscale: Array
    is_leaving: Array


def makers(settings: GpSettings) -> tuple[Callable[..., model.Targets], ...]:
    """One function per model: from the table, a mask and a sharpness to its targets."""
    count, constrained = settings.num_startup, settings.options.constrained
    objective = functools.partial(
        model.objective_targets, num_reference=count, constrained=constrained
    )
    if not constrained:
        return (objective,)
    return objective, functools.partial(model.violation_targets, num_reference=count)


class Evidence(NamedTuple):
    """What an acquisition function is made from.

    Attributes:
        key: for what is drawn.
        table: the rows that the models are given; several objectives have columns of values.
        num_known: `[]` int32, all points known.
        fitted: of each model, in working precision.
    """

    key: Array
    table: model.Table
    num_known: Array
    fitted: tuple[model.Fitted, ...]


def score(settings: GpSettings, precision: Precision, evidence: Evidence) -> Scored:
    """The acquisition function given all known points, and where to search."""
    key, table, count, fitted = evidence
    options = settings.options
    prior = gp.cast(settings.prior, precision.work)
    made = makers(settings)
    pairs = zip(made, fitted, strict=True)
    targets = [make(table, table.is_observed, one.sharpness) for make, one in pairs]
    theta, is_excluded, leaves = fitted[0].theta, _nowhere, jnp.zeros((), bool)
    probes = _probes(settings, precision)
    if options.num_basins:
        basins = settled_basins(settings.kernel, theta, targets[0], options.num_basins)
        leaves = is_leaving(settings.kernel, basins, count, probes[:_NUM_PROBES])
        kept = table.is_observed & ~(leaves & basins.inner)
        outside = made[0](table, kept, fitted[0].sharpness)
        targets[0] = outside._replace(is_good=outside.is_good & (basins.outer | ~leaves))
        theta = jnp.where(leaves, cap_lengthscales(theta, prior), theta)
        # Until a few points outside have been tried, the model knows nothing there: it proposes no
        # point, and the low-discrepancy sequence takes over.
        is_closed = leaves & (basins.num_fresh < _basins.NUM_FRESH)

        def is_excluded(features: Array) -> Array:
            return (leaves & basins.contain(settings.kernel, features)) | is_closed

    fantasized = model.condition_with_fantasies(settings.kernel, prior, theta, table, targets[0])
    acquisition_term = _acquisition_term(settings, precision, key, fantasized, probes)
    incumbent_score = jnp.where(targets[0].is_good, targets[0].data.target, jnp.inf)
    feasibility: Term = _always_feasible
    has_good = jnp.ones((), precision.work)
    if options.constrained:
        has_good = jnp.any(targets[0].is_good).astype(precision.work)
        feasibility = feasibility_term(settings.kernel, prior, fitted[1].theta, targets[1])
        # Without a feasible row, look around the one that violates least.
        least = jnp.where(table.is_observed & jnp.isfinite(table.value), table.violation, jnp.inf)
        incumbent_score = jnp.where(has_good > 0, incumbent_score, least)
    optimum_prior = _optimum_prior_term(settings, precision, count)

    def function(features: Array, unit: Array) -> tuple[Array, Array]:
        value, gradient = acquisition_term(features)
        # Before anything feasible is known there is nothing to improve on: only the
        # probability of feasibility counts.
        value = jnp.where(has_good > 0, value, 0.0)
        value = jnp.where(is_excluded(features), -jnp.inf, value)
        parts = feasibility(features), optimum_prior(unit)
        value = value + sum(part[0] for part in parts)
        return value, has_good * gradient + sum(part[1] for part in parts)

    return Scored(function, gp.argmax(-incumbent_score), gp.unravel(theta).log_lengthscale, leaves)


def _acquisition_term(
    settings: GpSettings,
    precision: Precision,
    key: Array,
    fantasized: model.FantasyPosterior,
    probes: Array,
) -> Term:
    """The acquisition function proper, on a log scale where it has one."""
    options = settings.options
    if options.acquisition_function == "thompson":
        path = gp.draw_paths(key, fantasized.posterior, fantasized.noise, 1)

        def of_path(features: Array) -> tuple[Array, Array]:
            value, gradient = path.with_gradient(features)
            return -value, -gradient

        return of_path
    if options.acquisition_function == "mes":
        paths = gp.draw_paths(key, fantasized.posterior, fantasized.noise, _NUM_MINIMA)
        minimum = jnp.min(paths(probes), axis=0)
        minimum = jnp.minimum(minimum, fantasized.best[0] - _CLEARANCE)
        first = fantasized.posterior.reweigh(fantasized.posterior.weights[:, :1])
        return functools.partial(_of_minima, first, minimum)
    function = {
        "log_ei": functools.partial(acquisition.log_ei, best=fantasized.best[None, :]),
        "log_pi": functools.partial(acquisition.log_pi, best=fantasized.best[None, :]),
        "ucb": functools.partial(acquisition.ucb, beta=settings.beta.astype(precision.work)),
    }[options.acquisition_function]

    def of_fantasies(features: Array) -> tuple[Array, Array]:
        prediction, pull = fantasized.posterior.predict_with_pull(features)
        one = acquisition.average(function(prediction.mean, prediction.variance[:, None]))
        return one.value, pull(one.by_mean, one.by_variance)

    return of_fantasies


def _of_minima(posterior: gp.Posterior, minimum: Array, features: Array) -> tuple[Array, Array]:
    """Information gain about the minimum, averaged over draws of it."""
    prediction, pull = posterior.predict_with_pull(features)
    one = acquisition.log_mes(prediction.mean, prediction.variance[:, None], minimum[None, :])
    one = acquisition.average(one)
    return one.value, pull(jnp.sum(one.by_mean, axis=1, keepdims=True), one.by_variance)


def feasibility_term(
    kernel: gp.Kernel, prior: gp.Prior, theta: Array, targets: model.Targets
) -> Term:
    """Log probability that the constraint is met."""
    limit = targets.warped.apply(jnp.zeros((), theta.dtype))
    violation = gp.condition(kernel, gp.unravel(theta), targets.data, prior.bias)

    def feasibility(features: Array) -> tuple[Array, Array]:
        prediction, pull = violation.predict_with_pull(features)
        one = acquisition.log_pi(prediction.mean, prediction.variance, limit)
        return one.value, pull(one.by_mean, one.by_variance)

    return feasibility


def _always_feasible(features: Array) -> tuple[Array, Array]:
    return jnp.zeros(features.shape[0], features.dtype), jnp.zeros_like(features)


def _optimum_prior_term(settings: GpSettings, precision: Precision, count: Array) -> Term:
    """The user's log prior over the optimum, times a weight that falls as trials come in.

    Hvarfner et al., "πBO: augmenting acquisition functions with user beliefs for Bayesian
    optimization", 2022: the acquisition value is multiplied by `prior ** (beta / n)`.
    """
    log_density, embedding, space = settings.optimum_prior, settings.embedding, settings.space
    num_features = len(embedding.groups)
    if log_density is None:

        def none(unit: Array) -> tuple[Array, Array]:
            zero = jnp.zeros(unit.shape[0], precision.work)
            return zero, jnp.zeros((unit.shape[0], num_features), precision.work)

        return none
    coordinates = np.flatnonzero(np.asarray(embedding.columns) >= 0)
    columns = np.asarray(embedding.columns)[coordinates]

    def of_point(unit: Array) -> Array:
        return jnp.asarray(log_density(space.from_unit(unit))).astype(unit.dtype)

    def optimum_prior(unit: Array) -> tuple[Array, Array]:
        with jax.enable_x64(precision.is_double_outside):
            value, slope = jax.vmap(jax.value_and_grad(of_point))(unit)
            weight = settings.strength / jnp.maximum(settings.strength, count.astype(unit.dtype))
        value, slope, weight = gp.cast((value, slope, weight), precision.work)
        slope = jnp.where(jnp.isfinite(slope), slope, 0.0)
        gradient = jnp.zeros((unit.shape[0], num_features), precision.work)
        gradient = gradient.at[:, columns].set(weight * slope[:, coordinates])
        value = jnp.where(jnp.isnan(value), -jnp.inf, value)
        return weight * value, gradient

    return optimum_prior


def _probes(settings: GpSettings, precision: Precision) -> Array:
    """Features `[c, F]` of points spread over the space."""
    with jax.enable_x64(precision.is_double_outside):
        count = settings.options.budget.num_global
        table = settings.table[:count, :-2].astype(jnp.result_type(float))
        features = settings.embedding.features(settings.space, settings.space.snap(table))
    return features.astype(precision.work)


def _nowhere(features: Array) -> Array:
    return jnp.zeros(features.shape[0], bool)
