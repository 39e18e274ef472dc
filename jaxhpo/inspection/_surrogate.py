"""A Gaussian process of finished trials, with the kernel and the priors of the `gp` sampler."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks, acquisition, gp
from jaxhpo._base import Array
from jaxhpo._tracing import lapack_threads
from jaxhpo.space import Space

MAX_TRIALS = 1000
_MAX_EVALS = 60
_COVERAGE = 0.9
_ONE_SIDED = statistics.NormalDist().inv_cdf(0.5 + 0.5 * _COVERAGE)


class Beliefs(NamedTuple):
    """The posterior of the objective at `c` points; NumPy, float64.

    The model works on standardised values, compressed above the median. `mean` and `deviation` are
    on that scale; `median`, `lower` and `upper` are values as the objective gives them.

    Attributes:
        mean: `[c]`.
        deviation: `[c]`.
        median: `[c]`.
        lower: `[c]` end of the central 90 % interval.
        upper: `[c]` its other end.
    """

    mean: np.ndarray
    deviation: np.ndarray
    median: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class LeaveOneOut(NamedTuple):
    """Each trial's value beside what the model of all other trials predicts for it.

    Attributes:
        observed: `[n]` values, in the order of `Surrogate.unit`.
        predicted: the `Beliefs` of an observation there, noise included.
        z: `[n]` standardised residuals; standard normal where the model is right.
    """

    observed: np.ndarray
    predicted: Beliefs
    z: np.ndarray

    @property
    def r2(self) -> float:
        """Share of the variance that is predicted, on the model's scale; NaN for equal values."""
        residual = self.z * self.predicted.deviation
        target = self.predicted.mean + residual
        total = float(np.sum((target - target.mean()) ** 2))
        return float(1.0 - np.sum(residual**2) / total) if total > 0 else float("nan")

    @property
    def coverage(self) -> float:
        """Share of the trials within their 90 % interval."""
        return float(np.mean(np.abs(self.z) <= _ONE_SIDED))


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """A fitted model; made by `fit_surrogate` or `Study.surrogate`.

    Attributes:
        space: the search space.
        embedding: how unit coordinates become features.
        posterior: the Gaussian process given the trials, in float64.
        warped: the trials' targets and the map they came by.
        unit: `[n, d]` the trials' points, snapped.
        value: `[n]` their values as minimised.
        is_feasible: `[n]` bool, which of them break no constraint.
    """

    space: Space
    embedding: acquisition.Embedding
    posterior: gp.Posterior
    warped: gp.Warped
    unit: np.ndarray
    value: np.ndarray
    is_feasible: np.ndarray

    @property
    def columns(self) -> list[str]:
        """Names of the unit coordinates; a vector parameter has one per element."""
        return column_names(self.space)

    @property
    def lengthscales(self) -> dict[str, float]:
        """Distance in the unit cube over which the objective changes; large: it hardly does."""
        scales = np.exp(np.asarray(self.posterior.hyper.log_lengthscale))
        return dict(zip(self.columns, map(float, scales), strict=True))

    @property
    def noise(self) -> float:
        """Standard deviation of the noise, as a share of that of the values' own scale."""
        return float(np.exp(0.5 * np.asarray(self.posterior.hyper.log_noise)))

    @property
    def best(self) -> int:
        """Row of the best feasible trial; of all, if none is feasible."""
        shown = self.is_feasible if self.is_feasible.any() else ~self.is_feasible
        return int(np.argmin(np.where(shown, self.value, np.inf)))

    def predict(self, unit: Any) -> Beliefs:
        """The posterior at unit points `[c, d]`.

        Raises:
            ValueError: another shape, or a point that is not in the unit cube.
        """
        unit = _points("Surrogate.predict", self.space, unit)
        if not np.isfinite(unit).all():
            raise _checks.fail("Surrogate.predict", "unit", "in the unit cube", unit)
        features = features_of(self.space, self.embedding, unit)
        with jax.enable_x64(True):
            mean, variance = _predict(self.posterior, jnp.asarray(features))
            return self._prediction(mean, jnp.sqrt(variance))

    def leave_one_out(self) -> LeaveOneOut:
        """Predicts each trial from all others, in closed form.

        Returns:
            The `LeaveOneOut`. Hyperparameters are those of all trials (Rasmussen and Williams,
            "Gaussian Processes for Machine Learning", 2006, eq. 5.12).
        """
        with jax.enable_x64(True):
            inverse_factor = self.posterior.inverse_factor
            variance = 1.0 / jnp.sum(inverse_factor**2, axis=0)
            target = self.warped.target
            deviation = jnp.sqrt(variance)
            z = self.posterior.weights * deviation
            predicted = self._prediction(target - z * deviation, deviation)
            return LeaveOneOut(self.value, predicted, np.asarray(z))

    def _prediction(self, mean: Array, deviation: Array) -> Beliefs:
        low, high = mean - _ONE_SIDED * deviation, mean + _ONE_SIDED * deviation
        values = [self.warped.invert(target) for target in (mean, low, high)]
        return Beliefs(*map(np.asarray, (mean, deviation, *values)))


