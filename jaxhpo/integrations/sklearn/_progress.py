"""What a search tells while it runs, and what it calls its values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jaxhpo.integrations.sklearn._task import Candidate
from jaxhpo.progress import Progress, Reporter, make_reporter


def reporter_of(sampler: Any, verbose: int, missing: int) -> Reporter:
    """What tells how far a search is; from `verbose=2` on scikit-learn's own lines do.

    Args:
        sampler: a name, or a function of a space.
        verbose: as in scikit-learn.
        missing: candidates to come.
    """
    title = f"SearchCV({sampler!r})" if isinstance(sampler, str) else "SearchCV"
    note = "the sampler is compiled first"
    return make_reporter("SearchCV", verbose == 1, title, missing, unit="candidates", note=note)


def progress_of(found: Sequence[Candidate], known: int, total: int) -> Progress:
    """Where a search stands that began with `known` candidates."""
    values = [candidate.value for candidate in found]
    finite = [value for value in values if math.isfinite(value)]
    failed = sum(not math.isfinite(value) for value in values[known:])
    return Progress(len(found) - known, total - known, max(finite, default=None), failed)


def metric_name(scoring: Any, metric: Any) -> str:
    """What the values of a search are called.

    Args:
        scoring: as the user gave it.
        metric: the one of several that the sampler follows.
    """
    if isinstance(scoring, str):
        return scoring
    if callable(scoring):
        function = getattr(scoring, "_score_func", scoring)
        return str(getattr(function, "__name__", metric))
    return metric if isinstance(metric, str) else "score"
