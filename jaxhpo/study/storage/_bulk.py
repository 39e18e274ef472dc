"""Many trials in one transaction, written straight into Optuna's tables.

Optuna's public API commits trial by trial, ten to a hundred milliseconds each on a database. This
module writes a whole batch at once: it locks the study's row as Optuna does, numbers the trials
from there on, and inserts what the public reader will read. It is used only where
`unsupported_reason` finds the versions that a contract test has compared field by field; elsewhere
the public API does the same work slowly.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxhpo.study.storage._distributions import internal_value
from jaxhpo.study.storage._rows import (
    HEARTBEAT,
    RESUMABLE,
    SYSTEM_ATTR,
    Ending,
    Row,
    stored_values,
    to_state,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage, RDBStorage
    from sqlalchemy.engine import Connection

# The Optuna releases and the one database schema that the contract test has compared.
TESTED_OPTUNA_MAJOR = 5
TESTED_SCHEMA_REVISION = "v3.2.0.a"
TESTED_SCHEMA_VERSION = 12
# SQLite takes at most 999 variables a statement in old builds.
MAX_IN = 500


class NumberTaken(Exception):
    """Another writer has used the number that the caller expected to get."""


def unsupported_reason(storage: RDBStorage) -> str | None:
    """Says why the tables of `storage` must not be written directly, or None if they may."""
    import optuna
    import sqlalchemy
    from optuna.storages._rdb import models

    if int(optuna.__version__.split(".")[0]) != TESTED_OPTUNA_MAJOR:
        return f"optuna {optuna.__version__} is not {TESTED_OPTUNA_MAJOR}.x"
    if storage.get_current_version() != TESTED_SCHEMA_REVISION:
        return f"the schema revision is {storage.get_current_version()}"
    with storage.engine.connect() as connection:
        query = sqlalchemy.select(models.VersionInfoModel.schema_version)
        version = connection.execute(query).scalar()
    if version != TESTED_SCHEMA_VERSION:
        return f"the schema version is {version}"
    return None


Others = Sequence[tuple[str, Any]]
"""Trials of other writers: the name of each one's state, and jaxhpo's own attributes or None."""

Skip = Callable[[int, Others], "Sequence[Row] | None"]
"""Takes the first free number and the trials before it that were not expected, and gives the rows
that then follow, or None where it cannot say."""


def tested_database(storage: BaseStorage) -> RDBStorage | None:
    """The database under a storage if its tables are those of the contract test."""
    from optuna.storages import RDBStorage

    backend = getattr(storage, "_backend", None)
    is_tested = isinstance(backend, RDBStorage) and unsupported_reason(backend) is None
    return backend if is_tested else None


def writable_database(storage: BaseStorage) -> RDBStorage | None:
    """The same, and a warning where a database's tables must not be written directly."""
    from optuna.storages import RDBStorage

    found, backend = tested_database(storage), getattr(storage, "_backend", None)
    if found is None and isinstance(backend, RDBStorage):
        warnings.warn(
            "Study: trials are written one by one, 10 to 100 times slower, because "
            f"{unsupported_reason(backend)}.",
            stacklevel=2,
        )
    return found


def append(
    storage: RDBStorage,
    study_id: int,
    rows: Sequence[Row],
    expected: int | None = None,
    skip: Skip | None = None,
) -> list[tuple[int, int]]:
    """Inserts trials in one transaction; either all become visible or none.

    Args:
        storage: an open database.
        study_id: Optuna's identifier of the study.
        rows: the trials, in order.
        expected: the number that the first trial must get, or None for any.
        skip: gives other rows where the number is taken, while no other writer can take the next.

    Returns:
        `(number, trial_id)` of each row, numbers contiguous.

    Raises:
        NumberTaken: the first free number is not `expected`; nothing was written.
    """
    prepared, known = [_prepare(row) for row in rows], _statements()
    with locked(storage, study_id) as connection:
        last = connection.execute(known.last, {"study": study_id}).first()
        last_id, first = (-1, 0) if last is None else (last.trial_id, last.number + 1)
        if expected is not None and first != expected:
            prepared = [
                _prepare(row)
                for row in rows_behind(
                    skip, first, expected, lambda: _others(connection, study_id, expected)
                )
            ]
        made = [
            {"number": first + i, "study_id": study_id, **part["trial"]}
            for i, part in enumerate(prepared)
        ]
        if len(made) == 1:
            key: Any = connection.execute(known.new_trial, made[0]).inserted_primary_key
            numbered = [(first, int(key[0]))]
        else:
            connection.execute(known.new_trial, made)
            after = {"study": study_id, "last": last_id}
            numbered = [tuple(row) for row in connection.execute(known.newer, after).all()]
        for (_, trial_id), part in zip(numbered, prepared, strict=True):
            for record in part["records"]:
                record[1]["trial_id"] = trial_id
        _insert(connection, [record for part in prepared for record in part["records"]])
    return numbered


