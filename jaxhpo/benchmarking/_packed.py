"""Results small enough to be kept beside the code: regrets at ten points of a search, four digits.

What "auto" would choose is looked up when they are read, so its rules can be judged anew without
running anything.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxhpo import samplers
from jaxhpo.benchmarking._hypervolume import num_objectives_of
from jaxhpo.benchmarking._problems import PROBLEMS
from jaxhpo.benchmarking._ranks import Table, rank_table, regrets

COLUMNS = 10
"""Regrets that are kept of a study, after equal parts of its trials."""

_DIGITS = 4


class Standing(NamedTuple):
    """How "auto" does beside the samplers that it chooses from.

    Attributes:
        auto: `[columns]` mean rank of what it chooses, among the single samplers.
        best: `[columns]` the smallest mean rank of a single sampler.
        second: `[columns]` the second smallest.
        chosen: how often it chooses which sampler.
    """

    auto: np.ndarray
    best: np.ndarray
    second: np.ndarray
    chosen: dict[str, int]


def pack(records: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    """Writes the results of a benchmark in short, one line per cell.

    Args:
        records: as `run` returns them, of one number of trials and seeds; "auto" is left out, and
            problems that some sampler has not run.
        path: the JSON file to write.
    """
    singles = [record for record in records if record["sampler"] != "auto"]
    kept = rank_table(singles).problems
    singles = [record for record in singles if record["problem"] in kept]
    first = singles[0]
    facts = {key: first[key] for key in ("num_trials", "num_seeds", "seed", "jax", "device")}
    lines = []
    for record in singles:
        regret = regrets(record, singles)
        after = np.round(np.arange(1, COLUMNS + 1) * regret.shape[1] / COLUMNS).astype(int) - 1
        cell = {key: record[key] for key in ("problem", "sampler", "cpu_s", "compile_s")}
        cell["regret"] = [[_short(value) for value in row] for row in regret[:, after]]
        lines.append(json.dumps(cell, separators=(",", ":")))
    head = json.dumps(facts)[1:-1]
    path.write_text("{" + head + ', "cells": [\n' + ",\n".join(lines) + "\n]}\n")


def unpack(path: pathlib.Path) -> list[dict[str, Any]]:
    """Reads what `pack` wrote.

    Args:
        path: the JSON file.

    Returns:
        Records as `rank_table` takes them, with `COLUMNS` regrets a study as `best_so_far`.
    """
    whole = json.loads(path.read_text())
    facts = {key: value for key, value in whole.items() if key != "cells"}
    return [
        {**facts, "minimum": 0.0, **cell, "best_so_far": cell["regret"]} for cell in whole["cells"]
    ]


def standing(records: Sequence[dict[str, Any]]) -> Standing:
    """Ranks "auto" by the sampler that its rules choose for each problem today.

    Args:
        records: as `unpack` returns them.

    Returns:
        The mean ranks; those of the single samplers are those of `rank_table`.
    """
    table = rank_table(records)
    chosen = [_choice(problem, records[0]["num_trials"]) for problem in table.problems]
    by_problem = _by_problem(records, table)
    auto = np.mean([by_problem[table.samplers.index(n), i] for i, n in enumerate(chosen)], axis=0)
    ordered = np.sort(table.rank_curves, axis=0)
    counts = {name: chosen.count(name) for name in sorted(set(chosen))}
    return Standing(auto, ordered[0], ordered[1], counts)


def _by_problem(records: Sequence[dict[str, Any]], table: Table) -> np.ndarray:
    """Mean ranks of each problem by itself, `[samplers, problems, columns]`, in a table's order."""
    found = np.empty((len(table.samplers), len(table.problems), table.rank_curves.shape[1]))
    for i, problem in enumerate(table.problems):
        one = rank_table([record for record in records if record["problem"] == problem])
        for name, curve in zip(one.samplers, one.rank_curves, strict=True):
            found[table.samplers.index(name), i] = curve
    return found


def _choice(name: str, num_trials: int) -> str:
    problem = PROBLEMS[name]()
    choice = samplers.choose(
        problem.space, num_trials=num_trials, num_objectives=num_objectives_of(problem)
    )
    return choice.name


def _short(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
