"""Trials in stored form: as they begin, and how they ended."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from jaxhpo._status import Status
from jaxhpo.space.internal import flatten
from jaxhpo.study._trial import Trial, Value, as_tuple
from jaxhpo.study.running._results import ObjectiveResult
from jaxhpo.study.storage._distributions import distributions_of
from jaxhpo.study.storage._rows import CONSTRAINTS_ATTR, ERROR_ATTR, SYSTEM_ATTR, Ending, Row

if TYPE_CHECKING:
    from jaxhpo.space import Space


class RowMaker:
    """Makes the rows of a space's trials."""

    def __init__(self, space: Space) -> None:
        """Takes up a space."""
        self._space, self._distributions = space, distributions_of(space)

    def row(
        self, status: Status, value: Value | None, unit: Any, params: Any, system: dict[str, Any]
    ) -> Row:
        """One trial.

        Args:
            status: what became of it.
            value: its value, or None.
            unit: `[d]` its point.
            params: its Python params, as `decode` gives them.
            system: what else jaxhpo keeps of it; empty entries are left out.
        """
        own = {"unit": [float(u) for u in unit], **{k: v for k, v in system.items() if v}}
        return Row(
            status,
            value,
            flatten(self._space, params),
            self._distributions,
            system_attrs={SYSTEM_ATTR: own},
        )


def ending_of(
    trial_id: int, result: ObjectiveResult, is_timed: bool = False, attempt: str | None = None
) -> Ending:
    """How a trial ended whose objective was called.

    Args:
        trial_id: the trial's identifier in the storage.
        result: of the call.
        is_timed: whether to keep how long the call took, which else follows from start and end.
        attempt: as in `Ending`.
    """
    user: dict[str, Any] = {"reason": result.reason, "error": result.error}
    user |= {"seconds": result.seconds} if is_timed and result.seconds else {}
    system = {CONSTRAINTS_ATTR: list(result.violation)} if result.violation else {}
    if result.se is not None:
        system[ERROR_ATTR] = list(as_tuple(result.se))
    return Ending(
        trial_id,
        result.status,
        result.value,
        {key: value for key, value in user.items() if value is not None},
        system,
        result.end,
        attempt=attempt,
    )


def ended_trial(trial: Trial, result: ObjectiveResult) -> Trial:
    """A trial with what became of it."""
    return dataclasses.replace(
        trial,
        status=result.status,
        value=result.value,
        violation=result.violation,
        se=result.se,
        seconds=result.seconds,
        reason=result.reason,
        error=result.error,
    )
