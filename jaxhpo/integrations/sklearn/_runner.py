"""Evaluates candidates: all folds of a batch as one program, or a job per fold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from jaxhpo.integrations._fold_stopper import Stopper
from jaxhpo.integrations.sklearn._folds import JobFolds
from jaxhpo.integrations.sklearn._jax_estimator import VmapFolds
from jaxhpo.integrations.sklearn._task import Candidate, Params, Records, Task


class Runner(Protocol):
    """What evaluates candidates."""

    def run(self, proposed: Sequence[Params], first: int) -> list[Candidate]:
        """Evaluates candidates.

        Args:
            proposed: parameters of each.
            first: number of the first one, for what is printed.
        """


class ProgramRunner:
    """Every candidate on every fold, trained side by side."""

    def __init__(self, task: Task, batch_size: int) -> None:
        """Takes the data up.

        Args:
            task: what is fitted; its estimator is a `JaxEstimator`.
            batch_size: candidates that a program takes.
        """
        self._task, self._folds = task, VmapFolds(task, batch_size)

    def run(self, proposed: Sequence[Params], first: int) -> list[Candidate]:
        """See `Runner`."""
        return list(map(self._task.evaluated, proposed, self._folds.run(proposed)))


class JobRunner:
    """A job per fold; a candidate that is hopeless after its first folds is spared the others."""

    def __init__(self, task: Task, folds: JobFolds, stopper: Stopper | None) -> None:
        """Takes up what evaluates.

        Args:
            task: what is fitted.
            folds: the workers.
            stopper: what decides after some folds; None fits them all.
        """
        self._task, self._folds, self._stopper = task, folds, stopper

    def run(self, proposed: Sequence[Params], first: int) -> list[Candidate]:
        """See `Runner`."""
        numbers = range(first, first + len(proposed))
        if self._stopper is None:
            seen = self._folds.run(proposed, range(self._task.num_folds), numbers)
            return list(map(self._task.evaluated, proposed, seen))
        seen = self._folds.run(proposed, range(self._stopper.after), numbers)
        return self._completed(self._stopper, proposed, seen, numbers)

    def _completed(
        self,
        stopper: Stopper,
        proposed: Sequence[Params],
        seen: Sequence[Records],
        numbers: Sequence[int],
    ) -> list[Candidate]:
        """Fits the other folds of the candidates whose first ones give hope."""
        expected = [stopper.judge(self._task.scores(records)) for records in seen]
        going = [i for i, value in enumerate(expected) if value is None]
        others = range(stopper.after, self._task.num_folds)
        rest = self._folds.run([proposed[i] for i in going], others, [numbers[i] for i in going])
        more = dict(zip(going, rest, strict=True))
        found = []
        for i, value in enumerate(expected):
            candidate = self._task.evaluated(proposed[i], seen[i] + more.get(i, []))
            found.append(
                candidate if value is None else dataclasses.replace(candidate, value=value)
            )
        update_stopper(stopper, self._task, found)
        return found


def update_stopper(stopper: Stopper, task: Task, candidates: Sequence[Candidate]) -> None:
    """Updates a stopper with the candidates that saw every fold."""
    for candidate in candidates:
        if len(candidate.records) == task.num_folds:
            stopper.add(task.scores(candidate.records))
