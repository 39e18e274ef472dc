"""Fold by fold through joblib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from joblib.parallel import get_active_backend
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.utils.parallel import Parallel, delayed

Candidate = dict[str, Any]
Records = list[dict[str, Any]]


class JobFolds:
    """Fits any estimator, a job a fold; the workers never hear of JAX."""

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        splits: Sequence[tuple[np.ndarray, np.ndarray]],
        parallel: Parallel,
        total: int,
        settings: dict[str, Any],
    ) -> None:
        """Takes up what all fits share.

        Args:
            estimator: unfitted; it is cloned.
            X: data.
            y: targets or None.
            splits: rows to train on and to test on, one pair a fold.
            parallel: joblib's workers.
            total: candidates in all, for what is printed.
            settings: further arguments of scikit-learn's `_fit_and_score`.
        """
        self._estimator, self._X, self._y, self._splits = estimator, X, y, splits
        self._parallel, self._total, self._settings = parallel, total, settings

    def run(
        self, candidates: Sequence[Candidate], folds: Sequence[int], numbers: Sequence[int]
    ) -> list[Records]:
        """Evaluates candidates on some of the folds.

        Args:
            candidates: parameters of each.
            folds: which folds.
            numbers: of the candidates, for what is printed.

        Returns:
            One list a candidate, of one record a fold.
        """
        flat = self._parallel(
            delayed(_fit_and_score)(
                clone(self._estimator),
                self._X,
                self._y,
                train=self._splits[fold][0],
                test=self._splits[fold][1],
                parameters=params,
                split_progress=(fold, len(self._splits)),
                candidate_progress=(number, self._total),
                **self._settings,
            )
            for number, params in zip(numbers, candidates, strict=True)
            for fold in folds
        )
        size = len(folds)
        return [list(flat[i * size : (i + 1) * size]) for i in range(len(candidates))]


def check_backend(where: str) -> None:
    """Refuses joblib's "multiprocessing", which forks a process in which JAX has threads."""
    name = type(get_active_backend()[0]).__name__
    if name == "MultiprocessingBackend":
        raise ValueError(
            f"{where}: joblib's backend must be one that does not fork, such as 'loky' or "
            "'threading', because a fork of a process in which JAX runs may hang, "
            "got 'multiprocessing'."
        )


def fill(records: Records, num_splits: int) -> Records:
    """Records for the folds that a stopped candidate did not see: no score, mean times."""
    filler = dict(records[-1], fit_error=None)
    for key in ("test_scores", "train_scores"):
        if key in filler:
            scores = filler[key]
            is_several = isinstance(scores, dict)
            filler[key] = {name: math.nan for name in scores} if is_several else math.nan
    for key in ("fit_time", "score_time"):
        filler[key] = float(np.mean([record[key] for record in records]))
    return records + [dict(filler) for _ in range(num_splits - len(records))]
