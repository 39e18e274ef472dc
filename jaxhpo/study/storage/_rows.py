"""One trial in stored form, and its state in Optuna's terms."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import functools
import math
from typing import TYPE_CHECKING, Any

from jaxhpo._status import Status

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState

# Where Optuna looks for constraint values: its best trial has none above zero.
CONSTRAINTS_ATTR = "constraints"
# Where jaxhpo keeps what only it needs: the unit row, the status and the owner of a running trial.
SYSTEM_ATTR = "jaxhpo"
# The entry among these: the rule under which a trial runs, its population, its size, its levels.
SCHEDULE = "schedule"
# The entry among these: seconds that the study waited for the compiler before a trial.
COMPILE_ENTRY = "compile_seconds"
# The entry among these: how often, in seconds, the process of a trial promises a sign of life.
HEARTBEAT = "heartbeat"
# The entry among these of a trial whose objective can go on with it later. It names the attempt:
# what is left of an earlier one, such as a worker whose driver was interrupted, may not report into
# a trial that somebody has taken up again.
RESUMABLE = "resumable"
# Where jaxhpo keeps known standard errors of an ended trial's values.
ERROR_ATTR = "jaxhpo_se"
# Where jaxhpo keeps how a sweep trained a trial, so that it can be trained again.
SWEEP_ATTR = "jaxhpo_sweep"
# Of users to read: the params over time, of a trial whose scheduler changed them.
SCHEDULE_ATTR = "schedule"
# Where Optuna keeps the parameters of a trial that waits.
FIXED_ATTR = "fixed_params"
# What tells one enqueued trial from another, where the answer to the first attempt was lost.
ENQUEUED_ATTR = "jaxhpo_enqueued"
# Where Optuna keeps what a study's values are called.
METRICS_ATTR = "study:metric_names"
# A curve is stored at no more than this many steps; a million rows help nobody.
MAX_CURVE_POINTS = 50


@dataclasses.dataclass(frozen=True)
class Row:
    """One trial in stored form.

    Attributes:
        status: what became of the trial, or `Status.RUNNING`.
        value: the value in the user's own sign (a tuple for several objectives), or None unless the
            trial has one.
        params: leaf name to stored value, active leaves only.
        distributions: leaf name to Optuna distribution, for at least the names in `params`.
        user_attrs: JSON-able facts for people.
        system_attrs: JSON-able facts for programs.
        curve: step to intermediate value.
        start: when the trial started.
        end: when it ended, or None while it runs.
    """

    status: Status
    value: float | tuple[float, ...] | None
    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    user_attrs: dict[str, Any] = dataclasses.field(default_factory=dict)
    system_attrs: dict[str, Any] = dataclasses.field(default_factory=dict)
    curve: dict[int, float] = dataclasses.field(default_factory=dict)
    start: datetime.datetime = dataclasses.field(default_factory=datetime.datetime.now)
    end: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a running trial ended: what `finish` adds to its row.

    Attributes:
        trial_id: the row's identifier in the storage.
        status: any finished `Status`.
        value: as in `Row`.
        user_attrs: JSON-able facts for people, names that the row does not have yet.
        system_attrs: JSON-able facts for programs, names that the row does not have yet.
        end: when the trial ended.
        curve: step to intermediate value; the row has none yet.
        attempt: the one that ends, of a trial that can go on later; None for whichever runs.
    """

    trial_id: int
    status: Status
    value: float | tuple[float, ...] | None
    user_attrs: dict[str, Any] = dataclasses.field(default_factory=dict)
    system_attrs: dict[str, Any] = dataclasses.field(default_factory=dict)
    end: datetime.datetime = dataclasses.field(default_factory=datetime.datetime.now)
    curve: dict[int, float] = dataclasses.field(default_factory=dict)
    attempt: str | None = None


def to_state(status: Status) -> TrialState:
    """Gives Optuna's name for a status; an infeasible trial is complete with a violation."""
    return _states()[status]


