"""The part of a study's history that a sampler needs, read in a few queries.

Optuna's reader builds every field of every trial, close to a millisecond each. A resumed study of
ten thousand trials needs their points and values only. The same guard as for writing applies.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo.study.storage._bulk import MAX_IN
from jaxhpo.study.storage._reserved import own_attrs
from jaxhpo.study.storage._rows import CONSTRAINTS_ATTR, ERROR_ATTR, SCHEDULE, SYSTEM_ATTR

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import TrialState


@dataclasses.dataclass
class HistoryTrial:
    """The fields of Optuna's record that the sampler's history is made of, under its names.

    Attributes:
        number: the trial's number.
        _trial_id: the row's identifier.
        state: Optuna's state.
        values: the value of each objective, or None.
        system_attrs: the entries of jaxhpo.
        constraints: constraint values.
        params: empty; a trial without a unit point must be read by Optuna.
        intermediate_values: those of a trial that waits, by their steps; of one that a scheduler
            judges, those at its levels.
    """

    number: int
    _trial_id: int
    state: TrialState
    values: list[float] | None = None
    system_attrs: dict[str, Any] = dataclasses.field(default_factory=dict)
    constraints: dict[str, float] = dataclasses.field(default_factory=dict)
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    intermediate_values: dict[int, float] = dataclasses.field(default_factory=dict)


class History:
    """A study's history, read again and again: what has ended is fetched once."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._known: list[HistoryTrial] = []

    def read(self, storage: RDBStorage, study_id: int) -> list[HistoryTrial] | None:
        """As `read_history`, of all trials."""
        known, self._known = self._known, []
        again = [one._trial_id for one in known if not one.state.is_finished()]
        if len(again) > MAX_IN:
            known, again = [], []
        found = read_history(storage, study_id, first=len(known), again=again)
        if found is None:
            return None
        for one in found:
            known[one.number : one.number + 1] = [one]
        self._known = known
        return list(known)


def read_history(
    storage: RDBStorage,
    study_id: int,
    *,
    only_running: bool = False,
    first: int = 0,
    again: Sequence[int] = (),
) -> list[HistoryTrial] | None:
    """Reads the history of a study whose trials are all of our making.

    Args:
        storage: an open database whose schema is the tested one.
        study_id: Optuna's identifier of the study.
        only_running: whether to read the running trials and no others.
        first: the number from which on to read.
        again: identifiers of trials before it to read as well.

    Returns:
        The trials in order of their numbers, or None if some trial that has begun has no unit point
        of ours.
    """
    import sqlalchemy
    from optuna.storages._rdb import models
    from optuna.study._constrained_optimization import _get_constraints_from_system_attrs
    from optuna.trial import TrialState

    trial, value = models.TrialModel.__table__, models.TrialValueModel.__table__
    attr = models.TrialSystemAttributeModel.__table__
    curve = models.TrialIntermediateValueModel.__table__
    mine = trial.c.study_id == study_id
    if only_running:
        mine = sqlalchemy.and_(mine, trial.c.state == TrialState.RUNNING)
    if first:
        is_meant = sqlalchemy.or_(trial.c.number >= first, trial.c.trial_id.in_(again))
        mine = sqlalchemy.and_(mine, is_meant)
    with storage.engine.connect() as connection:
        rows = connection.execute(
            sqlalchemy.select(trial.c.trial_id, trial.c.number, trial.c.state)
            .where(mine)
            .order_by(trial.c.number)
        ).all()
        values = connection.execute(
            sqlalchemy.select(value.c.trial_id, value.c.value, value.c.value_type)
            .join(trial, trial.c.trial_id == value.c.trial_id)
            .where(mine)
            .order_by(value.c.trial_id, value.c.objective)
        ).all()
        attrs = connection.execute(
            sqlalchemy.select(attr.c.trial_id, attr.c.key, attr.c.value_json)
            .join(trial, trial.c.trial_id == attr.c.trial_id)
            .where(mine)
        ).all()
        waiting = connection.execute(
            sqlalchemy.select(curve.c.trial_id, curve.c.step, curve.c.intermediate_value)
            .join(trial, trial.c.trial_id == curve.c.trial_id)
            .where(mine, trial.c.state == TrialState.WAITING)
        ).all()
    found = {i: HistoryTrial(number, i, state) for i, number, state in rows}
    # Another process may have written trials between the queries; they belong to the next reading.
    for trial_id, stored, kind in values:
        if trial_id not in found:
            continue
        number = models.TrialValueModel.stored_repr_to_value(stored, kind)
        found[trial_id].values = [*(found[trial_id].values or []), number]
    for trial_id, step, number in waiting:
        if trial_id in found:
            found[trial_id].intermediate_values[step] = math.nan if number is None else number
    for trial_id, key, text in attrs:
        is_ours = key in (SYSTEM_ATTR, ERROR_ATTR) or key.startswith(CONSTRAINTS_ATTR)
        if is_ours and trial_id in found:
            found[trial_id].system_attrs[key] = json.loads(text)
    _read_levels(storage, found)
    for item in found.values():
        if item.state.name != "WAITING" and "unit" not in item.system_attrs.get(SYSTEM_ATTR, {}):
            return None
        item.constraints = _get_constraints_from_system_attrs(item.system_attrs)
    return list(found.values())


def _read_levels(storage: RDBStorage, found: dict[int, HistoryTrial]) -> None:
    """Reads the values at a scheduler's levels, of the trials that it judges."""
    import sqlalchemy
    from optuna.storages._rdb import models

    entries: dict[int, Any] = {i: own_attrs(item).get(SCHEDULE) or () for i, item in found.items()}
    judged = [i for i, entry in entries.items() if len(entry) > 3]
    levels = sorted({step for i in judged for step in entries[i][3]})
    curve = models.TrialIntermediateValueModel.__table__
    columns = (curve.c.trial_id, curve.c.step, curve.c.intermediate_value)
    for start in range(0, len(judged), MAX_IN):
        ids = judged[start : start + MAX_IN]
        query = sqlalchemy.select(*columns).where(
            curve.c.trial_id.in_(ids), curve.c.step.in_(levels)
        )
        with storage.engine.connect() as connection:
            for trial_id, step, number in connection.execute(query).all():
                known = found[trial_id].intermediate_values
                known[step] = math.nan if number is None else number
