"""The table `cv_results_` of evaluated candidates."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _warn_or_raise_about_fit_failures,
)

from jaxhpo.integrations.sklearn._task import Candidate, Records


def tabulate(search: BaseSearchCV, found: Sequence[Candidate]) -> tuple[dict[str, Any], Any]:
    """Makes the columns as scikit-learn does.

    Args:
        search: the search, whose `n_splits_` is set.
        found: its candidates, one at least.

    Returns:
        The columns, and the scores of the first fit: a number, or a dict of several.

    Raises:
        ValueError: all fits failed.
    """
    num_folds = search.n_splits_
    records = [record for one in found for record in filled(one.records, num_folds)]
    _warn_or_raise_about_fit_failures(records, search.error_score)
    if callable(search.scoring):
        _insert_error_scores(records, search.error_score)
    seen = [len(one.records) for one in found]
    more = {} if search.stop_after_folds is None else {"num_folds": seen}
    if search.scheduler is not None:
        more["n_resources"] = [one.records[-1]["n_resources"] for one in found]
    with warnings.catch_warnings():
        if min(seen) < num_folds:  # the NaN of a fold that was left out is no news
            warnings.filterwarnings("ignore", "One or more of the (test|train) scores")
        params = [one.params for one in found]
        columns = search._format_results(params, num_folds, records, more)
    if search.scheduler is not None:
        _rank_by_resources(columns)
    return dict(columns), records[0]["test_scores"]


def _rank_by_resources(columns: dict[str, Any]) -> None:
    """Ranks candidates that got more before those that got less: their scores do not compare."""
    most = np.asarray(columns["n_resources"])
    for name in [name for name in columns if name.startswith("rank_test_")]:
        score = np.asarray(columns[name.replace("rank", "mean", 1)], float)
        worth = np.where(np.isnan(score), -np.inf, score)
        ahead = (most[None] > most[:, None]) | (
            (most[None] == most[:, None]) & (worth[None] > worth[:, None])
        )
        columns[name] = (1 + ahead.sum(axis=1)).astype(np.int32)


def filled(records: Records, num_folds: int) -> Records:
    """Adds records for the folds that a stopped candidate did not see: no score, mean times."""
    filler = dict(records[-1], fit_error=None)
    for key in filler.keys() & {"test_scores", "train_scores"}:
        scores = filler[key]
        filler[key] = dict.fromkeys(scores, math.nan) if isinstance(scores, dict) else math.nan
    for key in ("fit_time", "score_time"):
        filler[key] = float(np.mean([record[key] for record in records]))
    return records + [dict(filler) for _ in range(num_folds - len(records))]
