"""Schedules of one transition: lines, powers, exponentials and half cosines."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxhpo.training.schedules._parts import (
    Array,
    Schedule,
    check_positive,
    half_cosine,
    power_of,
    ratio,
    real,
    reals,
)


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
