"""`jaxhpo studies` and `jaxhpo best`: what a storage holds, read through Optuna."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Any

import jaxhpo
from jaxhpo._checks.suggest import did_you_mean
from jaxhpo._direction import Direction, directions_of, to_minimized
from jaxhpo.cli._errors import NO_RESULT, UserError
from jaxhpo.cli._tables import print_table, show_params
from jaxhpo.progress import printable
from jaxhpo.study import StorageError, StoredStudy
from jaxhpo.study.internal import NoStudiesError, as_tuple, file_of, finite_value, open_to_read

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

_FORMATS = ("table", "json", "csv")


def hide_password(storage: str) -> str:
    """The storage's URL as it may be shown."""
    from jaxhpo.study.internal import redact_url

    return redact_url(storage)


def open_existing(storage: str) -> BaseStorage:
    """Opens a storage that must exist, to read it: looking changes nothing.

    Raises:
        UserError: it is a file that does not exist, or one of another program.
        StorageError: it cannot be read; the message says why.
    """
    storage = storage.strip() if "://" in storage else storage
    path = file_of(storage)
    if path is not None and not path.exists():
        raise UserError(f"--storage: the file {hide_password(str(path))} does not exist.")
    try:
        return open_to_read(storage)[0]
    except NoStudiesError:
        raise UserError(
            f"--storage: {path} is a SQLite file of another program; it has no studies."
        ) from None


def load_study(name: str, storage: str) -> StoredStudy:
    """Loads a stored study by name, to read it.

    Raises:
        UserError: there is none of this name; the message lists those that exist.
    """
    import optuna

    opened = open_existing(storage)
    names = optuna.get_all_study_names(opened)
    if name not in names:
        known = ", ".join(sorted(names)) or "none"
        hint = did_you_mean(name, names)
        raise UserError(
            f"NAME: {hide_password(storage)} has no study {name!r}; it has: {known}{hint}."
        )
    return jaxhpo.load_study(name, storage)


def list_studies(storage: str) -> None:
    """Prints one row per study."""
    import optuna

    opened = open_existing(storage)
    rows = []
    for summary in optuna.get_all_study_summaries(opened, include_best_trial=True):
        study = optuna.load_study(study_name=summary.study_name, storage=opened)
        states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
        started = summary.datetime_start
        rows.append(
            (
                summary.study_name,
                ", ".join(direction.name.lower() for direction in summary.directions),
                len(states),
                states.count("FAIL"),
                states.count("RUNNING"),
                _shown_best(study, summary),
                None if started is None else f"{started:%Y-%m-%d %H:%M}",
            )
        )
    columns = ("name", "direction", "trials", "failed", "running", "best value", "started")
    print_table(f"Studies in {hide_password(storage)}", columns, rows)


def _shown_best(study: optuna.Study, summary: Any) -> float | str | None:
    """The best value, or how many trials are on the front of several objectives."""
    if len(summary.directions) > 1:
        return f"front of {len(study.best_trials)}"
    return summary.best_trial.value if summary.best_trial is not None else None


def show_best(name: str, storage: str, form: str, top: int) -> None:
    """Prints the best trials as a table, JSON or CSV (CSV: all trials).

    With several objectives those are the trials of the front, by the first objective.

    Raises:
        UserError: an unknown format, or no trial with a finite value.
        StorageError: the storage cannot be read.
    """
    if form not in _FORMATS:
        raise UserError(f"--format must be one of {', '.join(_FORMATS)}, got {form!r}.")
    if top < 1:
        raise UserError(f"--top must be at least 1, got {top}.")
    study = load_study(name, storage).to_optuna()
    if form == "csv":
        _write_csv(study)
        return
    directions = tuple(direction.name.lower() for direction in study.directions)
    direction: Direction = directions[0] if len(directions) == 1 else directions
    found = study.get_trials(deepcopy=False) if len(directions) == 1 else study.best_trials
    rows = [
        (trial.number, finite_value(trial.values), trial.params)
        for trial in found
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
    rows: list[tuple[int, Any, dict[str, Any]]], direction: Direction
) -> list[tuple[int, Any, dict[str, Any]]]:
    """Best first (in the first objective); earlier trials first among equals."""
    first = directions_of(direction)[0]
    return sorted(rows, key=lambda row: (to_minimized(as_tuple(row[1])[0], first), row[0]))


def print_trials(
    name: str, direction: Direction, rows: list[tuple[int, Any, dict[str, Any]]], top: int
) -> None:
    """Prints the best trials as a table with one column per parameter, as far as they fit."""
    ranked = sort_rows(rows, direction)[:top]
    names = list(dict.fromkeys(key for _, _, params in ranked for key in params))
    directions = directions_of(direction)
    title = f"Best of {name} ({', '.join(f'{one}d' for one in directions)})"
    values = _value_names(len(directions))
    if len(names) > 8:
        cells = [(n, *as_tuple(value), show_params(params)) for n, value, params in ranked]
        print_table(title, ("trial", *values, "params"), cells)
        return
    table = [(n, *as_tuple(v), *(params.get(key) for key in names)) for n, v, params in ranked]
    print_table(title, ("trial", *values, *names), table)


def _value_names(num_objectives: int) -> tuple[str, ...]:
    """Names of the columns of values, as Optuna has them."""
    return (
        ("value",) if num_objectives == 1 else tuple(f"values_{i}" for i in range(num_objectives))
    )


class _Printable:
    """A file that shows control characters as escapes."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._file.write(printable(text.rstrip("\r\n")) + "\n")


def _write_csv(study: optuna.Study) -> None:
    trials = study.get_trials(deepcopy=False)
    names = list(dict.fromkeys(key for trial in trials for key in trial.params))
    # Exact for a program; a terminal is no place for control characters.
    on_terminal = sys.stdout.isatty()
    writer = csv.writer(_Printable(sys.stdout) if on_terminal else sys.stdout)
    m = len(study.directions)
    writer.writerow(["number", "state", *_value_names(m), *(f"params_{name}" for name in names)])
    for trial in trials:
        params = [trial.params.get(name) for name in names]
        values = [None] * m if trial.values is None else trial.values
        writer.writerow([trial.number, trial.state.name, *values, *params])


__all__ = ["StorageError", "list_studies", "load_study", "print_trials", "show_best"]
