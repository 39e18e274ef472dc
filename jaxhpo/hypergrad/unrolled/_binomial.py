"""Reverse sweep with a fixed number of stored states, placed to redo the fewest steps."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.hypergrad.unrolled._adjoint_sweep import Adjoint, Sweep, pull, start_adjoint
from jaxhpo.hypergrad.unrolled._opened_run import Array, Carry, Run


class Plan(NamedTuple):
    """Which stored state each position is reached from, and what is stored on the way.

    Row t tells how to come to the state before step t; the last row is the forward run.

    Attributes:
        slot: `[T + 1]` the slot to start from.
        position: `[T + 1]` the step number of the state in it.
        saves: `[T + 1, s]` rising positions to store in the slots that follow, -1 for none.
    """

    slot: np.ndarray
    position: np.ndarray
    saves: np.ndarray


def default_slots(num_steps: int) -> int:
    """Slots that keep the number of repeated forward runs small: the binary logarithm."""
    # With log2 T slots the repeats grow like log T as well: 10 slots and r = 4 for 1,000 steps.
    return max(2, math.ceil(math.log2(num_steps + 1)))


def repeats(num_steps: int, slots: int) -> int:
    """How often a step is redone at most: the smallest r with num_steps <= C(slots + r, r)."""
    # C(s + r, r) steps is the most that s slots reverse with r repeats (Griewank, 1992); r is
    # small, so a search from 0 is cheap.
    r = 0
    while math.comb(slots + r, r) < num_steps:
        r += 1
    return r


def split(length: int, slots: int) -> int:
    """Where to store the next state in a range of `length` steps with `slots` slots.

    Any split is optimal that leaves both parts reversible with as many repeats as the binomial
    bounds allow (Griewank and Walther 2000, proposition 1); this is the earliest.
    """
    r = repeats(length, slots)
    # The right part, reversed first, has a slot less and all r repeats; the left part has all slots
    # and a repeat less. Bounds of both give the range of optimal splits.
    rest = math.comb(slots - 1 + r, r)
    return max(1, length - rest, math.comb(slots + r - 2, slots) if r >= 2 else 0)


def make_plan(num_steps: int, slots: int) -> Plan:
    """Simulates the sweep over `num_steps` steps and the loss, which counts as a last step."""
    rows: list[tuple[int, int, list[int]]] = []
    stack = [0]
    # The stack holds the positions that are stored when the sweep stands at t; slot and depth
    # agree. The plan depends on T and s alone, so it is made on the host and is a constant of the
    # program.
    for t in range(num_steps, -1, -1):
        # Behind t a state is of no more use: its slot is free.
        while stack[-1] > t:
            stack.pop()
        slot, position, saves = len(stack) - 1, stack[-1], []
        # On the way to t, free slots are filled where the rest of the way back needs them.
        while len(stack) < slots and stack[-1] < t:
            stack.append(stack[-1] + split(t + 1 - stack[-1], slots - len(stack) + 1))
            saves.append(stack[-1])
        rows.append((slot, position, saves))
    rows.reverse()
    table = np.full((num_steps + 1, slots), -1, np.int32)
    for t, (_, _, saves) in enumerate(rows):
        table[t, : len(saves)] = saves
    starts = np.asarray([row[:2] for row in rows], np.int32)
    return Plan(starts[:, 0], starts[:, 1], table)


def sweep_binomial(run: Run, carry: Carry, first: int, num_steps: int, slots: int) -> Sweep:
    """Runs forward, then back, with `slots` stored states (Revolve).

    Args:
        run: the run.
        carry: the state before step `first`.
        first: number of the first step.
        num_steps: steps to take.
        slots: states that may be stored at once, the start included.

    Returns:
        The `Sweep`.

    References:
        Griewank, Walther, "Algorithm 799: Revolve", ACM TOMS 26, 2000.
    """
    slots = min(slots, num_steps)
    plan = make_plan(num_steps, slots)
    stored = jax.tree.map(lambda a: jnp.zeros((slots, *a.shape), a.dtype).at[0].set(a), carry)
    final, stored = _reach(run, plan, stored, first, jnp.int32(num_steps))
    loss, adjoint = start_adjoint(run, final)

    def body(both: tuple[Adjoint, Carry], t: Array) -> tuple[tuple[Adjoint, Carry], Array]:
        adjoint, stored = both
        carry, stored = _reach(run, plan, stored, first, t)
        adjoint = pull(run, adjoint, carry, first + t)
        return (adjoint, stored), run.size(adjoint.real)

    steps = jnp.arange(num_steps, dtype=jnp.int32)
    last = run.size(adjoint.real)[None]
    (adjoint, _), sizes = jax.lax.scan(body, (adjoint, stored), steps, reverse=True)
    return Sweep(loss, adjoint, final, jnp.concatenate([sizes, last]))


def _reach(run: Run, plan: Plan, stored: Carry, first: int, t: Array) -> tuple[Carry, Carry]:
    """Comes to the state before step `t`, storing what the plan says on the way."""
    slot = jnp.asarray(plan.slot)[t]
    saves = jnp.asarray(plan.saves)[t]
    num_slots = saves.shape[0]
    carry = jax.tree.map(lambda rows: rows[slot], stored)

    def body(position: Array, loop: tuple[Carry, Carry, Array]) -> tuple[Carry, Carry, Array]:
        carry, stored, num_saved = loop
        carry = run.step(run.hparams, carry, first + position)
        # Stores happen inside one loop of dynamic length, so the step is compiled once for all
        # ways.
        is_saved = saves[jnp.minimum(num_saved, num_slots - 1)] == position + 1
        row = jnp.minimum(slot + 1 + num_saved, num_slots - 1)
        stored = jax.tree.map(
            lambda rows, new: rows.at[row].set(_select(is_saved, new, rows[row])), stored, carry
        )
        return carry, stored, num_saved + is_saved.astype(jnp.int32)

    begin = jnp.asarray(plan.position)[t]
    carry, stored, _ = jax.lax.fori_loop(begin, t, body, (carry, stored, jnp.int32(0)))
    return carry, stored


def _select(flag: Array, new: Array, old: Array) -> Array:
    # Typed keys are no numbers, and `where` takes none: their words are selected instead.
    if jnp.issubdtype(new.dtype, jax.dtypes.extended):
        return jax.random.wrap_key_data(
            jnp.where(flag, jax.random.key_data(new), jax.random.key_data(old)),
            impl=jax.random.key_impl(new),
        )
    return jnp.where(flag, new, old)
