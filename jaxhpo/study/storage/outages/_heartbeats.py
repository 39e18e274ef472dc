"""Signs of life of running trials, in Optuna's own table: for machines that cannot be asked.

A trial whose own attributes have the entry `HEARTBEAT` is one whose process promises to write that
it lives, every so many seconds. All times are the database's.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxhpo._checks import check_positive, fail
from jaxhpo.study.storage._bulk import MAX_IN, locked

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

MISSED = 3
"""Signs of life that are missed before a process counts as gone."""


def check_heartbeat(where: str, heartbeat: Any, *, is_database: bool) -> float | None:
    """Requires seconds, and a storage that has a clock for all.

    Raises:
        TypeError: no number.
        ValueError: not above 0, or a storage that is no database.
    """
    if heartbeat is None:
        return None
    seconds = float(check_positive(where, "heartbeat", heartbeat))
    if not is_database:
        expected = "None where the study's `storage` is no database: it has no clock for all"
        raise fail(where, "heartbeat", expected, heartbeat)
    return seconds


def beat(storage: RDBStorage, study_id: int, trial_ids: Sequence[int]) -> None:
    """Writes that the process of some trials lives, in one transaction."""
    known = _statements()
    with locked(storage, study_id) as connection:
        for start in range(0, len(trial_ids), MAX_IN):
            some = list(trial_ids[start : start + MAX_IN])
            there = set(connection.execute(known.there, {"ids": some}).scalars())
            if there:
                connection.execute(known.again, {"ids": sorted(there)})
            if new := [{"trial_id": one} for one in some if one not in there]:
                connection.execute(known.first, new)


def silent(storage: RDBStorage, study_id: int, seconds: Mapping[int, float]) -> list[int]:
    """Which trials have not been heard of for too long.

    Args:
        storage: an open database.
        study_id: not needed: identifiers of trials are unique.
        seconds: identifiers of running trials, and how often each promises a sign of life.

    Returns:
        Their identifiers.
    """
    del study_id
    ids, known, found = list(seconds), _statements(), []
    with storage.engine.connect() as connection:
        now = connection.execute(known.now).scalar_one().replace(tzinfo=None)
        for start in range(0, len(ids), MAX_IN):
            some = {"ids": ids[start : start + MAX_IN]}
            for trial_id, last in connection.execute(known.last, some).all():
                # The clock of a database may have no parts of a second.
                patience = MISSED * seconds[trial_id] + 1.0
                if now - last > datetime.timedelta(seconds=patience):
                    found.append(trial_id)
    return found


class _Statements(NamedTuple):
    now: Any
    there: Any
    first: Any
    again: Any
    last: Any


@functools.cache
def _statements() -> _Statements:
    import sqlalchemy
    from optuna.storages._rdb.models import TrialHeartbeatModel

    table, now = TrialHeartbeatModel.__table__, sqlalchemy.func.now()
    is_one = table.c.trial_id.in_(sqlalchemy.bindparam("ids", expanding=True))
    return _Statements(
        sqlalchemy.select(now),
        sqlalchemy.select(table.c.trial_id).where(is_one),
        table.insert(),
        table.update().where(is_one).values(heartbeat=now),
        sqlalchemy.select(table.c.trial_id, table.c.heartbeat).where(is_one),
    )
