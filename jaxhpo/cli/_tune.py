"""`jaxhpo tune` and `jaxhpo resume`: a durable study of any Python function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxhpo.cli._errors import NO_RESULT, UserError
from jaxhpo.cli._inspect import load_study, print_trials
from jaxhpo.cli._load import load_objective, load_space

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

    function = load_objective(objective)
    study = Study(
        load_space(space),
        sampler,
        storage=storage,
        name=name or objective.rpartition(":")[2],
        seed=seed,
        direction=direction,
    )
    command = {"objective": objective, "space": space, "sampler": sampler}
    study.to_optuna().set_user_attr(COMMAND_ATTR, command)
    _run(study, function, trials, timeout, workers)


def go_on(name: str, trials: int, storage: str, timeout: float | None, workers: int) -> None:
    """Runs further trials of a study that `tune` began."""
    from jaxhpo.study import Study

    stored = load_study(name, storage)
    command = stored.user_attrs.get(COMMAND_ATTR)
    if not isinstance(command, dict):
        raise UserError(
            f"study {name!r} was not begun by `jaxhpo tune`, so its objective is not known here; "
            f"go on with `jaxhpo tune OBJECTIVE --space SPACE --name {name}`."
        )
    study = Study(
        load_space(command["space"]),
        command["sampler"],
        storage=storage,
        name=name,
        direction=[direction.name.lower() for direction in stored.directions],
    )
    _run(study, load_objective(command["objective"]), trials, timeout, workers)


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
    records = study.trials
    complete = [trial for trial in records if trial.status.name == "COMPLETE"]
    failed = sum(trial.status.name == "FAILED" for trial in records)
    print(f"study {study.name!r}: {len(records)} trials, {failed} failed; {study.stop_reason}")
    if not complete:
        reasons = [trial.reason for trial in records if trial.reason]
        raise UserError(
            f"no trial has a finite value; the last failure: {reasons[-1] if reasons else '–'}",
            NO_RESULT,
        )
    best = complete if len(study.directions) == 1 else study.best_trials
    print_trials(study.name, study.direction, _flat_rows(study, best), 5)
    print(f"all trials: jaxhpo best {study.name} --format csv --storage {study.storage}")


def _flat_rows(study: Any, trials: list[Any]) -> list[tuple[int, float, dict[str, Any]]]:
    flat = study.space.flatten_params
    return [(trial.number, trial.value, flat(trial.params)) for trial in trials]
