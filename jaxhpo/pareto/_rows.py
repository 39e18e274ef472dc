"""The front of many rows on the host, where a set that grows compiles nothing."""

from __future__ import annotations

import numpy as np


def front_rows(value: np.ndarray) -> np.ndarray:
    """Rows that no other row dominates, in lexicographic order; of equal rows all or none.

    Args:
        value: `[n, m]` finite values, minimised.

    Returns:
        `[k]` numbers of rows.

    Example:
        >>> front_rows(np.array([[2.0, 1.0], [1.0, 2.0], [2.0, 2.0]])).tolist()
        [1, 0]
    """
    front: list[int] = []
    # In lexicographic order nothing dominates what comes before it.
    for i in np.lexsort(value.T[::-1]):
        rows = value[front]
        no_worse = (rows <= value[i]).all(axis=1)
        if not (no_worse & (rows < value[i]).any(axis=1)).any():
            front.append(int(i))
    return np.asarray(front, np.int64)
