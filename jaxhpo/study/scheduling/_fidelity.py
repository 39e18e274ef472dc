"""What trials that a scheduler has judged are worth to a sampler: values of one step alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo.study._trial import Value
from jaxhpo.study.storage._reserved import own_attrs
from jaxhpo.study.storage._rows import SCHEDULE

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from jaxhpo.study.storage.reading._history import HistoryTrial


def comparable(
    trials: Sequence[FrozenTrial | HistoryTrial],
    values: Sequence[Value | None],
    least: int,
    direction: Any,
) -> list[Value | None]:
    """Values for a sampler: those at the highest level of a scheduler that enough trials have.

    A loss after a few steps is no loss after many: where both are told as they are, a model takes
    what was stopped early for bad, or noise for good. Trials that have begun and have not come to
    the level count as the worst that have. A trial that ended by itself has its value at all levels
    that it did not report.

    Args:
        trials: the stored trials.
        values: their values as they are; of one that waits the last report.
        least: values of a level from which on a model can be made of them.
        direction: the study's.

    Returns:
        The values; those given where no trial was judged by a scheduler.
    """
    levels = [_levels(trial) for trial in trials]
    if not any(levels):
        return list(values)
    known: dict[int, float] = {}
    for level in sorted({step for steps in levels for step in steps}, reverse=True):
        known = {
            row: found
            for row, trial in enumerate(trials)
            if (found := _at(trial, level, values[row])) is not None
        }
        if len(known) >= least:
            break
    if not known:
        return list(values)
    worst = (min if direction == "maximize" else max)(known.values())
    told: list[Value | None] = [
        known.get(row, None if value is None else worst) for row, value in enumerate(values)
    ]
    return told


def _levels(trial: FrozenTrial | HistoryTrial) -> list[int]:
    """The levels of the rule that judges a trial; none of a trial without one."""
    entry = own_attrs(trial).get(SCHEDULE)
    return list(entry[3]) if entry is not None and len(entry) > 3 else []


def _at(trial: FrozenTrial | HistoryTrial, level: int, value: Value | None) -> float | None:
    """A trial's value at a level, or None."""
    is_whole = trial.state.name == "COMPLETE"
    found = trial.intermediate_values.get(level) if _levels(trial) else None
    if found is None and is_whole and not isinstance(value, tuple):
        found = value
    # What a trial returns counts where it has ended, rather than what it reported.
    if is_whole and level == max(_levels(trial), default=level) and not isinstance(value, tuple):
        found = value
    return found if found is not None and math.isfinite(float(np.float64(found))) else None
