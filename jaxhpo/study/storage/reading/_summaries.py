"""What a query or two say of a whole study: how many trials there are, and which one is best."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from jaxhpo.study.storage._rows import CONSTRAINTS_ATTR

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


def count_trials(storage: RDBStorage, study_id: int) -> int:
    """How many trials a study has, whatever became of them."""
    import sqlalchemy
    from optuna.storages._rdb import models

    trial = models.TrialModel.__table__
    query = sqlalchemy.select(sqlalchemy.func.count()).where(trial.c.study_id == study_id)
    with storage.engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def best_number(
    storage: RDBStorage, study_id: int, *, is_maximized: bool
) -> tuple[int, float] | None:
    """The number and the value of the best trial; the first one of several.

    Args:
        storage: an open database whose schema is the tested one.
        study_id: Optuna's identifier of a study with one objective.
        is_maximized: whether the largest value is best.

    Returns:
        They, of the complete trials without a constraint above zero and with a finite value; None
        if there is none.
    """
    import sqlalchemy
    from optuna.storages._rdb import models
    from optuna.trial import TrialState

    trial, value = models.TrialModel.__table__, models.TrialValueModel.__table__
    attr = models.TrialSystemAttributeModel.__table__
    mine = sqlalchemy.and_(trial.c.study_id == study_id, trial.c.state == TrialState.COMPLETE)
    constraints = (
        sqlalchemy.select(attr.c.trial_id, attr.c.value_json)
        .join(trial, trial.c.trial_id == attr.c.trial_id)
        .where(mine, attr.c.key.startswith(CONSTRAINTS_ATTR, autoescape=True))
    )
    largest = sys.float_info.max
    order = value.c.value.desc() if is_maximized else value.c.value.asc()
    ranked = (
        sqlalchemy.select(trial.c.trial_id, trial.c.number, value.c.value)
        .join(value, trial.c.trial_id == value.c.trial_id)
        .where(mine, value.c.value.between(-largest, largest))
        .order_by(order, trial.c.number)
    )
    with storage.engine.connect() as connection:
        infeasible = {
            i for i, text in connection.execute(constraints) if _is_violated(json.loads(text))
        }
        # The first trial that is feasible is at most so far down.
        best = connection.execute(ranked.limit(len(infeasible) + 1)).all()
    return next(((number, float(v)) for i, number, v in best if i not in infeasible), None)


def _is_violated(stored: Any) -> bool:
    """Whether a stored constraint, or one of a list, is above zero or no number."""
    return any(not one <= 0.0 for one in (stored if isinstance(stored, list) else [stored]))
