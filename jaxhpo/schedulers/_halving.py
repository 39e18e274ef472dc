"""Successive halving: all trials start, and at every rung the worse part stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxhpo._checks.suggest import named_arguments
from jaxhpo.schedulers._levels import check_arguments
from jaxhpo.schedulers._protocol import Scheduler
from jaxhpo.schedulers._rungs import synchronous


@named_arguments
def halving(
    num_trials: int,
    num_steps: int,
    *,
    eta: int = 2,
    first_rung: int | None = None,
    levels: Sequence[int] | None = None,
    unit: Any = None,
    batch_size: int | None = None,
) -> Scheduler:
    """Successive halving, resumed: of `m` trials at a rung the best `max(1, m // eta)` go on.

    Take it for a population whose early losses say something of the late ones; where it is not
    known from which step on they do, take `hyperband`. With the defaults a sweep takes an eighth of
    the steps. A rung is judged once all its trials have been told. Ties go to the lower number; a
    failed or infeasible trial never goes on, so that a rung at which all fail is the last.

    Args:
        num_trials: trials in all; static.
        num_steps: steps of a trial that is never stopped; static.
        eta: one of how many trials goes on; static.
        first_rung: step of the first rung; the next ones are at `eta` times the one before. None:
            a 27th of `num_steps`.
        levels: the steps of all rungs instead, increasing, the last one `num_steps`.
        unit: `[n, d]` points of the trials in the unit cube, for a caller that does not hold them.
        batch_size: jobs of one `ask`; all trials if None. Static.

    Returns:
        The scheduler.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range, or levels that do not increase up to `num_steps`.

    Example:
        >>> import jax.numpy as jnp, jaxhpo as hpo
        >>> scheduler = hpo.schedulers.halving(4, 8, first_rung=2)
        >>> state, job = scheduler.ask(0, scheduler.init(0))
        >>> outcome = hpo.Outcome(jnp.array([0.3, 0.1, jnp.nan, 0.2]))
        >>> state, info = scheduler.tell(0, state, job, outcome)
        >>> scheduler.ask(0, state)[1].trial
        Array([ 1,  3, -1, -1], dtype=int32)

    References:
        Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
        optimization", 2016, https://arxiv.org/abs/1502.07943.
    """
    arguments = check_arguments(
        "halving", num_trials, num_steps, eta, first_rung, 27, levels, unit, batch_size
    )
    return synchronous(
        "halving", arguments, np.zeros(len(arguments.unit), np.int32), np.zeros(1, np.int32)
    )
