"""Slices and contours: values over parameters, with what the model says between the trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo.report._figures import thinned
from jaxhpo.report._traces import (
    GOOD,
    OTHER,
    Figure,
    axis_of,
    cell_of,
    layout_of,
    line_of,
    numbers_of,
    points_of,
    value_axis_of,
)

if TYPE_CHECKING:
    from jaxhpo.inspection import Surrogate
    from jaxhpo.report._facts import Facts


def one_slice(facts: Facts, name: str, surrogate: Surrogate | None) -> Figure:
    """Values over one parameter, with the model's cut through the best trial."""
    some = [facts.done[i] for i in thinned(facts) if name in facts.done[i].params]
    x = [cell_of(trial.params[name]) for trial in some]
    colours = {
        "color": [t.number for t in some],
        "colorscale": "Blues",
        "reversescale": True,
        "size": 5,
    }
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": x,
            "y": [trial.values[0] for trial in some],
            "marker": {**colours, "line": {"width": 0.5, "color": GOOD}},
            "name": "trials",
            "text": [f"trial {trial.number}" for trial in some],
        }
    ]
    if surrogate is not None and name in surrogate.columns:
        data += _cut(surrogate, name, float(facts.signs[0]))
    yaxis = value_axis_of(facts.value[:, 0])
    layout = layout_of(name, facts.metrics[0], xaxis=axis_of(facts, name), yaxis=yaxis)
    return Figure(data, {**layout, "height": 300})


def _cut(surrogate: Surrogate, name: str, sign: float) -> list[dict[str, Any]]:
    from jaxhpo.inspection import slice_of

    cut = slice_of(surrogate, name)
    keep = [i for i, tick in enumerate(cut.ticks[0]) if tick is not None]
    x = [cell_of(cut.ticks[0][i]) for i in keep]
    lower, upper = (sign * getattr(cut.prediction, end)[keep] for end in ("lower", "upper"))
    median = sign * cut.prediction.median[keep]
    if not all(isinstance(tick, int | float) for tick in x):
        ends = sorted((tuple(lower), tuple(upper)))
        bars = {
            "array": numbers_of(np.asarray(ends[1]) - median),
            "arrayminus": numbers_of(median - np.asarray(ends[0])),
            "symmetric": False,
        }
        return [{**points_of(x, median, "model", OTHER), "error_y": {"type": "data", **bars}}]
    band = {"fillcolor": "rgba(194,87,26,0.15)", "fill": "tonexty"}
    return [
        line_of(x, lower, "", OTHER, width=0, showlegend=False),
        line_of(x, upper, "", OTHER, width=0, showlegend=False, **band),
        line_of(x, median, "model", OTHER),
    ]


def contour(facts: Facts, names: tuple[str, str], surrogate: Surrogate) -> Figure:
    """The model's median over two parameters, through the best trial, with the trials."""
    from jaxhpo.inspection import slice_of

    cut = slice_of(surrogate, names, num_points=30)
    z = float(facts.signs[0]) * cut.prediction.median
    x, y = ([cell_of(tick) for tick in ticks] for ticks in cut.ticks)
    some = [facts.done[i] for i in thinned(facts) if all(n in facts.done[i].params for n in names)]
    points = points_of(
        [cell_of(trial.params[names[0]]) for trial in some],
        [cell_of(trial.params[names[1]]) for trial in some],
        "trials",
        "#2b3440",
    )
    is_numeric = all(isinstance(tick, float | int) for tick in (*x, *y))
    surface = {
        "type": "contour" if is_numeric else "heatmap",
        "x": x,
        "y": y,
        "z": np.asarray(z).T.tolist(),
        "colorscale": [[0, "#3d82cc"], [1, "#f3f6f9"]],
        "reversescale": facts.directions[0] == "maximize",  # what is good is dark
    }
    axes = {"xaxis": axis_of(facts, names[0]), "yaxis": axis_of(facts, names[1])}
    return Figure([surface, points], {**layout_of(names[0], names[1], **axes), "showlegend": False})
