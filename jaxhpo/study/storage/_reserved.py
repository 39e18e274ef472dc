"""Trials that a batch has reserved: given back when it ends without them, and taken up again.

A batch writes its trials as running before it trains them, so that their numbers and points are
taken. Those that it does not end wait, with number and point, for whoever trains the next batch.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxhpo._status import Status
from jaxhpo.study.storage._bulk import MAX_IN, locked, utc
from jaxhpo.study.storage._rows import SYSTEM_ATTR
from jaxhpo.study.storage.files._one_append import one_append

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import FrozenTrial, TrialState

RESERVED = "reserved"
"""The entry among jaxhpo's own attributes of a trial that marks it as part of a batch: its name."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Trials that a process has reserved and trains together.

    Attributes:
        numbers: their numbers.
        trial_ids: their identifiers in the storage.
        unit: `[m, d]` their points.
        values: the points' values pytree.
        params: the values as Python objects.
        owner: the process.
        name: of the batch, which its trials have in the storage.
        before: `[m]` int32 `Status` of trials that had ended before: they belong to the population
            that a scheduler judges; EMPTY of the others.
    """

    numbers: list[int]
    trial_ids: list[int]
    unit: np.ndarray
    values: Any
    params: list[Any]
    owner: list[str | int]
    name: str
    before: np.ndarray

    def joined(self, other: Batch) -> Batch:
        """This batch, and the trials of another one after its own."""
        return Batch(
            self.numbers + other.numbers,
            self.trial_ids + other.trial_ids,
            np.concatenate([self.unit, other.unit]),
            jax.tree.map(lambda *both: np.concatenate(both), self.values, other.values),
            [*self.params, *other.params],
            self.owner,
            self.name,
            np.concatenate([self.before, other.before]),
        )

    @property
    def has_ended(self) -> np.ndarray:
        """`[m]` bool, trials that had ended before."""
        found: np.ndarray = self.before != Status.EMPTY
        return found


def own_attrs(frozen: Any) -> dict[str, Any]:
    """Attributes that jaxhpo keeps of a stored trial; empty for one of another program."""
    own = frozen.system_attrs.get(SYSTEM_ATTR)
    return own if isinstance(own, dict) else {}


def merge_attrs(own: dict[str, Any], attrs: dict[str, Any]) -> dict[str, Any]:
    """Own attributes updated with others; None removes an entry."""
    return {key: value for key, value in {**own, **attrs}.items() if value is not None}


def is_released(frozen: Any) -> bool:
    """Whether a stored trial waits because the batch that had reserved it ended without it."""
    return frozen.state.name == "WAITING" and RESERVED in own_attrs(frozen)


def release(
    storage: RDBStorage, study_id: int, trial_ids: Sequence[int], is_theirs: Callable[[Any], bool]
) -> list[int]:
    """Sets running trials back to waiting, in one transaction.

    Args:
        storage: an open database.
        study_id: Optuna's identifier of the study.
        trial_ids: the trials.
        is_theirs: whether a trial is meant, by its owner; another may have taken it up since.

    Returns:
        Identifiers of the trials that wait now.
    """
    from optuna.trial import TrialState

    def change(own: dict[str, Any]) -> dict[str, Any] | None:
        return own if is_theirs(own.get("owner")) else None

    return switch(storage, study_id, trial_ids, TrialState.RUNNING, TrialState.WAITING, change)


def claim(
    storage: RDBStorage, study_id: int, trial_ids: Sequence[int], attrs: dict[str, Any]
) -> list[int]:
    """Sets waiting trials to running, in one transaction.

    Args:
        storage: an open database.
        study_id: Optuna's identifier of the study.
        trial_ids: the trials.
        attrs: entries among jaxhpo's own attributes to set, such as the owner; None takes one away.

    Returns:
        Identifiers of those that nobody else has taken up.
    """
    from optuna.trial import TrialState

    def change(own: dict[str, Any]) -> dict[str, Any] | None:
        return merge_attrs(own, attrs)

    return switch(storage, study_id, trial_ids, TrialState.WAITING, TrialState.RUNNING, change)


def switch(
    storage: RDBStorage,
    study_id: int,
    trial_ids: Sequence[int],
    before: TrialState,
    after: TrialState,
    change: Callable[[dict[str, Any]], dict[str, Any] | None],
) -> list[int]:
    """Changes the state of those trials whose own attributes `change` does not refuse.

    Args:
        storage: an open database.
        study_id: Optuna's identifier of the study.
        trial_ids: the trials.
        before: the state that they must have.
        after: the state that they get.
        change: what it makes of a trial's own attributes is written; None leaves the trial alone.

    Returns:
        Identifiers of those that were changed.
    """
    import sqlalchemy
    from optuna.storages._rdb import models
    from optuna.trial import TrialState

    trials, attrs = models.TrialModel.__table__, models.TrialSystemAttributeModel.__table__
    new: dict[str, Any] = {"state": after}
    if after == TrialState.RUNNING:
        new["datetime_start"] = utc(datetime.datetime.now())
    switched: list[int] = []
    with locked(storage, study_id) as connection:
        for start in range(0, len(trial_ids), MAX_IN):
            query = (
                sqlalchemy.select(trials.c.trial_id, attrs.c.value_json)
                .join(attrs, attrs.c.trial_id == trials.c.trial_id)
                .where(
                    trials.c.trial_id.in_(trial_ids[start : start + MAX_IN]),
                    trials.c.state == before,
                    attrs.c.key == SYSTEM_ATTR,
                )
            )
            found = [(i, old, change(json.loads(old))) for i, old in connection.execute(query)]
            kept = [(i, old, json.dumps(own)) for i, old, own in found if own is not None]
            if not kept:
                continue
            chosen = [trial_id for trial_id, _, _ in kept]
            connection.execute(trials.update().where(trials.c.trial_id.in_(chosen)), new)
            rewritten = [{"id_": i, "value_json": text} for i, old, text in kept if text != old]
            if rewritten:
                is_its = attrs.c.trial_id == sqlalchemy.bindparam("id_")
                update = attrs.update().where(is_its, attrs.c.key == SYSTEM_ATTR)
                connection.execute(update, rewritten)
            switched += chosen
    return switched


def release_one_by_one(
    storage: BaseStorage, trial_ids: Sequence[int], is_theirs: Callable[[Any], bool]
) -> list[int]:
    """`release` by Optuna's public API, trial by trial."""
    from optuna.trial import TrialState

    def release_one(frozen: FrozenTrial) -> bool:
        is_meant = frozen.state == TrialState.RUNNING and is_theirs(own_attrs(frozen).get("owner"))
        return is_meant and storage.set_trial_state_values(frozen._trial_id, TrialState.WAITING)

    with one_append(storage):
        return [i for i in trial_ids if release_one(storage.get_trial(i))]


def claim_one_by_one(
    storage: BaseStorage, trial_ids: Sequence[int], attrs: dict[str, Any]
) -> list[int]:
    """`claim` by Optuna's public API, trial by trial."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    claimed = []
    for trial_id in trial_ids:
        frozen = storage.get_trial(trial_id)
        try:
            if frozen.state != TrialState.WAITING or not storage.set_trial_state_values(
                trial_id, TrialState.RUNNING
            ):
                continue
        except UpdateFinishedTrialError:
            continue
        own = merge_attrs(own_attrs(frozen), attrs)
        storage.set_trial_system_attr(trial_id, SYSTEM_ATTR, own)
        claimed.append(trial_id)
    return claimed
