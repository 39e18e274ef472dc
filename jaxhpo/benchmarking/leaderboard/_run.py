"""Cell by cell (an estimator on a task), row by row (a seed)."""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax

from jaxhpo.benchmarking.leaderboard._descent import Stepper
from jaxhpo.benchmarking.leaderboard._entries import Case, Method
from jaxhpo.benchmarking.leaderboard._file import (
    Row,
    append,
    check_sources,
    is_settled,
    key_of,
    plain,
    read_rows,
    sources_of,
)
from jaxhpo.benchmarking.leaderboard._measure import costs_of, errors_of
from jaxhpo.benchmarking.leaderboard._setting import Setting
from jaxhpo.benchmarking.leaderboard.peers._process import peer_rows

_OWN = ("seed", "error", "cosine", "loss_before", "score_before", "losses", "loss", "score",
        "seconds", "is_finite")  # fmt: skip


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
    have = {row["seed"] for row in known}
    missing = [seed for seed in range(plan.num_seeds) if seed not in have]
    try:
        for row in _measured(setting, method, plan, known, tuple(missing)):
            missing.remove(row["seed"])
            yield row
    except Exception as error:  # a third party's code may raise anything, and at any point
        if "`estimators`" in str(error):  # the factory itself is at fault
            raise
        yield from (_refused(seed, _reason(error)) for seed in missing)


def _measured(
    setting: Setting, method: Method, plan: Plan, known: Sequence[Row], missing: Sequence[int]
) -> Iterator[Row]:
    """The rows of the missing seeds; raises what the estimator raises."""
    estimator = method.build(setting.task)
    stepper = Stepper(setting, estimator)
    if method.like is not None:
        stepper.work = Stepper(setting, method.like(setting.task)).work
    with jax.enable_x64(True):
        wide = method.build(setting.wide)
    num_outer = math.floor(plan.budget / stepper.work)
    if num_outer < 1:
        note = f"one gradient costs {stepper.work:.0f} runs, more than the budget"
        yield from ({**_refused(s, note), "work": stepper.work} for s in missing)
        return
    stepper.compile()
    facts, errors = errors_of(setting, wide, missing)
    measured = [row for row in known if not row["note"]]
    if measured:
        shared = {key: value for key, value in measured[0].items() if key not in _OWN}
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


def _reason(error: Exception) -> str:
    """The first sentence of an error, without the name of the function that says it."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:  # XLA passes on what a callback raised
        return f"fails: {text.splitlines()[-1]}"[:160]
    said = re.sub(r"^[\w.]+: ", "", text).split(". ")[0].splitlines()
    sentence = said[0][:160] if said else type(error).__name__
    if isinstance(error, TypeError | ValueError | NotImplementedError):
        return f"refuses: {sentence}"
    return f"fails: {type(error).__name__}: {sentence}"


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

    Raises:
        ValueError: the file holds something else, or rows of a label that stood for another thing.
    """
    kept = {} if path is None else {key_of(row): row for row in read_rows(path)}
    for case in cases:
        for method in methods:
            check_sources(path, kept.values(), method, case)
    done, found = 0, []
    for case in cases:
        setting: Setting | None = None
        for method in methods:
            names = {"estimator": method.name, "task": case.name, **plan._asdict()}
            wanted = [key_of({**names, "seed": seed}) for seed in range(plan.num_seeds)]
            known = [kept[key] for key in wanted if key in kept and is_settled(kept[key])]
            report(done, f"{method.name} on {case.name}")
            if len(known) < plan.num_seeds:
                if method.peer is not None:
                    new = peer_rows(method.peer, case.known, plan._asdict(), known)
                else:
                    setting = setting or Setting(case)
                    new = rows_of(setting, method, plan, known)
                more = {"jax": jax.__version__, **sources_of(method, case)}
                for row in new:
                    row = plain({**names, **row, **more})
                    if row != kept.get(key_of(row)):  # what is refused again is there already
                        kept[key_of(row)] = row
                        append(path, row)
            found += [kept[key] for key in wanted]
            done += 1
    return found
