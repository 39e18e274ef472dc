"""A step that is taken only where a condition holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from jaxhpo._base import Array

T = TypeVar("T")


def once_if(condition: Array, step: Callable[[T], T], state: T) -> T:
    """Takes a step if the condition `[]` holds.

    A loop copies less than `jax.lax.cond`; batched, it skips a step that no row needs, where `cond`
    would take it for all.
    """
    no = jnp.zeros((), bool)
    taken: T = jax.lax.while_loop(
        lambda carry: carry[0], lambda carry: (no, step(carry[1])), (condition, state)
    )[1]
    return taken
