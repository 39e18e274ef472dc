"""`jaxhpo tune` and `jaxhpo resume`: a durable study of any Python function."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from jaxhpo.cli._errors import NO_RESULT, UserError
from jaxhpo.cli._inspect import load_study, print_trials
from jaxhpo.cli._load import load_objective, load_space
from jaxhpo.cli._tables import say

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
    _run(study, function, trials, timeout, workers, objective)


def go_on(
    name: str,
    trials: int,
    storage: str,
    timeout: float | None,
    workers: int,
    objective: str | None = None,
    space: str | None = None,
) -> None:
    """Runs further trials of a study that `tune` began.

    What to import stands in the study's file, which may be a stranger's: it is imported only where
    the user names it too, or says yes.

    Raises:
        UserError: nobody named the objective and nobody can be asked, or the answer was no.
    """
    from jaxhpo.study import Study

    stored = load_study(name, storage)
    command = stored.user_attrs.get(COMMAND_ATTR)
    keys = ("objective", "space", "sampler")
    if not isinstance(command, dict) or not all(isinstance(command.get(k), str) for k in keys):
        raise UserError(
            f"study {name!r} was not begun by `jaxhpo tune`, so its objective is not known here; "
            f"go on with `jaxhpo tune OBJECTIVE --space SPACE --name {name}`."
        )
    _allow_imports(name, command, objective, space)
    function = load_objective(objective or command["objective"])
    study = Study(
        load_space(space or command["space"]),
        command["sampler"],
        storage=storage,
        name=name,
        direction=[direction.name.lower() for direction in stored.directions],
    )
    _run(study, function, trials, timeout, workers, objective or command["objective"])


def _allow_imports(
    name: str, command: dict[str, str], objective: str | None, space: str | None
) -> None:
    """Makes sure that the user wants what the study's file would have imported."""
    import sys

    import typer

    named = {one.rpartition(":")[0] for one in (objective, space) if one}
    wanted = {}
    if objective is None:
        wanted["--objective"] = command["objective"]
    is_text = command["space"].strip().startswith("{") or command["space"].endswith(".json")
    if space is None and not is_text and command["space"].rpartition(":")[0] not in named:
        wanted["--space"] = command["space"]
    if not wanted:
        return
    listed = " and ".join(wanted.values())
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        options = " ".join(f"{option} {shlex.quote(text)}" for option, text in wanted.items())
        raise UserError(
            f"study {name!r} names {listed} to import and run, and a study's file may be a "
            f"stranger's: say that you want it with `jaxhpo resume {shlex.quote(name)} {options}`."
        )
    say(f"Study {name!r} names {listed}; to go on imports and runs it from this folder.")
    if not typer.confirm("Is that your own code?"):
        raise UserError("nothing was imported.")


def _run(
    study: Any, objective: Any, trials: int, timeout: float | None, workers: int, reference: str
) -> None:
    before = len(study.trials)
    where = f"{shlex.quote(study.name)} --storage {shlex.quote(study.storage)}"
    try:
        study.optimize(objective, num_trials=trials, timeout=timeout, num_workers=workers)
    except KeyboardInterrupt:
        done = len(study.trials) - before
        say(f"interrupted after {done} trials; all are kept in {study.storage}.")
        hint = " (fill in the password)" if "***" in study.storage else ""
        again = f"{where} --objective {shlex.quote(reference)}"
        say(f"go on with: jaxhpo resume {again}{hint}")
        raise
    records = study.trials
    complete = [trial for trial in records if trial.status.name == "COMPLETE"]
    failed = sum(trial.status.name == "FAILED" for trial in records)
    say(f"study {study.name!r}: {len(records)} trials, {failed} failed; {study.stop_reason}")
    if not complete:
        reasons = [trial.reason for trial in records if trial.reason]
        raise UserError(
            f"no trial has a finite value; the last failure: {reasons[-1] if reasons else '–'}",
            NO_RESULT,
        )
    best = complete if len(study.directions) == 1 else study.best_trials
    print_trials(study.name, study.direction, _flat_rows(study, best), 5)
    say(f"all trials: jaxhpo best {where} --format csv")


def _flat_rows(study: Any, trials: list[Any]) -> list[tuple[int, float, dict[str, Any]]]:
    flat = study.space.flatten_params
    return [(trial.number, trial.value, flat(trial.params)) for trial in trials]
