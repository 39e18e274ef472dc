"""`jaxhpo studies` and `jaxhpo best`: what a storage holds, read through Optuna."""

from __future__ import annotations

import csv
import json
import pathlib
import re
import sys
from typing import TYPE_CHECKING, Any

from jaxhpo.cli._errors import NO_RESULT, UserError
from jaxhpo.cli._tables import print_table, show_params
from jaxhpo.study import StorageError

if TYPE_CHECKING:
    import optuna

_FORMATS = ("table", "json", "csv")


def hide_password(storage: str) -> str:
    """The storage's URL as it may be shown."""
    return re.sub(r"(://[^:/@]+):[^@]*@", r"\1:***@", storage)


def open_existing(storage: str) -> Any:
    """Opens a storage that must exist: looking must not create a file, nor tables in one.

    Raises:
        UserError: it is a file that does not exist.
        StorageError: it cannot be read; the message says why.
    """
    from jaxhpo.study._storage import open_storage

    path = storage.removeprefix("sqlite:///")
    is_file = storage.startswith("sqlite:///") or "://" not in storage
    if is_file and not pathlib.Path(path).exists():
        raise UserError(f"--storage: the file {path} does not exist.")
    if is_file and _is_foreign_sqlite(path):
        raise UserError(
            f"--storage: {path} is a SQLite file of another program; it has no studies."
        )
    return open_storage(storage)[0]


def _is_foreign_sqlite(path: str) -> bool:
    """Whether a file is a SQLite database with tables, but without those of studies."""
    import contextlib
    import sqlite3

    with open(path, "rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            return False
    address = f"{pathlib.Path(path).resolve().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
        try:
            query = "SELECT name FROM sqlite_master WHERE type = 'table'"
            names = {row[0] for row in connection.execute(query)}
        except sqlite3.DatabaseError:
            return False  # damaged: opening it says so
    return bool(names) and "studies" not in names


def load_study(name: str, storage: str) -> optuna.Study:
    """Loads a stored study by name.

    Raises:
        UserError: there is none of this name; the message lists those that exist.
    """
    import optuna

    opened = open_existing(storage)
    names = optuna.get_all_study_names(opened)
    if name not in names:
        known = ", ".join(sorted(names)) or "none"
        raise UserError(f"NAME: {hide_password(storage)} has no study {name!r}; it has: {known}.")
    return optuna.load_study(study_name=name, storage=opened)


def list_studies(storage: str) -> None:
    """Prints one row a study."""
    import optuna

    opened = open_existing(storage)
    rows = []
    for summary in optuna.get_all_study_summaries(opened, include_best_trial=True):
        trials = optuna.load_study(study_name=summary.study_name, storage=opened).get_trials(
            deepcopy=False
        )
        states = [trial.state.name for trial in trials]
        best = summary.best_trial.value if summary.best_trial is not None else None
        started = summary.datetime_start
        rows.append(
            (
                summary.study_name,
                summary.direction.name.lower(),
                len(states),
                states.count("FAIL"),
                states.count("RUNNING"),
                best,
                None if started is None else f"{started:%Y-%m-%d %H:%M}",
            )
        )
    columns = ("name", "direction", "trials", "failed", "running", "best value", "started")
    print_table(f"Studies in {hide_password(storage)}", columns, rows)


def show_best(name: str, storage: str, form: str, top: int) -> None:
    """Prints the best trials as a table, JSON or CSV (CSV: all trials).

    Raises:
        UserError: an unknown format, or no trial with a finite value.
        StorageError: the storage cannot be read.
    """
    if form not in _FORMATS:
        raise UserError(f"--format must be one of {', '.join(_FORMATS)}, got {form!r}.")
    if top < 1:
        raise UserError(f"--top must be at least 1, got {top}.")
    study = load_study(name, storage)
    if form == "csv":
        _write_csv(study)
        return
    direction = study.direction.name.lower()
    rows = [
        (trial.number, trial.value, trial.params)
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name == "COMPLETE" and all(v <= 0 for v in trial.constraints.values())
    ]
    if not rows:
        raise UserError(f"study {name!r} has no trial with a finite value yet.", NO_RESULT)
    if form == "json":
        records = [
            {"number": number, "value": value, "params": params}
            for number, value, params in sort_rows(rows, direction)[:top]
        ]
        print(json.dumps(records[0] if top == 1 else records))
        return
    print_trials(name, direction, rows, top)


def sort_rows(
    rows: list[tuple[int, Any, dict[str, Any]]], direction: str
) -> list[tuple[int, Any, dict[str, Any]]]:
    """Best first; earlier trials first among equals."""
    sign = -1 if direction == "maximize" else 1
    return sorted(rows, key=lambda row: (sign * row[1], row[0]))


def print_trials(
    name: str, direction: str, rows: list[tuple[int, Any, dict[str, Any]]], top: int
) -> None:
    """Prints the best trials as a table with one column a parameter, as far as they fit."""
    ranked = sort_rows(rows, direction)[:top]
    names = list(dict.fromkeys(key for _, _, params in ranked for key in params))
    title = f"Best of {name} ({direction}d)" if direction.endswith("e") else f"Best of {name}"
    if len(names) > 8:
        cells = [(number, value, show_params(params)) for number, value, params in ranked]
        print_table(title, ("trial", "value", "params"), cells)
        return
    table = [(n, value, *(params.get(key) for key in names)) for n, value, params in ranked]
    print_table(title, ("trial", "value", *names), table)


def _write_csv(study: optuna.Study) -> None:
    trials = study.get_trials(deepcopy=False)
    names = list(dict.fromkeys(key for trial in trials for key in trial.params))
    writer = csv.writer(sys.stdout)
    writer.writerow(["number", "state", "value", *(f"params_{name}" for name in names)])
    for trial in trials:
        params = [trial.params.get(name) for name in names]
        writer.writerow([trial.number, trial.state.name, trial.value, *params])


__all__ = ["StorageError", "list_studies", "load_study", "print_trials", "show_best"]
