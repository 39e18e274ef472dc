"""A study of Optuna's as one of ours."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import optuna

from jaxhpo import _checks
from jaxhpo.ask_tell import padded_size
from jaxhpo.integrations.optuna._params import params_of
from jaxhpo.space import Space
from jaxhpo.space import from_optuna as space_from_optuna
from jaxhpo.study import Study
from jaxhpo.study.internal import (
    CONSTRAINTS_ATTR,
    build_rows,
    status_of,
    store_rows,
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
