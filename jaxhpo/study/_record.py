"""`Study.record`: many ended trials, with their curves, in one transaction."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxhpo import _checks
from jaxhpo._status import Status
from jaxhpo.ask_tell import padded_size
from jaxhpo.study._batch import build_rows
from jaxhpo.study.storage._rows import CONSTRAINTS_ATTR

if TYPE_CHECKING:
    from jaxhpo.space import Space
    from jaxhpo.study._core import StudyCore
    from jaxhpo.study.storage._rows import Row

_WHERE = "Study.record"


def record(
    study: StudyCore,
    params: Any,
    values: Any,
    *,
    curves: Any = None,
    curve_steps: Any = None,
    status: Any = None,
    violation: Any = None,
    se: Any = None,
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
        status: `[n]` `Status` codes, or None for complete ones; numbers that say otherwise count
            more than COMPLETE and INFEASIBLE do.
        violation: `[n]` or `[n, k]` how far each constraint is broken; a complete trial with one
            above 0 is infeasible, with NaN failed. None means that there are no constraints.
        se: `[n]` (or `[n, m]`) standard errors of the values, at least 0; NaN where unknown,
            infinite where the value tells nothing: the trial failed.
        seconds: time a trial took, one number or `[n]`, or None.
        start: when the batch started; now if None.
        end: when it ended; now if None.

    Returns:
        The trials' numbers.

    Raises:
        TypeError: what is no array of numbers.
        ValueError: shapes that do not fit together, params that do not lie in the space, a negative
            standard error, or INFEASIBLE without a violation above 0.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
        >>> study = hpo.Study(space, seed=0)
        >>> study.record([{"x": 0.2}, {"x": 0.8}], [1.0, 0.5], violation=[0.0, 0.1])
        [0, 1]
        >>> study.best_params
        {'x': 0.2}
    """
    params, decoded = _read_params(study.space, params)
    unit = np.asarray(study.space.to_unit(params))
    rows = build_rows(
        _WHERE,
        study,
        unit,
        decoded,
        values,
        curves=curves,
        curve_steps=curve_steps,
        status=status,
        violation=violation,
        se=se,
        seconds=seconds,
        start=start,
        end=end,
    )
    for row in rows:
        broken = row.system_attrs.get(CONSTRAINTS_ATTR, ())
        if row.status is Status.INFEASIBLE and not any(one > 0 for one in broken):
            expected = "INFEASIBLE only where a `violation` is above 0"
            raise _checks.fail(_WHERE, "status", expected, status)
    numbers = store_rows(study, rows, unit, padded_size(len(rows)))
    study._store.checkpoint()
    return numbers


def _read_params(space: Space, params: Any) -> tuple[Any, list[Any]]:
    """Values of a batch, and its params.

    Raises:
        ValueError: anything else, or values that do not lie in the space.
    """
    if isinstance(params, list):
        # Encoded one by one even where there are none: what is no params is named.
        values = space.encode([*params], np.float64)
        decoded = space.decode(values)
    else:
        values, expected = params, "a list of params, or values as `Space.sample` returns them"
        if isinstance(params, Iterator):
            raise _checks.fail(_WHERE, "params", expected, params)
        try:
            decoded = space.decode(values)
        except (ValueError, TypeError, IndexError) as error:
            raise _checks.fail(_WHERE, "params", expected, params) from error
        if isinstance(decoded, list):
            _check_values(space, values, decoded)
    if not isinstance(decoded, list):
        raise _checks.fail(
            _WHERE, "params", "a batch (a list, or leaves with a leading axis)", params
        )
    return values, decoded


def _check_values(space: Space, values: Any, decoded: list[Any]) -> None:
    """Refuses values outside the space, which decoding moves to its edge."""
    again = space.encode(decoded, np.float64)
    triples = zip(
        *(jax.tree.leaves(tree) for tree in (values, again, space.active(values))), strict=True
    )
    for given, inside, active in triples:
        given, inside, active = (np.asarray(one) for one in (given, inside, active))
        mask = active.reshape(active.shape + (1,) * (inside.ndim - active.ndim))
        if not np.all(np.isclose(given, inside, rtol=1e-4, atol=1e-30) | ~mask):
            raise _checks.fail(_WHERE, "params", "values that lie in the space", given)


def store_rows(study: StudyCore, rows: Sequence[Row], unit: np.ndarray, size: int) -> list[int]:
    """Writes rows, tells the sampler, and takes note of the best."""
    if not rows:
        return []
    numbers = study._sampler.record(rows, unit, size)
    study._on_trials_ended(rows)
    return numbers
