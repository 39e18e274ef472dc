"""What all fits of a search have in common, and what a candidate is worth after them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Params = dict[str, Any]
Records = list[dict[str, Any]]
"""One record per fold, as scikit-learn's `_fit_and_score` gives it."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One evaluated candidate.

    Attributes:
        params: for `set_params`.
        records: one per fold, those of folds that it did not see left out.
        value: what the sampler was told.
    """

    params: Params
    records: Records
    value: float


@dataclasses.dataclass(frozen=True)
class Task:
    """What a fit works on.

    Attributes:
        estimator: unfitted; it is cloned for each fit.
        X: `[n, p]` data.
        y: targets or None.
        splits: rows to train on and to test on, one pair a fold.
        fit_params: what `fit` gets besides, by name.
        scorer: scikit-learn's, of one metric or several.
        score_params: what the scorer gets besides, by name.
        metric: name of the one of several metrics that the sampler follows; any other object stands
            for the first.
        error_score: score of what cannot be scored, or "raise".
        return_train_score: whether to score the training rows too.
    """

    estimator: Any
    X: Any
    y: Any
    splits: Sequence[tuple[np.ndarray, np.ndarray]]
    fit_params: Mapping[str, Any]
    scorer: Any
    score_params: Mapping[str, Any]
    metric: Any
    error_score: Any
    return_train_score: bool

    @property
    def num_folds(self) -> int:
        """Fits of a candidate that is not stopped."""
        return len(self.splits)

    def scores(self, records: Records) -> np.ndarray:
        """`[folds]` what the sampler follows; NaN where a fit failed."""
        return np.asarray([self._score(record) for record in records], np.float64)

    def evaluated(self, params: Params, records: Records) -> Candidate:
        """A candidate with its mean score."""
        return Candidate(params, records, float(np.mean(self.scores(records))))

    def _score(self, record: Mapping[str, Any]) -> float:
        if record.get("fit_error"):
            return np.nan
        score = record["test_scores"]
        if isinstance(score, Mapping):
            score = score.get(self.metric, next(iter(score.values())))
        return float(score)
