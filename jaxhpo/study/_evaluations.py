"""Trials as arrays for a sampler: points, values to minimise, violations, standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo._direction import Direction, directions_of, to_minimized
from jaxhpo.ask_tell import Evaluations
from jaxhpo.study._trial import Trial, Value, as_tuple, finite_value, params_of, se_of, unit_of
from jaxhpo.study.storage._rows import CONSTRAINTS_ATTR, Ending, Row

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from jaxhpo.space import Space
    from jaxhpo.study.storage.reading._history import HistoryTrial


def history_of(
    trials: Sequence[FrozenTrial | HistoryTrial], space: Space
) -> tuple[np.ndarray, list[Value | None]]:
    """Points and values of a whole history.

    Args:
        trials: the stored trials; foreign ones are encoded.
        space: the study's space.

    Returns:
        `[n, d]` points, NaN rows where there is none, and the values.
    """
    unit = np.full((len(trials), space.num_dims), np.nan)
    values: list[Value | None] = []
    for row, trial in enumerate(trials):
        point = unit_of(trial)
        if point is None and (params := params_of(space, trial.params)) is not None:
            point = np.asarray(space.to_unit(space.encode([params])))[0]
        if point is not None:
            unit[row] = point
        has_value = trial.state.name in ("COMPLETE", "PRUNED")
        values.append(finite_value(trial.values) if has_value else _last_report(trial))
    return unit, values


def _last_report(trial: FrozenTrial | HistoryTrial) -> Value | None:
    """The last value of a trial that has paused: it counts as that of a pruned one does."""
    if trial.state.name != "WAITING" or not trial.intermediate_values:
        return None
    return finite_value([trial.intermediate_values[max(trial.intermediate_values)]])


def evaluations_of(
    unit: np.ndarray,
    values: Sequence[Value | None],
    trials: Sequence[Any],
    direction: Direction,
    is_constrained: bool,
) -> Evaluations:
    """Converts trials to the arrays that a sampler is told.

    Args:
        unit: `[n, d]` points.
        values: their values; None where a trial has none.
        trials: trials, rows, endings or stored records, for violations and standard errors.
        direction: the study's.
        is_constrained: whether trials before these had violations.

    Returns:
        The evaluations; `violation` is None as long as no trial has one.
    """
    num_objectives = len(directions_of(direction))
    nothing = (np.nan,) * num_objectives
    rows = [nothing if v is None else as_tuple(v) for v in values]
    value = np.asarray(rows, np.float64).reshape(len(rows), num_objectives)
    value = np.where(np.isfinite(value).all(axis=1, keepdims=True), value, np.nan)
    # One objective is a vector of values, several are a matrix.
    value = to_minimized(value[:, 0] if num_objectives == 1 else value, direction)
    worst, errors = np.zeros(len(value)), np.full(value.shape, np.nan)
    for row, trial in enumerate(trials):
        if found := _violations(trial):
            worst[row], is_constrained = max(found), True
        se = trial.se if isinstance(trial, Trial) else se_of(trial)
        if se is not None:
            errors[row] = se
    return Evaluations(unit, value, worst if is_constrained else None, errors)


def _violations(trial: Any) -> tuple[float, ...]:
    """The constraint values of our own trial, of a row or its ending, or of Optuna's record."""
    if isinstance(trial, Row | Ending):
        return tuple(trial.system_attrs.get(CONSTRAINTS_ATTR, ()))
    found = trial.violation if isinstance(trial, Trial) else trial.constraints.values()
    return tuple(found)
