"""What failed and why, in one line; and when a run must not go on failing."""

from __future__ import annotations

import collections
import functools
import logging
import re
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from jaxhpo._status import Status

if TYPE_CHECKING:
    from jaxhpo.study._evaluate import Report
    from jaxhpo.study._rows import Ending, Row
    from jaxhpo.study._study import Study
    from jaxhpo.study._trial import Trial

logger = logging.getLogger("jaxhpo")

_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S")

# What Optuna's objectives ask of their trial.
_OPTUNA = ("suggest_", "report", "should_prune", "set_user_attr", "user_attrs", "number")
_NUMBER = re.compile(r"(?<![A-Za-z_])[-+]?\d[\d.]*(?:[eE][-+]?\d+)?")
_UNKNOWN = "no reason was recorded"
_MAX_SHOWN = 300
_ALL_FAILED = "all failed with"


def shared_reason(reasons: Iterable[str | None]) -> str:
    """The reason that most failures share, where numbers in it do not tell two apart.

    Args:
        reasons: one a failed trial, in order; None where none is known.

    Returns:
        "REASON" if it is that of all, else "REASON (3 of 5)"; the first line, as it came first.

    Example:
        >>> shared_reason(["the value was nan", "KeyError: 'a'", "the value was nan"])
        'the value was nan (2 of 3)'
    """
    shown = [(reason or _UNKNOWN).strip().split("\n")[0] for reason in reasons]
    if not shown:
        return _UNKNOWN
    kinds = [_NUMBER.sub("#", text) for text in shown]
    kind, count = collections.Counter(kinds).most_common(1)[0]
    text = describe_reason(shown[kinds.index(kind)])
    return text if count == len(shown) else f"{text} ({count} of {len(shown)})"


def describe_reason(reason: str) -> str:
    """A reason cut to a length that fits a line of a log."""
    return reason if len(reason) <= _MAX_SHOWN else reason[: _MAX_SHOWN - 1] + "…"


def reasons_of(trials: Sequence[Trial | Row | Ending]) -> list[str | None]:
    """Why each of the failed ones failed."""
    return [
        trial.user_attrs.get("reason") if hasattr(trial, "user_attrs") else trial.reason
        for trial in trials
        if trial.status is Status.FAILED
    ]


class Tally:
    """Trials that ended in one call, and why those of them failed that did."""

    def __init__(self) -> None:
        self.ended = 0
        self.reasons: list[str | None] = []

    def add(self, trials: Sequence[Trial | Row | Ending]) -> None:
        """Takes note of ended trials."""
        self.ended += len(trials)
        self.reasons += reasons_of(trials)


def failures_told(
    run: Callable[Concatenate[_S, _P], _R],
) -> Callable[Concatenate[_S, _P], _R]:
    """Lets a method that runs trials end with one line about those that failed, if some did.

    Args:
        run: the method.

    Returns:
        The method; however it ends, it says so.
    """

    @functools.wraps(run)
    def told(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        study = cast("Study", self)
        tally = study._tally = Tally()
        try:
            return run(self, *args, **kwargs)
        finally:
            study._tally = None
            if tally.reasons:
                logger.warning(
                    "study %r: %d of %d trials failed; most frequent reason: %s",
                    study.name,
                    len(tally.reasons),
                    tally.ended,
                    shared_reason(tally.reasons),
                )

    return told


class FirstFailures:
    """Whether the first trials of a run all failed with one and the same error."""

    def __init__(self, limit: int | None) -> None:
        """Starts counting.

        Args:
            limit: how many are too many; None for any number.
        """
        self._limit = limit
        self._kind: str | None = None
        self.count = 0

    def are_too_many(self, report: Report) -> bool:
        """Takes note of the next trial; True if it is the one that is too many."""
        if self._limit is None:
            return False
        is_same = report.error_kind is not None and self._kind in (None, report.error_kind)
        if not is_same:
            self._limit = None  # the objective can do something else
            return False
        self._kind = report.error_kind
        self.count += 1
        return self.count >= self._limit


def first_failures(count: int, error: BaseException) -> str:
    """Why a run stopped, as `Study.stop_reason` has it."""
    return f"the first {count} trials {_ALL_FAILED} {type(error).__name__}"


def stopped_by_first_failures(stop_reason: str | None) -> bool:
    """Whether a run stopped because its first trials all failed with the same error."""
    return _ALL_FAILED in (stop_reason or "")


def kind_of(exception: BaseException) -> str:
    """What makes two exceptions the same error: their class and the line that raised them."""
    frames = traceback.extract_tb(exception.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(exception).__module__}.{type(exception).__qualname__} {place}"


def hint_for(exception: BaseException, params: Any) -> str:
    """What the user may have mistaken about the objective; empty if nothing shows it.

    Args:
        exception: what the objective raised.
        params: what it was called with.
    """
    call = "`objective` is called as objective(params)"
    name = getattr(exception, "name", None)
    if isinstance(exception, AttributeError) and getattr(exception, "obj", None) is params:
        if str(name).startswith(_OPTUNA):
            return (
                f"{call} with the parameters themselves, not with a trial; see "
                f"docs/coming-from-optuna.md, also for objectives that call trial.{name}"
            )
        if isinstance(params, dict) and name in params:
            return f"params are a dict: write params[{name!r}]"
    # One frame: the call itself failed, no line of the objective was reached.
    frame = exception.__traceback__
    if isinstance(exception, TypeError) and frame is not None and frame.tb_next is None:
        return f"{call}, with one argument"
    return ""
