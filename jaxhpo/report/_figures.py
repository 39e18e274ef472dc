"""The report's figures as Plotly's own JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from jaxhpo.inspection import Surrogate
    from jaxhpo.report._baseline import Baseline
    from jaxhpo.report._facts import Facts

GOOD, CROWD, OTHER = "#1f5fa8", "#9aa5b1", "#c2571a"
# More points than this make a page slow; the best ones are always among those kept.
MAX_POINTS = 2000
_MAX_CURVES = 100
_LOG = {"type": "log", "exponentformat": "power", "dtick": 1}
_STATES = {"COMPLETE": GOOD, "PRUNED": "#d9a400", "FAIL": "#b3261e", "RUNNING": CROWD}


class Figure(NamedTuple):
    """Traces and layout of one figure."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


def thinned(facts: Facts) -> np.ndarray:
    """Indices of at most `MAX_POINTS` of the complete trials, the best tenth among them."""
    n = len(facts.done)
    if n <= MAX_POINTS:
        return np.arange(n)
    best = np.argsort(facts.signs[0] * facts.value[:, 0], kind="stable")[: MAX_POINTS // 10]
    rest = np.setdiff1d(np.arange(n), best)
    even = rest[np.linspace(0, len(rest) - 1, MAX_POINTS - len(best)).astype(int)]
    return np.sort(np.concatenate([best, even]))


def history(facts: Facts, baseline: Baseline | None) -> Figure:
    """Values trial by trial, the best so far, and random search beside it."""
    numbers = np.asarray([trial.number for trial in facts.done])
    value, sign = facts.value[:, 0], float(facts.signs[0])
    best = sign * np.minimum.accumulate(sign * value)
    some = thinned(facts)
    data = [
        _points(numbers[some], value[some], "trials", CROWD),
        _line(numbers, best, "best so far", GOOD, shape="hv"),
    ]
    if baseline is not None:
        band = {"fillcolor": "rgba(194,87,26,0.15)", "fill": "tonexty"}
        data += [
            _line(numbers, baseline.lower, "", OTHER, width=0, showlegend=False),
            _line(numbers, baseline.upper, "", OTHER, width=0, showlegend=False, **band),
            _line(numbers, baseline.mean, "random search (mean)", OTHER, dash="dash"),
        ]
    return Figure(data, _layout("trial", facts.metrics[0], yaxis=_value_axis(value)))


def regret(facts: Facts, baseline: Baseline) -> Figure:
    """Distance to the best value of the study, of the study and of random search."""
    numbers = [trial.number for trial in facts.done]
    sign = float(facts.signs[0])
    value = sign * facts.value[:, 0]
    known = value.min()
    ours = np.minimum.accumulate(value) - known
    theirs = sign * baseline.mean - known
    # A mean of numbers that are all the same may differ from them in its last digits.
    theirs = np.where(theirs > 1e-12 * np.max(np.abs(value)), theirs, 0.0)
    zero, axis = _log_axis_with_zero(np.concatenate([ours, theirs]))
    data = [
        _line(numbers, np.maximum(ours, zero), "this study", GOOD, shape="hv"),
        _line(numbers, np.maximum(theirs, zero), "random search (mean)", OTHER, dash="dash"),
    ]
    return Figure(data, _layout("trial", "regret", yaxis=axis))


def _log_axis_with_zero(regrets: np.ndarray) -> tuple[float, dict[str, Any]]:
    """Where a regret of 0 is drawn, and a logarithmic axis that says "0" there.

    A logarithm has no place for it, and a line that ends where its study is best looks like one
    that lost. It is drawn one decade below the smallest decade that is needed.
    """
    positive = regrets[regrets > 0]
    low, high = (positive.min(), positive.max()) if positive.size else (1.0, 1.0)
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    decades = range(first, last + 1, max(1, (last - first) // 8))
    zero = 10.0 ** (first - 1)
    ticks = [zero, *(10.0**decade for decade in decades)]
    words = ["0", *(f"10<sup>{decade}</sup>" for decade in decades)]
    return zero, {"type": "log", "tickvals": ticks, "ticktext": words}


def bars(shares: dict[str, float], label: str) -> Figure:
    """One bar a parameter, the largest on top."""
    names = list(reversed(shares))
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [float(shares[name]) for name in names],
        "marker": {"color": GOOD},
    }
    height = 120 + 26 * len(names)
    return Figure([trace], {**_layout(label, ""), "height": height, "margin": {"l": 160, "t": 20}})


def one_slice(facts: Facts, name: str, surrogate: Surrogate | None) -> Figure:
    """Values over one parameter, with the model's cut through the best trial."""
    some = [facts.done[i] for i in thinned(facts) if name in facts.done[i].params]
    x = [_cell(trial.params[name]) for trial in some]
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
    yaxis = _value_axis(facts.value[:, 0])
    layout = _layout(name, facts.metrics[0], xaxis=_axis(facts, name), yaxis=yaxis)
    return Figure(data, {**layout, "height": 300})


def _cut(surrogate: Surrogate, name: str, sign: float) -> list[dict[str, Any]]:
    from jaxhpo.inspection import slice_of

    cut = slice_of(surrogate, name)
    keep = [i for i, tick in enumerate(cut.ticks[0]) if tick is not None]
    x = [_cell(cut.ticks[0][i]) for i in keep]
    lower, upper = (sign * getattr(cut.prediction, end)[keep] for end in ("lower", "upper"))
    median = sign * cut.prediction.median[keep]
    if not all(isinstance(tick, int | float) for tick in x):
        ends = sorted((tuple(lower), tuple(upper)))
        bars = {
            "array": _numbers(np.asarray(ends[1]) - median),
            "arrayminus": _numbers(median - np.asarray(ends[0])),
            "symmetric": False,
        }
        return [{**_points(x, median, "model", OTHER), "error_y": {"type": "data", **bars}}]
    band = {"fillcolor": "rgba(194,87,26,0.15)", "fill": "tonexty"}
    return [
        _line(x, lower, "", OTHER, width=0, showlegend=False),
        _line(x, upper, "", OTHER, width=0, showlegend=False, **band),
        _line(x, median, "model", OTHER),
    ]


def contour(facts: Facts, names: tuple[str, str], surrogate: Surrogate) -> Figure:
    """The model's median over two parameters, through the best trial, with the trials."""
    from jaxhpo.inspection import slice_of

    cut = slice_of(surrogate, names, num_points=30)
    z = float(facts.signs[0]) * cut.prediction.median
    x, y = ([_cell(tick) for tick in ticks] for ticks in cut.ticks)
    some = [facts.done[i] for i in thinned(facts) if all(n in facts.done[i].params for n in names)]
    points = _points(
        [_cell(trial.params[names[0]]) for trial in some],
        [_cell(trial.params[names[1]]) for trial in some],
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
    axes = {"xaxis": _axis(facts, names[0]), "yaxis": _axis(facts, names[1])}
    return Figure([surface, points], {**_layout(names[0], names[1], **axes), "showlegend": False})


def curves(facts: Facts) -> Figure:
    """Intermediate values, of at most a hundred trials, the best one on top."""
    found = [trial for trial in facts.trials if trial.intermediate_values]
    some = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, _MAX_CURVES).astype(int))]
    best = {trial.number for trial in facts.front}
    data = []
    for trial in sorted([*some, *(t for t in found if t.number in best)], key=_is_in(best)):
        steps = sorted(trial.intermediate_values)
        is_best = trial.number in best
        colour = GOOD if is_best else _STATES.get(trial.state.name, CROWD)
        data.append(
            _line(
                steps,
                [trial.intermediate_values[step] for step in steps],
                f"trial {trial.number}",
                colour,
                width=3 if is_best else 1,
                showlegend=False,
                opacity=1.0 if is_best else 0.35,
            )
        )
    return Figure(data, _layout("step", "intermediate value"))


