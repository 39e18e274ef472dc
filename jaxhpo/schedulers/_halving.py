"""Successive halving: all trials start, and at every rung the worse part stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo._checks.suggest import named_arguments
from jaxhpo.schedulers._levels import check_arguments
from jaxhpo.schedulers._proposals import expected_steps, proposing, rung_counts
from jaxhpo.schedulers._protocol import Scheduler
from jaxhpo.schedulers._rungs import synchronous

if TYPE_CHECKING:
    from jaxhpo.space import Space


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
    sampler: Any = None,
    space: Space | None = None,
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
        batch_size: jobs of one `ask`; all trials if None, or 8 with a `sampler`. Static.
        sampler: proposes the points of new trials: a name, or a sampler of `batch_size` points. It
            learns from the highest level that has more than `d` finite values, and as many as its
            own start-up takes. Until then, for a third of the trials, and where all together cost
            fewer than 16 whole ones, points are those of `unit`, or random. None: all are.
        space: the `Space` of the points, needed with a `sampler`.

    Returns:
        The scheduler.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range, levels that do not increase up to `num_steps`, or a
            sampler of another batch or that does not learn from values.

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
        "halving", num_trials, num_steps, eta, first_rung, 27, levels, unit, batch_size, sampler
    )
    one_bracket = np.zeros(len(arguments.unit), np.int32), np.zeros(1, np.int32)
    rule = synchronous("halving", arguments, *one_bracket)
    if sampler is None:
        return rule
    steps = expected_steps(rung_counts(num_trials, len(arguments.levels), eta), arguments.levels)
    given = None if unit is None else arguments.unit
    settings = (sampler, space, given, arguments.batch_size, steps, num_steps)
    return proposing("halving", rule, *settings)
