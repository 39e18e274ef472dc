"""What a running trial reports on the way, and a trial that pauses: one small transaction each."""

from __future__ import annotations

import contextlib
import functools
import json
import secrets
from typing import TYPE_CHECKING, Any

from jaxhpo._status import Status
from jaxhpo.study._trial import status_of
from jaxhpo.study.storage._bulk import locked
from jaxhpo.study.storage._reserved import RESERVED, merge_attrs, own_attrs, switch
from jaxhpo.study.storage._rows import RESUMABLE, SCHEDULE, SYSTEM_ATTR, is_running_in
from jaxhpo.study.storage.outages._retry import with_retries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.storages import BaseStorage, RDBStorage
    from sqlalchemy.engine import Connection

    from jaxhpo.study.storage._store import Store

CHECKPOINT = "checkpoint"
"""The entry that says from what a trial can go on: its step, and a path or the name of a file."""

SECONDS = "seconds"
"""The entry that says how long a paused trial has taken so far."""


def is_paused(frozen: Any) -> bool:
    """Whether a stored trial has begun, waits, and can go on."""
    return status_of(frozen) is Status.WAITING and RESUMABLE in own_attrs(frozen)


def new_attempt() -> str:
    """A name for an attempt at a trial, or at some that begin together."""
    return secrets.token_hex(8)


def report(
    store: Store,
    trial_id: int,
    step: int,
    loss: float,
    checkpoint: Any = None,
    attempt: str | None = None,
) -> bool:
    """Records an intermediate value, in place of one that was there at the same step.

    Args:
        store: the study's rows.
        trial_id: the running trial's identifier.
        step: from 1.
        loss: finite, in the user's own sign.
        checkpoint: what to record of the report's checkpoint, or None.
        attempt: the one that reports, of a trial that can go on later.

    Returns:
        False if the trial is not running, or in another attempt: another process has ended it, or
        taken it up.
    """
    ways = (_report, _report_one_by_one)
    return bool(store.either(*ways, trial_id, step, loss, checkpoint, attempt))


def set_user_attr(store: Store, trial_id: int, key: str, value: Any) -> bool:
    """Writes one user attribute of a running trial.

    Args:
        store: the study's rows.
        trial_id: its identifier.
        key: the attribute's name.
        value: anything JSON can hold.

    Returns:
        False if the trial is not running, because another process has ended it.
    """
    from optuna.exceptions import UpdateFinishedTrialError

    try:
        with_retries(
            store.display_name,
            lambda _: store.storage.set_trial_user_attr(trial_id, key, value),
        )
    except UpdateFinishedTrialError:
        return False
    return True


def pause(store: Store, trial_id: int, seconds: float, attempt: str | None) -> bool:
    """Lets a running trial wait until it is to go on.

    Args:
        store: the study's rows.
        trial_id: its identifier.
        seconds: how long it has taken so far.
        attempt: the one that pauses.

    Returns:
        False if it was not running, or in another attempt.
    """
    ways = (_pause, _pause_one_by_one)
    return bool(store.either(*ways, trial_id, {SECONDS: seconds}, attempt))


def surrender(store: Store, trial_id: int) -> bool:
    """Lets a trial that has just begun wait for whoever begins the next one.

    Args:
        store: the study's rows.
        trial_id: its identifier.

    Returns:
        False if it was not running.
    """
    attrs = {SCHEDULE: None, RESUMABLE: None, RESERVED: True}
    return bool(store.either(_pause, _pause_one_by_one, trial_id, attrs, None))


def _report(
    storage: RDBStorage,
    study_id: int,
    trial_id: int,
    step: int,
    loss: float,
    checkpoint: Any,
    attempt: str | None,
) -> bool:
    import sqlalchemy

    insert, delete = _statements(is_attempt=attempt is not None)
    place: dict[str, Any] = {"id_": trial_id, "step_": step}
    place |= {} if attempt is None else {"attempt": f'%"{attempt}"%'}
    row = {**place, "loss": loss}
    try:
        with _connection(storage, study_id, checkpoint is not None) as connection:
            is_running = bool(connection.execute(insert, row).rowcount)
            if is_running and checkpoint is not None:
                _merge(connection, trial_id, {CHECKPOINT: checkpoint})
            return is_running
    except sqlalchemy.exc.IntegrityError:  # the step is there: from before the trial went on
        with locked(storage, study_id) as connection:
            connection.execute(delete, place)
            is_running = bool(connection.execute(insert, row).rowcount)
            if is_running and checkpoint is not None:
                _merge(connection, trial_id, {CHECKPOINT: checkpoint})
            return is_running


