"""Multi-start descent by gradients: the factory and its three functions."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo._base import Array, Outcome, Sampler, has_proposal, make_sampler, setting, static_field
from jaxhpo.samplers._parts._chunks import by_row, summed_violation
from jaxhpo.samplers._parts._fallback import GuardedSettings, GuardedState, make_guard
from jaxhpo.samplers._parts._pending import TellInfo, check_space
from jaxhpo.samplers._parts._same import are_same
from jaxhpo.samplers._parts._validation import checked_trials
from jaxhpo.samplers._traits import register
from jaxhpo.samplers.local._lbfgs import Lane, absorbed, no_lane
from jaxhpo.space import Space

_HALVINGS = 6
"""So many shorter steps are looked at where one breaks a constraint or is known."""


class GradientSettings(GuardedSettings):
    """Settings of `gradient`; space, step and tolerance are traced."""

    first_step: Array
    tolerance: Array
    is_continuous: tuple[bool, ...] = static_field()
    num_lanes: int = static_field()
    memory: int = static_field()


class GradientState(GuardedState):
    """State of `gradient`.

    Attributes:
        lanes: the descents, leading axis the number of lanes. Each keeps its own pending point:
            what an observed value means depends on where its line search stands.
        num_asked: `[]` int32.
        num_descents: `[]` int32, descents that have ended.
    """

    lanes: Lane
    num_asked: Array
    num_descents: Array


class GradientInfo(TellInfo):
    """What `gradient` reports of a tell, besides `TellInfo`.

    Attributes:
        num_descents: `[]` int32, descents that have ended.
    """

    num_descents: Array


@register(needs_gradients=True, resumes_exactly=False)
def gradient(
    space: Space,
    *,
    batch_size: int = 1,
    num_lanes: int | None = None,
    memory: int = 6,
    first_step: float = 0.1,
    tolerance: float = 1e-5,
) -> Sampler:
    """Multi-start descent: a bounded quasi-Newton method over the unit cube, several side by side.

    Each lane descends from a random point by L-BFGS in the coordinates that are free to move, with
    a backtracking line search, one evaluation at a time; when it has converged it starts again
    elsewhere. Every trial must come with the gradient of its value with respect to the unit cube
    (`Outcome.gradient`), which `hpo.with_gradient(objective, space)` takes care of. Discrete
    coordinates are drawn with the start and kept during a descent.

    When to use it: objectives that JAX can differentiate and that are smooth: it takes tens of
    trials where others take thousands, in hundreds of dimensions. Without gradients use `pattern`
    or `cma_es`.

    Args:
        space: the search space; its bounds may be traced.
        batch_size: static; rows of one `ask`.
        num_lanes: static; descents that run side by side; None means `batch_size`.
        memory: static; steps that the quasi-Newton model is made of.
        first_step: largest move of a coordinate in a descent's first step; traced.
        tolerance: projected gradient at which a descent ends; traced.

    Returns:
        The sampler. Its `tell` raises where outcomes have no gradient. Nothing is proposed twice,
        and on a finite space rows of NaN follow when it is used up.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> function = hpo.problems.rosenbrock(6)
        >>> objective = hpo.with_gradient(function.objective, function.space)
        >>> result = hpo.minimize(objective, function.space, "gradient", key=0, num_trials=200)
        >>> bool(result.best_value < 1e-2)
        True

    References:
        Byrd, Lu, Nocedal and Zhu, "A limited memory algorithm for bound constrained optimization",
        1995, https://doi.org/10.1137/0916069.
    """
    space = check_space("gradient", space)
    batch_size = _checks.check_count("gradient", "batch_size", batch_size, 1)
    lanes = batch_size if num_lanes is None else num_lanes
    lanes = _checks.check_count("gradient", "num_lanes", lanes, 1)
    memory = _checks.check_count("gradient", "memory", memory, 1)
    first_step = _checks.check_positive("gradient", "first_step", first_step)
    tolerance = _checks.check_not_negative("gradient", "tolerance", tolerance)
    dtype = jnp.result_type(float)
    settings = GradientSettings(
        space=space,
        guard=make_guard(space, keeps_account=True),
        first_step=setting(first_step, dtype),
        tolerance=setting(tolerance, dtype),
        is_continuous=tuple(bool(count == 0) for count in space.num_levels),
        num_lanes=lanes,
        memory=memory,
        batch_size=batch_size,
    )
    return make_sampler(settings, _init, _ask, _tell, name="gradient")


def _init(settings: GradientSettings, key: Array) -> GradientState:
    lane = no_lane(settings.space.num_dims, settings.memory)
    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf] * settings.num_lanes), lane)
    zero, again = (jnp.zeros((), jnp.int32) for _ in range(2))
    return GradientState(settings.guard.init(key), lanes, zero, again)


def _ask(
    settings: GradientSettings, key: Array, state: GradientState
) -> tuple[GradientState, Array]:
    def row(state: GradientState, key: Array) -> tuple[GradientState, Array]:
        lanes = state.lanes
        # The lane that has waited longest; where all are pending, a random point.
        waiting = jnp.where(lanes.is_pending, jnp.iinfo(jnp.int32).max, lanes.asked_at)
        number = jnp.argmin(waiting)
        lane = jax.tree.map(lambda leaf: leaf[number], lanes)
        unit, length = _trial(settings, state, lane)
        known, unit = settings.guard.settle(state.known, key, unit)
        slot = jnp.where(lane.is_pending | ~has_proposal(unit), settings.num_lanes, number)
        lanes = dataclasses.replace(
            lanes,
            trial=lanes.trial.at[slot].set(unit, mode="drop"),
            length=lanes.length.at[slot].set(length, mode="drop"),
            is_pending=lanes.is_pending.at[slot].set(True, mode="drop"),
            asked_at=lanes.asked_at.at[slot].set(state.num_asked + 1, mode="drop"),
        )
        return GradientState(known, lanes, state.num_asked + 1, state.num_descents), unit

    return by_row(row, state, key, settings.batch_size)


def _trial(settings: GradientSettings, state: GradientState, lane: Lane) -> tuple[Array, Array]:
    """The next point of a line search and its step; NaN for a random point."""
    lengths = lane.length * 0.5 ** jnp.arange(_HALVINGS, dtype=lane.x.dtype)
    points = jnp.clip(lane.x[None, :] + lengths[:, None] * lane.move[None, :], 0, 1)
    points = settings.space.snap(points)
    is_allowed = settings.guard.allowed(state.known, points)
    is_allowed &= jnp.any(points != lane.x[None, :], axis=1)
    first = jnp.argmax(is_allowed)
    is_descent = is_allowed[first] & lane.has_started & ~lane.is_pending
    unit = jnp.where(is_descent, points[first], jnp.nan)
    return unit, jnp.where(is_descent, lengths[first], lane.length)


def _tell(
    settings: GradientSettings, key: Array, state: GradientState, unit: Array, outcome: Outcome
) -> tuple[GradientState, GradientInfo]:
    unit, outcome = checked_trials("gradient.tell", settings.space, unit, outcome, ())
    slope = _checked_gradient(unit, outcome)
    known, info = settings.guard.tell(state.known, key, unit, outcome)
    violation = summed_violation(outcome.violation)
    is_fine = jnp.isfinite(outcome.value) & jnp.isfinite(slope).all(axis=1)
    if violation is not None:
        is_fine &= violation <= 0
    moves = settings.space.active_columns(unit) & jnp.asarray(settings.is_continuous)[None, :]
    slope = jnp.where(moves & is_fine[:, None], slope, 0).astype(unit.dtype)
    value = jnp.where(is_fine, outcome.value, jnp.inf).astype(unit.dtype)
    state = dataclasses.replace(state, known=known)

    def one(state: GradientState, observed: tuple[Array, ...]) -> tuple[GradientState, None]:
        return _absorb(settings, state, *observed), None

    state, _ = jax.lax.scan(one, state, (unit, value, slope, is_fine))
    report = GradientInfo(info.status, info.num_observed, info.num_failed, state.num_descents)
    return state, report


def _absorb(
    settings: GradientSettings,
    state: GradientState,
    unit: Array,
    value: Array,
    slope: Array,
    is_fine: Array,
) -> GradientState:
    """Gives an observed point to its lane, or, if never asked, to one without start and trial."""
    lanes = state.lanes
    is_own = lanes.is_pending & are_same(lanes.trial, unit[None])
    is_empty = ~lanes.is_pending & ~lanes.has_started & is_fine
    takes = jnp.where(jnp.any(is_own), is_own, is_empty) & has_proposal(unit)
    number = jnp.argmax(takes)
    lane = jax.tree.map(lambda leaf: leaf[number], lanes)
    after = absorbed(lane, unit, value, slope, is_fine, settings.tolerance, settings.first_step)
    is_taken = takes[number]
    has_ended = is_taken & lane.has_started & ~after.has_started
    lanes = jax.tree.map(
        lambda leaf, new: leaf.at[number].set(jnp.where(is_taken, new, leaf[number])), lanes, after
    )
    descents = state.num_descents + has_ended.astype(jnp.int32)
    return GradientState(state.known, lanes, state.num_asked, descents)


def _checked_gradient(unit: Array, outcome: Outcome) -> Array:
    """The gradient `[q, d]`; refuses outcomes without one, or with one of another shape."""
    if outcome.gradient is None:
        raise ValueError(
            "gradient.tell: `outcome.gradient` must be given with every trial, got None; let the "
            "objective be hpo.with_gradient(objective, space), or take a sampler that needs no "
            "gradient, such as pattern or cma_es."
        )
    if outcome.gradient.shape != unit.shape:
        expected = f"of shape {unit.shape} like `unit`"
        raise _checks.fail("gradient.tell", "outcome.gradient", expected, outcome.gradient.shape)
    return outcome.gradient
