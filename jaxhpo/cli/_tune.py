"""`jaxhpo tune` and `jaxhpo resume`: a durable study of any Python function."""

from __future__ import annotations

import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from jaxhpo.cli._errors import NO_RESULT, UserError
from jaxhpo.cli._inspect import load_study, print_trials
from jaxhpo.cli._load import load_objective, load_space
from jaxhpo.cli._tables import say
from jaxhpo.study import StorageError
from jaxhpo.study.internal import failure_reasons, most_frequent_reason, stopped_by_first_failures

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
    _say_if_resumed(stored, objective)
    command = {"objective": objective, "space": space, "sampler": sampler}
    stored.set_user_attr(COMMAND_ATTR, command)
    _run(study, function, trials, timeout, workers, objective)


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


def _say_if_resumed(stored: Any, objective: str) -> None:
    """One line where the study has trials, and one more where they are of another objective."""
    trials = stored.get_trials(deepcopy=False)
    if not trials:
        return
    known = stored.user_attrs.get(COMMAND_ATTR)
    before = known.get("objective") if isinstance(known, dict) else None
    say(f"resuming study {stored.study_name!r}, which has {len(trials)} trials", file=sys.stderr)
    if before not in (None, objective):
        say(
            f"jaxhpo: warning: its trials are of {before}, not of {objective}; use --name NAME "
            "for a separate study",
            file=sys.stderr,
        )


def resume(
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
    command = stored.to_optuna().user_attrs.get(COMMAND_ATTR)
    keys = ("objective", "space", "sampler")
    if not isinstance(command, dict) or not all(isinstance(command.get(k), str) for k in keys):
        raise UserError(
            f"study {name!r} was not begun by `jaxhpo tune`, so its objective is not known here; "
            f"continue it with `jaxhpo tune OBJECTIVE --space SPACE --name {name}`."
        )
    _allow_imports(name, command, objective, space)
    function = load_objective(objective or command["objective"])
    study = Study(
        load_space(space or command["space"]),
        storage=storage,
        name=name,
        direction=stored.directions,
    )
    _run(study, function, trials, timeout, workers, objective or command["objective"])


def _allow_imports(
    name: str, command: dict[str, str], objective: str | None, space: str | None
) -> None:
    """Makes sure that the user wants what the study's file would have imported."""
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
            f"study {name!r} names {listed} to import and run, and a study's file may come from a "
            f"stranger: confirm it with `jaxhpo resume {shlex.quote(name)} {options}`."
        )
    say(f"Study {name!r} names {listed}; resuming imports and runs it from this folder.")
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
        say(f"interrupted after {done} trials; all are stored in {study.storage}.")
        hint = " (fill in the password)" if "***" in study.storage else ""
        again = f"{where} --objective {shlex.quote(reference)}"
        say(f"continue with: jaxhpo resume {again}{hint}")
        raise
    except Exception as error:
        if not stopped_by_first_failures(study.stop_reason):
            raise
        notes = " ".join(error.__notes__)
        raise UserError(f"{type(error).__name__}: {error} ({notes})", NO_RESULT) from error
    records = study.trials
    complete = [trial for trial in records if trial.status.name == "COMPLETE"]
    failed = sum(trial.status.name == "FAILED" for trial in records)
    say(f"study {study.name!r}: {len(records)} trials, {failed} failed; {study.stop_reason}")
    if not complete:
        reason = most_frequent_reason(failure_reasons(records))
        raise UserError(f"no trial has a finite value; most failed because: {reason}", NO_RESULT)
    best = complete if len(study.directions) == 1 else study.best_trials
    print_trials(study.name, study.direction, _flat_rows(study, best), 5)
    say(f"all trials: jaxhpo best {where} --format csv")


def _flat_rows(study: Any, trials: list[Any]) -> list[tuple[int, float, dict[str, Any]]]:
    flat = study.space.flatten_params
    return [(trial.number, trial.value, flat(trial.params)) for trial in trials]
