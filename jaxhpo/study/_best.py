"""Which trials of a study are best: one of them, or a front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxhpo._direction import Direction, directions_of, is_better, to_minimized
from jaxhpo._status import Status
from jaxhpo.pareto.internal import front_rows
from jaxhpo.study._trial import Trial, as_tuple
from jaxhpo.study.running._failures import failure_reasons, most_frequent_reason


def best_of(trials: Sequence[Trial], direction: Direction, name: str) -> Trial:
    """The complete trial with the best value; see `Study.best`."""
    if isinstance(direction, tuple):
        raise ValueError(
            f"Study.best: `direction` must be one direction, because no trial is best in "
            f"{len(direction)} objectives, got {direction}; use best_trials or pareto_front()."
        )
    best: tuple[float, Trial] | None = None
    for trial in trials:
        if trial.status is not Status.COMPLETE or not isinstance(trial.value, float):
            continue
        if is_better(trial.value, best[0] if best else None, direction):
            best = (trial.value, trial)
    if best is None:
        counts = {s.name.lower(): sum(t.status is s for t in trials) for s in Status}
        got = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        if reasons := failure_reasons(trials):
            got += f"; most frequent reason of failure: {most_frequent_reason(reasons)}"
        raise ValueError(
            f"Study.best: study {name!r} has no complete trial yet, got {got or 'no trial'}."
        )
    return best[1]


def front_of(trials: Sequence[Trial], direction: Direction) -> list[Trial]:
    """The complete trials that no complete one dominates; see `Study.best_trials`."""
    done = [trial for trial in trials if trial.status is Status.COMPLETE]
    if not done:
        return []
    value = to_minimized(values_of(done, direction), directions_of(direction))
    return [done[i] for i in sorted(front_rows(value))]


def values_of(trials: Sequence[Trial], direction: Direction) -> np.ndarray:
    """Values `[n, m]` in the user's sign; NaN where a trial has none."""
    m = len(directions_of(direction))
    rows = [(np.nan,) * m if t.value is None else as_tuple(t.value) for t in trials]
    return np.asarray(rows, np.float64).reshape(-1, m)
