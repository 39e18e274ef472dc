"""Hyperband: brackets of successive halving that differ in how early they begin to stop trials."""

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
def hyperband(
    num_trials: int,
    num_steps: int,
    *,
    eta: int = 3,
    first_rung: int | None = None,
    levels: Sequence[int] | None = None,
    unit: Any = None,
    batch_size: int | None = None,
    sampler: Any = None,
    space: Space | None = None,
) -> Scheduler:
    """Hyperband: `halving` in brackets, the first of which begins at the first rung.

    Take it where it is not known from which step on a loss tells good trials from bad: bracket `b`
    stops none before rung `b`, and the last one none at all. A bracket with `s` cuts gets trials in
    proportion to `eta^s / (s + 1)`, so that all brackets take about the same steps; the first
    trials are in the first bracket. With few trials the last brackets may be empty.

    Args:
        num_trials: trials in all brackets; static.
        num_steps: steps of a trial that is never stopped; static.
        eta: one of how many trials goes on; static.
        first_rung: step of the first rung; the next ones are at `eta` times the one before. None:
            an 81st of `num_steps`, which is five brackets.
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
        >>> import jaxhpo as hpo
        >>> scheduler = hpo.schedulers.hyperband(143, 81)
        >>> scheduler.init(0).table.levels
        Array([ 1,  3,  9, 27, 81], dtype=int32)

    References:
        Li et al., "Hyperband: a novel bandit-based approach to hyperparameter optimization", 2018,
        https://arxiv.org/abs/1603.06560, algorithm 1.
    """
    arguments = check_arguments(
        "hyperband", num_trials, num_steps, eta, first_rung, 81, levels, unit, batch_size, sampler
    )
    count = len(arguments.levels)
    sizes = bracket_sizes(len(arguments.unit), count, arguments.eta)
    bracket = np.repeat(np.arange(count, dtype=np.int32), sizes)
    first = np.arange(count, dtype=np.int32)
    # A sampler is to learn from one bracket what it proposes for the next.
    rule = synchronous("hyperband", arguments, bracket, first, in_turn=sampler is not None)
    if sampler is None:
        return rule
    each = [rung_counts(size, count, eta, b) for b, size in enumerate(sizes)]
    counts = [sum(one) for one in zip(*each, strict=True)]
    steps = expected_steps(counts, arguments.levels)
    given = None if unit is None else arguments.unit
    settings = (sampler, space, given, arguments.batch_size, steps, num_steps)
    return proposing("hyperband", rule, *settings)


def bracket_sizes(num_trials: int, num_brackets: int, eta: int) -> list[int]:
    """Trials of each bracket: in proportion, the largest remainders rounded up.

    Args:
        num_trials: trials in all.
        num_brackets: brackets; bracket `b` has `num_brackets - 1 - b` cuts.
        eta: one of how many goes on.

    Returns:
        The sizes, which add up.
    """
    cuts = np.arange(num_brackets - 1, -1, -1)
    share = float(eta) ** (cuts - cuts[0]) / (cuts + 1)
    exact = num_trials * share / share.sum()
    sizes = np.floor(exact).astype(int)
    rounded_up = np.argsort(sizes - exact, kind="stable")[: num_trials - sizes.sum()]
    sizes[rounded_up] += 1
    return [int(size) for size in sizes]
