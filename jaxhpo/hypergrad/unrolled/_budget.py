"""Turns a memory budget into a checkpoint schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jaxhpo.hypergrad.unrolled import _binomial
from jaxhpo.hypergrad.unrolled._opened_run import Array, Run
from jaxhpo.hypergrad.unrolled._schedules import Auto, Binomial, Nested, Schedule

_PROBE_STEPS = 4


def state_bytes(run: Run) -> int:
    """Bytes of one training state."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(run.start))


def choose(
    where: str,
    budget: Auto,
    run: Run,
    num_steps: int,
    probe: Callable[[Schedule, int], Callable[[Array, Any], Any]],
    key: Array,
    hparams: Any,
) -> Schedule:
    """Picks the fastest schedule that fits.

    Args:
        where: the estimator's name, for errors.
        budget: the budget.
        run: the run, for the size of a state.
        num_steps: steps of the run.
        probe: `probe(schedule, num_steps)`, the whole estimate as a function of key and
            hyperparameters.
        key: `[]` for its type.
        hparams: for their types.

    Returns:
        `nested(1)`, `nested(2)`, … or `binomial(slots)`.

    Raises:
        ValueError: nothing fits.
    """
    one = state_bytes(run)
    small = Nested(2)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (key, hparams))
    compiled = jax.jit(probe(small, _PROBE_STEPS)).lower(*shapes).compile()
    memory: Any = compiled.memory_analysis()
    working = memory.temp_size_in_bytes - small.num_states(_PROBE_STEPS) * one
    working += 4 * num_steps  # the adjoint's sizes
    available = budget.max_bytes - working

    for levels in (1, 2, 3):
        if Nested(levels).num_states(num_steps) * one <= available:
            return Nested(levels)
    slots = int(available // max(one, 1))
    if slots < 2:
        raise ValueError(
            f"{where}: `checkpoint` auto(max_bytes) must be at least {working + 2 * one} bytes for "
            f"this run (a state has {one}), got {budget.max_bytes:.0f}. Use "
            "hypergrad.forward, which stores no states, or a smaller batch."
        )
    return Binomial(min(slots, max(2, _binomial.default_slots(num_steps) * 2)))
