"""A batch of ended trials, from arrays that are checked against each other."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo import _checks
from jaxhpo._status import Status, explain, status_of_values
from jaxhpo.study._trial import finite_value
from jaxhpo.study.storage._rows import CONSTRAINTS_ATTR, ERROR_ATTR, Ending, thin_curve

if TYPE_CHECKING:
    from jaxhpo.study._core import StudyCore
    from jaxhpo.study.storage._rows import Row

_ENDED = (Status.COMPLETE, Status.FAILED, Status.PRUNED, Status.INFEASIBLE)


def build_rows(
    where: str,
    study: StudyCore,
    unit: np.ndarray,
    decoded: Sequence[Any],
    values: Any,
    *,
    start: datetime.datetime | None = None,
    **details: Any,
) -> list[Row]:
    """Checks the arrays of a batch against each other and makes one row per trial.

    Args:
        where: the public function, for errors.
        study: the study.
        unit: `[n, d]` points.
        decoded: `n` Python params.
        values: see `Study.record`, as the rest.
        start: see `Study.record`.
        details: as in `build_endings`.

    Returns:
        The rows.

    Raises:
        ValueError: shapes that do not fit together.
    """
    started = _time(where, "start", start)
    endings = build_endings(where, study, range(len(decoded)), values, **details)
    rows = []
    for own, point, params in zip(endings, unit, decoded, strict=True):
        row = study._sampler.make_row(own.status, own.value, point, params)
        rows.append(
            dataclasses.replace(
                row,
                user_attrs=own.user_attrs,
                system_attrs={**row.system_attrs, **own.system_attrs},
                curve=own.curve,
                start=started or own.end,
                end=own.end,
            )
        )
    return rows


def build_endings(
    where: str,
    study: StudyCore,
    trial_ids: Sequence[int],
    values: Any,
    *,
    curves: Any = None,
    curve_steps: Any = None,
    status: Any = None,
    violation: Any = None,
    se: Any = None,
    seconds: Any = None,
    end: datetime.datetime | None = None,
) -> list[Ending]:
    """Checks the arrays of a batch against each other and says how each trial ended.

    Args:
        where: the public function, for errors.
        study: the study.
        trial_ids: the trials' identifiers.
        values: see `Study.record`, as the rest.
        curves: see `Study.record`.
        curve_steps: see `Study.record`.
        status: see `Study.record`.
        violation: see `Study.record`.
        se: see `Study.record`.
        seconds: see `Study.record`.
        end: see `Study.record`.

    Returns:
        One ending per trial.

    Raises:
        ValueError: shapes that do not fit together.
    """
    n = len(trial_ids)
    value = _values(where, n, len(study.directions), values)
    violations, errors = _violations(where, n, violation), _errors(where, value, se)
    codes = _codes(where, n, status)
    spent = None if seconds is None else _seconds(where, n, seconds)
    steps, curve = _curves(where, n, curves, curve_steps)
    now = _time(where, "end", end) or datetime.datetime.now()
    endings = []
    for i in range(n):
        own = _final_status(Status(int(codes[i])), value[i], violations[i], errors[i])
        user: dict[str, Any] = {} if spent is None else {"seconds": float(spent[i])}
        points = {s: v for s, v in zip(steps, curve[i].tolist(), strict=True) if math.isfinite(v)}
        if own is Status.FAILED:
            user["reason"] = _reason(value[i], violations[i], errors[i], points)
        stored = finite_value(value[i].tolist()) if own is not Status.FAILED else None
        system: dict[str, Any] = {}
        if own is not Status.FAILED and violations.shape[1] and not np.isnan(violations[i]).any():
            system[CONSTRAINTS_ATTR] = violations[i].tolist()
        if stored is not None and np.isfinite(errors[i]).all():
            system[ERROR_ATTR] = errors[i].tolist()
        endings.append(Ending(trial_ids[i], own, stored, user, system, now, thin_curve(points)))
    return endings


def _codes(where: str, n: int, status: Any) -> np.ndarray:
    """Status codes `[n]` of ended trials."""
    if status is None:
        return np.full(n, Status.COMPLETE)
    expected = f"codes of {', '.join(one.name for one in _ENDED)}"
    try:
        codes = _column(where, n, "status", status)
    except TypeError:
        raise TypeError(
            f"{where}: `status` must be {expected}, got {_checks.describe(status)}."
        ) from None
    if not np.isin(codes, _ENDED).all():
        raise _checks.fail(where, "status", expected, status)
    return codes


def _final_status(
    status: Status, value: np.ndarray, violation: np.ndarray, error: np.ndarray
) -> Status:
    """The status of an ended trial, corrected by its value and its violation."""
    if status not in (Status.COMPLETE, Status.INFEASIBLE):
        return status
    if np.isinf(error).any():
        return Status.FAILED
    found = status_of_values(value, violation, is_unknown=Status.FAILED)
    return status if found is Status.COMPLETE else found


def _reason(
    value: np.ndarray, violation: np.ndarray, error: np.ndarray, points: dict[int, float]
) -> str:
    """Why a trial failed, in words."""
    display_value = value.tolist() if len(value) > 1 else value[0]
    if np.isfinite(value).all() and np.isnan(violation).any():
        return f"the violation was {violation.tolist()}"
    if np.isfinite(value).all() and np.isinf(error).any():
        return (
            f"the value was {display_value}, its standard error infinite: {explain(Status.FAILED)}"
        )
    after = f" (last finite after step {max(points)})" if points else ""
    return f"the value was {display_value}{after}: {explain(Status.FAILED)}"


def _violations(where: str, n: int, violation: Any) -> np.ndarray:
    """Violations `[n, k]`, no column without constraints."""
    if violation is None:
        return np.zeros((n, 0))
    found = _checks.real_numbers(where, "violation", violation)
    if found.ndim not in (1, 2) or len(found) != n:
        expected = f"of shape [{n}] or [{n}, k], one row per trial"
        raise _checks.fail(where, "violation", expected, found.shape)
    return found[:, None] if found.ndim == 1 else found


def _errors(where: str, value: np.ndarray, se: Any) -> np.ndarray:
    """Standard errors `[n, m]` of values `[n, m]`, NaN where unknown."""
    if se is None:
        return np.full(value.shape, np.nan)
    found, (n, m) = _checks.real_numbers(where, "se", se), value.shape
    if found.shape not in ((n, m), *([(n,)] if m == 1 else [])):
        expected = f"of shape [{n}], one per value" if m == 1 else f"of shape [{n}, {m}]"
        raise _checks.fail(where, "se", expected, found.shape)
    if (found < 0).any():
        raise _checks.fail(where, "se", "at least 0, or NaN", found)
    return found.reshape(n, m)


def _values(where: str, n: int, num_objectives: int, values: Any) -> np.ndarray:
    """Values `[n, m]`."""
    if num_objectives == 1:
        return _column(where, n, "values", values).reshape(n, 1)
    rows = _checks.real_numbers(where, "values", values)
    if rows.shape != (n, num_objectives):
        expected = (
            f"of shape [{n}, {num_objectives}], one row per trial and one column per objective"
        )
        raise _checks.fail(where, "values", expected, rows.shape)
    return rows


def _column(where: str, n: int, name: str, values: Any) -> np.ndarray:
    column = _checks.real_numbers(where, name, values)
    if column.shape != (n,):
        raise _checks.fail(where, name, f"of shape [{n}], one per trial", column.shape)
    return column


def _seconds(where: str, n: int, seconds: Any) -> np.ndarray:
    """Seconds `[n]` that each trial took."""
    found = _checks.real_numbers(where, "seconds", seconds)
    if found.shape not in ((), (n,)) or not np.isfinite(found).all() or (found < 0).any():
        expected = f"one finite number of at least 0, or an array of shape [{n}]"
        raise _checks.fail(where, "seconds", expected, seconds)
    return np.broadcast_to(found, (n,))


def _time(where: str, name: str, time: Any) -> datetime.datetime | None:
    """A time without a zone, as the storage has them; None passes."""
    if time is None:
        return None
    expected = "a datetime.datetime or None"
    found: datetime.datetime = _checks.check_instance(
        where, name, time, datetime.datetime, expected
    )
    # Storages hold local times without a zone.
    return found if found.tzinfo is None else found.astimezone().replace(tzinfo=None)


def _steps(where: str, curve_steps: Any) -> list[int]:
    found = _checks.real_numbers(where, "curve_steps", curve_steps)
    if found.ndim != 1 or not (np.isfinite(found) & (np.abs(found) < 2**53)).all():
        raise _checks.fail(where, "curve_steps", "of shape [r], integers", curve_steps)
    if (found != np.round(found)).any():
        raise _checks.fail(where, "curve_steps", "integers", curve_steps)
    return [int(step) for step in found]


def _curves(where: str, n: int, curves: Any, curve_steps: Any) -> tuple[list[int], np.ndarray]:
    if curves is None:
        return [], np.zeros((n, 0))
    curve = _checks.real_numbers(where, "curves", curves)
    steps = [] if curve_steps is None else _steps(where, curve_steps)
    if curve.shape != (n, len(steps)):
        expected = (
            f"of shape [{n}, {len(steps)}], one row per trial and one column per `curve_steps`"
        )
        raise _checks.fail(where, "curves", expected, curve.shape)
    if steps != sorted(set(steps)):
        raise _checks.fail(where, "curve_steps", "rising", steps)
    return steps, curve
