"""Figures of a benchmark: regret curves with quantiles, and ranks over the trials."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxhpo.benchmarking._ranks import Table, regrets

COLOURS = (
    *("#1f5fa8", "#d1495b", "#2e8b57", "#edae49", "#6a4c93", "#00798c", "#8d6a3f", "#4a4e69"),
    *("#c06c84", "#99b83c"),
)
_FLOOR = 1e-8
"""Smaller regrets are drawn as this."""


def draw_curves(
    records: Sequence[dict[str, Any]], path: pathlib.Path, num_trials: int | None = None
) -> pathlib.Path:
    """Draws one panel a problem: median regret of each sampler, with the band of its quartiles.

    Args:
        records: as `run` returns them.
        path: file to write.
        num_trials: trials that the columns stand for, at equal distances; None for one per column.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    names = list(dict.fromkeys(record["sampler"] for record in records))
    problems = list(dict.fromkeys(record["problem"] for record in records))
    columns = min(4, len(problems))
    rows = -(-len(problems) // columns)
    figure = figure_of((3.2 * columns, 2.6 * rows + 0.5))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, problem in zip(panels, problems, strict=False):
        for record in (r for r in records if r["problem"] == problem):
            colour = COLOURS[names.index(record["sampler"]) % len(COLOURS)]
            regret = np.maximum(regrets(record, records), _FLOOR)
            trials = _trials(regret.shape[1], num_trials)
            low, middle, high = np.quantile(regret, [0.25, 0.5, 0.75], axis=0, method="nearest")
            panel.fill_between(trials, low, high, color=colour, alpha=0.15, lw=0)
            panel.plot(trials, middle, color=colour, lw=1.3, label=record["sampler"])
        panel.set_yscale("log")
        panel.set_title(problem, fontsize="small")
        panel.tick_params(labelsize="x-small")
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[len(problems) :]:
        panel.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=8, frameon=False)
    figure.savefig(path, dpi=130)
    return path


def draw_ranks(table: Table, path: pathlib.Path, num_trials: int | None = None) -> pathlib.Path:
    """Draws the mean rank of each sampler after each trial.

    Args:
        table: as `rank_table` returns it.
        path: file to write.
        num_trials: as for `draw_curves`.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    figure = figure_of((6.5, 4.0))
    axes = figure.add_subplot()
    for number, (name, curve) in enumerate(zip(table.samplers, table.rank_curves, strict=True)):
        trials = _trials(curve.size, num_trials)
        axes.plot(trials, curve, color=COLOURS[number % len(COLOURS)], lw=1.5, label=name)
    axes.set_xlabel("trial")
    axes.set_ylabel(f"mean rank over {len(table.problems)} problems")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=130)
    return path


def _trials(columns: int, num_trials: int | None) -> np.ndarray:
    return np.arange(1, columns + 1) * ((num_trials or columns) / columns)


def figure_of(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'benchmarking: matplotlib is needed for figures: pip install "jaxhpo[plot]".'
        ) from error
    return Figure(figsize=size, layout="constrained")
