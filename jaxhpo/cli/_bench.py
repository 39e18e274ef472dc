"""`jaxhpo bench`: samplers on problems, resumable, with tables and figures."""

from __future__ import annotations

import csv
import pathlib
from typing import Any

from jaxhpo.cli._errors import UserError
from jaxhpo.cli._tables import print_table, say

RESULTS = "results.jsonl"


def bench(
    sampler_names: str,
    problems: str,
    trials: int,
    seeds: int,
    seed: int,
    batch_size: int,
    out: pathlib.Path,
) -> None:
    """Runs the benchmark and writes its files; the arguments are those of the command."""
    from jaxhpo import benchmarking

    listed = benchmarking.cells(
        _words(problems),
        _words(sampler_names),
        num_trials=trials,
        num_seeds=seeds,
        seed=seed,
        batch_size=batch_size,
    )
    path = out / RESULTS
    try:
        records = _run(listed, path)
    except KeyboardInterrupt:
        say(f"interrupted; finished results are in {path}, and the same command continues.")
        raise
    table = benchmarking.rank_table(records)
    _write_csv(out / "summary.csv", benchmarking.summary(records))
    _write_csv(out / "ranks.csv", rank_rows(table))
    _draw(records, table, out)
    _print(table, seeds, trials)
    say(f"results, tables and figures are in {out}/; the same command adds what is missing.")


def rank_rows(table: Any) -> list[dict[str, Any]]:
    """The rank table as rows, best sampler first."""
    rows = []
    for i, name in enumerate(table.samplers):
        after = {
            f"rank_{round(100 * share)}%": round(float(rank), 3)
            for share, rank in zip(table.at, table.ranks[i], strict=True)
        }
        rows.append(
            {
                "sampler": name,
                **after,
                "anytime": round(float(table.anytime[i]), 3),
                "ms_per_suggestion": round(1e3 * float(table.seconds[i]), 4),
                "compile_s": round(float(table.compile_seconds[i]), 2),
            }
        )
    return rows


def _run(listed: list[Any], path: pathlib.Path) -> list[dict[str, Any]]:
    """Runs cell by cell; each compiles its program."""
    from jaxhpo import benchmarking
    from jaxhpo.progress import Progress, make_reporter

    total, note = len(listed), "each compiles its program"
    with make_reporter("bench", True, "bench", total, unit="cells", note=note) as shown:

        def report(done: int, cell: Any, note: str) -> None:
            message = f"{cell.sampler} on {cell.problem}: {note}"
            shown.update(Progress(done, total, None, 0, message))

        records = benchmarking.run(listed, path, report)
        shown.update(Progress(total, total, None, 0))
    return records


def _print(table: Any, seeds: int, trials: int) -> None:
    rows = rank_rows(table)
    title = (
        f"Mean rank over {len(table.problems)} problems and {seeds} seeds, after a share of "
        f"{trials} trials (1 is best)"
    )
    short = {"ms_per_suggestion": "ms/trial", "compile_s": "compile s"}  # 80 columns, if piped
    columns = [short.get(name, name.removeprefix("rank_")) for name in rows[0]]
    print_table(title, columns, [list(row.values()) for row in rows])


def _draw(records: list[dict[str, Any]], table: Any, out: pathlib.Path) -> None:
    from jaxhpo.benchmarking.internal import draw_curves, draw_ranks

    try:
        draw_curves(records, out / "curves.png")
        draw_ranks(table, out / "ranks.png")
    except ModuleNotFoundError as error:
        say(f"no figures: {error}")


def _write_csv(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _words(text: str) -> list[str]:
    words = [word for word in text.replace(",", " ").split() if word]
    if not words:
        raise UserError("give at least one sampler and one problem, separated by commas.")
    return words
