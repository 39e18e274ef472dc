"""Which candidates are not worth their last folds."""

from __future__ import annotations

import math

import numpy as np

# Complete candidates needed before any is stopped: their spread says what chance can do.
_MIN_COMPLETE = 3
# Standard errors by which a candidate must be behind.
_MARGIN = 2.0


class Stopper:
    """Stops candidates that are hopeless after their first folds.

    Folds differ in difficulty, so a candidate is compared with the best one on the same folds. With
    d the mean of the differences on the k folds seen, and s the spread of such differences from
    fold to fold over all complete candidates, it is stopped if d > 2 s / √k. Three candidates at
    least run in full before that.
    """

    def __init__(self, after: int) -> None:
        """Starts without candidates.

        Args:
            after: folds after which to decide.
        """
        self.after = after
        self._complete: list[np.ndarray] = []

    def add(self, scores: np.ndarray) -> None:
        """Takes note of a complete candidate's scores, `[folds]`."""
        if np.isfinite(scores).all():
            self._complete.append(np.asarray(scores))

    def judge(self, scores: np.ndarray) -> float | None:
        """Decides about one candidate.

        Args:
            scores: `[k]` of its first folds.

        Returns:
            None if it goes on; else the mean over all folds to expect of it, from the best
            candidate's mean and the difference on the folds seen. A candidate whose fit failed
            stops with NaN.
        """
        if not np.isfinite(scores).all():
            return math.nan
        if len(self._complete) < _MIN_COMPLETE:
            return None
        table = np.stack(self._complete)
        best = table[np.argmax(table.mean(axis=1))]
        gaps = best - table
        spread = gaps - gaps.mean(axis=1, keepdims=True)
        # The best's own row is zero and tells nothing.
        freedom = (len(table) - 1) * (table.shape[1] - 1)
        error = math.sqrt(float(np.sum(spread**2)) / freedom / len(scores))
        gap = float(np.mean(best[: len(scores)] - scores))
        return None if gap <= _MARGIN * error else float(best.mean() - gap)
