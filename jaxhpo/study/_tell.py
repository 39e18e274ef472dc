"""`Study.tell`: values for trials that were asked, here or in another process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Outcome
from jaxhpo._status import Status
from jaxhpo.study._trial import Trial, from_frozen
from jaxhpo.study.running._results import to_objective_result
from jaxhpo.study.storage._stale import ENDED_REASON

if TYPE_CHECKING:
    from jaxhpo.study._core import StudyCore

_WHERE = "Study.tell"


def tell(study: StudyCore, trials: Any, values: Any) -> list[Trial]:
    """See `Study.tell`."""
    is_one = isinstance(trials, Trial | int | np.integer)
    listed = [trials] if is_one else _trials(trials)
    outcomes = [values] if is_one else _listed(values, len(study.directions))
    if len(listed) != len(outcomes):
        raise _checks.fail(_WHERE, "values", f"one for each of {len(listed)} trials", values)
    numbers = [t.number if isinstance(t, Trial) else t for t in listed]
    if not numbers:
        return []
    if len(set(numbers)) < len(numbers):
        raise _checks.fail(_WHERE, "trials", "free of duplicates", numbers)
    running = [_running_trial(study, number) for number in numbers]
    results = [to_objective_result(outcome, len(study.directions)) for outcome in outcomes]
    for result in results:
        if result.is_misuse:
            reason = (result.reason or "").replace("`objective` must return", "`values` must be")
            raise TypeError(f"{_WHERE}: {reason}")
    ended = study._sampler.tell(running, results)
    study._store.checkpoint()
    if len(ended) < len(running):
        already_ended = sorted(set(numbers) - {trial.number for trial in ended})
        raise ValueError(
            f"{_WHERE}: `trials` must be running, but {already_ended} have already ended; their "
            "recorded results are unchanged."
        )
    return ended


def _trials(trials: Any) -> list[Any]:
    """The trials, or their numbers, of a sequence of them."""
    is_many = isinstance(trials, list | tuple | range) or (
        isinstance(trials, np.ndarray) and trials.ndim > 0
    )
    listed = list(trials) if is_many else [None]
    for one in listed:
        if not isinstance(one, Trial):
            try:
                _checks.check_int(_WHERE, "trials", one, 0)
            except (TypeError, ValueError):
                expected = "a trial, its number, or a sequence of these"
                raise TypeError(
                    f"{_WHERE}: `trials` must be {expected}, got {_checks.describe(trials)}."
                ) from None
    return listed


def _listed(values: Any, num_objectives: int) -> list[Any]:
    """One value or outcome a trial; an outcome of arrays is taken apart."""
    if isinstance(values, Outcome):
        value = np.atleast_1d(_checks.real_numbers(_WHERE, "values", values.value))
        value = np.atleast_2d(value) if num_objectives > 1 else value
        parts = (_rows_of(part, len(value)) for part in (values.se, values.violation))
        return [Outcome(*row) for row in zip(value, *parts, strict=True)]
    if isinstance(values, str | bytes | dict | set):
        return [values]  # no value at all, which is said of it
    try:
        return list(values)
    except TypeError:
        return [values]


def _rows_of(part: Any, count: int) -> list[Any]:
    """Each trial's part of an array with a row per trial; of None it is None."""
    if part is None:
        return [None] * count
    array = np.atleast_1d(_checks.real_numbers(_WHERE, "values", part))
    if count == 1 or len(array) == count:
        return list(array) if len(array) == count else [array]
    raise _checks.fail(_WHERE, "values", f"an Outcome whose parts have {count} rows", array.shape)


def _running_trial(study: StudyCore, number: Any) -> Trial:
    """Finds an asked trial, whoever asked it."""
    number = _checks.check_int(_WHERE, "trials", number, 0)
    frozen = study._store.trial(number)
    trial = from_frozen(study.space, frozen)
    if trial.status is Status.WAITING:
        raise ValueError(f"{_WHERE}: `trials` must be running, but {number} is still waiting.")
    if trial.status is not Status.RUNNING and trial.reason != ENDED_REASON:
        raise ValueError(
            f"{_WHERE}: `trials` must be running, but {number} has already ended "
            f"({trial.status.name}); its recorded result is unchanged."
        )
    study._sampler.attach(number, frozen._trial_id)
    return trial
