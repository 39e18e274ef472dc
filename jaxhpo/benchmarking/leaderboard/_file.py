"""A file of rows, one JSON object a line, that survives a kill and never mixes two things."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from jaxhpo._checks import describe
from jaxhpo.benchmarking.leaderboard._entries import WHERE, Case, Method

Row = dict[str, Any]
_DIGITS = 7
_BEGIN = '{"estimator": '
_MENDABLE = ("refuses", "fails", "failed", "not installed")
"""How notes begin whose reason may be gone at the next call."""


def folder_of(where: str, out: Any) -> pathlib.Path:
    """Reads the argument `out`, and makes the folder where there is none.

    Raises:
        TypeError: no path.
        ValueError: no folder can be made there, or nothing can be written into it.
    """
    if not isinstance(out, str | os.PathLike):
        raise TypeError(f"{where}: `out` must be a folder, got {describe(out)}.")
    folder, wrong = pathlib.Path(out), "it is read-only"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError as error:
        wrong = error.strerror or type(error).__name__
    raise ValueError(
        f"{where}: `out` must be a folder that can be written to, got '{folder}': {wrong}."
    )


def read_rows(path: pathlib.Path) -> list[Row]:
    """Reads the rows of a file; a line that was cut off by a kill is dropped from it.

    Raises:
        ValueError: a whole line is no row of this benchmark.
    """
    if not path.exists():
        return []
    text = path.read_text()
    whole, _, last = text.rpartition("\n")
    rows = [_row_of(line, path, i) for i, line in enumerate(whole.splitlines(), 1)]
    if not last:
        return rows
    if last.startswith(_BEGIN[: len(last)]) and not last.endswith("}"):  # killed while it wrote
        path.write_text(whole + "\n" if whole else "")
        return rows
    rows.append(_row_of(last, path, len(rows) + 1))
    path.write_text(text + "\n")
    return rows


def _row_of(line: str, path: pathlib.Path, number: int) -> Row:
    try:
        row: Row = json.loads(line)
        key_of(row)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{WHERE}: `out`: line {number} of {path} is no row of this benchmark; "
            "move the file away or take another folder."
        ) from error
    return row


def append(path: pathlib.Path | None, row: Row) -> None:
    """Adds a row to the file, where there is one."""
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def key_of(row: Row) -> tuple[Any, ...]:
    """What a row is known by."""
    return tuple(row[name] for name in ("estimator", "task", "seed", "budget", "num_tuning_seeds"))


def is_settled(row: Row) -> bool:
    """Whether running it again would say the same: an estimator that raised may be mended."""
    return not row["note"].startswith(_MENDABLE)


def sources_of(method: Method, case: Case) -> Row:
    """What the labels of a row stand for, where it is not what has that name in the package."""
    found = {"estimator_is": method.source, "task_is": case.source}
    names = {"estimator_is": method.name, "task_is": case.name}
    return {key: value for key, value in found.items() if value != names[key]}


def check_sources(
    path: pathlib.Path | None, rows: Iterable[Row], method: Method, case: Case
) -> None:
    """Requires that the rows of a cell were made with the same estimator and task.

    Raises:
        ValueError: one of the two labels stood for something else.
    """
    given: dict[str, Method | Case] = {"estimator": method, "task": case}
    for row in rows:
        if (row["estimator"], row["task"]) != (method.name, case.name):
            continue
        for kind, entry in given.items():
            was = row.get(f"{kind}_is", entry.name)
            if was != entry.source:
                raise ValueError(
                    f"{WHERE}: `out`: in {path}, {kind} {entry.name!r} is {was}, and now it is "
                    f"{entry.source}; give it another label or take another folder."
                )


def plain(row: Row) -> Row:
    """Numbers of seven digits, None for what is not finite."""
    return {key: _rounded(value) for key, value in row.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
