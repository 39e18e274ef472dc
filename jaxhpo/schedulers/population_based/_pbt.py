"""Population-based training: losers go on from copies of winners, with other hyperparameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, setting
from jaxhpo._checks.suggest import named_arguments
from jaxhpo.schedulers._protocol import Job, Scheduler, TellInfo, make_scheduler
from jaxhpo.schedulers._table import record, told
from jaxhpo.schedulers.population_based._descent import default_intervals, descent
from jaxhpo.schedulers.population_based._exploit import exploit
from jaxhpo.schedulers.population_based._explore import explore as moved_aside
from jaxhpo.schedulers.population_based._explore import real_columns
from jaxhpo.schedulers.population_based._population import (
    PbtSettings,
    PbtState,
    ask,
    check_population,
    go_on,
    groups_of,
    init,
    make_steps,
    round_of,
    values_at,
)
from jaxhpo.space import Space


@named_arguments
def pbt(
    num_trials: int,
    num_steps: int,
    *,
    space: Space,
    interval: int | None = None,
    levels: Sequence[int] | None = None,
    intervals: Sequence[int] | None = None,
    factors: tuple[float, float] = (0.8, 1.25),
    resample: float | None = None,
    explore: str = "random",
    unit: Any = None,
    batch_size: int | None = None,
) -> Scheduler:
    """Population-based training: hyperparameters change while the trials train.

    All trials train side by side. Every `interval` steps the worst quarter goes on from copies of
    the states of the best quarter, with hyperparameters beside theirs: each value is multiplied by
    a power of 0.8 or of 1.25, in one step of the usual size from 40 rounds on and in larger ones
    where there are fewer. So the best trial has followed a schedule, which is what a constant
    cannot be. A failed trial copies a winner too.

    In long runs the lowest loss now is no sign of the lowest in the end: a learning rate that falls
    always pays at once. So from 80 rounds on a part of the population decides only every second,
    fifth or tenth time, while its parts keep 40 decisions and 8 trials each. States pass between
    the parts, points from the patient to the hasty only.

    Every dimension moves in its own terms. Of positive numbers the value is multiplied, on linear
    and logarithmic scales; numbers that may be negative, and ordered options, move by a tenth of
    their range; whole numbers and options by one at least. Categories are only drawn anew. All
    stay within the space. Static values never change, and copies are made among trials that share
    them. Parameters of a branch that is not chosen wait, and are drawn when it is.

    With `explore="hypergradient"` a sweep also differentiates the loss at the end of each interval
    through its steps, from the state at its start on. Every trial, not only who copies, then moves
    each continuous hyperparameter down its slope, by a fixed part of the unit interval whose sum
    over the run is 0.7: however misleading the slopes are, no value can run away at once. Copies
    are made four times only, and other hyperparameters move as they are made. The derivative is
    taken forward, in a second run of each interval: time and memory grow with the number of
    continuous hyperparameters, and the memory not with the length of the interval.

    Take it for training runs that a schedule helps, with 8 trials or more; where a constant will
    do, `halving` takes far fewer steps.

    Args:
        num_trials: trials, all of which train to the end; at least 4; static.
        num_steps: steps of each; static.
        space: of the points.
        interval: steps between two decisions; None: a 40th of `num_steps`. Static.
        levels: the steps of all decisions instead, increasing, the last one `num_steps`.
        intervals: sub-populations, of which each decides every so many rounds, increasing; None
            chooses them by the number of rounds. Static length.
        factors: of a value that falls, and of one that rises; traced.
        resample: probability that a coordinate is drawn anew; None: a quarter in ten rounds, and
            falling with the square of their number. Traced.
        explore: "random"; or "hypergradient", where continuous hyperparameters follow the gradient
            of the loss through the last interval. Static.
        unit: `[n, d]` points to begin with; None: drawn from the space.
        batch_size: jobs of one `ask`; all trials if None. Static.

    Returns:
        The scheduler, whose jobs have a `parent` other than the trial where a state is copied.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range, fewer than 4 trials, fewer steps than an interval, or
            "hypergradient" for a space without a continuous dimension.

    Example:
        >>> import jax.numpy as jnp, jaxhpo as hpo
        >>> space = hpo.Space({"lr": hpo.log_uniform(1e-4, 1.0)})
        >>> scheduler = hpo.schedulers.pbt(4, 100, space=space, interval=10)
        >>> state, job = scheduler.ask(0, scheduler.init(0))
        >>> outcome = hpo.Outcome(jnp.array([0.3, 0.1, jnp.nan, 0.2]))
        >>> state, info = scheduler.tell(0, state, job, outcome)
        >>> job = scheduler.ask(0, state)[1]
        >>> job.trial, job.parent
        (Array([2, 0, 1, 3], dtype=int32), Array([1, 0, 1, 3], dtype=int32))

    References:
        Jaderberg et al., "Population based training of neural networks", 2017,
        https://arxiv.org/abs/1711.09846.
        Doulazmi et al., "Multiple-frequencies population-based training", 2025,
        https://arxiv.org/abs/2506.03225.
    """
    _checks.check_choice("pbt", "explore", explore, ("random", "hypergradient"))
    settings = check_population(
        "pbt", num_trials, num_steps, space, interval, levels, intervals, unit, batch_size
    )
    steps = make_steps("pbt", len(settings.levels), factors, resample)
    settings = dataclasses.replace(settings, steps=steps)
    if explore == "hypergradient":
        if not real_columns(settings.space).any():
            expected = "one with a continuous dimension, which alone has a slope to follow"
            raise _checks.fail("pbt", "space", expected, space)
        if intervals is None:
            every = setting(default_intervals(len(settings.levels)), jnp.int32)
            settings = dataclasses.replace(settings, interval=every)
        return descent(settings)
    return make_scheduler(settings, init, ask, _tell, name="pbt", space=settings.space)


def _tell(
    settings: PbtSettings, key: Array, state: PbtState, job: Job, outcome: Outcome
) -> tuple[PbtState, TellInfo]:
    """Writes values down, and decides once those of the whole round are there."""
    before = state.table
    table = record("pbt", before, job, outcome)
    number, is_over = round_of(table)
    copies = exploit(groups_of(settings, table.unit), values_at(table, number), number)
    unit = moved_aside(settings.space, settings.steps, key, table.unit[copies.point])
    state = go_on(state, table, copies, unit, number, is_over)
    return state, told(before, state.table)