def pareto(facts: Facts) -> Figure:
    """All trials and the front, over the first two or three objectives."""
    axes = "xyz"[: min(facts.value.shape[1], 3)]
    is_deep = len(axes) == 3
    kind = {"type": "scatter3d" if is_deep else "scatter", "mode": "markers"}
    front = np.asarray([trial.values for trial in facts.front], np.float64)
    data: list[dict[str, Any]] = []
    for rows, name, colour in (
        (facts.value[thinned(facts)], "trials", CROWD),
        (front, "front", GOOD),
    ):
        columns = {axis: _numbers(rows[:, i]) for i, axis in enumerate(axes)}
        size = 3 if is_deep else 6
        data.append({**kind, **columns, "name": name, "marker": {"color": colour, "size": size}})
    titles = {f"{axis}axis": {"title": {"text": facts.metrics[i]}} for i, axis in enumerate(axes)}
    layout = {**_layout("", ""), **({"scene": titles} if is_deep else titles)}
    return Figure(data, layout)


def timeline(facts: Facts) -> Figure:
    """Seconds of each trial, coloured by what became of it."""
    data = []
    for state, colour in _STATES.items():
        rows = [(t.number, seconds_of(t)) for t in facts.trials if t.state.name == state]
        rows = [row for row in rows if row[1] is not None][:MAX_POINTS]
        if rows:
            data.append(
                {
                    "type": "bar",
                    "x": [number for number, _ in rows],
                    "y": [seconds for _, seconds in rows],
                    "name": state.lower(),
                    "marker": {"color": colour},
                }
            )
    return Figure(data, {**_layout("trial", "seconds"), "height": 300})


