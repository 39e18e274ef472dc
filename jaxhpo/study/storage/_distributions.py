"""A space in Optuna's words, so that its plots and its dashboard read our studies as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo.space import Space
from jaxhpo.space.internal import (
    Choice,
    Dimension,
    Fixed,
    Normal,
    Ordinal,
    Real,
    Static,
    Stepped,
    SteppedNormal,
    element_names,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """Gives each flat parameter name of a space its Optuna distribution.

    Args:
        space: the space; names are those of `space.flatten_params`.

    Returns:
        One distribution per name. Every value that the space can decode lies in it.
    """
    found = {}
    for leaf in space.leaves:
        distribution = _distribution(leaf.dimension)
        found.update(dict.fromkeys(element_names(leaf), distribution))
    return found


def internal_value(distribution: BaseDistribution, value: Any) -> float:
    """The number that Optuna stores for a value.

    Args:
        distribution: the parameter's distribution.
        value: a storable value, as `space.flatten_params` gives it.

    Returns:
        The value itself, or the index of a categorical. Optuna's own lookup takes 1 for True;
        this one tells them apart.
    """
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        for index, choice in enumerate(choices):
            if type(choice) is type(value) and choice == value:
                return float(index)
    return float(distribution.to_internal_repr(value))


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(dimension, Real):
        return FloatDistribution(float(dimension.low), float(dimension.high), log=dimension.log)
    if isinstance(dimension, Normal):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    if isinstance(dimension, SteppedNormal):
        return _on_grid(dimension.low, dimension.high, float(dimension.step))
    if isinstance(dimension, Stepped):
        return _stepped(dimension)
    if isinstance(dimension, Choice | Ordinal | Static | Fixed):
        return CategoricalDistribution(dimension.options.labels())
    raise TypeError(f"Study: `space` holds a dimension that cannot be stored: {dimension!r}.")


def _stepped(dimension: Stepped) -> BaseDistribution:
    """Optuna has no log scale with steps: the scale is kept, for plots, and the grid is ours."""
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, step = dimension.low, dimension.high, dimension.step
    if dimension.is_integer:
        if dimension.log:
            return IntDistribution(int(low), int(high), log=True)
        return IntDistribution(int(low), int(high), step=int(step))
    if dimension.log:
        return FloatDistribution(float(low), high, log=True)
    return _on_grid(float(low), float(high), float(step))


def _on_grid(low: float, high: float, step: float) -> BaseDistribution:
    """A grid in Optuna's words; without its step where rounding lets Optuna refuse grid points.

    It takes values within 1e-8 steps of a multiple, and its own multiples are off by more than that
    where the step is small beside the offset.
    """
    from optuna.distributions import FloatDistribution

    largest = max(abs(low), abs(high))
    if 2 * float(np.spacing(largest)) > 1e-8 * step:
        return FloatDistribution(low, high)
    return FloatDistribution(low, high, step=step)
