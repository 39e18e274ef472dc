"""Runs an objective that is a generator: each of its reports is told, and it may be closed."""

from __future__ import annotations

import inspect
import math
import os
import traceback
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from jaxhpo._checks import describe
from jaxhpo._status import Status, explain
from jaxhpo.study.reporting._packed import Packed, pack
from jaxhpo.study.reporting._report import Report
from jaxhpo.study.running._results import (
    ObjectiveResult,
    misuse,
    raised,
    real_number,
    to_objective_result,
)

Tell = Callable[[float, "str | Packed | None"], "Status | None"]
"""What takes a report, its loss and its checkpoint; gives the status to end the trial with."""


class Reading(NamedTuple):
    """One report as it is recorded, or what is wrong with it."""

    loss: float = math.nan
    checkpoint: str | Packed | None = None
    problem: ObjectiveResult | None = None


def takes_checkpoint(objective: Callable[..., Any]) -> bool:
    """Whether an objective can go on later: it has an argument `checkpoint`."""
    try:
        return "checkpoint" in inspect.signature(objective).parameters
    except (TypeError, ValueError):  # a callable of which Python knows no signature
        return False


def drive(
    generator: Generator[Any, Any, Any],
    tell: Tell,
    params: Any,
    num_objectives: int,
    last: float | None = None,
) -> ObjectiveResult:
    """Runs a generator to its end, or until it is to be closed.

    Args:
        generator: what the objective has returned.
        tell: takes each report; whatever it raises passes on, after the generator is closed.
        params: for the hints of errors.
        num_objectives: values that it must return, if it returns one.
        last: the last report that was made before it went on, or None.

    Returns:
        Its result: of the value that it returned, or of its last report.
    """
    try:
        while True:
            try:
                item = next(generator)
            except StopIteration as stop:
                return _value(stop.value, last, num_objectives)
            except Exception as exception:
                return raised(exception, params)
            reading = read_report(item)
            if reading.problem is not None:
                return _closed(generator, reading.problem)
            status = tell(reading.loss, reading.checkpoint)
            if status is not None:
                value = reading.loss if status is not Status.COMPLETE else last
                return _closed(generator, _ending(status, value, num_objectives))
            last = reading.loss
    except BaseException:  # an interrupt, or an error of the storage
        generator.close()
        raise


def read_report(item: Any) -> Reading:
    """Reads what a generator has yielded."""
    report = item if isinstance(item, Report) else Report(item)
    loss = real_number(report.loss)
    if loss is None:
        expected = "a real number or an hpo.Report of one"
        return Reading(
            problem=misuse(f"`objective` must yield {expected}, got {describe(report.loss)}.")
        )
    if not math.isfinite(loss):
        reason = f"the loss that it yielded was {loss}: {explain(Status.FAILED)}"
        return Reading(problem=ObjectiveResult(Status.FAILED, reason=reason))
    if report.checkpoint is None:
        return Reading(loss)
    if isinstance(report.checkpoint, str | os.PathLike):
        return Reading(loss, os.fspath(report.checkpoint))
    try:
        return Reading(loss, pack(report.checkpoint))
    except TypeError as error:
        return Reading(problem=misuse(str(error)))


def _value(returned: Any, last: float | None, num_objectives: int) -> ObjectiveResult:
    """The result of a generator that has ended by itself."""
    if returned is None and last is None:
        return misuse(
            "`objective` must yield a loss or return one, got a generator that did neither."
        )
    return to_objective_result(last if returned is None else returned, num_objectives)


def _ending(status: Status, value: float | None, num_objectives: int) -> ObjectiveResult:
    if status is Status.FAILED:
        return ObjectiveResult(status, reason="another process has ended the trial")
    if status is Status.COMPLETE:
        return to_objective_result(value, num_objectives)
    return ObjectiveResult(status, value)


def _closed(generator: Generator[Any, Any, Any], result: ObjectiveResult) -> ObjectiveResult:
    """Closes the generator; what goes wrong then is said with the result, which stands."""
    try:
        generator.close()
    except Exception as error:
        if not isinstance(error, RuntimeError) or "ignored GeneratorExit" not in str(error):
            text = f"{type(error).__name__}: {error} (while it was closed)"
            return result.with_error(text, traceback.format_exc(), error)
        return result.with_error(
            "`objective` must end when it is closed, but its generator yielded once more: let "
            "GeneratorExit pass, which a bare `except` or `except BaseException` around a `yield` "
            "does not.",
            is_misuse=True,
        )
    return result
