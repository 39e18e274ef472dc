"""Stops a run whose first trials all fail with the same error."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxhpo.study.running._results import ObjectiveResult

_ALL_FAILED = "all failed with"


class FirstFailures:
    """Whether the first trials of a run all failed with one and the same error."""

    def __init__(self, limit: int | None) -> None:
        """Starts counting.

        Args:
            limit: how many such trials stop the run; None for any number.
        """
        self._limit = limit
        self._kind: str | None = None
        self.count = 0

    def reaches_limit(self, result: ObjectiveResult) -> bool:
        """Counts the next trial; True if it reaches the limit."""
        if self._limit is None:
            return False
        is_same = result.error_kind is not None and self._kind in (None, result.error_kind)
        if not is_same:
            self._limit = None  # the objective can do something else
            return False
        self._kind = result.error_kind
        self.count += 1
        return self.count >= self._limit


def describe_first_failures(count: int, error: BaseException) -> str:
    """Why a run stopped, as `Study.stop_reason` has it."""
    return f"the first {count} trials {_ALL_FAILED} {type(error).__name__}"


def stopped_by_first_failures(stop_reason: str | None) -> bool:
    """Whether a run stopped because its first trials all failed with the same error."""
    return _ALL_FAILED in (stop_reason or "")
