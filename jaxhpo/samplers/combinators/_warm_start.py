"""A sampler that begins with earlier trials."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, PyTree, Record, Sampler, make_sampler
from jaxhpo.samplers._parts._validation import checked_trials, real_array
from jaxhpo.space import Space

_CAPACITY = 64


class WarmSettings(Record):
    """Settings of `warm_start`; all traced."""

    sampler: Sampler
    unit: Array
    outcome: Outcome


def warm_start(sampler: Sampler, space: Space, points: Any, outcomes: Any) -> Sampler:
    """Tells a sampler about earlier trials before it proposes any.

    Works with every sampler, since an observed point that was never asked counts as known. The
    trials may stem from the same objective, or from one like it whose values compare. The capacity
    of a sampler with buffers grows by the number of points.

    Args:
        sampler: the sampler; made for `space`.
        space: the search space.
        points: earlier params (a list of Python objects, as an objective receives them), or unit
            points `[n, d]`.
        outcomes: `[n]` values, or an `Outcome` of them; NaN for a failure.

    Returns:
        The sampler. On a finite space the earlier configurations are not proposed again.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: points and values of different numbers, or points of another space.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-2.0, 3.0)})
        >>> known = [{"x": 0.9}, {"x": -1.0}]
        >>> sampler = hpo.samplers.pattern(space, num_startup=2, first_step=0.02)
        >>> sampler = hpo.samplers.warm_start(sampler, space, known, [0.01, 4.0])
        >>> objective = lambda key, params: (params["x"] - 1.0) ** 2
        >>> result = hpo.minimize(objective, space, sampler, key=0, num_trials=20)
        >>> bool(result.best_value < 1e-6)
        True
    """
    where = "warm_start"
    if not isinstance(sampler, Sampler):
        raise TypeError(f"{where}: `sampler` must be a Sampler, got {_checks.describe(sampler)}.")
    if not isinstance(space, Space):
        raise TypeError(f"{where}: `space` must be a Space, got {_checks.describe(space)}.")
    dtype = jnp.result_type(float)
    unit = real_array(where, "points", _unit_points(where, space, points)).astype(dtype)
    outcome = outcomes if isinstance(outcomes, Outcome) else Outcome(outcomes)
    outcome = outcome._replace(value=real_array(where, "outcomes", outcome.value))
    if unit.ndim != 2 or unit.shape[1] != space.num_dims:
        raise _checks.fail(where, "points", f"of shape [n, {space.num_dims}]", unit.shape)
    if outcome.value.shape[:1] != unit.shape[:1]:
        expected = f"{unit.shape[0]} values, one per point"
        raise _checks.fail(where, "outcomes", expected, outcome.value.shape)
    if not _checks.is_in_cube(unit):
        raise _checks.fail(where, "points", "in the unit cube", unit)
    unit, outcome = checked_trials(where, space, unit, outcome)
    resize = None if sampler.resize is None else _resize
    return make_sampler(
        WarmSettings(sampler, unit, outcome), _init, _ask, _tell, resize, name="warm_start"
    )


def _unit_points(where: str, space: Space, points: Any) -> Any:
    """Unit points `[n, d]` of the user's points."""
    if isinstance(points, dict):
        expected = f"a list of params, one per trial, or unit points [n, {space.num_dims}]"
        raise TypeError(f"{where}: `points` must be {expected}, got {_checks.describe(points)}.")
    if isinstance(points, list | tuple):
        if len(points) == 0:
            raise _checks.fail(where, "points", "at least one trial", points)
        if isinstance(points[0], dict):
            return space.to_unit(space.encode(list(points), np.float64))
    return points


def _init(settings: WarmSettings, key: Array) -> PyTree:
    key_init, key_tell = jax.random.split(key)
    sampler = settings.sampler
    state = sampler.init(key_init)
    if sampler.resize is not None:
        state = sampler.resize(state, _CAPACITY + settings.unit.shape[0])
    state, _ = sampler.tell(key_tell, state, settings.unit, settings.outcome)
    return state


def _ask(settings: WarmSettings, key: Array, state: PyTree) -> tuple[PyTree, Array]:
    asked: tuple[PyTree, Array] = settings.sampler.ask(key, state)
    return asked


def _tell(
    settings: WarmSettings, key: Array, state: PyTree, unit: Array, outcome: Outcome
) -> tuple[PyTree, PyTree]:
    result: tuple[PyTree, PyTree] = settings.sampler.tell(key, state, unit, outcome)
    return result


def _resize(settings: WarmSettings, state: PyTree, capacity: int) -> PyTree:
    assert settings.sampler.resize is not None
    return settings.sampler.resize(state, capacity + settings.unit.shape[0])