def fit_surrogate(
    space: Space,
    unit: Any,
    value: Any,
    *,
    violation: Any = None,
    se: Any = None,
    kernel: str = "matern52",
) -> Surrogate:
    """Fits a Gaussian process to finished trials, to look at.

    Args:
        space: the search space.
        unit: `[n, d]` the trials' points in the unit cube; NaN where there was no proposal.
        value: `[n]` values, minimised. Trials whose value is not finite are left out; of more than
            1,000 the best half and the latest others are kept.
        violation: `[n]` or `[n, c]` constraint violations, or None. Trials above 0 teach the model
            like others, and are never its best.
        se: `[n]` standard errors of the values, at least 0, or None; NaN where unknown. They are
            noise that is known, beside that which the fit finds. Trials where it is infinite are
            left out.
        kernel: "matern52" or "rbf".

    Returns:
        The `Surrogate`.

    Raises:
        TypeError: `space` is not a `Space`.
        ValueError: shapes that do not fit, points outside the unit cube, a negative standard error,
            or fewer than two trials with a point and a finite value.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "idle": hpo.uniform(0.0, 1.0)})
        >>> result = hpo.minimize(
        ...     lambda key, params: (params["x"] - 0.3) ** 2,
        ...     space, hpo.samplers.qmc(space), key=0, num_trials=16,
        ... )
        >>> trials = result.trials
        >>> surrogate = hpo.inspection.fit_surrogate(space, trials.unit, trials.value)
        >>> surrogate.lengthscales["idle"] > surrogate.lengthscales["x"]
        True
        >>> surrogate.leave_one_out().r2 > 0.9
        True
    """
    where = "fit_surrogate"
    if not isinstance(space, Space):
        raise TypeError(f"{where}: `space` must be a Space, got {_checks.describe(space)}.")
    unit, value = _points(where, space, unit), _checks.real_numbers(where, "value", value)
    if value.shape != unit.shape[:1]:
        raise _checks.fail(where, "value", f"of shape [{len(unit)}]", value.shape)
    is_feasible = _feasible(where, violation, len(unit))
    error = _known_error(where, se, len(unit))
    if not isinstance(kernel, str) or kernel not in ("matern52", "rbf"):
        raise _checks.fail(where, "kernel", "one of matern52, rbf", kernel)
    usable = np.isfinite(value) & np.isfinite(error) & np.isfinite(unit).all(axis=1)
    kept = _chosen(np.flatnonzero(usable), value, is_feasible)
    if kept.size < 2:
        expected = "finite, at a point without NaN, in two trials at least (run more of them)"
        raise _checks.fail(where, "value", expected, f"{kept.size} such of {len(unit)} trials")
    unit, value = np.asarray(space.snap(jnp.asarray(unit[kept]))), value[kept]
    embedding = acquisition.embedding_of(space)
    features = features_of(space, embedding, unit)
    with jax.enable_x64(True), lapack_threads.one_thread():
        posterior, warped = jax.block_until_ready(
            _fit(
                embedding.kernel(kernel),
                space.num_dims,
                *map(jnp.asarray, (features, value, error[kept])),
            )
        )
    return Surrogate(space, embedding, posterior, warped, unit, value, is_feasible[kept])


def _points(where: str, space: Space, unit: Any) -> np.ndarray:
    """Requires points `[n, d]` of the unit cube, or NaN."""
    unit = _checks.real_numbers(where, "unit", unit)
    if unit.ndim != 2 or unit.shape[1] != space.num_dims:
        raise _checks.fail(where, "unit", f"of shape [n, {space.num_dims}]", unit.shape)
    if not _checks.is_in_cube(unit):
        raise _checks.fail(where, "unit", "in the unit cube", unit)
    return unit


