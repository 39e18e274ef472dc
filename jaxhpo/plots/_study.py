"""What a figure needs of a study: arrays in the user's sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxhpo import _checks


def is_study(value: Any) -> bool:
    """Whether a study was passed, open for writing or only to look at."""
    return all(hasattr(value, name) for name in ("trials", "directions", "to_optuna"))


def one_direction(where: str, study: Any) -> str:
    """The direction of a study of one objective.

    Raises:
        ValueError: it has several.
    """
    if len(study.directions) > 1:
        raise _checks.fail(where, "study", "one of a single objective", study.directions)
    direction: str = study.directions[0]
    return direction


def metrics_of(study: Any, others: Sequence[str]) -> tuple[str, ...]:
    """What a study's values are called; `others` where nobody has said so."""
    return tuple(getattr(study, "metric_names", None) or others)


def values_of(study: Any) -> np.ndarray:
    """`[n, m]` values of all trials, in order; NaN where one failed, broke a constraint or runs."""
    nothing = (np.nan,) * len(study.directions)
    rows = [t.values if t.status.name == "COMPLETE" else nothing for t in study.trials]
    return np.asarray(rows, np.float64).reshape(-1, len(study.directions))


def curves_of(study: Any) -> tuple[np.ndarray, np.ndarray]:
    """Curves `[n, r]` of the trials that have one, at all steps `[r]` that one of them was read."""
    curves = [trial.curve for trial in study.trials if trial.curve]
    steps = sorted({step for curve in curves for step in curve})
    rows = [[curve.get(step, np.nan) for step in steps] for curve in curves]
    return np.asarray(rows, np.float64).reshape(len(curves), len(steps)), np.asarray(steps)
