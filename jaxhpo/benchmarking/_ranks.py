"""Who is better: regrets, ranks at the end and on the way, and the price of a suggestion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_CHECKPOINTS = (0.1, 0.25, 0.5, 1.0)
_SAME = 1e-9
"""Regrets this near, relative to the spread of the problem, share a rank."""


class Table(NamedTuple):
    """Ranks of samplers, 1 the best, averaged over problems and seeds.

    Attributes:
        samplers: their names, best first.
        problems: the names of the problems that all of them have run.
        at: share of the trials at each column of `ranks`.
        ranks: `[samplers, columns]` mean rank after that share of the trials.
        anytime: `[samplers]` mean rank over all trials.
        per_problem: `[samplers, problems]` mean rank at the end.
        rank_curves: `[samplers, trials]` mean rank after each trial.
        seconds: `[samplers]` CPU seconds per suggestion, the objective included, without compiling.
        compile_seconds: `[samplers]` seconds to compile one program.
    """

    samplers: tuple[str, ...]
    problems: tuple[str, ...]
    at: tuple[float, ...]
    ranks: np.ndarray
    anytime: np.ndarray
    per_problem: np.ndarray
    rank_curves: np.ndarray
    seconds: np.ndarray
    compile_seconds: np.ndarray


def rank_table(records: Sequence[dict[str, Any]]) -> Table:
    """Ranks the samplers of a benchmark.

    On every problem and seed, samplers are ranked by the best value so far; equal ones share the
    mean of their ranks. Problems that some sampler has not run are left out.

    Args:
        records: as `run` returns them, all of one number of trials and seeds.

    Returns:
        The table.

    Raises:
        ValueError: no problem was run by every sampler.
    """
    found = {(record["problem"], record["sampler"]): record for record in records}
    names = list(dict.fromkeys(record["sampler"] for record in records))
    every = dict.fromkeys(record["problem"] for record in records)
    problems = [p for p in every if all((p, name) in found for name in names)]
    if not problems:
        raise ValueError("rank_table: `records` must have a problem that every sampler has run.")
    ranks = []  # [problems, samplers, trials]
    for problem in problems:
        curves = np.stack([curves_of(found[problem, name]) for name in names])
        ranks.append(ranks_of(curves).mean(axis=1))
    curve = np.mean(ranks, axis=0)
    order = np.argsort(curve[:, -1], kind="stable")
    trials = curve.shape[1]
    columns = [max(1, round(share * trials)) - 1 for share in _CHECKPOINTS]
    cost = [[_costs(found[p, name]) for p in problems] for name in names]
    mean_cost = np.mean(cost, axis=1)
    return Table(
        samplers=tuple(names[i] for i in order),
        problems=tuple(problems),
        at=_CHECKPOINTS,
        ranks=curve[order][:, columns],
        anytime=curve[order].mean(axis=1),
        per_problem=np.stack(ranks)[:, :, -1].T[order],
        rank_curves=curve[order],
        seconds=mean_cost[order, 0],
        compile_seconds=mean_cost[order, 1],
    )


def summary(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per cell: quartiles of the regret at the end, and what it cost.

    Args:
        records: as `run` returns them.

    Returns:
        Rows of plain numbers, for a CSV file. Where the minimum is not known the regret counts from
        the best value that any sampler has found.
    """
    rows = []
    for record in records:
        regret = regrets(record, records)[:, -1]
        low, middle, high = np.quantile(regret, [0.25, 0.5, 0.75])
        seconds, compiling = _costs(record)
        rows.append(
            {
                "problem": record["problem"],
                "sampler": record["sampler"],
                "num_trials": record["num_trials"],
                "num_seeds": record["num_seeds"],
                "regret_q25": low,
                "regret_median": middle,
                "regret_q75": high,
                "ms_per_suggestion": 1e3 * seconds,
                "compile_s": compiling,
            }
        )
    return rows


def curves_of(record: dict[str, Any]) -> np.ndarray:
    """Best value so far, `[seeds, trials]`; infinite before the first success."""
    rows = [[np.inf if value is None else value for value in row] for row in record["best_so_far"]]
    return np.asarray(rows, np.float64)


def regrets(record: dict[str, Any], records: Sequence[dict[str, Any]]) -> np.ndarray:
    """Distance to the smallest value there is, `[seeds, trials]`, never below 0."""
    minimum = record["minimum"]
    if minimum is None:
        same = [other for other in records if other["problem"] == record["problem"]]
        minimum = min(curves_of(other).min() for other in same)
    return np.maximum(curves_of(record) - minimum, 0)


def ranks_of(curves: np.ndarray) -> np.ndarray:
    """Ranks along the first axis of `[samplers, seeds, trials]`; ties share their mean."""
    finite = curves[np.isfinite(curves)]
    slack = _SAME * (finite.max() - finite.min()) if finite.size else 0.0
    mine, other = curves[:, None], curves[None, :]
    with np.errstate(invalid="ignore"):
        is_same = (np.abs(mine - other) <= slack) | (mine == other)
    is_worse = (mine > other) & ~is_same
    return 0.5 + is_worse.sum(axis=1) + 0.5 * is_same.sum(axis=1)


def _costs(record: dict[str, Any]) -> tuple[float, float]:
    """CPU seconds per suggestion, and seconds to compile."""
    count = record["num_trials"] * record["num_seeds"]
    return record["cpu_s"] / count, record["compile_s"]
