"""Whole trials of a study, read from Optuna's tables in six queries.

Optuna's reader makes an object of each row of each table, a millisecond a trial, and keeps them.
Its records are made here from plain rows, and the same guard as for writing applies.
"""

from __future__ import annotations

import collections
import datetime
import functools
import json
import sys
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from jaxhpo.study.storage._bulk import MAX_IN

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, TrialState
    from sqlalchemy.engine import Connection

Parts = collections.defaultdict[int, dict[Any, Any]]
"""What a table holds of each trial, by the trial's identifier."""


def read_trials(
    storage: RDBStorage,
    study_id: int,
    *,
    state: TrialState | None = None,
    known: Collection[int] = (),
) -> list[FrozenTrial]:
    """Reads trials as `optuna.Study.trials` has them.

    Args:
        storage: an open database whose schema is the tested one.
        study_id: Optuna's identifier of the study.
        state: read the trials in this state alone; None for any.
        known: numbers of trials that need not be read; a few of them may be.

    Returns:
        The trials in order of their numbers.
    """
    import sqlalchemy
    from optuna.storages._rdb import models
    from optuna.trial import FrozenTrial

    trial = models.TrialModel.__table__
    mine = sqlalchemy.and_(trial.c.study_id == study_id, _besides(trial.c.number, known))
    if state is not None:
        mine = sqlalchemy.and_(mine, trial.c.state == state)
    columns = (
        trial.c.trial_id, trial.c.number, trial.c.state, trial.c.datetime_start,
        trial.c.datetime_complete,
    )  # fmt: skip
    with storage.engine.connect() as connection:
        # First of all: what is read of a trial that has ended by then is all that there is of it.
        rows = connection.execute(
            sqlalchemy.select(*columns).where(mine).order_by(trial.c.number)
        ).all()
        params, distributions = _read_params(connection, mine)
        values = _read_values(connection, mine)
        curves = _read_curves(connection, mine)
        user_attrs = _read_attrs(connection, mine, models.TrialUserAttributeModel)
        system_attrs = _read_attrs(connection, mine, models.TrialSystemAttributeModel)
    return [
        FrozenTrial(
            number=number,
            trial_id=i,
            state=its_state,
            value=None,
            values=list(values[i].values()) if i in values and its_state.is_finished() else None,
            datetime_start=_local(start),
            datetime_complete=_local(end),
            params=params.pop(i, {}),
            distributions=distributions.pop(i, {}),
            user_attrs=user_attrs.pop(i, {}),
            system_attrs=system_attrs.pop(i, {}),
            intermediate_values=curves.pop(i, {}),
        )
        for i, number, its_state, start, end in rows
    ]


def _besides(column: Any, known: Collection[int]) -> Any:
    """The condition of numbers above the known ones, or missing among them."""
    import sqlalchemy

    if not known:
        return sqlalchemy.true()
    last = max(known)
    is_whole = len(known) == last + 1
    missing = [] if is_whole else [number for number in range(last) if number not in known]
    if len(missing) > MAX_IN:
        return column >= missing[0]
    return sqlalchemy.or_(column > last, column.in_(missing))


def _rows(connection: Connection, mine: Any, model: Any, names: str, order: str) -> Iterable[Any]:
    """The trial's identifier and other columns of the rows that belong to some trials."""
    import sqlalchemy
    from optuna.storages._rdb import models

    table, trial = model.__table__, models.TrialModel.__table__
    columns = [table.c[name] for name in ("trial_id", *names.split())]
    query = sqlalchemy.select(*columns).join(trial, trial.c.trial_id == table.c.trial_id)
    return connection.execute(query.where(mine).order_by(table.c[order]))


def _read_params(connection: Connection, mine: Any) -> tuple[Parts, Parts]:
    """Values and distributions by name, in the order in which they were set."""
    from optuna.storages._rdb.models import TrialParamModel as Model

    params, distributions = Parts(dict), Parts(dict)
    names = "param_name param_value distribution_json"
    for i, name, value, text in _rows(connection, mine, Model, names, "param_id"):
        shared, distribution = sys.intern(name), _distribution(text)
        params[i][shared] = distribution.to_external_repr(value)
        distributions[i][shared] = distribution
    return params, distributions


def _read_values(connection: Connection, mine: Any) -> Parts:
    """Values by objective."""
    from optuna.storages._rdb.models import TrialValueModel as Model

    found = Parts(dict)
    names = "objective value value_type"
    for i, objective, value, kind in _rows(connection, mine, Model, names, "objective"):
        found[i][objective] = Model.stored_repr_to_value(value, kind)
    return found


def _read_curves(connection: Connection, mine: Any) -> Parts:
    """Intermediate values by step."""
    from optuna.storages._rdb.models import TrialIntermediateValueModel as Model

    found, order = Parts(dict), "trial_intermediate_value_id"
    names = "step intermediate_value intermediate_value_type"
    for i, step, value, kind in _rows(connection, mine, Model, names, order):
        found[i][step] = Model.stored_repr_to_intermediate_value(value, kind)
    return found


def _read_attrs(connection: Connection, mine: Any, model: Any) -> Parts:
    """Attributes by key."""
    found, order = Parts(dict), model.__table__.primary_key.columns.keys()[0]
    for i, key, text in _rows(connection, mine, model, "key value_json", order):
        found[i][sys.intern(key)] = json.loads(text)
    return found


@functools.lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    """A stored distribution; those of a study's trials are few, and never change."""
    from optuna.distributions import json_to_distribution

    return json_to_distribution(text)


def _local(moment: datetime.datetime | None) -> datetime.datetime | None:
    """Optuna stores UTC and shows local time."""
    if moment is None:
        return None
    return moment.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)
