"""The protocol that every scheduler keeps: who trains on, up to where, and from whose state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxhpo._base import Array, PyTree, Record, bind

if TYPE_CHECKING:
    from jaxhpo.space import Space


class Job(NamedTuple):
    """What to train next: `q` pieces of trials, in the order of their urgency.

    Attributes:
        trial: `[q]` int32 numbers of the trials; -1 means "no job", and such rows stand last. A
            known trial goes on from where it stands, a new one starts.
        unit: `[q, d]` the trials' points in the unit cube; NaN where there is no job. Zero columns
            where the caller holds the points. A trial's point may differ from the one before.
        parent: `[q]` int32 trials whose state the piece starts from; other than `trial`: from a
            copy of that one's, as it is when the job is handed out.
        level: `[q]` int32 the step to train up to; the value there is what `tell` takes.
    """

    trial: Array
    unit: Array
    parent: Array
    level: Array


class Scheduler(NamedTuple):
    """Three pure functions: to jobs what a `Sampler` is to points.

    Like a sampler it is a pytree, an argument of `jit` and `vmap`. Its state has a field `table`, a
    `Table`, from which whoever runs the jobs reads the levels that there are and what has become of
    each trial. A rule whose state has a field `gradient`, `[n, d]`, is told outcomes with the
    gradient of the value by the unit cube: through the steps since the job began, from a fixed
    state on; zero where a coordinate is discrete.

    Attributes:
        init: `init(key) -> state`.
        ask: `ask(key, state) -> (state, job)`; the trials of the job become running.
        tell: `tell(key, state, job, outcome) -> (state, info)`: the values `[q]` at the jobs'
            levels, rows in any order, any part of what was asked. Rows of trial -1 are ignored, and
            so is what is told a second time, at no level, or of a trial that has ended.
        space: whose points the units are, of a rule that makes new ones; None: it hands out those
            that it was given.
    """

    init: Callable[..., Any]
    ask: Callable[..., Any]
    tell: Callable[..., Any]
    space: Space | None = None


class TellInfo(Record):
    """What a tell has brought about.

    Attributes:
        status: `[]` int32, `Status.EMPTY` if all trials have ended, else `Status.RUNNING`.
        num_promoted: `[]` int32 trials that it let go on.
        num_stopped: `[]` int32 trials that it ended early, failed ones not counted.
    """

    status: Array
    num_promoted: Array
    num_stopped: Array


def make_scheduler(
    settings: PyTree,
    init: Callable[..., Any],
    ask: Callable[..., Any],
    tell: Callable[..., Any],
    *,
    name: str = "",
    space: Space | None = None,
) -> Scheduler:
    """Binds three module-level functions to one settings pytree, as `make_sampler` does.

    Args:
        settings: a registered dataclass; it becomes the first argument of each function.
        init: `init(settings, key) -> state`.
        ask: `ask(settings, key, state) -> (state, job)`.
        tell: `tell(settings, key, state, job, outcome) -> (state, info)`.
        name: what the scheduler is called; the name of the module of `ask` if empty. Static.
        space: whose points it makes new ones of, or None.

    Returns:
        The scheduler.
    """
    first, second, third = bind(settings, "Scheduler", name, init=init, ask=ask, tell=tell)
    return Scheduler(first, second, third, space)
