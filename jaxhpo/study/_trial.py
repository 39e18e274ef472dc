"""One trial as the user sees it, and as storage has it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo._status import Status, status_of_values
from jaxhpo.study.storage._rows import (
    COMPILE_ENTRY,
    ERROR_ATTR,
    FIXED_ATTR,
    SWEEP_ATTR,
    SYSTEM_ATTR,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from jaxhpo.space import Space
    from jaxhpo.study.storage.reading._history import HistoryTrial

Value = float | tuple[float, ...]
"""One value per trial, or a tuple of them in a study of several objectives."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a study.

    Attributes:
        number: its place in the study, from 0.
        params: Python objects as the objective receives them, active branch only.
        value: what the objective returned, in the user's own sign (a tuple for several objectives);
            None unless there is one.
        status: what became of it.
        violation: constraint violations, infeasible where above 0.
        se: known standard error of the value (a tuple for several objectives); None unless it is
            known of each.
        seconds: how long it took, or None while it runs.
        compile_seconds: how long the study waited for the compiler before it, which is no part of
            `seconds`.
        curve: step to intermediate value.
        reason: why it failed, in words, or None.
        error: the traceback of what the objective raised, or None.
        flat: the params as storable values by name, as Optuna shows them.
        unit: `[d]` its point in the unit cube, or None if another program made the trial.
    """

    number: int
    params: Any
    value: Value | None = None
    status: Status = Status.RUNNING
    violation: tuple[float, ...] = ()
    se: Value | None = None
    seconds: float | None = None
    compile_seconds: float = 0.0
    curve: dict[int, float] = dataclasses.field(default_factory=dict)
    reason: str | None = None
    error: str | None = None
    flat: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    unit: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def values(self) -> tuple[float, ...] | None:
        """The value of each objective, or None."""
        return None if self.value is None else as_tuple(self.value)


def as_tuple(value: Value) -> tuple[float, ...]:
    """The value of each objective, one or several."""
    return value if isinstance(value, tuple) else (value,)


def from_frozen(space: Space | None, frozen: FrozenTrial) -> Trial:
    """Reads Optuna's record of a trial.

    Args:
        space: the study's space, which knows the objects behind stored labels; None if it is not
            known, and the stored values stand for themselves.
        frozen: the record.

    Returns:
        The trial.
    """
    status = status_of(frozen)
    attrs = frozen.user_attrs
    seconds = attrs.get("seconds")
    if seconds is None and frozen.duration is not None:
        seconds = frozen.duration.total_seconds()
    value = finite_value(frozen.values) if status is not Status.FAILED else None
    is_waiting = status is Status.WAITING
    fixed = frozen.system_attrs.get(FIXED_ATTR) if is_waiting else None
    flat = dict(fixed or frozen.params)
    return Trial(
        number=frozen.number,
        params=params_of(space, flat) or flat,
        value=value,
        status=status,
        violation=tuple(frozen.constraints.values()),
        se=se_of(frozen),
        seconds=seconds,
        compile_seconds=compile_seconds_of(frozen),
        curve=dict(sorted(frozen.intermediate_values.items())),
        reason=attrs.get("reason"),
        error=attrs.get("error"),
        flat=flat,
        unit=unit_of(frozen),
    )


def summary_of(stored: FrozenTrial | HistoryTrial) -> Trial:
    """Number, value and status of a stored trial; the rest costs much more to read."""
    return Trial(stored.number, None, finite_value(stored.values), status_of(stored))


def read_trials(
    stored: Sequence[FrozenTrial], space: Space | None, ended: dict[int, Trial]
) -> list[Trial]:
    """Reads a study's trials.

    Args:
        stored: Optuna's records.
        space: the study's space.
        ended: trials read before, by number, which will not change; ended ones are added.

    Returns:
        The trials, in the records' order.
    """
    found = []
    for frozen in stored:
        trial = ended.get(frozen.number)
        if trial is None:
            trial = from_frozen(space, frozen)
            if trial.status not in (Status.RUNNING, Status.WAITING):
                ended[frozen.number] = trial
        found.append(trial)
    return found


def finite_value(values: Sequence[float] | None) -> Value | None:
    """Stored values as a trial has them; None if there are none, or one is not finite."""
    if not values or not all(math.isfinite(value) for value in values):
        return None
    found = tuple(float(value) for value in values)
    return found[0] if len(found) == 1 else found


def params_of(space: Space | None, flat: dict[str, Any]) -> Any:
    """Python params of stored ones, or None if another program left some of them out."""
    if space is None:
        return None
    try:
        return space.unflatten_params(flat)
    except (ValueError, TypeError):
        return None


def status_of(frozen: FrozenTrial | HistoryTrial) -> Status:
    """The status of a stored trial."""
    name = frozen.state.name
    if name == "COMPLETE":
        return status_of_values(frozen.values or [math.nan], frozen.constraints.values())
    return {"FAIL": Status.FAILED, "PRUNED": Status.PRUNED, "WAITING": Status.WAITING}.get(
        name, Status.RUNNING
    )


def unit_of(frozen: FrozenTrial | HistoryTrial) -> np.ndarray | None:
    """The exact unit point `[d]` that the sampler proposed, or None for a foreign trial."""
    own = frozen.system_attrs.get(SYSTEM_ATTR)
    if not isinstance(own, dict) or "unit" not in own:
        return None
    return np.asarray(own["unit"], dtype=np.float64)


def compile_seconds_of(frozen: FrozenTrial) -> float:
    """How long the study waited for the compiler before a stored trial."""
    found = [frozen.system_attrs.get(attr) for attr in (SYSTEM_ATTR, SWEEP_ATTR)]
    waits = [own.get(COMPILE_ENTRY) for own in found if isinstance(own, dict)]
    return float(sum(wait for wait in waits if isinstance(wait, int | float)))


def se_of(frozen: FrozenTrial | HistoryTrial) -> Value | None:
    """The known standard error of a stored trial's value, or None."""
    found = frozen.system_attrs.get(ERROR_ATTR)
    return finite_value(found) if isinstance(found, list) else None