def rows_behind(
    skip: Skip | None, first: int, expected: int, others: Callable[[], Others]
) -> Sequence[Row]:
    """The rows to write where another writer has taken the number that was expected.

    Raises:
        NumberTaken: nobody knows.
    """
    rows = None if skip is None or first < expected else skip(first, others())
    if not rows:
        raise NumberTaken(f"the next trial is number {first}, not {expected}")
    return rows


def _others(connection: Connection, study_id: int, first: int) -> Others:
    """The trials from a number on."""
    found = connection.execute(_statements().others, {"study": study_id, "first": first}).all()
    return [(state.name, text and json.loads(text)) for state, text in found]


def begin(storage: RDBStorage, study_id: int, trial_id: int, row: Row) -> bool:
    """Makes a waiting trial a running one with its parameters and attributes, in one transaction.

    Args:
        storage: an open database.
        study_id: Optuna's identifier of the study.
        trial_id: the row's identifier.
        row: the running trial.

    Returns:
        False if it was no longer waiting and was left as it is.
    """
    import sqlalchemy
    from optuna.storages._rdb import models
    from optuna.trial import TrialState

    trials, prepared = models.TrialModel.__table__, _prepare(row)
    with locked(storage, study_id) as connection:
        query = sqlalchemy.select(trials.c.state).where(trials.c.trial_id == trial_id)
        if connection.execute(query).scalar() != TrialState.WAITING:
            return False
        change = trials.update().where(trials.c.trial_id == trial_id)
        connection.execute(change, prepared["trial"])
        # The thread that gives signs of life may have been faster.
        beats = models.TrialHeartbeatModel.__table__
        connection.execute(beats.delete().where(beats.c.trial_id == trial_id))
        records = [(table, {**one, "trial_id": trial_id}) for table, one in prepared["records"]]
        _insert(connection, records)
    return True


def finish(storage: RDBStorage, study_id: int, endings: Sequence[Ending]) -> list[int]:
    """Ends running trials in one transaction.

    Args:
        storage: an open database.
        study_id: Optuna's identifier of the study.
        endings: how each trial ended.

    Returns:
        Identifiers of the trials that were no longer running and were left as they are.
    """
    known, ids = _statements(), [ending.trial_id for ending in endings]
    with locked(storage, study_id) as connection:
        running = set(ids)
        if len(ids) > 1:
            running = set()
            for start in range(0, len(ids), MAX_IN):
                some = {"ids": ids[start : start + MAX_IN]}
                running.update(connection.execute(known.running, some).scalars())
        running -= _of_others(connection, endings)
        todo = [ending for ending in endings if ending.trial_id in running]
        if not todo:
            return ids
        changes = [
            {"id_": e.trial_id, "state_": to_state(e.status), "end_": utc(e.end)} for e in todo
        ]
        changed = connection.execute(known.end, changes if len(ids) > 1 else changes[0])
        if len(ids) == 1 and not changed.rowcount:
            return ids
        _insert(connection, [record for e in todo for record in _ending_records(e)])
    return [trial_id for trial_id in ids if trial_id not in running]


def _of_others(connection: Connection, endings: Sequence[Ending]) -> set[int]:
    """Identifiers of the trials that are running in another attempt than the one that ends."""
    attempts = {one.trial_id: one.attempt for one in endings if one.attempt is not None}
    found: set[int] = set()
    for start in range(0, len(attempts), MAX_IN):
        some = {"ids": list(attempts)[start : start + MAX_IN]}
        for trial_id, text in connection.execute(_statements().own, some).all():
            if json.loads(text).get(RESUMABLE) != attempts[trial_id]:
                found.add(trial_id)
    return found


class _Statements(NamedTuple):
    """What a trial takes; made once, since making one costs more than running it.

    Attributes:
        last: identifier and number of a study's last trial.
        new_trial: inserts a trial.
        newer: numbers and identifiers of the trials behind one.
        others: states and own attributes of the trials from a number on.
        own: own attributes of some trials.
        running: which of some trials are running.
        end: ends a trial that is running.
        inserts: inserts records, by the table's name here.
    """

    last: Any
    new_trial: Any
    newer: Any
    others: Any
    own: Any
    running: Any
    end: Any
    inserts: dict[str, Any]


@functools.cache
def _statements() -> _Statements:
    import sqlalchemy
    from optuna.storages._rdb import models
    from optuna.trial import TrialState

    trials, bind = models.TrialModel.__table__, sqlalchemy.bindparam
    is_its, is_running = trials.c.study_id == bind("study"), trials.c.state == TrialState.RUNNING
    own = models.TrialSystemAttributeModel.__table__
    of_trial = sqlalchemy.and_(own.c.trial_id == trials.c.trial_id, own.c.key == SYSTEM_ATTR)
    tables: dict[str, Any] = {
        "values": models.TrialValueModel,
        "params": models.TrialParamModel,
        "curve": models.TrialIntermediateValueModel,
        "user": models.TrialUserAttributeModel,
        "system": models.TrialSystemAttributeModel,
        "heartbeat": models.TrialHeartbeatModel,
    }
    return _Statements(
        sqlalchemy.select(trials.c.trial_id, trials.c.number)
        .where(is_its)
        .order_by(trials.c.trial_id.desc())
        .limit(1),
        trials.insert(),
        sqlalchemy.select(trials.c.number, trials.c.trial_id)
        .where(is_its, trials.c.trial_id > bind("last"))
        .order_by(trials.c.number),
        sqlalchemy.select(trials.c.state, own.c.value_json)
        .select_from(trials.outerjoin(own, of_trial))
        .where(is_its, trials.c.number >= bind("first"))
        .order_by(trials.c.number),
        sqlalchemy.select(own.c.trial_id, own.c.value_json).where(
            own.c.trial_id.in_(bind("ids", expanding=True)), own.c.key == SYSTEM_ATTR
        ),
        sqlalchemy.select(trials.c.trial_id).where(
            trials.c.trial_id.in_(bind("ids", expanding=True)), is_running
        ),
        trials.update()
        .where(trials.c.trial_id == bind("id_"), is_running)
        .values(state=bind("state_"), datetime_complete=bind("end_")),
        {name: model.__table__.insert() for name, model in tables.items()},
    )


