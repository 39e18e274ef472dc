"""Evenly spread directions of a simplex, for search in many objectives."""

from __future__ import annotations

import itertools

import numpy as np

from jaxhpo import _checks


def reference_directions(num_objectives: int, divisions: int) -> np.ndarray:
    """Lists all points of the unit simplex whose coordinates are multiples of 1 / `divisions`.

    Args:
        num_objectives: coordinates of a point.
        divisions: steps along each edge.

    Returns:
        `[k, num_objectives]`, k = C(divisions + num_objectives - 1, divisions); each row sums to 1.

    Raises:
        TypeError: an argument is no integer.
        ValueError: an argument is below 1.

    Example:
        >>> reference_directions(2, 2).tolist()
        [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]

    References:
        Das and Dennis, "Normal-boundary intersection", 1998,
        https://doi.org/10.1137/S1052623496307510.
    """
    m = _checks.check_count("reference_directions", "num_objectives", num_objectives, 1)
    h = _checks.check_count("reference_directions", "divisions", divisions, 1)
    # m - 1 bars among h stars: the gaps between the bars are the coordinates.
    chosen = list(itertools.combinations(range(h + m - 1), m - 1))
    bars = np.asarray(chosen, int).reshape(len(chosen), m - 1)
    ends = np.full((len(bars), 1), -1), np.full((len(bars), 1), h + m - 1)
    return (np.diff(np.concatenate([ends[0], bars, ends[1]], axis=1), axis=1) - 1) / h
