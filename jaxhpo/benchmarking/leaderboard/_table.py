"""What the rows say: one line a cell with intervals over seeds, and who is better than whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxhpo.benchmarking._ranks import ranks_of

_CLOSE = 0.9
"""Share of the way from the start to the best known loss at which the target lies."""


class Standings(NamedTuple):
    """Mean ranks by the loss after the budget, 1 the best.

    Attributes:
        estimators: labels, best first.
        mean: `[estimators]` mean rank over tasks and seeds.
        per_task: `[estimators, tasks]` mean rank over seeds.
        tasks: labels of the tasks.
        critical_difference: mean ranks that are nearer than this do not differ (Nemenyi, 95 %, over
            the tasks); NaN for a single estimator.
    """

    estimators: tuple[str, ...]
    mean: np.ndarray
    per_task: np.ndarray
    tasks: tuple[str, ...]
    critical_difference: float


class Leaderboard(NamedTuple):
    """Estimators of hypergradients on tasks.

    Attributes:
        rows: what was measured, a dict for each estimator, task and seed, as in the file. A row
            whose `note` is not empty says why there is nothing to see.
        cells: a dict for each estimator and task: means over the seeds, half the width of 95 %
            intervals (`loss_half`, `score_half`), and what it took to come close to the best loss
            (`runs_to_target`, in plain runs by the clock, and `seconds_to_target`).
        standings: mean ranks.
    """

    rows: tuple[dict[str, Any], ...]
    cells: tuple[dict[str, Any], ...]
    standings: Standings


def leaderboard_of(rows: Sequence[dict[str, Any]]) -> Leaderboard:
    """Sums up rows; every estimator has some for every task."""
    cells = []
    for task in _labels(rows, "task"):
        own = [row for row in rows if row["task"] == task]
        target = _target(own)
        cells += [
            _cell([row for row in own if row["estimator"] == name], target)
            for name in _labels(own, "estimator")
        ]
    return Leaderboard(tuple(rows), tuple(cells), _standings(rows))


def _labels(rows: Sequence[dict[str, Any]], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))


def _target(rows: Sequence[dict[str, Any]]) -> float:
    """A loss that is close to the best mean loss of one task; NaN if nothing descended."""
    starts = _numbers(rows, "loss_before")
    names = _labels(rows, "estimator")
    ends = [_numbers([r for r in rows if r["estimator"] == name], "loss") for name in names]
    means = [float(np.mean(end)) for end in ends if end.size]
    if not means or not starts.size:
        return float("nan")
    start = float(np.mean(starts))
    return start + _CLOSE * (min(means) - start)


def _cell(rows: Sequence[dict[str, Any]], target: float) -> dict[str, Any]:
    first = rows[0]
    ran = [row for row in rows if not row["note"]]
    whole = [row for row in ran if row["loss"] is not None]
    cell = {
        "estimator": first["estimator"], "task": first["task"], "note": first["note"],
        "version": first.get("version", ""), "defect": first.get("defect", ""),
        "num_seeds": len(ran),
        "num_finite": sum(bool(row["is_finite"]) for row in ran),
    }  # fmt: skip
    shared = ("verdict", "bias", "deviation", "work", "time_ratio", "memory_mb", "plain_memory_mb",
              "compile_s", "outer_lr", "num_outer")  # fmt: skip
    cell |= {name: first.get(name) for name in shared}
    for name in ("error", "cosine", "loss_before", "score_before"):
        cell[name] = _mean(_numbers(ran, name))
    for name in ("loss", "score"):
        found = _numbers(whole, name)
        # A mean over the seeds that survived would hide those that did not.
        is_whole = len(whole) == len(ran)
        cell[name] = _mean(found) if is_whole else None
        cell[f"{name}_half"] = _half_width(found) if is_whole else None
    return {**cell, **_to_target(whole if len(whole) == len(ran) else [], target)}


def _to_target(rows: Sequence[dict[str, Any]], target: float) -> dict[str, Any]:
    """When the mean loss over the seeds first lay at the target or below it."""
    if rows:
        # None, a loss on the way that was not finite, is read as NaN.
        curve = np.mean(np.array([row["losses"] for row in rows], np.float64), axis=0)
        reached = np.flatnonzero(curve <= target + 1e-12 * abs(target))
        if reached.size:
            share = (int(reached[0]) + 1) / len(curve)
            runs = share * rows[0]["num_outer"] * rows[0]["time_ratio"]
            seconds = share * float(np.mean([row["seconds"] for row in rows]))
            return {"target": target, "runs_to_target": runs, "seconds_to_target": seconds}
    known = target if np.isfinite(target) else None
    return {"target": known, "runs_to_target": None, "seconds_to_target": None}


def _standings(rows: Sequence[dict[str, Any]]) -> Standings:
    names, tasks = _labels(rows, "estimator"), _labels(rows, "task")
    seeds = sorted({row["seed"] for row in rows})
    losses = np.full((len(names), len(tasks), len(seeds)), np.inf)
    for row in rows:
        loss = row.get("loss")
        at = names.index(row["estimator"]), tasks.index(row["task"]), seeds.index(row["seed"])
        losses[at] = np.inf if loss is None else loss
    # Along the first axis, one task after the other: what is "the same" depends on its spread.
    ranks = np.stack([ranks_of(losses[:, i, :, None])[..., 0] for i in range(len(tasks))], axis=1)
    per_task = ranks.mean(axis=2)
    mean = per_task.mean(axis=1)
    order = np.argsort(mean, kind="stable")
    return Standings(
        tuple(names[i] for i in order), mean[order], per_task[order], tuple(tasks),
        critical_difference(len(names), len(tasks)),
    )  # fmt: skip


def critical_difference(num_estimators: int, num_tasks: int) -> float:
    """The difference of mean ranks that chance alone exceeds once in twenty times.

    Source: Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006.
    """
    if num_estimators < 2:
        return float("nan")
    from scipy.stats import studentized_range

    # Far out, the quantile of infinitely many degrees of freedom.
    quantile = float(studentized_range.ppf(0.95, num_estimators, 1e6)) / np.sqrt(2)
    width = quantile * np.sqrt(num_estimators * (num_estimators + 1) / (6 * num_tasks))
    return float(width)


def _numbers(rows: Sequence[dict[str, Any]], column: str) -> np.ndarray:
    found = [row.get(column) for row in rows]
    return np.array([value for value in found if value is not None], np.float64)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _half_width(values: np.ndarray) -> float | None:
    """Half of the 95 % interval of a mean, by Student's t."""
    if values.size < 2:
        return None
    from scipy.stats import t

    error = values.std(ddof=1) / np.sqrt(values.size)
    return float(t.ppf(0.975, values.size - 1) * error)
