"""Results that arrive after their trial was marked as failed, or that were saved in a file."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo.study._trial import unit_of
from jaxhpo.study.storage._errors import StorageError
from jaxhpo.study.storage._rows import SYSTEM_ATTR, Ending, Row, records_same
from jaxhpo.study.storage.outages import _spool

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from jaxhpo.study.storage._store import Store

logger = logging.getLogger("jaxhpo")


def record_late_results(
    store: Store, endings: Sequence[Ending], *, are_results: bool = True
) -> dict[int, int]:
    """Writes the values of trials that others have marked as failed meanwhile, as new trials.

    An ended trial never changes, so the value gets a row of its own with the same parameters.

    Args:
        store: the study's rows.
        endings: of trials that `Store.finish` found to be running no more.
        are_results: as in `Store.append`.

    Returns:
        Identifier of the given-up trial to number of the new one. A trial that has a value already
        keeps it, and is left out.
    """
    if not endings:
        return {}
    trials = {trial._trial_id: trial for trial in store.trials()}
    taken = {_own(trial).get("late"): trial for trial in trials.values()}
    found: dict[int, int] = {}
    for ending in endings:
        trial = trials.get(ending.trial_id)
        if trial is None or ending.value is None:
            continue
        if not trial.state.is_finished():
            logger.warning(
                "study %r: trial %d has been taken up by another process; the value %s of this "
                "one is discarded",
                store.name,
                trial.number,
                ending.value,
            )
            continue
        if trial.state.name != "FAIL":
            logger.warning(
                "study %r: trial %d has already ended with %s; the value %s of this process is "
                "discarded",
                store.name,
                trial.number,
                trial.values,
                ending.value,
            )
            continue
        if trial.number in taken:
            found[ending.trial_id] = taken[trial.number].number
            continue
        [(number, _)] = store.append([_row_of(trial, ending)], are_results=are_results)
        found[ending.trial_id] = number
        logger.warning(
            "study %r: trial %d had been marked as failed when its value %s arrived; the value is "
            "recorded as trial %d",
            store.name,
            trial.number,
            ending.value,
            number,
        )
    return found


def recover_spooled(store: Store) -> None:
    """Records the results that files hold for this study, once, and removes the files."""
    store.has_spooled = False
    if store.location is None:
        return
    for spooled in _spool.spooled_results(store.location, store.name):
        try:
            _write(store, spooled)
        except StorageError as error:
            store.has_spooled = True
            logger.warning(
                "study %r: the results in %s could not be recorded and stay there: %s",
                store.name,
                spooled.path,
                error,
            )


def _write(store: Store, spooled: _spool.SpooledResults) -> None:
    """Records the results of one file and removes it; nothing is saved a second time."""
    trials = {trial._trial_id: trial for trial in store.trials()}
    mine = [one for one in spooled.endings if _is_of(trials.get(one.trial_id), one)]
    if len(mine) < len(spooled.endings):
        logger.warning(
            "study %r: %s holds results of trials that are not in this study; they are not "
            "recorded, and the file is kept",
            store.name,
            spooled.path,
        )
        return
    already_ended = set(store.finish_now(mine))
    late = [
        one
        for one in mine
        if one.trial_id in already_ended and not records_same(trials[one.trial_id], one)
    ]
    record_late_results(store, late, are_results=False)
    known = {_own(trial).get("kept") for trial in trials.values()}
    rows = [_marked(row, f"{spooled.token}-{i}") for i, row in enumerate(spooled.rows)]
    missing = [row for row in rows if row.system_attrs[SYSTEM_ATTR]["kept"] not in known]
    store.append(missing, are_results=False)
    spooled.path.unlink(missing_ok=True)
    count = len(mine) + len(rows)
    what = "1 result" if count == 1 else f"{count} results"
    logger.warning("study %r: recorded %s from %s", store.name, what, spooled.path)


def _is_of(trial: FrozenTrial | None, ending: Ending) -> bool:
    """Whether an ending can be that of a trial: a study made anew uses identifiers again."""
    if trial is None:
        return False
    return trial.datetime_start is None or trial.datetime_start <= ending.end


def _row_of(trial: FrozenTrial, ending: Ending) -> Row:
    own: dict[str, Any] = {"late": trial.number}
    unit = unit_of(trial)
    if unit is not None:
        own["unit"] = unit.tolist()
    return Row(
        ending.status,
        ending.value,
        trial.params,
        trial.distributions,
        {**ending.user_attrs, "note": f"came late: trial {trial.number} was marked as failed"},
        {**ending.system_attrs, SYSTEM_ATTR: own},
        curve=ending.curve,
        start=trial.datetime_start or ending.end,
        end=ending.end,
    )


def _marked(row: Row, token: str) -> Row:
    """A kept row with its token, so that it is never written twice."""
    own = {**row.system_attrs.get(SYSTEM_ATTR, {}), "kept": token}
    return dataclasses.replace(row, system_attrs={**row.system_attrs, SYSTEM_ATTR: own})


def _own(trial: FrozenTrial) -> dict[str, Any]:
    found = trial.system_attrs.get(SYSTEM_ATTR)
    return found if isinstance(found, dict) else {}
