"""The leaderboard as text: one form of every number, for a page of documentation and for HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jaxhpo.benchmarking.leaderboard._table import Leaderboard

COLUMNS = ("estimator", "error", "cosine", "bias", "deviation", "work", "time", "memory MB",
           "compile s", "loss", "score", "runs to target", "verdict")  # fmt: skip


def cell_words(cell: dict[str, Any]) -> list[str]:
    """One line of a task's table; what an estimator refuses stands in the last column."""
    name = cell["estimator"] + (f" {cell['version']}" if cell["version"] else "")
    verdict = cell["note"] or (cell["verdict"] or "").split(":")[0]
    if not cell["note"] and cell["num_finite"] < cell["num_seeds"]:
        verdict += f"; {cell['num_seeds'] - cell['num_finite']} of {cell['num_seeds']} diverged"
    if cell.get("defect"):
        verdict += f"; {cell['defect']}"
    return [
        name, small(cell["error"]), fixed(cell["cosine"], 3), small(cell["bias"]),
        small(cell["deviation"]), fixed(cell["work"], 1), fixed(cell["time_ratio"], 1),
        fixed(cell["memory_mb"], 3), fixed(cell["compile_s"], 1),
        between(cell["loss"], cell["loss_half"]), between(cell["score"], cell["score_half"]),
        fixed(cell["runs_to_target"], 0), verdict,
    ]  # fmt: skip


def task_heading(cells: Sequence[dict[str, Any]]) -> str:
    """The task, and where its descents began."""
    known = [cell for cell in cells if cell["loss_before"] is not None]
    if not known:
        return str(cells[0]["task"])
    cell = known[0]
    return (
        f"{cell['task']}: loss {_short(cell['loss_before'])}, score {_short(cell['score_before'])} "
        f"before; target {_short(cell['target'])}"
    )


def rank_rows(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table of ranks."""
    found = board.standings
    columns = ["estimator", "mean rank", *found.tasks]
    rows = [
        [name, f"{mean:.2f}", *(f"{rank:.1f}" for rank in ranks)]
        for name, mean, ranks in zip(found.estimators, found.mean, found.per_task, strict=True)
    ]
    return columns, rows


def rank_note(board: Leaderboard) -> str:
    """What the ranks count and when they differ."""
    count = _counted(len(board.standings.tasks), "task")
    text = (
        f"Ranks by the loss after the budget, mean over {count}, 1 the best; what "
        "an estimator refuses or loses to divergence counts as its last place."
    )
    width = board.standings.critical_difference
    if width == width:  # not NaN
        text += f" Mean ranks nearer than {width:.2f} do not differ (Nemenyi, 95 %)."
    return text


def budget_note(board: Leaderboard) -> str:
    """What a descent was allowed."""
    row = board.rows[0]
    seeds = _counted(len({one["seed"] for one in board.rows}), "seed")  # more than at its writing
    others = _counted(row["num_tuning_seeds"], "other seed")
    versions = ", ".join(sorted({one["jax"] for one in board.rows}))
    return (
        f"{seeds}, a budget of {_counted(row['budget'], 'training run')} a descent, outer "
        f"steps chosen by {others}, JAX {versions}. Loss and score "
        "are means with 95 % intervals over seeds. work: operations of an outer step in plain "
        "runs; time: by the clock."
    )


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar in a cell cannot end it."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )


def small(value: float | None) -> str:
    return "–" if value is None else ("0" if value == 0 else f"{value:.1e}")


def fixed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def between(value: float | None, half: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" + ("" if half is None else f" ± {half:.4f}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
