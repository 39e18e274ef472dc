"""The report's figures as Plotly's own JSON.

The Pareto front is Optuna's. The others show what Optuna's do not: random search beside the
history, few of many learning curves with the best one on top, shares that the model gives, and the
seconds of a trial that was trained beside others.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo.report._traces import (
    CROWD,
    GOOD,
    OTHER,
    Figure,
    layout_of,
    line_of,
    points_of,
    value_axis_of,
)

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from jaxhpo.report._baseline import Baseline
    from jaxhpo.report._facts import Facts

# More points than this make a page slow; the best ones are always among those kept.
MAX_POINTS = 2000
_MAX_CURVES = 100
_STATES = {"COMPLETE": GOOD, "PRUNED": "#d9a400", "FAIL": "#b3261e", "RUNNING": CROWD}


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
        points_of(numbers[some], value[some], "trials", CROWD),
        line_of(numbers, best, "best so far", GOOD, shape="hv"),
    ]
    if baseline is not None:
        band = {"fillcolor": "rgba(194,87,26,0.15)", "fill": "tonexty"}
        data += [
            line_of(numbers, baseline.lower, "", OTHER, width=0, showlegend=False),
            line_of(numbers, baseline.upper, "", OTHER, width=0, showlegend=False, **band),
            line_of(numbers, baseline.mean, "random search (mean)", OTHER, dash="dash"),
        ]
    return Figure(data, layout_of("trial", facts.metrics[0], yaxis=value_axis_of(value)))


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
        line_of(numbers, np.maximum(ours, zero), "this study", GOOD, shape="hv"),
        line_of(numbers, np.maximum(theirs, zero), "random search (mean)", OTHER, dash="dash"),
    ]
    return Figure(data, layout_of("trial", "regret", yaxis=axis))


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
    """One bar per parameter, the largest on top."""
    names = list(reversed(shares))
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [float(shares[name]) for name in names],
        "marker": {"color": GOOD},
    }
    height = 120 + 26 * len(names)
    return Figure(
        [trace], {**layout_of(label, ""), "height": height, "margin": {"l": 160, "t": 20}}
    )


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
            line_of(
                steps,
                [trial.intermediate_values[step] for step in steps],
                f"trial {trial.number}",
                colour,
                width=3 if is_best else 1,
                showlegend=False,
                opacity=1.0 if is_best else 0.35,
            )
        )
    return Figure(data, layout_of("step", "intermediate value"))


def pareto(study: optuna.Study, facts: Facts) -> Figure:
    """Optuna's figure of all trials and the front, over the first two or three objectives."""
    from optuna.visualization import plot_pareto_front

    count = min(len(facts.metrics), 3)
    drawn = plot_pareto_front(
        study, target_names=list(facts.metrics[:count]), targets=lambda trial: trial.values[:count]
    )
    found = json.loads(drawn.to_json())
    axes = {key: found["layout"][key] for key in found["layout"] if key.endswith(("axis", "scene"))}
    return Figure([_fewer(trace) for trace in found["data"]], {**layout_of("", ""), **axes})


def _fewer(trace: dict[str, Any]) -> dict[str, Any]:
    """A trace of markers with at most `MAX_POINTS` of them."""
    step = -(-len(trace["x"]) // MAX_POINTS) or 1
    columns: dict[str, Any] = {
        key: trace[key][::step] for key in ("x", "y", "z", "text") if key in trace
    }
    colour = trace["marker"]["color"]
    marker = {"color": colour[::step]} if isinstance(colour, list) else {}
    return {**trace, **columns, "marker": {**trace["marker"], **marker}}


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
    return Figure(data, {**layout_of("trial", "seconds"), "height": 300})


def seconds_of(trial: FrozenTrial) -> float | None:
    """How long a trial took; None while it runs."""
    own = trial.user_attrs.get("seconds")
    if own is not None:
        return float(own)
    return None if trial.duration is None else trial.duration.total_seconds()


def _is_in(numbers: set[int]) -> Any:
    return lambda trial: trial.number in numbers
