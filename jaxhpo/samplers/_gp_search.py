"""The model-based half of the `gp` sampler: settings, precision, fit and search."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import acquisition, gp
from jaxhpo._base import Array, Sampler
from jaxhpo.samplers import _gp_basins, _sobol
from jaxhpo.samplers import _gp_model as model
from jaxhpo.samplers._gp_active import active_rows
from jaxhpo.samplers._gp_basins import cap_lengthscales, is_leaving, settled_basins
from jaxhpo.samplers._gp_state import Observations
from jaxhpo.samplers._lattice import Lattice
from jaxhpo.space import Space

ACQUISITIONS = ("log_ei", "log_pi", "ucb")
_FIT_EVALS = 30
_NUM_PROBES = 64


@dataclasses.dataclass(frozen=True)
class Options:
    """Structural settings of `gp`; hashable."""

    batch_size: int
    capacity: int
    num_startup: int
    goal: str
    constrained: bool
    precision: str
    num_basins: int
    num_active: int
    budget: acquisition.Budget


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GpSettings:
    """Settings of `gp`: the space, the prior and the numbers are traced, the rest is static."""

    space: Space
    start: Sampler
    table: Array
    prior: gp.Prior
    beta: Array
    kernel: gp.Kernel = dataclasses.field(metadata={"static": True})
    embedding: acquisition.Embedding = dataclasses.field(metadata={"static": True})
    lattice: Lattice | None = dataclasses.field(metadata={"static": True})
    options: Options = dataclasses.field(metadata={"static": True})


def candidate_table(count: int, num_dims: int) -> np.ndarray:
    """Plain Sobol points `[count, num_dims]` in float32, computed on the host."""
    numbers = _sobol.direction_numbers(num_dims)
    index = np.arange(count, dtype=np.uint32)
    gray = index ^ (index >> np.uint32(1))
    chosen = (gray[:, None] >> np.arange(_sobol.NUM_BITS, dtype=np.uint32)) & np.uint32(1)
    digits = np.bitwise_xor.reduce(chosen[:, None, :] * numbers[None, :, :], axis=2)
    return (digits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def refit(
    settings: GpSettings, rows: Observations, thetas: tuple[Array, ...], num_fitted: Array
) -> tuple[tuple[Array, ...], Array]:
    """Hyperparameters of each model brought up to date, and the count of the last fit."""
    options = settings.options
    q = options.batch_size
    schedule = model.Schedule(-(-options.num_startup // q) * q, q)
    outer = thetas[0].dtype
    with _inside(settings) as precision:
        table = _table(settings, precision, rows)
        prior = gp.cast(settings.prior, precision.work)
        fitted, count = model.refit(
            settings.kernel,
            prior,
            schedule,
            _makers(options),
            table,
            gp.cast(thetas, precision.work),
            num_fitted,
            _FIT_EVALS,
            functools.partial(_active, options),
        )
        return gp.cast(fitted, outer), count


def search(
    settings: GpSettings, key: Array, rows: Observations, thetas: tuple[Array, ...]
) -> Array:
    """The allowed new point `[d]` of highest acquisition; NaN if there is none."""
    outer, options = jnp.result_type(float), settings.options
    shift = jax.random.uniform(key, (settings.space.num_dims + 2,), outer)
    known = jnp.where(rows.is_known[:, None], rows.unit, jnp.nan)
    luck = settings.table[:, -1].astype(outer) + shift[-1]
    with _inside(settings) as precision:
        table = _table(settings, precision, rows)
        count = jnp.sum(rows.is_known, dtype=jnp.int32)
        table, number = _active(options, table, table.is_told)
        probes = _probes(settings, precision)
        score, incumbent, theta = _score(settings, precision, table, count, thetas, probes)
        problem = acquisition.Problem(
            settings.space, settings.embedding, known, precision.is_double_outside
        )
        candidates = acquisition.candidate_points(
            problem,
            settings.table.astype(outer),
            rows.unit[number[incumbent]],
            shift,
            options.budget,
        )
        lengthscale = settings.kernel.spread(jnp.exp(gp.unravel(theta).log_lengthscale))
        found = acquisition.optimize(
            score,
            problem,
            candidates,
            lengthscale,
            luck - jnp.floor(luck),
            options.budget,
        )
        return jnp.where(found.value > -jnp.inf, found.unit, jnp.nan)


class _Precision(NamedTuple):
    work: np.dtype
    is_double_outside: bool


@contextlib.contextmanager
def _inside(settings: GpSettings) -> Iterator[_Precision]:
    """The precision of the linear algebra, as a context of the trace."""
    is_double = bool(jnp.result_type(float) == jnp.float64)
    if settings.options.precision == "float32":
        yield _Precision(np.dtype(np.float32), is_double)
        return
    with jax.enable_x64(True):
        yield _Precision(np.dtype(np.float64), is_double)


def _table(settings: GpSettings, precision: _Precision, rows: Observations) -> model.Table:
    with jax.enable_x64(precision.is_double_outside):
        features = settings.embedding.features(settings.space, rows.unit)
        is_told, is_pending = rows.is_told, rows.is_known & ~rows.is_told
    table = model.Table(features, rows.value, rows.se, rows.violation, is_told, is_pending)
    cast: model.Table = gp.cast(table, precision.work)
    return cast


def _active(options: Options, table: model.Table, mask: Array) -> tuple[model.Table, Array]:
    """The told rows in `mask` that the model is given, and their numbers."""
    n = table.value.shape[0]
    if n <= options.num_active:
        return table._replace(is_told=mask), jnp.arange(n, dtype=jnp.int32)
    return active_rows(table, mask, options.num_startup, options.num_active)


def _makers(options: Options) -> tuple[Callable[..., model.Targets], ...]:
    count = options.num_startup
    objective = functools.partial(
        model.objective_targets, num_reference=count, constrained=options.constrained
    )
    if not options.constrained:
        return (objective,)
    return objective, functools.partial(model.violation_targets, num_reference=count)


def _probes(settings: GpSettings, precision: _Precision) -> Array:
    """Features `[c, F]` of points spread over the space."""
    with jax.enable_x64(precision.is_double_outside):
        table = settings.table[:_NUM_PROBES, :-2].astype(jnp.result_type(float))
        features = settings.embedding.features(settings.space, settings.space.snap(table))
    return features.astype(precision.work)


def _score(
    settings: GpSettings,
    precision: _Precision,
    table: model.Table,
    count: Array,
    thetas: tuple[Array, ...],
    probes: Array,
) -> tuple[Callable[[Array], tuple[Array, Array]], Array, Array]:
    """The acquisition function, the row of the incumbent, and the objective's hyperparameters."""
    options = settings.options
    prior = gp.cast(settings.prior, precision.work)
    thetas = gp.cast(thetas, precision.work)
    targets = [make(table, table.is_told) for make in _makers(options)]
    theta, is_held = thetas[0], _nowhere
    if options.num_basins:
        basins = settled_basins(settings.kernel, theta, targets[0], options.num_basins)
        leaves = is_leaving(settings.kernel, basins, count, probes)
        outside = _makers(options)[0](table, table.is_told & ~(leaves & basins.inner))
        targets[0] = outside._replace(is_good=outside.is_good & (basins.outer | ~leaves))
        theta = jnp.where(leaves, cap_lengthscales(theta, prior), theta)
        # Until some points have been tried outside, none is proposed: the sequence steps in.
        is_closed = leaves & (basins.num_fresh < _gp_basins.NUM_FRESH)

        def is_held(features: Array) -> Array:
            return (leaves & basins.hold(settings.kernel, features)) | is_closed

    belief = model.believe(settings.kernel, prior, theta, table, targets[0])
    beta = settings.beta.astype(precision.work)

    def objective(features: Array) -> tuple[Array, Array]:
        prediction, pull = belief.posterior.predict_with_pull(features)
        mean, variance = prediction.mean, prediction.variance[:, None]
        if options.goal == "ucb":
            one = acquisition.ucb(mean, variance, beta)
        else:
            function = {"log_ei": acquisition.log_ei, "log_pi": acquisition.log_pi}
            one = function[options.goal](mean, variance, belief.best[None, :])
        one = acquisition.average(one)
        value = jnp.where(is_held(features), -jnp.inf, one.value)
        return value, pull(one.by_mean, one.by_variance)

    goal = jnp.where(targets[0].is_good, targets[0].data.target, jnp.inf)
    if not options.constrained:
        return objective, gp.argmax(-goal), theta
    limit = targets[1].warped.apply(jnp.zeros((), precision.work))
    violation = gp.condition(settings.kernel, gp.unravel(thetas[1]), targets[1].data, prior.bias)
    has_good = jnp.any(targets[0].is_good).astype(precision.work)

    def weighted(features: Array) -> tuple[Array, Array]:
        value, gradient = objective(features)
        prediction, pull = violation.predict_with_pull(features)
        chance = acquisition.log_pi(prediction.mean, prediction.variance, limit)
        # Before anything feasible is known there is nothing to improve on: only the chance counts.
        value = jnp.where(has_good > 0, value, 0.0) + chance.value
        return value, has_good * gradient + pull(chance.by_mean, chance.by_variance)

    # Without a feasible row, look around the one that violates least.
    least = jnp.where(table.is_told & jnp.isfinite(table.value), table.violation, jnp.inf)
    goal = jnp.where(jnp.any(targets[0].is_good), goal, least)
    return weighted, gp.argmax(-goal), theta


def _nowhere(features: Array) -> Array:
    return jnp.zeros(features.shape[0], bool)
