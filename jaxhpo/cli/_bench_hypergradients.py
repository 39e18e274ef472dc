"""`jaxhpo bench hypergradients`: estimators on tasks, resumable, with a page of tables."""

from __future__ import annotations

import pathlib
from typing import Any

from jaxhpo.cli._errors import UserError
from jaxhpo.cli._load import load_object
from jaxhpo.cli._tables import print_table, say


def bench(
    estimators: str,
    tasks: str,
    budget: int,
    seeds: int,
    tuning_seeds: int,
    out: pathlib.Path,
) -> None:
    """Runs the benchmark and writes its files; the arguments are those of the command."""
    from jaxhpo import benchmarking

    try:
        board = benchmarking.hypergradients(
            _entries(estimators, "--estimators"),
            _entries(tasks, "--tasks"),
            budget=budget,
            num_seeds=seeds,
            num_tuning_seeds=tuning_seeds,
            out=out,
        )
    except KeyboardInterrupt:
        say(f"interrupted; finished rows are in {out}/, and the same command continues.")
        raise
    written = benchmarking.write_leaderboard(board, out)
    _print(board)
    names = ", ".join(path.name for path in written)
    say(f"{names} are in {out}/; the same command adds what is missing.")


def _entries(text: str, option: str) -> dict[str, Any]:
    """Labels and what they stand for: a name, or the object of a module:name."""
    words = [word for word in text.replace(",", " ").split() if word]
    if not words:
        raise UserError(f"{option} needs at least one name.")
    found: dict[str, Any] = {}
    for word in words:
        label = word.rpartition(":")[2]
        if label in found:
            raise UserError(f"{option}: {label!r} is given twice.")
        found[label] = load_object(word, option) if ":" in word else word
    return found


def _print(board: Any) -> None:
    found = board.standings
    width = found.critical_difference
    near = "" if width != width else f"; nearer than {width:.2f} is no difference"
    count = f"{len(found.tasks)} task" + ("" if len(found.tasks) == 1 else "s")
    title = f"Mean rank by loss over {count} (1 is best{near})"
    rows = zip(found.estimators, map(float, found.mean), strict=True)
    print_table(title, ["estimator", "rank"], [[name, round(mean, 2)] for name, mean in rows])
