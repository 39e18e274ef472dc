"""Fold by fold through joblib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from joblib.parallel import get_active_backend
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.utils.parallel import Parallel, delayed

from jaxhpo.integrations.sklearn._task import Params, Records, Task


class FoldFit(NamedTuple):
    """One fit.

    Attributes:
        number: the candidate's, for what is printed.
        params: the candidate's parameters.
        fold: the fold.
        train: rows to train on; None for those of the fold.
    """

    number: int
    params: Params
    fold: int
    train: np.ndarray | None = None


class JobFolds:
    """Fits any estimator, a job per fold; the workers never hear of JAX."""

    def __init__(self, task: Task, parallel: Parallel, total: int, verbose: int) -> None:
        """Takes up what all fits share.

        Args:
            task: what is fitted.
            parallel: joblib's workers.
            total: candidates in all, for what is printed.
            verbose: how much scikit-learn prints.
        """
        self._task, self._parallel, self._total = task, parallel, total
        self._settings = {
            "scorer": task.scorer,
            "fit_params": task.fit_params,
            "score_params": task.score_params,
            "error_score": task.error_score,
            "return_train_score": task.return_train_score,
            "return_n_test_samples": True,
            "return_times": True,
            "verbose": verbose,
        }

    def run(
        self, candidates: Sequence[Params], folds: Sequence[int], numbers: Sequence[int]
    ) -> list[Records]:
        """Evaluates candidates on some of the folds.

        Args:
            candidates: parameters of each.
            folds: which folds.
            numbers: of the candidates, for what is printed.

        Returns:
            One list per candidate, of one record per fold.
        """
        numbered = zip(numbers, candidates, strict=True)
        flat = self.fit([FoldFit(number, one, fold) for number, one in numbered for fold in folds])
        size = len(folds)
        return [flat[i * size : (i + 1) * size] for i in range(len(candidates))]

    def fit(self, fits: Sequence[FoldFit]) -> Records:
        """Runs any fits, a job each.

        Returns:
            One record per fit.
        """
        task = self._task
        found: list[Any] = self._parallel(
            delayed(_fit_and_score)(
                clone(task.estimator),
                task.X,
                task.y,
                train=task.splits[one.fold][0] if one.train is None else one.train,
                test=task.splits[one.fold][1],
                parameters=one.params,
                split_progress=(one.fold, task.num_folds),
                candidate_progress=(one.number, self._total),
                **self._settings,
            )
            for one in fits
        )
        return found


def check_backend(where: str) -> None:
    """Refuses joblib's "multiprocessing", which forks a process in which JAX has threads."""
    name = type(get_active_backend()[0]).__name__
    if name == "MultiprocessingBackend":
        raise ValueError(
            f"{where}: joblib's backend must be one that does not fork, such as 'loky' or "
            "'threading', because a fork of a process in which JAX runs may hang, "
            "got 'multiprocessing'."
        )
