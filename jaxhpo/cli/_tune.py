"""`jaxhpo tune` and `jaxhpo resume`: a durable study of any Python function."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from jaxhpo.cli._errors import NO_RESULT, UserError
from jaxhpo.cli._inspect import load_study, print_trials
from jaxhpo.cli._load import load_objective, load_space
from jaxhpo.study import StorageError
from jaxhpo.study._failures import reasons_of, shared_reason, stopped_by_first_failures

# The study attribute that holds what `resume` needs to call the objective again.
COMMAND_ATTR = "jaxhpo:command"


def start(
    objective: str,
    space: str,
    trials: int,
    sampler: str,
    storage: str,
    name: str | None,
    seed: int | None,
    direction: Sequence[str],
    timeout: float | None,
    workers: int,
) -> None:
    """Opens (or continues) a study and runs trials; the arguments are those of the command."""
    from jaxhpo.study import Study

    function, searched = load_objective(objective), load_space(space)
    chosen = name or _default_name(objective, storage)
    study = Study(
        searched,
        sampler,
        storage=storage,
        name=chosen,
        seed=seed,
        direction=direction,
    )
    stored = study.to_optuna()
    _say_if_it_goes_on(stored, objective)
    command = {"objective": objective, "space": space, "sampler": sampler}
    stored.set_user_attr(COMMAND_ATTR, command)
    _run(study, function, trials, timeout, workers)


def _default_name(objective: str, storage: str) -> str:
    """The study's name where none was given: the objective's, with its module.

    Two functions of one name in two modules are two studies. Studies that older versions named by
    the function alone are found by what they remember of their objective.
    """
    module, _, function = objective.rpartition(":")
    stem = pathlib.Path(module).stem if module.endswith(".py") else module
    name = f"{stem}:{function}"
    try:
        old = load_study(function, storage).to_optuna().user_attrs.get(COMMAND_ATTR)
    except (UserError, ValueError, StorageError):
        return name
    is_its_own = isinstance(old, dict) and old.get("objective") == objective
    return function if is_its_own else name


def _say_if_it_goes_on(stored: Any, objective: str) -> None:
    """One line where the study has trials, and one more where they are of another objective."""
    trials = stored.get_trials(deepcopy=False)
    if not trials:
        return
    known = stored.user_attrs.get(COMMAND_ATTR)
    before = known.get("objective") if isinstance(known, dict) else None
    print(f"study {stored.study_name!r} goes on: it has {len(trials)} trials", file=sys.stderr)
    if before not in (None, objective):
        print(
            f"jaxhpo: warning: they are of {before}, not of {objective}; with --name NAME it gets "
            "a study of its own",
            file=sys.stderr,
        )


def go_on(name: str, trials: int, storage: str, timeout: float | None, workers: int) -> None:
    """Runs further trials of a study that `tune` began."""
    from jaxhpo.study import Study

    stored = load_study(name, storage)
    command = stored.to_optuna().user_attrs.get(COMMAND_ATTR)
    if not isinstance(command, dict):
        raise UserError(
            f"study {name!r} was not begun by `jaxhpo tune`, so its objective is not known here; "
            f"go on with `jaxhpo tune OBJECTIVE --space SPACE --name {name}`."
        )
    function = load_objective(command["objective"])
    study = Study(
        load_space(command["space"]), storage=storage, name=name, direction=stored.directions
    )
    _run(study, function, trials, timeout, workers)


def _run(study: Any, objective: Any, trials: int, timeout: float | None, workers: int) -> None:
    before = len(study.trials)
    try:
        study.optimize(objective, num_trials=trials, timeout=timeout, num_workers=workers)
    except KeyboardInterrupt:
        done = len(study.trials) - before
        print(f"interrupted after {done} trials; all are kept in {study.storage}.")
        hint = " (fill in the password)" if "***" in study.storage else ""
        print(f"go on with: jaxhpo resume {study.name} --storage {study.storage}{hint}")
        raise
    except Exception as error:
        if not stopped_by_first_failures(study.stop_reason):
            raise
        notes = " ".join(error.__notes__)
        raise UserError(f"{type(error).__name__}: {error} ({notes})", NO_RESULT) from error
    records = study.trials
    complete = [trial for trial in records if trial.status.name == "COMPLETE"]
    failed = sum(trial.status.name == "FAILED" for trial in records)
    print(f"study {study.name!r}: {len(records)} trials, {failed} failed; {study.stop_reason}")
    if not complete:
        reason = shared_reason(reasons_of(records))
        raise UserError(f"no trial has a finite value; most failed because: {reason}", NO_RESULT)
    best = complete if len(study.directions) == 1 else study.best_trials
    print_trials(study.name, study.direction, _flat_rows(study, best), 5)
    print(f"all trials: jaxhpo best {study.name} --format csv --storage {study.storage}")


def _flat_rows(study: Any, trials: list[Any]) -> list[tuple[int, float, dict[str, Any]]]:
    flat = study.space.flatten_params
    return [(trial.number, trial.value, flat(trial.params)) for trial in trials]
