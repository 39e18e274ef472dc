"""Schedules that rise on a line first, and cycles of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp

from jaxhpo._checks import check_number, check_sequence, fail, is_traced, noted
from jaxhpo.training.schedules._decays import exponential_decay, linear
from jaxhpo.training.schedules._parts import (
    Array,
    Schedule,
    half_cosine,
    real,
    reals,
)
from jaxhpo.training.schedules._pieces import join


def warmup_constant(init_value: Any, peak_value: Any, warmup_steps: Any) -> Schedule:
    """A straight line up and constant after it, as `optax.warmup_constant_schedule`.

    Args:
        init_value: `[]` first value; traced, as all that follow.
        peak_value: `[]` value from `warmup_steps` on.
        warmup_steps: `[]` steps of the line; without any the value stays `init_value`.
    """
    init_value, peak_value, warmup_steps = reals(
        "warmup_constant",
        init_value=init_value,
        peak_value=peak_value,
        warmup_steps=warmup_steps,
    )
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
        numbers = {"decay_steps": decay_steps, "warmup_steps": warmup_steps}
        whole, warm = (check_number(where, name, value) for name, value in numbers.items())
        if not whole - warm > 0:
            raise fail(where, "decay_steps", f"more than the {warm} warmup_steps", whole)
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
    expected = "a sequence of at least one mapping of warmup_cosine_decay's arguments"
    cycles = check_sequence("sgdr", "cosine_kwargs", cosine_kwargs, expected)
    for cycle in cycles or [None]:
        try:
            inspect.signature(warmup_cosine_decay).bind(**cycle)
        except TypeError:
            raise fail("sgdr", "cosine_kwargs", expected, cosine_kwargs) from None
        with noted("sgdr: in `cosine_kwargs`"):
            schedules.append(warmup_cosine_decay(**cycle))
        ends.append(cycle["decay_steps"] + (ends[-1] if ends else 0))
    return join(schedules, ends[:-1])
