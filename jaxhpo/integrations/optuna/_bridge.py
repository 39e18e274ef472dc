"""Between our `Study` and Optuna's: their trials in ours, their pruners on our trials."""

from __future__ import annotations

import dataclasses
import logging
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna

from jaxhpo import _checks
from jaxhpo._status import Status
from jaxhpo.ask_tell import padded_size
from jaxhpo.integrations.optuna._params import params_of
from jaxhpo.space import Space
from jaxhpo.space import from_optuna as space_from_optuna
from jaxhpo.study import Study
from jaxhpo.study.internal import (
    CONSTRAINTS_ATTR,
    ObjectiveResult,
    build_rows,
    status_of,
    store_rows,
    to_objective_result,
)

logger = logging.getLogger("jaxhpo")


def import_study(
    study: Any,
    sampler: Any = None,
    *,
    space: Space | None = None,
    storage: Any = None,
    name: str | None = None,
    seed: int | None = None,
) -> Study:
    """Copies the ended trials of an Optuna study into a new `Study`, whose sampler knows them.

    A study in a database needs no copy where its parameters are always the same ones: open it with
    `Study(space, storage=url, name=name)` and go on.

    Args:
        study: Optuna's, of one objective or several.
        sampler: as in `Study`; None is "qmc" for one objective and "auto" for several.
        space: what is searched, with branches or without; a parameter of a branch goes by the last
            part of its path. None reads the space and its branches from the trials, as
            `space.from_optuna` does.
        storage: as in `Study`; None keeps the copy in memory.
        name: as in `Study`; None takes the same name.
        seed: as in `Study`.

    Returns:
        The study, with values, curves, constraints and times. Trials that do not lie in the space
        are left out, which a warning says.

    Raises:
        TypeError: `study` is no study of Optuna's.
        ValueError: no trial to read a space from, parameters that different trials drew from
            different distributions, or a sampler that does not take so many objectives.

    Example:
        >>> import optuna
        >>> from jaxhpo.integrations.optuna import import_study
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> theirs = optuna.create_study()
        >>> theirs.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=8)
        >>> import_study(theirs).best_value == theirs.best_value
        True
    """
    if not isinstance(study, optuna.Study):
        got = _checks.describe(study)
        raise TypeError(f"import_study: `study` must be an Optuna study, got {got}.")
    space = space_from_optuna(study) if space is None else space
    directions = [one.name.lower() for one in study.directions]
    name = name or study.study_name
    sampler = sampler or ("qmc" if len(directions) == 1 else "auto")
    copy = Study(space, sampler, storage=storage, name=name, seed=seed, direction=directions)
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    found = [(trial, params_of(space, trial.params)) for trial in ended]
    kept = [(trial, params) for trial, params in found if params is not None]
    if len(kept) < len(ended):
        logger.warning(
            "import_study: %d of %d trials do not lie in `space`",
            len(ended) - len(kept),
            len(ended),
        )
    if kept:
        _record(copy, kept)
    return copy


def _record(copy: Study, kept: list[tuple[optuna.trial.FrozenTrial, Any]]) -> None:
    """Writes the trials in one transaction, with their constraints."""
    trials = [trial for trial, _ in kept]
    values = np.asarray([_values(trial, len(copy.directions)) for trial in trials])
    status = [status_of(trial) for trial in trials]
    found = [list(trial.constraints.values()) for trial in trials]
    steps = sorted({step for trial in trials for step in trial.intermediate_values})
    curves = [[trial.intermediate_values.get(s, np.nan) for s in steps] for trial in trials]
    encoded = copy.space.encode([params for _, params in kept], np.float64)
    unit = np.asarray(copy.space.to_unit(encoded))
    rows = build_rows(
        "import_study",
        copy,
        unit,
        copy.space.decode(encoded),
        values if values.shape[1] > 1 else values[:, 0],
        status=status,
        seconds=[0.0 if t.duration is None else t.duration.total_seconds() for t in trials],
        curves=curves if steps else None,
        curve_steps=steps if steps else None,
    )
    rows = [
        dataclasses.replace(row, system_attrs={**row.system_attrs, CONSTRAINTS_ATTR: violation})
        if violation
        else row
        for row, violation in zip(rows, found, strict=True)
    ]
    store_rows(copy, rows, unit, padded_size(len(rows)))


def _values(trial: optuna.trial.FrozenTrial, count: int) -> list[float]:
    return [float(v) for v in trial.values] if trial.values else [np.nan] * count


def optimize_with_pruner(
    study: Study,
    objective: Callable[[Any, optuna.Trial], Any],
    *,
    pruner: Any,
    num_trials: int,
    catch: tuple[type[Exception], ...] = (Exception,),
) -> None:
    """Runs trials of a `Study` whose objective reports as it goes and may be pruned.

    Args:
        study: the study.
        objective: `objective(params, trial)`; `trial.report(value, step)`, `trial.should_prune()`
            and `raise optuna.TrialPruned` are Optuna's own. It returns what `Study.optimize` takes.
        pruner: any Optuna pruner.
        num_trials: how many more trials to run.
        catch: exceptions of the objective that count as failed trials; others are recorded and
            then raised.

    Raises:
        TypeError: an argument of a wrong type, or an objective that returns no number.

    Example:
        >>> import optuna, jaxhpo as hpo
        >>> from jaxhpo.integrations.optuna import optimize_with_pruner
        >>> def objective(params, trial):
        ...     for step in range(4):
        ...         trial.report(params["x"] + 1 / (step + 1), step)
        ...         if trial.should_prune():
        ...             raise optuna.TrialPruned
        ...     return params["x"]
        >>> study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=None)
        >>> pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
        >>> optimize_with_pruner(study, objective, pruner=pruner, num_trials=12)
        >>> {trial.status.name for trial in study.trials} == {"COMPLETE", "PRUNED"}
        True
    """
    where = "optimize_with_pruner"
    _checks.check_callable(where, "objective", objective)
    num_trials = _checks.check_int(where, "num_trials", num_trials, 0)
    if not isinstance(pruner, optuna.pruners.BasePruner):
        got = _checks.describe(pruner)
        raise TypeError(f"{where}: `pruner` must be an Optuna pruner, got {got}.")
    theirs = study.to_optuna()
    theirs.pruner = pruner
    study.stop_reason = None
    for _ in range(num_trials):
        asked = study.ask()
        if not asked or study.stop_reason:
            break
        handle = optuna.Trial(theirs, study._sampler._running[asked[0].number])
        result = _evaluate(objective, asked[0].params, handle)
        study._on_trials_ended(study._sampler.tell(asked, [result]))
        if result.is_misuse:
            raise TypeError(f"{where}: {result.reason}")
        if result.exception is not None and not isinstance(result.exception, tuple(catch)):
            raise result.exception


def _evaluate(objective: Callable[..., Any], params: Any, handle: optuna.Trial) -> ObjectiveResult:
    """One call; a pruned trial has the last reported value."""
    start = time.perf_counter()
    try:
        result = to_objective_result(objective(params, handle))
    except optuna.TrialPruned:
        last = handle.study.trials[handle.number]
        step = last.last_step
        value = None if step is None else last.intermediate_values[step]
        finite = value if value is not None and np.isfinite(value) else None
        result = ObjectiveResult(Status.PRUNED, finite)
    except Exception as exception:
        reason = f"{type(exception).__name__}: {exception}"
        error = traceback.format_exc()
        result = ObjectiveResult(Status.FAILED, reason=reason, error=error, exception=exception)
    return dataclasses.replace(result, seconds=time.perf_counter() - start)