@contextlib.contextmanager
def _connection(storage: RDBStorage, study_id: int, is_several: bool) -> Iterator[Connection]:
    """A transaction; without a lock where it is to hold a single statement."""
    if is_several:
        with locked(storage, study_id) as connection:
            yield connection
    elif storage.engine.dialect.name == "sqlite":
        with storage.engine.connect() as plain:
            yield plain.execution_options(isolation_level="AUTOCOMMIT")
    else:
        with storage.engine.begin() as connection:
            yield connection


@functools.cache
def _statements(*, is_attempt: bool) -> tuple[Any, Any]:
    """Inserts a value of a trial that is running, in this attempt if one is meant; deletes one."""
    import sqlalchemy
    from optuna.storages._rdb import models
    from optuna.trial import TrialState

    curve, trials = models.TrialIntermediateValueModel.__table__, models.TrialModel.__table__
    finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    bind = sqlalchemy.bindparam
    given: Any = bind("id_")
    kind = curve.c.intermediate_value_type.type
    is_ours = [trials.c.trial_id == given, trials.c.state == TrialState.RUNNING]
    if is_attempt:
        own = models.TrialSystemAttributeModel.__table__
        is_its = sqlalchemy.and_(own.c.trial_id == given, own.c.key == SYSTEM_ATTR)
        named = sqlalchemy.select(own.c.trial_id).where(is_its)
        is_ours.append(named.where(own.c.value_json.like(bind("attempt"))).exists())
    source = sqlalchemy.select(
        trials.c.trial_id,
        bind("step_", type_=curve.c.step.type),
        bind("loss", type_=curve.c.intermediate_value.type),
        sqlalchemy.literal(finite, type_=kind),
    ).where(*is_ours)
    columns = ["trial_id", "step", "intermediate_value", "intermediate_value_type"]
    ours = sqlalchemy.select(trials.c.trial_id).where(*is_ours)
    delete = curve.delete().where(curve.c.trial_id.in_(ours), curve.c.step == bind("step_"))
    return curve.insert().from_select(columns, source), delete


def _merge(connection: Connection, trial_id: int, attrs: dict[str, Any]) -> None:
    """Sets entries among jaxhpo's own attributes of a trial."""
    import sqlalchemy
    from optuna.storages._rdb import models

    table = models.TrialSystemAttributeModel.__table__
    is_its = sqlalchemy.and_(table.c.trial_id == trial_id, table.c.key == SYSTEM_ATTR)
    text = connection.execute(sqlalchemy.select(table.c.value_json).where(is_its)).scalar_one()
    changed = json.dumps(merge_attrs(json.loads(text), attrs))
    connection.execute(table.update().where(is_its), {"value_json": changed})


def _report_one_by_one(
    storage: BaseStorage,
    trial_id: int,
    step: int,
    loss: float,
    checkpoint: Any,
    attempt: str | None,
) -> bool:
    from optuna.exceptions import UpdateFinishedTrialError

    if attempt is not None and not is_running_in(storage.get_trial(trial_id), attempt):
        return False
    try:
        storage.set_trial_intermediate_value(trial_id, step, loss)
        if checkpoint is not None:
            own = own_attrs(storage.get_trial(trial_id))
            merged = merge_attrs(own, {CHECKPOINT: checkpoint})
            storage.set_trial_system_attr(trial_id, SYSTEM_ATTR, merged)
    except UpdateFinishedTrialError:
        return False
    return True


def _pause(
    storage: RDBStorage, study_id: int, trial_id: int, attrs: dict[str, Any], attempt: str | None
) -> list[int]:
    from optuna.trial import TrialState

    def change(own: dict[str, Any]) -> dict[str, Any] | None:
        is_ours = attempt is None or own.get(RESUMABLE) == attempt
        return merge_attrs(own, attrs) if is_ours else None

    return switch(storage, study_id, [trial_id], TrialState.RUNNING, TrialState.WAITING, change)


def _pause_one_by_one(
    storage: BaseStorage, trial_id: int, attrs: dict[str, Any], attempt: str | None
) -> bool:
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    frozen = storage.get_trial(trial_id)
    if not is_running_in(frozen, attempt):
        return False
    try:
        merged = merge_attrs(own_attrs(frozen), attrs)
        storage.set_trial_system_attr(trial_id, SYSTEM_ATTR, merged)
        return storage.set_trial_state_values(trial_id, TrialState.WAITING)
    except UpdateFinishedTrialError:
        return False
