"""What begins and ends a trial by Optuna's own calls, where its tables are not written directly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxhpo.study.storage._bulk import utc
from jaxhpo.study.storage._distributions import internal_value
from jaxhpo.study.storage._rows import Ending, Row, is_running_in, stored_values, to_state

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def begin(storage: BaseStorage, trial_id: int, row: Row) -> bool:
    """Makes a waiting trial a running one; False if it was no longer waiting."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    try:
        if not storage.set_trial_state_values(trial_id, TrialState.RUNNING):
            return False
    except UpdateFinishedTrialError:
        return False
    # The owner first: whoever finds the trial half written knows whose it was.
    for key, value in row.system_attrs.items():
        storage.set_trial_system_attr(trial_id, key, value)
    for name, value in row.params.items():
        distribution = row.distributions[name]
        storage.set_trial_param(trial_id, name, internal_value(distribution, value), distribution)
    return True


def finish(storage: BaseStorage, ending: Ending) -> bool:
    """Ends a running trial; False if it had ended already."""
    from optuna.exceptions import UpdateFinishedTrialError

    # Where all is appended at once, nothing is refused later.
    found = storage.get_trial(ending.trial_id)
    if found.state.is_finished() or not (
        ending.attempt is None or is_running_in(found, ending.attempt)
    ):
        return False
    try:
        for step, number in ending.curve.items():
            storage.set_trial_intermediate_value(ending.trial_id, step, number)
        for key, value in ending.user_attrs.items():
            storage.set_trial_user_attr(ending.trial_id, key, value)
        for key, value in ending.system_attrs.items():
            storage.set_trial_system_attr(ending.trial_id, key, value)
        state, values = to_state(ending.status), stored_values(ending.value)
        return storage.set_trial_state_values(ending.trial_id, state, values)
    except UpdateFinishedTrialError:
        return False


def written(storage: BaseStorage, study_id: int, rows: Sequence[Row]) -> dict[int, tuple[int, int]]:
    """Which of these very rows are in the storage: index to number and identifier."""
    trials = storage.get_all_trials(study_id, deepcopy=False)
    found: dict[int, tuple[int, int]] = {}
    for i, row in enumerate(rows):
        start = utc(row.start)
        for trial in trials:
            mine = (trial.number, trial._trial_id)
            started = trial.datetime_start
            is_same = started is not None and utc(started) == start
            is_same = is_same and trial.system_attrs == row.system_attrs
            if is_same and mine not in found.values():
                found[i] = mine
                break
    return found
