"""The leaderboard as files: a page of HTML, the same as Markdown, a CSV file, a picture."""

from __future__ import annotations

import csv
import pathlib
from typing import Any

from jaxhpo._checks import describe
from jaxhpo.benchmarking.leaderboard import _words
from jaxhpo.benchmarking.leaderboard._file import folder_of
from jaxhpo.benchmarking.leaderboard._pareto import Cloud, clouds, draw_pareto
from jaxhpo.benchmarking.leaderboard._table import Leaderboard
from jaxhpo.report.internal import Figure, Page, document, layout_of, plotly_script, points_of

_TITLE = "Hypergradients"
_COLOURS = ("#1f5fa8", "#c2571a", "#2e8b57", "#6a4c93", "#d1495b", "#00798c", "#8d6a3f", "#4a4e69")


def write_leaderboard(leaderboard: Leaderboard, out: Any) -> list[pathlib.Path]:
    """Writes `leaderboard.csv` and `.md`, and where plotly and matplotlib are, `.html` and `.png`.

    Args:
        leaderboard: from `hypergradients`.
        out: folder; made where there is none.

    Returns:
        The files that were written.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a folder that cannot be written to.
    """
    where = "write_leaderboard"
    if not isinstance(leaderboard, Leaderboard):
        raise TypeError(
            f"{where}: `leaderboard` must be a Leaderboard, got {describe(leaderboard)}."
        )
    folder = folder_of(where, out)
    written = [folder / "leaderboard.csv", folder / "leaderboard.md"]
    _write_csv(written[0], leaderboard)
    written[1].write_text(markdown_of(leaderboard), encoding="utf-8")
    for name, write in (("html", _write_html), ("png", _write_png)):
        path = folder / f"leaderboard.{name}"
        try:
            write(path, leaderboard)
        except ModuleNotFoundError:  # both come with the extra "plot"
            continue
        written.append(path)
    return written


def markdown_of(board: Leaderboard, level: int = 2) -> str:
    """Ranks and one table a task, under headings of a level."""
    mark = "#" * level
    parts = [_words.budget_note(board), "", f"{mark} Ranks", "", _words.rank_note(board), ""]
    parts.append(_words.markdown(*_words.rank_rows(board)))
    for task in board.standings.tasks:
        cells = [cell for cell in board.cells if cell["task"] == task]
        parts += [f"{mark} {_words.task_heading(cells)}", ""]
        parts.append(_words.markdown(_words.COLUMNS, map(_words.cell_words, cells)))
    return "\n".join(parts)


def _write_html(path: pathlib.Path, board: Leaderboard) -> None:
    script, page = plotly_script(), Page()
    page.note(_words.budget_note(board))
    page.heading("Ranks")
    page.note(_words.rank_note(board))
    page.table(*_words.rank_rows(board))
    for cloud in clouds(board.cells):
        page.heading(cloud.title.capitalize())
        page.figure(_figure(cloud))
        page.note("Filled: no other estimator is better in both on the same task.")
    for task in board.standings.tasks:
        cells = [cell for cell in board.cells if cell["task"] == task]
        page.heading(_words.task_heading(cells))
        page.table(_words.COLUMNS, map(_words.cell_words, cells))
    path.write_text(document(_TITLE, page, script), encoding="utf-8")


def _figure(cloud: Cloud) -> Figure:
    """One trace an estimator; hollow points are beaten."""
    traces = []
    for number, name in enumerate(dict.fromkeys(cloud.names)):
        at = [i for i, other in enumerate(cloud.names) if other == name]
        trace = points_of(cloud.x[at], cloud.y[at], name, _COLOURS[number % len(_COLOURS)])
        trace["text"] = [cloud.tasks[i] for i in at]
        trace["marker"]["symbol"] = ["circle" if cloud.is_front[i] else "circle-open" for i in at]
        trace["marker"]["size"] = 8
        traces.append(trace)
    log = {"type": "log", "exponentformat": "power"}
    y = log if cloud.y.size and cloud.y.min() > 0 else {}
    return Figure(traces, layout_of(cloud.x_name, cloud.y_name, xaxis=log, yaxis=y))


def _write_png(path: pathlib.Path, board: Leaderboard) -> None:
    draw_pareto(board.cells, path)


def _write_csv(path: pathlib.Path, board: Leaderboard) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(board.cells[0]))
        writer.writeheader()
        writer.writerows(board.cells)
