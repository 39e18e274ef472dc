"""One- and two-dimensional cuts through a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks, acquisition
from jaxhpo.inspection._surrogate import Beliefs, Surrogate, check_surrogate


class Slice(NamedTuple):
    """A model's predictions on a line or a grid through one point; arrays have the grid's shape.

    Attributes:
        names: the coordinates that vary, one or two.
        ticks: for each of them, what its grid points stand for: numbers, or labels of options.
        unit: `[..., d]` the points.
        prediction: the posterior there, as `Beliefs`.
        acquisition: log expected improvement over the best feasible trial's prediction; whether a
            point is feasible is not in it.
        at: `[d]` the point that the cut goes through.
    """

    names: tuple[str, ...]
    ticks: tuple[list[Any], ...]
    unit: np.ndarray
    prediction: Beliefs
    acquisition: np.ndarray
    at: np.ndarray


def slice_of(
    surrogate: Surrogate, names: str | Sequence[str], *, num_points: int = 50, at: Any = None
) -> Slice:
    """Cuts a model along one or two parameters.

    Args:
        surrogate: the model.
        names: one or two of `surrogate.columns`.
        num_points: grid points along a continuous parameter; a discrete one has its levels.
        at: params that the cut goes through; None means the best feasible trial's.

    Returns:
        The `Slice`.

    Raises:
        TypeError: no `Surrogate`, or `names` is no string and no list of strings.
        ValueError: an unknown name, or another number of names.

    Example:
        >>> import numpy as np, jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(0.0, 2.0), "kind": ["a", "b"]})
        >>> unit = np.random.default_rng(0).uniform(size=(12, 2))
        >>> surrogate = hpo.inspection.fit_surrogate(space, unit, unit[:, 0] ** 2)
        >>> cut = hpo.inspection.slice_of(surrogate, ["x", "kind"], num_points=5)
        >>> cut.prediction.mean.shape, cut.ticks[1]
        ((5, 2), ['a', 'b'])
    """
    check_surrogate("slice_of", surrogate)
    chosen = (names,) if isinstance(names, str) else names
    if not isinstance(chosen, list | tuple) or not all(isinstance(name, str) for name in chosen):
        expected = "one or two names of parameters"
        raise TypeError(f"slice_of: `names` must be {expected}, got {_checks.describe(names)}.")
    chosen = tuple(chosen)
    columns = surrogate.columns
    for name in chosen:
        if name not in columns:
            expected = f"among {', '.join(columns)}"
            raise _checks.fail("slice_of", "names", expected, name)
    if not 1 <= len(set(chosen)) == len(chosen) <= 2:
        raise _checks.fail("slice_of", "names", "one name, or two different ones", names)
    num_points = _checks.check_count("slice_of", "num_points", num_points, 2)
    base = _base(surrogate, at)
    axes = [_grid(surrogate, columns.index(name), num_points) for name in chosen]
    mesh = np.meshgrid(*axes, indexing="ij")
    unit = np.broadcast_to(base, (*mesh[0].shape, base.size)).copy()
    for name, values in zip(chosen, mesh, strict=True):
        unit[..., columns.index(name)] = values
    flat = unit.reshape(-1, base.size)
    flat = np.asarray(surrogate.space.snap(jnp.asarray(flat)))
    shape = mesh[0].shape
    prediction = surrogate.predict(flat)
    ticks = tuple(
        _ticks(surrogate, base, name, axis) for name, axis in zip(chosen, axes, strict=True)
    )
    return Slice(
        chosen,
        ticks,
        flat.reshape(unit.shape),
        Beliefs(*(part.reshape(shape) for part in prediction)),
        _log_ei(surrogate, prediction).reshape(shape),
        base,
    )


def _base(surrogate: Surrogate, at: Any) -> np.ndarray:
    """The point to cut through `[d]`."""
    if at is None:
        return surrogate.unit[surrogate.best]
    space = surrogate.space
    with _checks.noted("slice_of: raised while `at` was read as params of the space."):
        return np.asarray(space.to_unit(space.encode([at], np.float64)))[0]


def _grid(surrogate: Surrogate, column: int, num_points: int) -> np.ndarray:
    levels = int(surrogate.space.num_levels[column])
    if (levels and levels <= max(num_points, 1)) or surrogate.space.is_categorical[column]:
        return (np.arange(levels) + 0.5) / levels
    return np.linspace(0.0, 1.0, num_points)


def _ticks(surrogate: Surrogate, base: np.ndarray, name: str, axis: np.ndarray) -> list[Any]:
    """What the points of an axis stand for; None where the parameter is not active."""
    space = surrogate.space
    unit = np.repeat(base[None], len(axis), axis=0)
    unit[:, surrogate.columns.index(name)] = axis
    params = space.decode(space.host_values(unit))
    return [space.flatten_params(row).get(name) for row in params]


def _log_ei(surrogate: Surrogate, prediction: Beliefs) -> np.ndarray:
    feasible = surrogate.is_feasible if surrogate.is_feasible.any() else slice(None)
    best = np.min(surrogate.predict(surrogate.unit[feasible]).mean)
    with jax.enable_x64(True):
        mean, variance = jnp.asarray(prediction.mean), jnp.asarray(prediction.deviation**2)
        return np.asarray(acquisition.log_ei(mean, variance, jnp.asarray(best)).value)
