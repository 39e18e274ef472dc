"""Refuses jobs that nobody can run, or that would be run for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxhpo._checks import fail


class Standing(NamedTuple):
    """Where `n` trials stand, as whoever runs the jobs knows it.

    Attributes:
        levels: `[L]` steps of the table.
        steps: `[n]` steps that each has taken.
        has_ended: `[n]` bool.
        unit: `[n, d]` points, or None where no trial goes on from another one's state.
        kind: `[n]` which static values each has; trials copy among equals.
        may_move: whether points may change.
    """

    levels: Sequence[int]
    steps: np.ndarray
    has_ended: np.ndarray
    unit: np.ndarray | None = None
    kind: np.ndarray | None = None
    may_move: bool = False


def check_jobs(
    where: str,
    standing: Standing,
    trial: np.ndarray,
    parent: np.ndarray,
    level: np.ndarray,
    unit: np.ndarray | None = None,
) -> np.ndarray:
    """Checks the rows of a job.

    Args:
        where: the function that was given the scheduler, for errors.
        standing: where the trials stand.
        trial: `[k]` trials, of which none is -1.
        parent: `[k]` trials whose state each goes on from.
        level: `[k]` steps up to which.
        unit: `[k, d]` their points; needed where `standing` has points.

    Returns:
        `[k]` bool, whose point is another one than before.

    Raises:
        ValueError: the first row that is wrong, and what is.
    """
    n, copies = len(standing.steps), standing.unit is not None
    known, other = np.minimum(trial, n - 1), np.clip(parent, 0, n - 1)
    nothing = np.zeros(len(trial), bool)
    is_moved, leaves, mixes = nothing, nothing, nothing
    if standing.unit is not None and unit is not None:
        is_moved = np.any(unit != standing.unit[known], axis=1)
        leaves = is_moved & ~((unit >= 0) & (unit <= 1)).all(axis=1)
    if standing.kind is not None:
        mixes = standing.kind[known] != standing.kind[other]
    for is_wrong, expected, got in (
        (trial >= n, f"one whose jobs are of the trials 0 to {n - 1}", "trial {0}"),
        (
            np.bincount(known, minlength=n)[known] > 1,
            "one that hands out a trial once at a time",
            "a job with trial {0} twice",
        ),
        (
            nothing if copies else parent != trial,
            "one of which each trial goes on from its own state",
            "a job whose `parent` is another trial",
        ),
        (
            (parent != other) | ((parent != trial) & (standing.steps[other] == 0)),
            "one whose jobs copy trials that have begun",
            "a copy of trial {2}",
        ),
        (
            mixes,
            "one that copies among trials of the same static values",
            "a copy of trial {2} for trial {0}",
        ),
        (
            nothing if standing.may_move else is_moved,
            "one with a `space`, where it changes the points of trials",
            "another point for trial {0}",
        ),
        (leaves, "one whose points lie in the unit cube", "another point for trial {0}"),
        (
            ~np.isin(level, standing.levels) | (level <= standing.steps[other]),
            "one whose jobs go to a later level of its table",
            "a job of trial {0} to step {1}",
        ),
        (
            standing.has_ended[known],
            "one of which no trial goes on that has ended",
            "trial {0}",
        ),
    ):
        if is_wrong.any():
            row = int(np.argmax(is_wrong))
            found = got.format(trial[row], level[row], parent[row])
            raise fail(where, "scheduler", expected, found)
    return is_moved
