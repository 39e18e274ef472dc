"""optax's schedules with every number traced: peaks, warm-ups and lengths as hyperparameters.

optax compares some arguments of its schedules in Python (`peak_value` and `decay_steps` of
`warmup_cosine_decay_schedule`, `transition_steps` everywhere), so these cannot be hyperparameters.
Here all of them can, and each function returns the value that optax's returns where optax's can be
built. A schedule is `schedule(count) -> []`, for any optimizer's `learning_rate`. Steps may be
real: a warm-up of 2.5 steps lies between those of 2 and 3, with a derivative.

Example:
    >>> import jax, jaxhpo as hpo
    >>> def rate(hparams):
    ...     schedule = hpo.training.schedules.warmup_cosine_decay(
    ...         0.0, hparams["peak"], hparams["warmup"], 10
    ...     )
    ...     return schedule(1)
    >>> print(jax.jit(rate)({"peak": 0.8, "warmup": 4}))
    0.2
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import fail, is_traced
from jaxhpo.training.schedules._parts import (
    check_positive,
    flat_stages,
    half_cosine,
    power_of,
    ratio,
    real,
    reals,
    whole,
)

Array = jax.Array
Schedule = Callable[[Any], Array]

__all__ = [
    "constant",
    "cosine_decay",
    "cosine_onecycle",
    "exponential_decay",
    "join",
    "linear",
    "linear_onecycle",
    "piecewise_constant",
    "piecewise_interpolate",
    "polynomial",
    "sgdr",
    "warmup_constant",
    "warmup_cosine_decay",
    "warmup_exponential_decay",
]


def constant(value: Any) -> Schedule:
    """The same value at every step, as `optax.constant_schedule`.

    Args:
        value: `[]`; traced.
    """
    (value,) = reals("constant", value=value)
    return lambda count: value


def polynomial(
    init_value: Any, end_value: Any, power: Any, transition_steps: Any, transition_begin: Any = 0
) -> Schedule:
    """From one value to another by a power of the time left, as `optax.polynomial_schedule`.

    Args:
        init_value: `[]` value until `transition_begin`; traced, as all that follow.
        end_value: `[]` value after `transition_steps` more steps.
        power: `[]` exponent of the fraction of time that is left.
        transition_steps: `[]` steps of the transition; without any the value stays `init_value`.
        transition_begin: `[]` step at which it begins; below 0 means 0.
    """
    init_value, end_value, power, steps, begin = reals(
        "polynomial",
        init_value=init_value,
        end_value=end_value,
        power=power,
        transition_steps=transition_steps,
        transition_begin=transition_begin,
    )

    def schedule(count: Any) -> Array:
        passed = jnp.clip(real(count, steps) - jnp.maximum(begin, 0), 0, jnp.maximum(steps, 0))
        weight = power_of(1 - ratio(passed, steps), power)
        value = (init_value - end_value) * weight + end_value
        return jnp.where(steps > 0, value, init_value)

    return schedule


def linear(
    init_value: Any, end_value: Any, transition_steps: Any, transition_begin: Any = 0
) -> Schedule:
    """From one value to another on a straight line, as `optax.linear_schedule`.

    Args:
        init_value: `[]` value until `transition_begin`; traced, as all that follow.
        end_value: `[]` value after `transition_steps` more steps.
        transition_steps: `[]` steps of the transition; without any the value stays `init_value`.
        transition_begin: `[]` step at which it begins; below 0 means 0.
    """
    return polynomial(init_value, end_value, 1.0, transition_steps, transition_begin)


def exponential_decay(
    init_value: Any,
    transition_steps: Any,
    decay_rate: Any,
    transition_begin: Any = 0,
    staircase: bool = False,
    end_value: Any = None,
) -> Schedule:
    """`init_value * decay_rate ** (t / transition_steps)`, as `optax.exponential_decay`.

    Args:
        init_value: `[]` value until `transition_begin`; traced, as all numbers that follow.
        transition_steps: `[]` steps in which the value is multiplied by `decay_rate` once;
            without any the value stays `init_value`.
        decay_rate: `[]`; at 0 the value stays `init_value`.
        transition_begin: `[]` step at which it begins; below 0 means 0.
        staircase: whether the exponent is rounded down; static.
        end_value: `[]` bound of the value: lower for a `decay_rate` below 1, upper otherwise.
    """
    init_value, steps, rate, begin, *bounds = reals(
        "exponential_decay",
        init_value=init_value,
        transition_steps=transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
        **({} if end_value is None else {"end_value": end_value}),
    )

    def schedule(count: Any) -> Array:
        passed = jnp.maximum(real(count, steps) - jnp.maximum(begin, 0), 0)
        exponent = ratio(passed, steps)
        exponent = jnp.floor(exponent) if staircase else exponent
        moves = (steps > 0) & (rate != 0)
        decayed = init_value * jnp.where(moves, rate, 1) ** exponent
        value = jnp.where(passed > 0, decayed, init_value)
        for bound in bounds:
            bounded = jnp.where(rate < 1, jnp.maximum(value, bound), jnp.minimum(value, bound))
            value = jnp.where(moves, bounded, value)
        return value

    return schedule


def cosine_decay(
    init_value: Any, decay_steps: Any, alpha: Any = 0.0, exponent: Any = 1.0
) -> Schedule:
    """Half a cosine from `init_value` to `alpha * init_value`, as `optax.cosine_decay_schedule`.

    Args:
        init_value: `[]`; traced, as all that follow.
        decay_steps: `[]` steps of the decay, above 0; where it is traced and is not, the value is
            the last one from the start.
        alpha: `[]` last value as a fraction of the first.
        exponent: `[]` power of the half cosine.

    Raises:
        ValueError: a known `decay_steps` that is not above 0.
    """
    check_positive("cosine_decay", "decay_steps", decay_steps)
    init_value, steps, alpha, exponent = reals(
        "cosine_decay",
        init_value=init_value,
        decay_steps=decay_steps,
        alpha=alpha,
        exponent=exponent,
    )

    def schedule(count: Any) -> Array:
        fraction = half_cosine(real(count, steps), steps, exponent)
        return init_value * ((1 - alpha) * fraction + alpha)

    return schedule


def warmup_constant(init_value: Any, peak_value: Any, warmup_steps: Any) -> Schedule:
    """A straight line up and constant after it, as `optax.warmup_constant_schedule`.

    Args:
        init_value: `[]` first value; traced, as all that follow.
        peak_value: `[]` value from `warmup_steps` on.
        warmup_steps: `[]` steps of the line; without any the value stays `init_value`.
    """
    return linear(init_value, peak_value, warmup_steps)


def warmup_cosine_decay(
    init_value: Any,
    peak_value: Any,
    warmup_steps: Any,
    decay_steps: Any,
    end_value: Any = 0.0,
    exponent: Any = 1.0,
) -> Schedule:
    """A straight line up and half a cosine down, as `optax.warmup_cosine_decay_schedule`.

    Args:
        init_value: `[]` first value; traced, as all that follow.
        peak_value: `[]` value after the warm-up.
        warmup_steps: `[]` steps of the line.
        decay_steps: `[]` steps of line and cosine together, more than `warmup_steps`; where one of
            them is traced and they are not, the last value follows the warm-up at once.
        end_value: `[]` last value.
        exponent: `[]` power of the half cosine.

    Raises:
        ValueError: known steps that leave none for the cosine.
    """
    where = "warmup_cosine_decay"
    if not is_traced(decay_steps) and not is_traced(warmup_steps):
        check_positive(where, "decay_steps - warmup_steps", decay_steps - warmup_steps)
    init_value, peak, warmup, steps, end, exponent = reals(
        where,
        init_value=init_value,
        peak_value=peak_value,
        warmup_steps=warmup_steps,
        decay_steps=decay_steps,
        end_value=end_value,
        exponent=exponent,
    )

    def decay(count: Any) -> Array:
        value = (peak - end) * half_cosine(real(count, steps), steps - warmup, exponent) + end
        # optax gives the end as a fraction of the peak, and a fraction of nothing is nothing.
        return jnp.where(peak == 0, 0, value)

    return join([linear(init_value, peak, warmup), decay], [warmup])


def warmup_exponential_decay(
    init_value: Any,
    peak_value: Any,
    warmup_steps: Any,
    transition_steps: Any,
    decay_rate: Any,
    transition_begin: Any = 0,
    staircase: bool = False,
    end_value: Any = None,
) -> Schedule:
    """A straight line up, then `exponential_decay`: `optax.warmup_exponential_decay_schedule`.

    Args:
        init_value: `[]` first value; traced, as all numbers that follow.
        peak_value: `[]` value after the warm-up.
        warmup_steps: `[]` steps of the line.
        transition_steps: `[]` steps in which the value is multiplied by `decay_rate` once.
        decay_rate: `[]`.
        transition_begin: `[]` steps between warm-up and decay.
        staircase: whether the exponent is rounded down; static.
        end_value: `[]` bound of the value, as in `exponential_decay`.
    """
    init_value, peak, warmup, steps, rate, begin, *bounds = reals(
        "warmup_exponential_decay",
        init_value=init_value,
        peak_value=peak_value,
        warmup_steps=warmup_steps,
        transition_steps=transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
        **({} if end_value is None else {"end_value": end_value}),
    )
    bound = bounds[0] if bounds else None
    decay = exponential_decay(peak, steps, rate, begin, staircase, bound)
    return join([linear(init_value, peak, warmup), decay], [warmup])


def sgdr(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Schedule:
    """Cosine cycles one after the other (warm restarts), as `optax.sgdr_schedule`.

    Args:
        cosine_kwargs: for each cycle the arguments of `warmup_cosine_decay`; its `decay_steps` say
            how long it lasts.
    """
    schedules: list[Schedule] = []
    ends: list[Any] = []
    for cycle in cosine_kwargs:
        schedules.append(warmup_cosine_decay(**cycle))
        ends.append(cycle["decay_steps"] + (ends[-1] if ends else 0))
    return join(schedules, ends[:-1])


def join(schedules: Sequence[Schedule], boundaries: Sequence[Any]) -> Schedule:
    """Schedules one after the other, as `optax.join_schedules`.

    Args:
        schedules: at least one; each counts from the boundary at which it begins.
        boundaries: steps at which the next one takes over, rising, one fewer; traced.

    Raises:
        ValueError: the numbers of schedules and boundaries do not fit.
    """
    if len(schedules) != len(boundaries) + 1:
        raise ValueError(
            f"join: `boundaries` must be one fewer than the {len(schedules)} schedules, got "
            f"{len(boundaries)}."
        )
    starts = [reals("join", boundaries=boundary)[0] for boundary in boundaries]

    def schedule(count: Any) -> Array:
        value = jnp.asarray(schedules[0](count))
        for start, later in zip(starts, schedules[1:], strict=True):
            here = real(count, start)
            value = jnp.where(here < start, value, jnp.asarray(later(here - start), value.dtype))
        return value

    return schedule


def piecewise_constant(init_value: Any, boundaries_and_scales: Any = None) -> Schedule:
    """A value multiplied by a factor at given steps, as `optax.piecewise_constant_schedule`.

    Args:
        init_value: `[]`; traced.
        boundaries_and_scales: `{step: factor}`, or pairs `(step, factor)` whose steps may be
            traced as well.
    """
    init_value, *numbers = flat_stages("piecewise_constant", init_value, boundaries_and_scales)
    stages = list(zip(numbers[::2], numbers[1::2], strict=True))

    def schedule(count: Any) -> Array:
        value = init_value
        for start, scale in stages:
            value = value * jnp.where(real(count, start) >= start, scale, 1)
        return value

    return schedule


def piecewise_interpolate(
    interpolate_type: str, init_value: Any, boundaries_and_scales: Any = None
) -> Schedule:
    """Between values at given steps on lines or cosines: `optax.piecewise_interpolate_schedule`.

    Args:
        interpolate_type: "linear" or "cosine"; static.
        init_value: `[]` value at step 0; traced.
        boundaries_and_scales: `{step: factor}`, or pairs `(step, factor)` in the order of their
            steps, which may then be traced as well; each factor multiplies the value before it.

    Raises:
        ValueError: another `interpolate_type`.
    """
    if interpolate_type not in ("linear", "cosine"):
        expected = "'linear' or 'cosine'"
        raise fail("piecewise_interpolate", "interpolate_type", expected, interpolate_type)
    init_value, *numbers = flat_stages("piecewise_interpolate", init_value, boundaries_and_scales)
    starts = jnp.stack([jnp.zeros_like(init_value), *numbers[::2]])
    values = jnp.cumprod(jnp.stack([init_value, *numbers[1::2]]))

    def schedule(count: Any) -> Array:
        here = real(count, starts)
        left, right = starts[:-1], starts[1:]
        fraction = (here - left) / jnp.maximum(right - left, 1)
        if interpolate_type == "cosine":
            fraction = (1 - jnp.cos(jnp.pi * fraction)) / 2
        between = values[:-1] + (values[1:] - values[:-1]) * fraction
        inside = jnp.where((left <= here) & (here < right), between, 0)
        return jnp.sum(inside) + jnp.where(starts[-1] <= here, values[-1], 0)

    return schedule


def linear_onecycle(
    transition_steps: Any,
    peak_value: Any,
    pct_start: Any = 0.3,
    pct_final: Any = 0.85,
    div_factor: Any = 25.0,
    final_div_factor: Any = 1e4,
) -> Schedule:
    """Up, down and out on straight lines, as `optax.linear_onecycle_schedule`.

    Args:
        transition_steps: `[]` steps of the whole cycle; traced, as all that follow.
        peak_value: `[]` highest value.
        pct_start: `[]` fraction of the steps until the peak.
        pct_final: `[]` fraction of the steps until the first value is reached again.
        div_factor: `[]` the peak over the first value.
        final_div_factor: `[]` the first value over the last.
    """
    where = "linear_onecycle"
    check_positive(where, "transition_steps", transition_steps)
    peak, div, final = reals(
        where, peak_value=peak_value, div_factor=div_factor, final_div_factor=final_div_factor
    )
    stages = [
        (whole(pct_start * transition_steps), div),
        (whole(pct_final * transition_steps), 1 / div),
        (transition_steps, 1 / final),
    ]
    return piecewise_interpolate("linear", peak / div, stages)


def cosine_onecycle(
    transition_steps: Any,
    peak_value: Any,
    pct_start: Any = 0.3,
    div_factor: Any = 25.0,
    final_div_factor: Any = 1e4,
) -> Schedule:
    """Up and down on cosines, as `optax.cosine_onecycle_schedule`.

    Args:
        transition_steps: `[]` steps of the whole cycle; traced, as all that follow.
        peak_value: `[]` highest value.
        pct_start: `[]` fraction of the steps until the peak.
        div_factor: `[]` the peak over the first value.
        final_div_factor: `[]` the first value over the last.
    """
    where = "cosine_onecycle"
    check_positive(where, "transition_steps", transition_steps)
    peak, div, final = reals(
        where, peak_value=peak_value, div_factor=div_factor, final_div_factor=final_div_factor
    )
    start = whole(pct_start * transition_steps)
    stages = [(start, div), (whole(transition_steps), 1 / (div * final))]
    return piecewise_interpolate("cosine", peak / div, stages)
