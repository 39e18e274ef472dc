"""Failed trials and their reasons, summed up in one line."""

from __future__ import annotations

import collections
import functools
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from jaxhpo._status import Status
from jaxhpo.progress import printable

if TYPE_CHECKING:
    from jaxhpo.study._trial import Trial
    from jaxhpo.study.storage._rows import Ending, Row

logger = logging.getLogger("jaxhpo")

_P = ParamSpec("_P")
_R = TypeVar("_R")

_NUMBER = re.compile(r"(?<![A-Za-z_])[-+]?\d[\d.]*(?:[eE][-+]?\d+)?")
_UNKNOWN = "no reason was recorded"
_MAX_LENGTH = 300


def most_frequent_reason(reasons: Iterable[str | None]) -> str:
    """The reason that most failures share, where numbers in it do not tell two apart.

    Args:
        reasons: one a failed trial, in order; None where none is known.

    Returns:
        "REASON" if it is that of all, else "REASON (3 of 5)"; the first line, as it came first.

    Example:
        >>> most_frequent_reason(["the value was nan", "KeyError: 'a'", "the value was nan"])
        'the value was nan (2 of 3)'
    """
    lines = [(reason or _UNKNOWN).strip().split("\n")[0] for reason in reasons]
    if not lines:
        return _UNKNOWN
    kinds = [_NUMBER.sub("#", text) for text in lines]
    kind, count = collections.Counter(kinds).most_common(1)[0]
    text = shorten_reason(lines[kinds.index(kind)])
    return text if count == len(lines) else f"{text} ({count} of {len(lines)})"


def shorten_reason(reason: str) -> str:
    """A reason cut to a length that fits a line of a log."""
    reason = printable(reason)
    return reason if len(reason) <= _MAX_LENGTH else reason[: _MAX_LENGTH - 1] + "…"


def failure_reasons(trials: Sequence[Trial | Row | Ending]) -> list[str | None]:
    """The reason of each failed trial."""
    return [
        trial.user_attrs.get("reason") if hasattr(trial, "user_attrs") else trial.reason
        for trial in trials
        if trial.status is Status.FAILED
    ]


class Counts:
    """How many trials ended in one call, and the reasons of those that failed."""

    def __init__(self) -> None:
        self.ended = 0
        self.reasons: list[str | None] = []

    def add(self, trials: Sequence[Trial | Row | Ending]) -> None:
        """Counts ended trials."""
        self.ended += len(trials)
        self.reasons += failure_reasons(trials)


class _Run(Protocol):
    _counts: Counts | None

    @property
    def name(self) -> str: ...


_S = TypeVar("_S", bound=_Run)


def with_failure_summary(
    run: Callable[Concatenate[_S, _P], _R],
) -> Callable[Concatenate[_S, _P], _R]:
    """Decorates a method that runs trials: it ends with one log line about those that failed.

    Args:
        run: the method.

    Returns:
        The method; the line is logged whether it returns or raises.
    """

    @functools.wraps(run)
    def wrapped(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        counts = self._counts = Counts()
        try:
            return run(self, *args, **kwargs)
        finally:
            self._counts = None
            if counts.reasons:
                logger.warning(
                    "study %r: %d of %d trials failed; most frequent reason: %s",
                    self.name,
                    len(counts.reasons),
                    counts.ended,
                    most_frequent_reason(counts.reasons),
                )

    return wrapped