def _feasible(where: str, violation: Any, count: int) -> np.ndarray:
    """Which trials break no constraint, `[n]`; NaN is broken."""
    if violation is None:
        return np.ones(count, bool)
    violation = _checks.real_numbers(where, "violation", violation)
    if violation.ndim not in (1, 2) or violation.shape[0] != count:
        expected = f"of shape [{count}] or [{count}, c]"
        raise _checks.fail(where, "violation", expected, violation.shape)
    return np.all(violation <= 0, axis=tuple(range(1, violation.ndim)))


def _known_error(where: str, se: Any, count: int) -> np.ndarray:
    """Standard errors `[n]`, 0 where nothing is known."""
    if se is None:
        return np.zeros(count)
    se = _checks.real_numbers(where, "se", se)
    if se.shape != (count,):
        raise _checks.fail(where, "se", f"of shape [{count}]", se.shape)
    if (se < 0).any():
        raise _checks.fail(where, "se", "at least 0, or NaN", se)
    return np.where(np.isnan(se), 0.0, se)


def check_surrogate(where: str, surrogate: Any) -> None:
    """Requires a fitted model."""
    if not isinstance(surrogate, Surrogate):
        expected = "a Surrogate, as `fit_surrogate` makes it"
        got = _checks.describe(surrogate)
        raise TypeError(f"{where}: `surrogate` must be {expected}, got {got}.")


def column_names(space: Space) -> list[str]:
    """Names of a space's unit coordinates, `name[i]` for the elements of a vector."""
    names = []
    for leaf in space.leaves:
        count = leaf.stop - leaf.start
        names += [leaf.name] if count == 1 else [f"{leaf.name}[{i}]" for i in range(count)]
    return names


def features_of(space: Space, embedding: acquisition.Embedding, unit: Any) -> np.ndarray:
    """Features `[c, F]` of unit points, float64."""
    snapped = space.snap(jnp.asarray(unit, jnp.result_type(float)))
    return np.asarray(embedding.features(space, snapped), np.float64)


def _chosen(finite: np.ndarray, value: np.ndarray, is_feasible: np.ndarray) -> np.ndarray:
    """All trials, or the best half (feasible ones first) and the latest others, in their order."""
    if finite.size <= MAX_TRIALS:
        return finite
    best_first = finite[np.lexsort((value[finite], ~is_feasible[finite]))]
    best, others = best_first[: MAX_TRIALS // 2], np.sort(best_first[MAX_TRIALS // 2 :])
    return np.sort(np.concatenate([best, others[-(MAX_TRIALS - best.size) :]]))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fit(
    kernel: gp.Kernel, num_groups: int, features: Array, value: Array, error: Array
) -> tuple[gp.Posterior, gp.Warped]:
    """The posterior under the map from values to targets by which the values are most probable."""
    mask = jnp.ones(value.shape, bool)
    prior = gp.default_prior(num_groups, value.dtype)
    centre = prior.mean
    starts = jnp.stack([centre, centre.at[:num_groups].add(-1.0), centre.at[-1].set(-4.0)])

    def data_of(warped: gp.Warped) -> gp.Data:
        return gp.Data(features, warped.target, (error * warped.rate) ** 2, mask)

    def one(sharpness: Array) -> tuple[gp.Warped, gp.Hyperparameters, Array]:
        warped = gp.warp(value, mask, sharpness=sharpness)
        found = gp.fit(kernel, data_of(warped), prior, starts, max_evals=_MAX_EVALS)
        return warped, found.hyper, found.log_posterior + warped.log_slope

    *tried, density = jax.lax.map(one, jnp.asarray(gp.SHARPNESS, value.dtype))
    best = gp.argmax(jnp.where(jnp.isfinite(density), density, -jnp.inf))
    warped, hyper = jax.tree.map(lambda leaf: leaf[best], tuple(tried))
    return gp.condition(kernel, hyper, data_of(warped), prior.bias), warped


@jax.jit
def _predict(posterior: gp.Posterior, features: Array) -> tuple[Array, Array]:
    mean, variance = posterior.predict(features)
    return mean, variance
