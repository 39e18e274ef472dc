"""The two figures that GPyOpt draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxhpo._direction import to_minimized
from jaxhpo.plots import save
from jaxhpo.plots.internal import CROWD, GOOD, make_axes
from jaxhpo.space import Space


def convergence(X: np.ndarray, value: np.ndarray, direction: str, filename: Any) -> Any:
    """Draws distances between points in a row, and the best value so far.

    Args:
        X: `[n, d]` points.
        value: `[n]` values, minimised.
        direction: of the user's own values.
        filename: file to write, or None.

    Returns:
        The matplotlib `Figure`.
    """
    ax = make_axes(None, (9.0, 3.5))
    figure = ax.figure
    figure.clear()
    left, right = figure.subplots(1, 2)
    left.plot(np.arange(1, len(X)), np.linalg.norm(np.diff(X, axis=0), axis=1), "o-", color=CROWD)
    left.set(xlabel="iteration", ylabel="d(x[n], x[n-1])", title="Distance between points in a row")
    best = np.fmin.accumulate(np.where(np.isfinite(value), value, np.inf))
    best = to_minimized(best, direction)
    right.plot(np.arange(1, len(value) + 1), best, "o-", color=GOOD)
    right.set(xlabel="iteration", ylabel="best y", title="Value of the best point so far")
    if filename is not None:
        save(figure, filename)
    return figure


def acquisition(space: Space, unit: np.ndarray, value: np.ndarray, filename: Any) -> Any:
    """Draws the model and the acquisition function over one or two variables.

    Args:
        space: of the search.
        unit: `[n, d]` evaluated points of the unit cube.
        value: `[n]` values, minimised.
        filename: file to write, or None.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: more than two variables.
    """
    from jaxhpo.inspection import fit_surrogate, slice_of
    from jaxhpo.plots import model_slice

    if space.num_dims > 2:
        raise ValueError(
            f"plot_acquisition: `domain` must have one or two variables, got {space.num_dims}; "
            "jaxhpo.inspection.slice_of cuts through more."
        )
    surrogate = fit_surrogate(space, unit, value)
    cut = slice_of(surrogate, surrogate.columns)
    ax = make_axes(None, (9.0, 3.5))
    figure = ax.figure
    figure.clear()
    left, right = figure.subplots(1, 2)
    model_slice(cut, ax=left)
    model_slice(cut, what="acquisition", ax=right)
    if filename is not None:
        save(figure, filename)
    return figure
