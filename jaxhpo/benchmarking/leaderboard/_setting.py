"""A task made ready: plain run, exact gradient in float64, and what a point is worth."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.benchmarking.leaderboard._entries import Case
from jaxhpo.benchmarking.leaderboard._work import operations
from jaxhpo.hypergrad import finite_difference, unrolled
from jaxhpo.hypergrad.internal import from_free, to_free
from jaxhpo.problems import Task
from jaxhpo.training import objective, train

Array = jax.Array
_RUNS = 3
"""Fresh runs that a point is judged by."""

_JITTER = 0.1
"""Seeds start this far apart, relative to the root mean square of each array."""

_MIN_ROUND = 0.02
"""Seconds of a timed round: the clock of processor time is coarse."""


class Setting:
    """What all estimators of one task share; programs are compiled when they are first asked for.

    Attributes:
        task: in the default precision.
        wide: the same in float64, as far as its function makes it anew.
        plain: the compiled plain run, `plain(key, free) -> loss`.
        plain_bytes: its temporary memory.
        plain_work: its operations.
        wide_value: the compiled run in float64, of `(key, hparams)`.
    """

    def __init__(self, case: Case) -> None:
        self.task: Task = case.build()
        task = self.task
        with jax.enable_x64(True):
            self.wide: Task = case.build()
            self._wide_exact = _exact(self.wide)
            self.wide_value = jax.jit(objective(self.wide.training, self.wide.num_steps))
        value = objective(task.training, task.num_steps)

        def plain(key: Array, free: Any) -> Array:
            loss: Array = value(key, from_free(task.space, free))
            return loss

        key, free = jax.random.key(0), self.start(0)
        self.plain = jax.jit(plain).lower(key, free).compile()
        memory: Any = self.plain.memory_analysis()
        self.plain_bytes = int(memory.temp_size_in_bytes)
        self.plain_work = operations(plain, key, free)
        self._outcome = jax.jit(self._judged)
        self._known: dict[Any, Any] = {}

    def start(self, seed: int) -> Any:
        """Where a seed's descent begins, in free coordinates: near the task's own start."""
        free = to_free(self.task.space, self.task.hparams)
        rng = np.random.default_rng([seed, 0x51A2])

        def moved(leaf: Any) -> Array:
            leaf = jnp.asarray(leaf)
            size = float(np.sqrt(np.mean(np.square(np.asarray(leaf, np.float64)))))
            noise = jnp.asarray(_JITTER * size * rng.normal(size=leaf.shape), leaf.dtype)
            return jax.lax.convert_element_type(leaf + noise, leaf.dtype)

        return jax.tree.map(moved, free)

    def wide_point(self, seed: int) -> Any:
        """A seed's start as hyperparameters in float64; call inside `enable_x64`."""
        hparams = from_free(self.task.space, self.start(seed))
        return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), hparams)

    def exact(self, key_seed: int, seed: int) -> Any:
        """The exact `Hypergradient` in float64, for a key at a seed's start."""
        if (key_seed, seed) not in self._known:
            with jax.enable_x64(True):
                found = self._wide_exact(jax.random.key(key_seed), self.wide_point(seed))
            self._known[key_seed, seed] = jax.block_until_ready(found)
        return self._known[key_seed, seed]

    def outcome(self, free: Any, seed: int) -> tuple[float, float]:
        """Mean loss and score of runs from keys that no descent followed."""
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 2**31), _RUNS)
        loss, score = self._outcome(free, keys)
        return float(loss), float(score)

    def _judged(self, free: Any, keys: Array) -> tuple[Array, Array]:
        task, hparams = self.task, from_free(self.task.space, free)

        def one(key: Array) -> tuple[Array, Array]:
            state = train(task.training, key, hparams, task.num_steps)
            loss = jnp.asarray(task.training.loss(hparams, state))
            return loss, jnp.asarray(task.score(hparams, state)).astype(loss.dtype)

        losses, scores = jax.lax.map(one, keys)
        return jnp.mean(losses), jnp.mean(scores)


def _exact(task: Task) -> Callable[..., Any]:
    """The exact gradient of the finite run: a reverse sweep, or differences where there is none."""
    reverse = unrolled(task.training, num_steps=task.num_steps)
    try:
        jax.eval_shape(reverse, jax.random.key(0), _widened(task.hparams))
    except (TypeError, ValueError):
        return jax.jit(finite_difference(task.training, num_steps=task.num_steps))
    return jax.jit(reverse)


def _widened(hparams: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), hparams)


def seconds_beside(
    one: Callable[[], Any], other: Callable[[], Any], rounds: int = 3
) -> tuple[float, float]:
    """Least processor time of two calls, in rounds one after the other: their ratio can be trusted.

    Args:
        one: runs to its end when called.
        other: likewise.
        rounds: of each.

    Returns:
        Seconds of a call of each.
    """
    counts = [_repeats(call) for call in (one, other)]
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for call, count, found in zip((one, other), counts, times, strict=True):
            found.append(_seconds(call, count) / count)
    return min(times[0]), min(times[1])


def _repeats(call: Callable[[], Any]) -> int:
    """Calls that last long enough to be measured; the first one is not counted."""
    call()
    count = 1
    while _seconds(call, count) < _MIN_ROUND:
        count *= 4
    return count


def _seconds(call: Callable[[], Any], count: int) -> float:
    begin = time.process_time()
    for _ in range(count):
        call()
    return time.process_time() - begin