@functools.cache
def _states() -> dict[Status, TrialState]:
    from optuna.trial import TrialState

    return {
        Status.COMPLETE: TrialState.COMPLETE,
        Status.INFEASIBLE: TrialState.COMPLETE,
        Status.FAILED: TrialState.FAIL,
        Status.PRUNED: TrialState.PRUNED,
        Status.RUNNING: TrialState.RUNNING,
    }


def to_frozen_trial(row: Row) -> FrozenTrial:
    """Builds the trial that Optuna's public API takes."""
    from optuna.trial import FrozenTrial

    made = FrozenTrial(
        number=-1,  # the storage gives number and identifier
        trial_id=-1,
        state=to_state(row.status),
        value=None,
        values=stored_values(row.value),
        params=row.params,
        distributions=_UncopiedDict({name: row.distributions[name] for name in row.params}),
        user_attrs=row.user_attrs,
        system_attrs=row.system_attrs,
        intermediate_values=row.curve,
        datetime_start=row.start,
        datetime_complete=row.end,
    )
    if row.status is Status.RUNNING:  # nobody else knows it, and what it holds has just been made
        made.__deepcopy__ = lambda memo: _plain_copy(made)  # type: ignore[attr-defined]
    return made


class _UncopiedDict(dict[str, Any]):
    """Distributions never change, so Optuna's deep copy of a trial need not copy their choices."""

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return dict(self)


def _plain_copy(made: FrozenTrial) -> FrozenTrial:
    """What a storage in memory keeps in place of a deep copy, which takes as long as a trial."""
    kept = copy.copy(made)
    del kept.__deepcopy__  # type: ignore[attr-defined]
    kept.params = dict(made.params)
    return kept


def stored_values(value: float | tuple[float, ...] | None) -> list[float] | None:
    """A trial's value as Optuna stores it: one number per objective."""
    if value is None:
        return None
    return list(value) if isinstance(value, tuple) else [value]


def is_running_in(trial: FrozenTrial, attempt: str | None) -> bool:
    """Whether a stored trial is running, in this attempt if one is meant."""
    own = trial.system_attrs.get(SYSTEM_ATTR, {})
    is_meant = attempt is None or (isinstance(own, dict) and own.get(RESUMABLE) == attempt)
    return is_meant and trial.state.name == "RUNNING"


def records_same(trial: FrozenTrial | None, ending: Ending) -> bool:
    """Whether a stored trial has the status and the values of an ending."""
    if trial is None or trial.state != to_state(ending.status):
        return False
    return trial.values == stored_values(ending.value)


def record_compile_seconds(storage: BaseStorage, trial_id: int, seconds: float) -> None:
    """Adds seconds that a running trial of another program's study waited for the compiler."""
    own = dict(storage.get_trial(trial_id).system_attrs.get(SYSTEM_ATTR) or {})
    own[COMPILE_ENTRY] = own.get(COMPILE_ENTRY, 0.0) + seconds
    storage.set_trial_system_attr(trial_id, SYSTEM_ATTR, own)


def thin_curve(curve: dict[int, float]) -> dict[int, float]:
    """Keeps at most `MAX_CURVE_POINTS` steps of a curve, log-spaced, first and last included.

    Args:
        curve: step to value, in rising order of steps.

    Returns:
        The curve, or the part of it that is worth a row each.

    Example:
        >>> len(thin_curve({step: 0.0 for step in range(1000)}))
        50
    """
    if len(curve) <= MAX_CURVE_POINTS:
        return curve
    steps = list(curve)
    last = len(steps) - 1
    kept: set[int] = set()
    # A log-spaced index lies in a run of small ones at first, so the unused budget goes to the end.
    for k in range(MAX_CURVE_POINTS):
        index = round(math.expm1(math.log1p(last) * k / (MAX_CURVE_POINTS - 1)))
        while index in kept:
            index += 1
        kept.add(index)
    return {steps[index]: curve[steps[index]] for index in sorted(kept)}
