"""Calls the user's objective, whether it returns a value or reports as it goes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator
from typing import Any

from jaxhpo.study.reporting._generators import Tell, drive
from jaxhpo.study.running._results import ObjectiveResult, raised, to_objective_result


def evaluate(
    objective: Callable[..., Any],
    params: Any,
    num_objectives: int = 1,
    tell: Tell | None = None,
    named: dict[str, Any] | None = None,
    last: float | None = None,
) -> ObjectiveResult:
    """Calls the objective once. What it raises is reported; only an interrupt passes through.

    Args:
        objective: the user's function of params.
        params: Python objects, active branch only.
        num_objectives: values that it must return.
        tell: takes the reports of a generator, as `drive` does; None takes no note of them.
        named: further arguments of the objective.
        last: the last report that was made before the trial went on, or None.

    Returns:
        The result.
    """
    start = time.perf_counter()
    try:
        returned = objective(params, **(named or {}))
        is_generator = isinstance(returned, Generator)
        result = None if is_generator else to_objective_result(returned, num_objectives)
    except Exception as exception:
        result = raised(exception, params)
    if result is None:  # what `tell` raises is no failure of the objective
        result = drive(returned, tell or _ignore, params, num_objectives, last)
    return dataclasses.replace(result, seconds=time.perf_counter() - start)


def _ignore(loss: float, checkpoint: Any) -> None:
    del loss, checkpoint