@contextlib.contextmanager
def locked(storage: RDBStorage, study_id: int) -> Iterator[Connection]:
    """Opens a transaction in which no other writer can number a trial of this study."""
    import sqlalchemy
    from optuna.storages._rdb import models

    if storage.engine.dialect.name == "sqlite":
        # A deferred transaction can fail to upgrade its lock, so the write lock is taken at once.
        with storage.engine.connect() as plain:
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                # After a full disk SQLite has rolled back already, and says that as an error.
                with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                    connection.exec_driver_sql("ROLLBACK")
                raise
        return
    studies = models.StudyModel.__table__
    lock = sqlalchemy.select(studies.c.study_id).where(studies.c.study_id == study_id)
    with storage.engine.begin() as connection:
        connection.execute(lock.with_for_update()).one()
        yield connection


Record = tuple[str, dict[str, Any]]


def _prepare(row: Row) -> dict[str, Any]:
    """Turns a row into the columns of its trial and the records of the other tables."""
    records: list[Record] = []
    for name, value in row.params.items():
        distribution = row.distributions[name]
        record = {"param_name": name, "param_value": internal_value(distribution, value)}
        records.append(("params", {**record, "distribution_json": _to_json(distribution)}))
    records += _curve_records(row.curve)
    records += _value_records(row.value)
    records += _attr_records(row.user_attrs, row.system_attrs)
    if HEARTBEAT in row.system_attrs.get(SYSTEM_ATTR, ()):
        records.append(("heartbeat", {}))
    trial = {
        "state": to_state(row.status),
        "datetime_start": utc(row.start),
        "datetime_complete": None if row.end is None else utc(row.end),
    }
    return {"trial": trial, "records": records}


def _ending_records(ending: Ending) -> list[Record]:
    """The records that an ending adds, already bound to their trial."""
    records = _curve_records(ending.curve) + _value_records(ending.value)
    records += _attr_records(ending.user_attrs, ending.system_attrs)
    return [(table, {**record, "trial_id": ending.trial_id}) for table, record in records]


def _curve_records(curve: dict[int, float]) -> list[Record]:
    from optuna.storages._rdb.models import TrialIntermediateValueModel

    records: list[Record] = []
    for step, value in curve.items():
        stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(float(value))
        record = {"step": int(step), "intermediate_value": stored, "intermediate_value_type": kind}
        records.append(("curve", record))
    return records


def _value_records(value: float | tuple[float, ...] | None) -> list[Record]:
    from optuna.storages._rdb.models import TrialValueModel

    records: list[Record] = []
    for objective, one in enumerate(stored_values(value) or []):
        stored, kind = TrialValueModel.value_to_stored_repr(float(one))
        record = {"objective": objective, "value": stored, "value_type": kind}
        records.append(("values", record))
    return records


def _attr_records(user_attrs: dict[str, Any], system_attrs: dict[str, Any]) -> list[Record]:
    records = [("user", {"key": k, "value_json": json.dumps(v)}) for k, v in user_attrs.items()]
    records += [
        ("system", {"key": k, "value_json": json.dumps(v)}) for k, v in system_attrs.items()
    ]
    return records


def _insert(connection: Connection, records: list[Record]) -> None:
    """Inserts records table by table."""
    for name, statement in _statements().inserts.items():
        chosen = [record for table, record in records if table == name]
        if chosen:
            connection.execute(statement, chosen)


def _to_json(distribution: BaseDistribution) -> str:
    """Optuna's JSON of a distribution, made once an object: a sweep stores it a thousand times."""
    from optuna.distributions import distribution_to_json

    cached = _JSON.get(id(distribution))
    if cached is None or cached[0] is not distribution:
        if len(_JSON) > 4096:
            _JSON.clear()
        cached = (distribution, distribution_to_json(distribution))
        _JSON[id(distribution)] = cached
    return cached[1]


_JSON: dict[int, tuple[BaseDistribution, str]] = {}


def utc(moment: datetime.datetime) -> datetime.datetime:
    """A moment as Optuna's tables hold it: UTC without a zone; local time if it has none."""
    return moment.astimezone(datetime.UTC).replace(tzinfo=None)
