"""A study as the report needs it: plain numbers and texts, read once."""

from __future__ import annotations

import collections
import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo._direction import to_minimized
from jaxhpo.pareto.internal import front_rows
from jaxhpo.samplers.internal import traits_of

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

# The system attribute of a trial and the user attribute of a study in which `Study` keeps its own.
_OWN_ATTR = "jaxhpo"
# The system attributes of a trial that hold how long the compiler was waited for.
_COMPILE_ATTRS = (_OWN_ATTR, "jaxhpo_sweep")


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the report says, before it is drawn.

    Attributes:
        name: the study's name.
        directions: "minimize" or "maximize", one per objective.
        sampler: what proposed the trials, as far as the study knows; else empty.
        distributions: parameter name to its latest Optuna distribution.
        trials: all trials, in order of their numbers.
        done: those with finite values that break no constraint.
        value: `[n, m]` values of `done`, in the user's sign.
        front: those of `done` that no other dominates; the best one with a single objective.
        metrics: what the values are called, one name per objective.
    """

    name: str
    directions: tuple[str, ...]
    sampler: str
    distributions: dict[str, BaseDistribution]
    trials: list[FrozenTrial]
    done: list[FrozenTrial]
    value: np.ndarray
    front: list[FrozenTrial]
    metrics: tuple[str, ...]

    @property
    def signs(self) -> np.ndarray:
        """`[m]`, what to multiply values with to minimise them."""
        return to_minimized(np.ones(len(self.directions)), self.directions)

    @property
    def compile_seconds(self) -> float:
        """How long the study waited for the compiler."""
        found = [t.system_attrs.get(attr) for t in self.trials for attr in _COMPILE_ATTRS]
        waits = [own.get("compile_seconds") for own in found if isinstance(own, dict)]
        return float(sum(wait for wait in waits if isinstance(wait, int | float)))

    @property
    def is_single(self) -> bool:
        """Whether there is one objective."""
        return len(self.directions) == 1

    @property
    def is_blind(self) -> bool:
        """Whether the sampler pays no heed to values: its trials are then a random sample."""
        return traits_of(self.sampler.split("(")[0]).ignores_values

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials of each state, infeasible ones apart."""
        names = [
            "INFEASIBLE"
            if trial.state.name == "COMPLETE" and any(v > 0 for v in trial.constraints.values())
            else trial.state.name
            for trial in self.trials
        ]
        return dict(collections.Counter(names))

    @property
    def failures(self) -> list[tuple[str, int, int]]:
        """`(message, how often, first trial)` of what failed, the most frequent first."""
        numbers: dict[str, list[int]] = {}
        for trial in self.trials:
            if trial.state.name == "FAIL":
                reason = trial.user_attrs.get("reason") or trial.system_attrs.get("fail_reason")
                numbers.setdefault(str(reason or "no reason was recorded"), []).append(trial.number)
        rows = [(reason, len(found), found[0]) for reason, found in numbers.items()]
        return sorted(rows, key=lambda row: (-row[1], row[2]))

    @property
    def rungs(self) -> list[tuple[int, int, int, float, float]]:
        """Of each step at which trials were stopped early: how many reached it and stopped there.

        Then the best value of those that reached it, and the median, of a single objective.
        """
        curves = [trial.intermediate_values for trial in self.trials if trial.intermediate_values]
        stops = [
            max(trial.intermediate_values)
            for trial in self.trials
            if trial.state.name == "PRUNED" and trial.intermediate_values
        ]
        rows = []
        for step, count in sorted(collections.Counter(stops).items()):
            reached = sum(max(curve) >= step for curve in curves)
            losses = [curve[step] for curve in curves if math.isfinite(curve.get(step, math.nan))]
            best = min(losses) if self.directions[0] == "minimize" else max(losses)
            rows.append((step, reached, count, best, float(np.median(losses))))
        return rows

    def unit(self, num_dims: int) -> np.ndarray | None:
        """`[n, d]` unit points of `done` as `Study` stored them, or None if some have none."""
        own = [trial.system_attrs.get(_OWN_ATTR) for trial in self.done]
        rows = [item.get("unit") if isinstance(item, dict) else None for item in own]
        if not rows or any(row is None or len(row) != num_dims for row in rows):
            return None
        return np.asarray(rows, np.float64)


def facts_of(study: optuna.Study) -> Facts:
    """Reads a study.

    Args:
        study: any Optuna study; ours are too, by `Study.to_optuna`.

    Returns:
        The facts.
    """
    trials = study.get_trials(deepcopy=False)
    directions = tuple(direction.name.lower() for direction in study.directions)
    done = [trial for trial in trials if _is_done(trial)]
    value = np.asarray([trial.values for trial in done], np.float64).reshape(-1, len(directions))
    distributions: dict[str, Any] = {}
    for trial in trials:
        distributions.update(trial.distributions)
    own = study.user_attrs.get(_OWN_ATTR)
    sampler = str(own.get("sampler", "")) if isinstance(own, dict) else ""
    rows = front_rows(to_minimized(value, directions))
    # With one objective all that share the best value are on the front; the first one is shown.
    front = [done[i] for i in (rows[:1] if len(directions) == 1 else rows)]
    metrics = tuple(study.metric_names or _plain_names(len(directions)))
    return Facts(
        study.study_name, directions, sampler, distributions, trials, done, value, front, metrics
    )


def _plain_names(count: int) -> list[str]:
    return ["value"] if count == 1 else [f"objective {i}" for i in range(count)]


def _is_done(trial: FrozenTrial) -> bool:
    is_complete = trial.state.name == "COMPLETE" and bool(trial.values)
    return (
        is_complete
        and all(math.isfinite(value) for value in trial.values)
        and all(violation <= 0 for violation in trial.constraints.values())
    )
