"""What the trials of a study have reported, read again and again: only what is new is fetched."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import TYPE_CHECKING, Any

from jaxhpo.study.storage._bulk import MAX_IN
from jaxhpo.study.storage._reserved import own_attrs
from jaxhpo.study.storage._rows import SYSTEM_ATTR

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from jaxhpo.study.storage._store import Store

_UNFINISHED = ("RUNNING", "WAITING")


@dataclasses.dataclass
class Record:
    """A trial as a rule sees it.

    Attributes:
        number: its number.
        trial_id: its identifier in the storage.
        own: jaxhpo's own attributes, as they were when its state last changed.
        state: the name of Optuna's state.
        curve: step to intermediate value.
    """

    number: int
    trial_id: int
    own: dict[str, Any]
    state: str = "RUNNING"
    curve: dict[int, float] = dataclasses.field(default_factory=dict)


class Records:
    """The trials of a study, by their identifiers."""

    def __init__(self, store: Store) -> None:
        """Nothing is read yet."""
        self._store = store
        self._known: dict[int, Record] = {}
        self._last_value = 0
        self._frozen: list[Any] = []

    def refresh(self) -> list[Record]:
        """Reads what is new.

        Returns:
            The trials that have begun, ended, paused or reported since the last time.
        """
        return self._store.read(self._read, self._read_one_by_one)

    def _read_one_by_one(self) -> list[Record]:
        changed = []
        storage, study_id = self._store.storage, self._store.study_id
        before, self._frozen = self._frozen, storage.get_all_trials(study_id, deepcopy=False)
        for frozen, known in itertools.zip_longest(self._frozen, before):
            if frozen is known or frozen is None:  # storages replace what they change
                continue
            record = self._known.setdefault(
                frozen._trial_id, Record(frozen.number, frozen._trial_id, {})
            )
            record.own, record.state = own_attrs(frozen), frozen.state.name
            record.curve = frozen.intermediate_values
            changed.append(record)
        return changed

    def _read(self, storage: RDBStorage, study_id: int) -> list[Record]:
        import sqlalchemy
        from optuna.storages._rdb import models

        trials, curve = models.TrialModel.__table__, models.TrialIntermediateValueModel.__table__
        attrs = models.TrialSystemAttributeModel.__table__
        first = min((i for i, one in self._known.items() if one.state in _UNFINISHED), default=None)
        first = max(self._known, default=-1) + 1 if first is None else first
        changed: dict[int, Record] = {}
        moved: list[int] = []
        with storage.engine.connect() as connection:
            mine = (trials.c.study_id == study_id) & (trials.c.trial_id >= first)
            query = sqlalchemy.select(trials.c.trial_id, trials.c.number, trials.c.state)
            for trial_id, number, state in connection.execute(query.where(mine)).all():
                known = self._known.get(trial_id)
                if known is None:
                    known = self._known[trial_id] = Record(number, trial_id, {}, "")
                if known.state != state.name:
                    known.state, changed[trial_id] = state.name, known
                    moved.append(trial_id)
            columns = (curve.c.trial_intermediate_value_id, curve.c.trial_id, curve.c.step)
            query = (
                sqlalchemy.select(*columns, curve.c.intermediate_value)
                .join(trials, trials.c.trial_id == curve.c.trial_id)
                .where(trials.c.study_id == study_id, columns[0] > self._last_value)
                .order_by(columns[0])
            )
            for value_id, trial_id, step, value in connection.execute(query).all():
                known = self._known.get(trial_id)
                if known is None:  # it began between the two queries: all is read again
                    break
                self._last_value = value_id
                known.curve[step] = float("nan") if value is None else value
                changed[trial_id] = known
            for start in range(0, len(moved), MAX_IN):
                query = sqlalchemy.select(attrs.c.trial_id, attrs.c.value_json).where(
                    attrs.c.trial_id.in_(moved[start : start + MAX_IN]),
                    attrs.c.key == SYSTEM_ATTR,
                )
                for trial_id, text in connection.execute(query).all():
                    self._known[trial_id].own = json.loads(text)
        return list(changed.values())