def seconds_of(trial: FrozenTrial) -> float | None:
    """How long a trial took; None while it runs."""
    own = trial.user_attrs.get("seconds")
    if own is not None:
        return float(own)
    return None if trial.duration is None else trial.duration.total_seconds()


def _is_in(numbers: set[int]) -> Any:
    return lambda trial: trial.number in numbers


def _axis(facts: Facts, name: str) -> dict[str, Any]:
    distribution = facts.distributions.get(name)
    if hasattr(distribution, "choices"):
        return {"type": "category"}
    return dict(_LOG) if getattr(distribution, "log", False) else {}


def _value_axis(value: np.ndarray) -> dict[str, Any]:
    """A logarithmic axis where values are positive and span more than two decades."""
    if len(value) and value.min() > 0 and value.max() > 100 * value.min():
        return dict(_LOG)
    return {}


def _points(x: Any, y: Any, name: str, colour: str) -> dict[str, Any]:
    marker = {"color": colour, "size": 5, "opacity": 0.7}
    return {
        "type": "scatter", "mode": "markers", "x": _numbers(x), "y": _numbers(y), "name": name,
        "marker": marker,
    }  # fmt: skip


def _line(x: Any, y: Any, name: str, colour: str, **style: Any) -> dict[str, Any]:
    keys = ("shape", "dash", "width")
    line = {"color": colour, **{key: style.pop(key) for key in keys if key in style}}
    return {
        "type": "scatter", "mode": "lines", "x": _numbers(x), "y": _numbers(y), "name": name,
        "line": line, **style,
    }  # fmt: skip


def _numbers(values: Sequence[Any] | np.ndarray) -> list[Any]:
    """JSON-ready: plain numbers, None for what is not finite."""
    cells = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [None if isinstance(c, float) and not np.isfinite(c) else _cell(c) for c in cells]


def _cell(value: Any) -> Any:
    """A number as it is, anything else as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None if value is None else str(value)
    return value.item() if isinstance(value, np.number) else value


def _layout(x: str, y: str, /, **axes: dict[str, Any]) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": x}, "automargin": True, **axes.get("xaxis", {})},
        "yaxis": {"title": {"text": y}, "automargin": True, **axes.get("yaxis", {})},
        "template": "none",
        "height": 420,
        "margin": {"l": 70, "r": 20, "t": 20, "b": 50},
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "legend": {"orientation": "h", "y": 1.12},
    }
