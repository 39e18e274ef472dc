"""What can become of a trial: a number for compiled code, a sentence for a person."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """The state of one trial row.

    Compiled code stores the integer; `explain` gives the sentence.
    """

    EMPTY = 0
    COMPLETE = 1
    FAILED = 2
    PRUNED = 3
    INFEASIBLE = 4
    RUNNING = 5
    WAITING = 6


_SENTENCES = {
    Status.EMPTY: (
        "no trial: the sampler had no further point. Every configuration of a discrete space has "
        "been tried, or the space's constraints left no feasible point to be found."
    ),
    Status.COMPLETE: "the trial ended with a finite value.",
    Status.FAILED: (
        "the value was NaN or infinite. Likely causes: a learning rate that lets training diverge, "
        "an overflow in the loss, or an objective that raised. The trial is counted, is never the "
        "best, and changes no other trial."
    ),
    Status.PRUNED: "the trial was stopped early because others at the same step were better.",
    Status.INFEASIBLE: "the value is finite, but a constraint was violated (violation > 0).",
    Status.RUNNING: "the trial has been handed out and its value has not come back.",
    Status.WAITING: "the trial has been enqueued and has not begun.",
}


def explain(status: int | Status) -> str:
    """Says in words what a status code means, its likely causes and remedies.

    Args:
        status: a `Status` or its integer.

    Returns:
        One or more sentences.

    Example:
        >>> explain(1)
        'the trial ended with a finite value.'
    """
    return _SENTENCES[Status(status)]
