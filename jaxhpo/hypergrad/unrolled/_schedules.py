"""Checkpoint schedules: which states a reverse sweep keeps and which it computes again."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

from jaxhpo._checks import check_count, check_positive, describe, fail
from jaxhpo.hypergrad.unrolled import _binomial
from jaxhpo.hypergrad.unrolled._adjoint_sweep import Sweep, sweep_levels, sweep_stored
from jaxhpo.hypergrad.unrolled._opened_run import Carry, Run


@dataclasses.dataclass(frozen=True)
class Stored:
    """Keep every state and every activation."""

    def sweep(self, run: Run, carry: Carry, first: int, num_steps: int) -> Sweep:
        """Runs forward and back from step `first`."""
        return sweep_stored(run, carry, first, num_steps)

    def num_states(self, num_steps: int) -> int:
        """States alive at once."""
        return num_steps


@dataclasses.dataclass(frozen=True)
class Nested:
    """Keep the starts of segments on `levels` nested levels; one forward run more for each."""

    levels: int

    def sweep(self, run: Run, carry: Carry, first: int, num_steps: int) -> Sweep:
        """Runs forward and back from step `first`."""
        return sweep_levels(run, carry, first, num_steps, level_sizes(num_steps, self.levels))

    def num_states(self, num_steps: int) -> int:
        """States alive at once."""
        return states_alive(num_steps, level_sizes(num_steps, self.levels))


@dataclasses.dataclass(frozen=True)
class Binomial:
    """Keep a fixed number of states, where they save the most steps (Revolve)."""

    slots: int | None = None

    def sweep(self, run: Run, carry: Carry, first: int, num_steps: int) -> Sweep:
        """Runs forward and back from step `first`."""
        return _binomial.sweep_binomial(run, carry, first, num_steps, self._slots(num_steps))

    def num_states(self, num_steps: int) -> int:
        """States alive at once."""
        return min(self._slots(num_steps), num_steps)

    def _slots(self, num_steps: int) -> int:
        return _binomial.default_slots(num_steps) if self.slots is None else self.slots


@dataclasses.dataclass(frozen=True)
class Auto:
    """The fastest schedule whose temporary memory fits in `max_bytes`."""

    max_bytes: float


# Values, not names of functions: frozen dataclasses are hashable, so a schedule is part of the key
# under which JAX keeps a compiled program.
Schedule = Stored | Nested | Binomial


def nested(levels: int) -> Nested:
    """Recomputation on `levels` nested levels.

    Memory `levels * T ** (1 / levels)` states, time `2 + levels` runs: 1 is "step", 2 is "sqrt".

    Args:
        levels: static, at least 1.

    Returns:
        A value for `checkpoint`.

    Raises:
        ValueError: `levels` below 1.

    Example:
        >>> nested(3).num_states(1000)
        30
    """
    return Nested(check_count("nested", "levels", levels, 1))


def binomial(slots: int | None = None) -> Binomial:
    """Binomial recomputation with a fixed number of stored states.

    With s slots and T <= C(s + r, r) steps each step is taken r + 1 times at most, so the time is
    at most `3 + r` runs: 10 slots for 1000 steps give r = 4.

    Args:
        slots: states kept at once; static, at least 2; None takes the binary logarithm of the
            number of steps.

    Returns:
        A value for `checkpoint`.

    Raises:
        ValueError: `slots` below 2.

    Example:
        >>> binomial().num_states(1000)
        10
    """
    return Binomial(None if slots is None else check_count("binomial", "slots", slots, 2))


def auto(max_bytes: float) -> Auto:
    """The fastest schedule that fits into a budget.

    A small instance of the sweep is compiled to learn its working memory; the rest is arithmetic
    with the size of one state. The budget is for temporary memory of one hypergradient: under
    `vmap`, for each member.

    Args:
        max_bytes: bytes; static, above 0.

    Returns:
        A value for `checkpoint`. The estimator raises ValueError if even two stored states do not
        fit.

    Raises:
        ValueError: `max_bytes` not above 0.

    Example:
        >>> auto(8e6)
        Auto(max_bytes=8000000.0)
    """
    return Auto(float(check_positive("auto", "max_bytes", max_bytes)))


# From most memory to least. Two of them in plain training runs, measured by
# `benchmarks/hypergrad_ladder.py`: "step" takes 3.1 and "sqrt" 3.9, close to the 3 and 4 that count
# gradients (forward, derivative of the gradient at twice its cost, and each recomputation). "none"
# saves no time in a large run, whose activations leave the cache.
NAMES: dict[str, Schedule] = {
    "none": Stored(),
    "step": Nested(1),
    "sqrt": Nested(2),
    "binomial": Binomial(),
}


def check_schedule(where: str, checkpoint: Any) -> Schedule | Auto:
    """Accepts a name or a schedule and returns the schedule."""
    if isinstance(checkpoint, str):
        if checkpoint not in NAMES:
            raise fail(where, "checkpoint", f"one of {sorted(NAMES)} or a schedule", checkpoint)
        return NAMES[checkpoint]
    if not isinstance(checkpoint, Stored | Nested | Binomial | Auto):
        raise TypeError(
            f"{where}: `checkpoint` must be one of {sorted(NAMES)}, nested(levels), "
            f"binomial(slots) or auto(max_bytes), got {describe(checkpoint)}."
        )
    return checkpoint


def states_alive(num_steps: int, sizes: tuple[int, ...]) -> int:
    """States that nested segments keep at once, the tail after them included."""
    # While the tail is swept, only the outermost level is alive beside it; then the inner levels
    # are.
    return sizes[0] + max(sum(sizes[1:]), num_steps - math.prod(sizes))


def level_sizes(num_steps: int, levels: int) -> tuple[int, ...]:
    """Sizes of nested segments, outermost first, that keep few states.

    A tail costs a second compiled sweep, so an exact factorisation wins if it needs at most a
    tenth more states.
    """
    # More levels than halvings would have segments of one step.
    levels = min(levels, max(1, int(math.log2(num_steps))))
    # Equal levels keep the fewest states; sizes near them are tried for one that divides the run.
    root = num_steps ** (1 / levels)
    near = range(max(2, math.floor(root / 1.3)), math.ceil(root * 1.3) + 2)
    best: tuple[float, tuple[int, ...]] = (math.inf, (num_steps,))
    for inner in itertools.combinations_with_replacement(near, levels - 1):
        outer, tail = divmod(num_steps, math.prod(inner))
        if outer >= 1:
            # The outermost level takes what is left, so that the tail is shorter than one segment
            # of it.
            sizes = (outer, *inner)
            best = min(best, (states_alive(num_steps, sizes) * (1.1 if tail else 1.0), sizes))
    return best[1]
