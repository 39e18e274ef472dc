"""What can become of a trial: a number for compiled code, a sentence for a person."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp


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


def status_of_values(
    values: Iterable[float], violation: Iterable[float] = (), *, is_unknown: Status | None = None
) -> Status:
    """What became of an evaluated trial: here a trial becomes failed or infeasible.

    `status_of_rows` is the same rule in compiled code.

    Args:
        values: the value of each objective. One that is not finite: the trial has failed, whatever
            the violation.
        violation: how far each constraint is broken, infeasible where above 0.
        is_unknown: what a violation of NaN makes of the trial; infeasible if None.

    Returns:
        COMPLETE, FAILED or INFEASIBLE.

    Example:
        >>> status_of_values([1.0], [0.0, 0.5]).name, status_of_values([math.nan]).name
        ('INFEASIBLE', 'FAILED')
    """
    if not all(map(math.isfinite, values)):
        return Status.FAILED
    violation = tuple(violation)
    if is_unknown is not None and any(map(math.isnan, violation)):
        return is_unknown
    return Status.COMPLETE if all(one <= 0 for one in violation) else Status.INFEASIBLE


def status_of_rows(value: Any, violation: Any = None) -> Any:
    """`status_of_values` of rows `[n, m]` and `[n, c]` (or None): `[n]` int32 codes.

    Args:
        value: objective values.
        violation: constraint violations.
    """
    is_finite = jnp.isfinite(value).all(axis=1)
    is_met = True if violation is None else (violation <= 0).all(axis=1)
    judged = jnp.where(is_met, jnp.int32(Status.COMPLETE), jnp.int32(Status.INFEASIBLE))
    return jnp.where(is_finite, judged, jnp.int32(Status.FAILED))
