"""`Study.record`: many ended trials, with their curves, in one transaction."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxhpo import _checks
from jaxhpo._driver import padded_size
from jaxhpo._status import Status, explain
from jaxhpo.study._rows import thin_curve
from jaxhpo.study._trial import finite_value

if TYPE_CHECKING:
    from jaxhpo.study._rows import Row
    from jaxhpo.study._study import Study

_WHERE = "Study.record"


def record(
    study: Study,
    params: Any,
    values: Any,
    *,
    curves: Any = None,
    curve_steps: Any = None,
    status: Any = None,
    seconds: Any = None,
    start: datetime.datetime | None = None,
    end: datetime.datetime | None = None,
) -> list[int]:
    """Writes ended trials that were evaluated elsewhere; in a database, in one transaction.

    The sampler learns of them as of points that nobody asked for: a warm start.

    Args:
        study: the study.
        params: a list of Python params, or the values pytree of `space.sample` with a leading axis.
        values: `[n]` (or `[n, m]`) objective values in the user's sign; NaN or infinite means
            failed.
        curves: `[n, r]` intermediate values, or None. Points that are not finite are left out.
        curve_steps: `[r]` rising integer steps of the curves; needed with them. Longer curves are
            stored at 50 log-spaced steps.
        status: `[n]` `Status` codes, or None to judge by the values.
        seconds: time a trial took, one number or `[n]`, or None.
        start: when the batch started; now if None.
        end: when it ended; now if None.

    Returns:
        The trials' numbers.

    Raises:
        ValueError: shapes that do not fit together, or params that do not lie in the space.
    """
    if isinstance(params, list):
        params = study.space.encode(params)
    decoded = study.space.decode(params)
    if not isinstance(decoded, list):
        raise _checks.fail(
            _WHERE, "params", "a batch (a list, or leaves with a leading axis)", params
        )
    unit = np.asarray(study.space.to_unit(params))
    rows = build_rows(
        study,
        unit,
        decoded,
        values,
        curves=curves,
        curve_steps=curve_steps,
        status=status,
        seconds=seconds,
        start=start,
        end=end,
    )
    return store_rows(study, rows, unit, None, padded_size(len(rows)))


def store_rows(
    study: Study, rows: Sequence[Row], unit: np.ndarray, first: int | None, size: int
) -> list[int]:
    """Writes rows, tells the sampler, and takes note of the best."""
    if not rows:
        return []
    numbers = study._asker.record(rows, unit, first, size)
    study._note(rows)
    return numbers


def build_rows(
    study: Study,
    unit: np.ndarray,
    decoded: Sequence[Any],
    values: Any,
    *,
    curves: Any = None,
    curve_steps: Any = None,
    status: Any = None,
    seconds: Any = None,
    start: datetime.datetime | None = None,
    end: datetime.datetime | None = None,
) -> list[Row]:
    """Checks the arrays of a batch against each other and makes one row a trial.

    Args:
        study: the study.
        unit: `[n, d]` points.
        decoded: `n` Python params.
        values: see `record`, as the rest.
        curves: see `record`.
        curve_steps: see `record`.
        status: see `record`.
        seconds: see `record`.
        start: see `record`.
        end: see `record`.

    Returns:
        The rows.

    Raises:
        ValueError: shapes that do not fit together.
    """
    n = len(decoded)
    value = _values(n, len(study.directions), values)
    codes = _column(n, "status", status) if status is not None else np.full(n, Status.COMPLETE)
    spent = None if seconds is None else _column(n, "seconds", np.broadcast_to(seconds, (n,)))
    steps, curve = _curves(n, curves, curve_steps)
    now = datetime.datetime.now()
    rows = []
    for i in range(n):
        own = Status(int(codes[i]))
        is_finite = bool(np.isfinite(value[i]).all())
        shown = value[i].tolist() if value.shape[1] > 1 else value[i, 0]
        if own in (Status.COMPLETE, Status.INFEASIBLE) and not is_finite:
            own = Status.FAILED
        user: dict[str, Any] = {} if spent is None else {"seconds": float(spent[i])}
        points = {s: v for s, v in zip(steps, curve[i].tolist(), strict=True) if math.isfinite(v)}
        if own is Status.FAILED:
            after = f" (last finite after step {max(points)})" if points else ""
            user["reason"] = f"the value was {shown}{after}: {explain(own)}"
        stored = finite_value(value[i].tolist()) if own is not Status.FAILED else None
        row = study._asker.make_row(own, stored, unit[i], decoded[i])
        rows.append(
            dataclasses.replace(
                row,
                user_attrs=user,
                curve=thin_curve(points),
                start=start or now,
                end=end or now,
            )
        )
    return rows


def _values(n: int, num_objectives: int, values: Any) -> np.ndarray:
    """Values `[n, m]`."""
    if num_objectives == 1:
        return _column(n, "values", values).reshape(n, 1)
    rows = np.asarray(jax.device_get(values))
    if rows.shape != (n, num_objectives):
        expected = f"of shape [{n}, {num_objectives}], one row a trial and one column an objective"
        raise _checks.fail(_WHERE, "values", expected, rows.shape)
    return rows


def _column(n: int, name: str, values: Any) -> np.ndarray:
    column = np.asarray(jax.device_get(values))
    if column.shape != (n,):
        raise _checks.fail(_WHERE, name, f"of shape [{n}], one a trial", column.shape)
    return column


def _curves(n: int, curves: Any, curve_steps: Any) -> tuple[list[int], np.ndarray]:
    if curves is None:
        return [], np.zeros((n, 0))
    curve = np.asarray(jax.device_get(curves), np.float64)
    steps = [] if curve_steps is None else [int(s) for s in np.asarray(curve_steps).ravel()]
    if curve.shape != (n, len(steps)):
        expected = f"of shape [{n}, {len(steps)}], one row a trial and one column a `curve_steps`"
        raise _checks.fail(_WHERE, "curves", expected, curve.shape)
    if steps != sorted(set(steps)):
        raise _checks.fail(_WHERE, "curve_steps", "rising", steps)
    return steps, curve
