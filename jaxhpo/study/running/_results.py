"""What came of one call of the user's objective."""

from __future__ import annotations

import dataclasses
import datetime
import math
import numbers
import pickle
import traceback
from typing import Any

import numpy as np

from jaxhpo._base import Outcome
from jaxhpo._checks import describe
from jaxhpo._status import Status, explain, status_of_values
from jaxhpo.study._trial import Value, as_tuple
from jaxhpo.study.running._error_hints import error_kind_of, hint_for

_MISUSE = "returned no value"


@dataclasses.dataclass(frozen=True)
class ObjectiveResult:
    """Result of one call of the objective; it can be sent between processes.

    Attributes:
        status: COMPLETE, FAILED or INFEASIBLE; PRUNED or WAITING where it was closed early.
        value: the value in the user's own sign (a tuple for several objectives), or None.
        violation: constraint violations.
        se: known standard error of the value, or None.
        seconds: how long the call took.
        reason: why it failed, in words.
        error: the traceback of what was raised.
        exception: what was raised, for a caller that wants it raised again.
        is_misuse: whether the objective returned something that is no value at all.
        error_kind: what tells one error from another; None where nothing went wrong but the value.
        is_lost: whether the worker has vanished, which says nothing of the params.
    """

    status: Status
    value: Value | None = None
    violation: tuple[float, ...] = ()
    se: Value | None = None
    seconds: float = 0.0
    reason: str | None = None
    error: str | None = None
    exception: BaseException | None = None
    is_misuse: bool = False
    error_kind: str | None = None
    is_lost: bool = False
    end: datetime.datetime = dataclasses.field(default_factory=datetime.datetime.now)

    def with_error(
        self,
        reason: str,
        error: str | None = None,
        exception: BaseException | None = None,
        is_misuse: bool = False,
    ) -> ObjectiveResult:
        """The same result with what went wrong after it was found."""
        return dataclasses.replace(
            self,
            reason=reason if self.reason is None else f"{self.reason}; {reason}",
            error=self.error or error,
            exception=self.exception or exception,
            is_misuse=self.is_misuse or is_misuse,
        )


def raised(exception: Exception, params: Any) -> ObjectiveResult:
    """The result of a call that has raised, with a hint where the cause is a known one.

    Args:
        exception: what it raised; to be called where it is handled.
        params: of the call.

    Returns:
        The result, FAILED.
    """
    hint = hint_for(exception, params)
    if hint:
        exception.add_note(hint)
    return ObjectiveResult(
        Status.FAILED,
        reason=f"{type(exception).__name__}: {exception}{hint and f' ({hint})'}",
        error=traceback.format_exc(),
        exception=exception,
        error_kind=error_kind_of(exception),
    )


def to_objective_result(returned: Any, num_objectives: int = 1) -> ObjectiveResult:
    """Checks what an objective returned.

    Args:
        returned: a real number, a scalar array or an `Outcome` of scalars; for several objectives a
            sequence or an array of them.
        num_objectives: how many values there must be.

    Returns:
        COMPLETE or INFEASIBLE with a finite value, else FAILED with the reason.
    """
    outcome = returned if isinstance(returned, Outcome) else Outcome(returned)
    value = real_number(outcome.value) if num_objectives == 1 else _real_numbers(outcome.value)
    values = () if value is None else as_tuple(value)
    if len(values) != num_objectives:
        expected = "a real number or an Outcome with one value"
        if num_objectives > 1:
            expected = f"{num_objectives} real numbers (one per objective) or an Outcome with them"
        message = (
            f"`objective` must return {expected}, got "
            f"{describe(outcome.value)}{_hint(outcome.value)}."
        )
        return misuse(message)
    se = None if outcome.se is None else _errors(outcome.se, num_objectives)
    if se is not None and not se:
        expected = "a standard error `se` for each value, of at least 0 (NaN where unknown)"
        message = f"`objective` must return {expected}, got {describe(outcome.se)}."
        return misuse(message)
    if not all(math.isfinite(one) for one in (*values, *(one for one in se or () if one == one))):
        what = f"the value was {value}" + (f", its standard error {se}" if se else "")
        return ObjectiveResult(Status.FAILED, reason=f"{what}: {explain(Status.FAILED)}")
    known = None
    if se is not None and not any(math.isnan(one) for one in se):
        known = se if num_objectives > 1 else se[0]
    if outcome.violation is None:
        return ObjectiveResult(Status.COMPLETE, value, se=known)
    violation = tuple(float(v) for v in np.ravel(np.asarray(outcome.violation)))
    status = status_of_values(values, violation, is_unknown=Status.FAILED)
    if status is Status.FAILED:
        return ObjectiveResult(status, reason=f"the violation was {list(violation)}")
    return ObjectiveResult(status, value, violation, known)


WORKER_ENDED = (
    "Likely causes: it ran out of memory, the objective called os._exit, or the script starts the "
    "study outside of `if __name__ == '__main__':`."
)
"""Why a worker process may have ended."""


def misuse(message: str) -> ObjectiveResult:
    """The result of an objective that gave something that is no value at all."""
    return ObjectiveResult(Status.FAILED, reason=message, is_misuse=True, error_kind=_MISUSE)


def _errors(se: Any, num_objectives: int) -> tuple[float, ...]:
    """A standard error per value, NaN where it is not known; empty for anything else."""
    found = _real_numbers([se] if num_objectives == 1 else se)
    if found is None or len(found) != num_objectives:
        return ()
    return () if any(one < 0 for one in found) else found


def real_number(value: Any) -> float | None:
    """A real number or an array without axes as a float; None for anything else."""
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, numbers.Real):
        return _as_float(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        item = value.item()
        is_real = isinstance(item, numbers.Real) and not isinstance(item, bool)
        return _as_float(item) if is_real else None
    return None


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer or a fraction beyond all floats
        return math.inf if value > 0 else -math.inf


def _real_numbers(value: Any) -> tuple[float, ...] | None:
    """A sequence or vector of real numbers; None for anything else."""
    if not isinstance(value, list | tuple) and len(getattr(value, "shape", ())) != 1:
        return None
    found = [real_number(one) for one in value]
    return None if None in found else tuple(one for one in found if one is not None)


def _hint(value: Any) -> str:
    if value is None:
        return " (is a `return` missing?)"
    shape = getattr(value, "shape", None)
    return f" of shape {tuple(shape)}" if shape else f" ({type(value).__name__})"


def picklable(result: ObjectiveResult) -> ObjectiveResult:
    """The result with an exception that can be pickled, or a RuntimeError in its place."""
    if result.exception is None:
        return result
    try:
        pickle.loads(pickle.dumps(result.exception))
    except Exception:
        return dataclasses.replace(result, exception=RuntimeError(result.reason))
    return result
