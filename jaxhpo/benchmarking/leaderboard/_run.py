"""Cell by cell (an estimator on a task), row by row (a seed), into a file that survives a kill."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax

from jaxhpo.benchmarking.leaderboard._descent import Stepper
from jaxhpo.benchmarking.leaderboard._entries import Case, Method
from jaxhpo.benchmarking.leaderboard._measure import costs_of, errors_of
from jaxhpo.benchmarking.leaderboard._setting import Setting
from jaxhpo.benchmarking.leaderboard.peers._process import peer_rows

Row = dict[str, Any]
_OWN = ("seed", "error", "cosine", "loss_before", "score_before", "losses", "loss", "score",
        "seconds", "is_finite")  # fmt: skip
_DIGITS = 7


class Plan(NamedTuple):
    """What every cell is run with.

    Attributes:
        budget: training runs that a descent may cost.
        num_seeds: rows of a cell.
        num_tuning_seeds: descents that judge an outer step.
    """

    budget: int
    num_seeds: int
    num_tuning_seeds: int


def rows_of(setting: Setting, method: Method, plan: Plan, known: Sequence[Row]) -> Iterator[Row]:
    """Runs what a cell lacks.

    Args:
        setting: the task.
        method: the estimator.
        plan: budget and seeds.
        known: the cell's rows that there are already; what they share is not measured again.

    Yields:
        One row a seed, without the names of the cell.
    """
    missing = [s for s in range(plan.num_seeds) if s not in {row["seed"] for row in known}]
    try:
        estimator = method.build(setting.task)
        stepper = Stepper(setting, estimator)
        if method.like is not None:
            stepper.work = Stepper(setting, method.like(setting.task)).work
        with jax.enable_x64(True):
            wide = method.build(setting.wide)
    except (TypeError, ValueError, NotImplementedError) as error:
        if "`estimators`" in str(error):  # the factory itself is at fault
            raise
        yield from (_refused(seed, f"refuses: {_short(error)}") for seed in missing)
        return
    num_outer = math.floor(plan.budget / stepper.work)
    if num_outer < 1:
        note = f"one gradient costs {stepper.work:.0f} runs, more than the budget"
        yield from ({**_refused(s, note), "work": stepper.work} for s in missing)
        return
    stepper.compile()
    facts, errors = errors_of(setting, wide, missing)
    if known:
        shared = {key: value for key, value in known[0].items() if key not in _OWN}
    else:
        rate = stepper.tuned(num_outer, plan.num_tuning_seeds)
        shared = {**facts, **costs_of(setting, stepper), "outer_lr": rate, "num_outer": num_outer}
    for seed in missing:
        before = setting.outcome(setting.start(seed), seed)
        path = stepper.descend(seed, shared["outer_lr"], num_outer)
        yield {
            **shared, "note": "", "seed": seed, **errors[seed],
            "loss_before": before[0], "score_before": before[1], "losses": list(path.losses),
            "loss": path.losses[-1], "score": path.score, "seconds": path.seconds,
            "is_finite": path.is_finite,
        }  # fmt: skip


def _refused(seed: int, note: str) -> Row:
    return {"seed": seed, "note": note}


def _short(error: Exception) -> str:
    """The first sentence, without the name of the function that says it."""
    text = str(error).split(": ", 1)[-1].split(". ")[0].splitlines()
    return text[0][:160] if text else type(error).__name__


def run_cells(
    methods: Sequence[Method],
    cases: Sequence[Case],
    plan: Plan,
    path: pathlib.Path | None,
    report: Any,
) -> list[Row]:
    """Runs all cells, task by task, and keeps each row as soon as it is there.

    Args:
        methods: the estimators.
        cases: the tasks.
        plan: budget and seeds.
        path: a file of one JSON object a line; made where there is none; None keeps nothing.
        report: called as `report(done, text)` before a cell runs.

    Returns:
        All rows, those that the file had before included.
    """
    kept = {} if path is None else {_key(row): row for row in read_rows(path)}
    done, found = 0, []
    for case in cases:
        setting: Setting | None = None
        for method in methods:
            names = {"estimator": method.name, "task": case.name, **plan._asdict()}
            wanted = [_key({**names, "seed": seed}) for seed in range(plan.num_seeds)]
            known = [kept[key] for key in wanted if key in kept]
            report(done, f"{method.name} on {case.name}")
            if len(known) < plan.num_seeds:
                if method.peer is not None:
                    new = peer_rows(method.peer, case.known, plan._asdict(), known)
                else:
                    setting = setting or Setting(case)
                    new = rows_of(setting, method, plan, known)
                for row in new:
                    row = _plain({**names, **row, "jax": jax.__version__})
                    kept[_key(row)] = row
                    _append(path, row)
            found += [kept[key] for key in wanted]
            done += 1
    return found


def read_rows(path: pathlib.Path) -> list[Row]:
    """Reads the rows of a file; a line that was cut off by a kill is dropped from it.

    Raises:
        ValueError: a whole line is no row of this benchmark.
    """
    if not path.exists():
        return []
    text = path.read_text()
    if text and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text)
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            _key(row)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"hypergradients: `out`: line {number} of {path} is no row of this benchmark; "
                "move the file away or take another folder."
            ) from error
        rows.append(row)
    return rows


def _append(path: pathlib.Path | None, row: Row) -> None:
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("estimator", "task", "seed", "budget", "num_tuning_seeds"))


def _plain(row: Row) -> Row:
    """Numbers of seven digits, None for what is not finite."""
    return {key: _rounded(value) for key, value in row.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
