"""Pattern search: the factory and its three functions."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Sampler, has_proposal, make_sampler, setting, static_field
from jaxhpo.samplers._parts._chunks import by_row, summed_violation
from jaxhpo.samplers._parts._fallback import GuardedSettings, GuardedState, make_guard
from jaxhpo.samplers._parts._pending import TellInfo, check_space
from jaxhpo.samplers._parts._same import SAME, are_same
from jaxhpo.samplers._parts._validation import checked_trials
from jaxhpo.samplers._traits import register
from jaxhpo.samplers.local import _pattern_poll as polls
from jaxhpo.samplers.local._pattern_poll import Poll, Shape
from jaxhpo.space import Space

_LEFT = 0.02
"""After a restart, points this near to where the last descent ended do not start the next."""


class PatternSettings(GuardedSettings):
    """Settings of `pattern`; space and steps are traced."""

    first_step: Array
    min_step: Array
    shape: Shape = static_field()
    num_startup: int = static_field()


class PatternState(GuardedState):
    """State of `pattern`.

    Attributes:
        poll: centre and steps of this descent. They say where its poll points are, so that of
            pending ones only a flag is kept.
        num_seen: `[]` int32 points told since this descent began that it may start from.
        left: `[d]` where the last descent ended; infinite in the first.
        num_restarts: `[]` int32.
    """

    poll: Poll
    num_seen: Array
    left: Array
    num_restarts: Array


class PatternInfo(TellInfo):
    """What `pattern` reports of a tell, besides `TellInfo`.

    Attributes:
        step: `[]` largest step of a coordinate, in units of the cube's edge.
        num_restarts: `[]` int32, descents that have ended.
    """

    step: Array
    num_restarts: Array


@register(resumes_exactly=False)
def pattern(
    space: Space,
    *,
    batch_size: int = 1,
    num_startup: int = 10,
    first_step: float = 0.25,
    min_step: float = 1e-5,
) -> Sampler:
    """Pattern search: from the best point, a step to either side of each coordinate.

    A better point becomes the centre, whoever proposed it, and the step that led there doubles. A
    coordinate of which both sides have failed gets a shorter one, and the bottom of the parabola
    through the three points is tried; two moves are added up to a third (Hooke and Jeeves's pattern
    move), of which each that succeeds is followed by one of twice its length. Of a categorical
    coordinate all other options are polled, and a discrete one moves by whole levels. When all
    steps are tiny, the search begins anew from the best of some random points. Poll points do not
    depend on each other, so they may be told in any order and batches cost little.

    When to use it: to refine what another sampler has found (`warm_start`, or as the last sampler
    of a study that goes on), and for cheap objectives of few dimensions without gradients.

    Args:
        space: the search space; its bounds may be traced.
        batch_size: static; rows of one `ask`.
        num_startup: static; points, random unless told, of which the best is where a descent
            starts; at least 1. A study that is warm-started with as many starts from its best.
        first_step: step of each coordinate at first, in units of the cube's edge; traced.
        min_step: step of a continuous coordinate below which it is done; traced.

    Returns:
        The sampler. Nothing is proposed twice, and on a finite space rows of NaN follow when it is
        used up.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-2.0, 3.0), "kind": ["a", "b", "c"]})
        >>> def objective(key, params):
        ...     return (params["x"] - 1.0) ** 2 + params["kind"].astype(float)
        >>> result = hpo.minimize(objective, space, "pattern", key=0, num_trials=60)
        >>> bool(result.best_value < 1e-3)
        True

    References:
        Hooke and Jeeves, "Direct search solution of numerical and statistical problems", 1961,
        https://doi.org/10.1145/321062.321069. Kolda, Lewis and Torczon, "Optimization by direct
        search", 2003, https://doi.org/10.1137/S003614450242889.
    """
    space = check_space("pattern", space)
    batch_size = _checks.check_count("pattern", "batch_size", batch_size, 1)
    num_startup = _checks.check_count("pattern", "num_startup", num_startup, 1)
    first_step = _checks.check_positive("pattern", "first_step", first_step)
    min_step = _checks.check_positive("pattern", "min_step", min_step)
    if not _checks.is_traced(first_step) and first_step > polls.LARGEST_STEP:
        raise _checks.fail("pattern", "first_step", f"at most {polls.LARGEST_STEP}", first_step)
    if not any(map(_checks.is_traced, (first_step, min_step))) and first_step < min_step:
        raise _checks.fail("pattern", "first_step", f"at least `min_step`, {min_step}", first_step)
    if not _checks.is_traced(min_step) and min_step < 2 * SAME:
        raise _checks.fail("pattern", "min_step", f"at least {2 * SAME}", min_step)
    dtype = jnp.result_type(float)
    settings = PatternSettings(
        space=space,
        guard=make_guard(space, keeps_account=True),
        first_step=setting(first_step, dtype),
        min_step=setting(min_step, dtype),
        shape=polls.shape_of(space),
        num_startup=num_startup,
        batch_size=batch_size,
    )
    return make_sampler(settings, _init, _ask, _tell, name="pattern")


def _init(settings: PatternSettings, key: Array) -> PatternState:
    zero, again = (jnp.zeros((), jnp.int32) for _ in range(2))
    left = jnp.full(settings.space.num_dims, jnp.inf, settings.first_step.dtype)
    poll = polls.first_poll(settings.shape, settings.first_step)
    return PatternState(settings.guard.init(key), poll, zero, left, again)


def _has_started(settings: PatternSettings, state: PatternState) -> Array:
    return (state.num_seen >= settings.num_startup) & jnp.isfinite(state.poll.value)


def _ask(settings: PatternSettings, key: Array, state: PatternState) -> tuple[PatternState, Array]:
    def row(state: PatternState, key: Array) -> tuple[PatternState, Array]:
        key_poll, key_start = jax.random.split(key)
        poll, unit = _next(settings, key_poll, state)
        known, unit = settings.guard.settle(state.known, key_start, unit)
        return dataclasses.replace(state, poll=poll, known=known), unit

    return by_row(row, state, key, settings.batch_size)


def _next(settings: PatternSettings, key: Array, state: PatternState) -> tuple[Poll, Array]:
    """A poll point, or one near the centre where all are pending; NaN for a random point."""
    poll = state.poll
    points, is_point = polls.points_of(settings.shape, settings.space, poll)
    key_order, key_near = jax.random.split(key)
    near = _near(settings, key_near, poll)
    candidates = jnp.concatenate([points, near[None]])
    is_allowed = settings.guard.allowed(state.known, candidates)
    noise = jax.random.uniform(key_order, is_point.shape, points.dtype)
    is_open = is_point & is_allowed[:-1] & ~poll.asked
    index = polls.chosen(poll, is_open, noise)
    unit = jnp.where(is_open[index], points[index], jnp.where(is_allowed[-1], near, jnp.nan))
    has_started = _has_started(settings, state)
    slot = jnp.where(has_started & is_open[index], index, poll.asked.shape[0])
    asked = poll.asked.at[slot].set(True, mode="drop")
    return dataclasses.replace(poll, asked=asked), jnp.where(has_started, unit, jnp.nan)


def _near(settings: PatternSettings, key: Array, poll: Poll) -> Array:
    """A point around the centre, no further away than a poll point."""
    draw = jax.random.uniform(key, poll.centre.shape, poll.centre.dtype, -1, 1)
    is_ordered = ~jnp.asarray(settings.shape.is_categorical)
    step = jnp.where(is_ordered, jnp.maximum(poll.step, settings.min_step), 0)
    return settings.space.snap(jnp.clip(poll.centre + draw * step, 0, 1))


def _tell(
    settings: PatternSettings, key: Array, state: PatternState, unit: Array, outcome: Outcome
) -> tuple[PatternState, PatternInfo]:
    unit, outcome = checked_trials("pattern.tell", settings.space, unit, outcome, ())
    poll, dtype = state.poll, state.poll.centre.dtype
    points, is_point = polls.points_of(settings.shape, settings.space, poll)
    is_same = are_same(unit[:, None], points[None]) & is_point[None, :]
    # What comes back from the space's values may be a rounding off: then it is not known again.
    own = points[jnp.argmax(is_same, axis=1)]
    unit = jnp.where(jnp.any(is_same, axis=1)[:, None], own, unit)
    known, info = settings.guard.tell(state.known, key, unit, outcome)

    # Points beside the end of the last descent come too late to start another one.
    is_late = (jnp.abs(unit - state.left[None, :]) < _LEFT).all(axis=1)
    has_started = _has_started(settings, state)
    counts = has_proposal(unit) & (has_started | ~is_late)
    best, violation = _best(unit, outcome, counts)
    value = jnp.where(jnp.isfinite(violation), outcome.value[best].astype(dtype), jnp.inf)
    is_less = (violation == poll.violation) & (value < poll.value)
    is_better = (violation < poll.violation) | is_less

    is_own = has_started & jnp.any(is_same[best])
    index = jnp.where(is_own, jnp.argmax(is_same[best]), points.shape[0]).astype(jnp.int32)
    centre = jnp.where(is_better, unit[best], poll.centre)
    after = polls.moved(settings.shape, poll, index, centre, value, violation)
    floor = settings.shape.floor(settings.first_step, settings.min_step)
    after = polls.reopened(settings.shape, after, settings.first_step, floor)
    # What is known, infeasible, or observed and no better has failed.
    failed = poll.failed | jnp.any(is_same, axis=0)
    failed |= ~poll.asked & ~settings.guard.allowed(known, points)
    heights = jnp.where(
        is_same & jnp.isfinite(outcome.value)[:, None], outcome.value[:, None], jnp.inf
    )
    height = jnp.minimum(poll.height, jnp.min(heights, axis=0, initial=jnp.inf).astype(dtype))
    same = dataclasses.replace(poll, failed=failed, height=height)
    same = polls.halved(settings.shape, same, points, is_point)
    same = jax.tree.map(lambda new, old: jnp.where(has_started, new, old), same, poll)
    poll = jax.tree.map(lambda new, old: jnp.where(is_better, new, old), after, same)
    state = dataclasses.replace(
        state, poll=poll, num_seen=state.num_seen + jnp.sum(counts, dtype=jnp.int32), known=known
    )
    state = _restarted(settings, state, floor)
    report = (info.status, info.num_observed, info.num_failed, jnp.max(state.poll.step))
    return state, PatternInfo(*report, state.num_restarts)


def _best(unit: Array, outcome: Outcome, counts: Array) -> tuple[Array, Array]:
    """Row of the best observed point, and its violation: infinite if there is none."""
    violation = summed_violation(outcome.violation)
    dtype = unit.dtype
    if violation is None:
        violation = jnp.zeros(unit.shape[0], dtype)
    violation = jnp.maximum(violation.astype(dtype), 0)
    is_fine = counts & jnp.isfinite(outcome.value) & jnp.isfinite(violation)
    violation = jnp.where(is_fine, violation, jnp.inf)
    least = jnp.min(violation, initial=jnp.inf)
    value = jnp.where(is_fine & (violation == least), outcome.value.astype(dtype), jnp.inf)
    return jnp.argmin(value), least


def _restarted(settings: PatternSettings, state: PatternState, floor: Array) -> PatternState:
    """Begins a new descent once all coordinates are done."""
    is_over = _has_started(settings, state) & jnp.all(state.poll.step < floor)
    fresh = dataclasses.replace(
        state,
        poll=polls.first_poll(settings.shape, settings.first_step),
        num_seen=jnp.zeros_like(state.num_seen),
        left=state.poll.centre,
        num_restarts=state.num_restarts + 1,
    )
    return jax.tree.map(lambda new, old: jnp.where(is_over, new, old), fresh, state)
