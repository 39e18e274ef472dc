"""Outer descents of one budget, in training steps: what an estimator's gradients are worth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxhpo.benchmarking.leaderboard._setting import Setting
from jaxhpo.benchmarking.leaderboard._work import operations
from jaxhpo.hypergrad import Estimator
from jaxhpo.hypergrad.internal import from_free

GRID = (0.1, 0.3, 1.0, 3.0)
"""Outer steps that are tried, in units of the task's own."""

NUM_MARKS = 10
"""Points of a descent that are judged, after equal parts of the budget."""

_TUNING = 1_000_000
"""Seeds from here on choose the outer step, and are not reported."""


class Path(NamedTuple):
    """What became of one descent.

    Attributes:
        losses: loss after each tenth of the budget; NaN once the descent has broken off.
        score: the task's score at the end.
        seconds: wall time of the outer steps.
        is_finite: whether every loss and gradient on the way was.
    """

    losses: tuple[float, ...]
    score: float
    seconds: float
    is_finite: bool


class Stepper:
    """One outer step of Adam by an estimator's gradient, compiled once for all descents.

    Attributes:
        work: its operations in plain runs.
        compile_s: seconds to compile it, no cache used.
        temp_bytes: its temporary memory.
    """

    def __init__(self, setting: Setting, estimator: Estimator) -> None:
        self._setting, self._estimator = setting, estimator
        self._optimizer = optax.scale_by_adam()
        self._inputs = (jax.random.key(0), jnp.float32(0.1), self.begin(0))
        self.work = operations(self._step, *self._inputs) / setting.plain_work
        self.compile_s, self.temp_bytes = float("nan"), 0

    def compile(self) -> None:
        """Compiles the step; a persistent cache would make its time a matter of the past."""
        was_on = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
        jax.config.update("jax_enable_compilation_cache", False)
        try:
            lowered = jax.jit(self._step).lower(*self._inputs)
            begin = time.perf_counter()
            self._program = lowered.compile()
            self.compile_s = time.perf_counter() - begin
        finally:
            jax.config.update("jax_enable_compilation_cache", was_on)
        memory: Any = self._program.memory_analysis()
        self.temp_bytes = int(memory.temp_size_in_bytes)

    def begin(self, seed: int) -> Any:
        """Point, optimizer state and the estimator's memory before the first step."""
        free = self._setting.start(seed)
        hparams = from_free(self._setting.task.space, free)
        memory = self._estimator.init(jax.random.key(seed), hparams)
        return _strong((free, self._optimizer.init(free), memory))

    def call(self) -> Any:
        """One step from the first start, to its end."""
        return jax.block_until_ready(self._program(*self._inputs))

    def _step(self, key: Any, rate: Any, loop: Any) -> Any:
        free, opt_state, memory = loop
        space = self._setting.task.space
        hparams, pullback = jax.vjp(lambda free: from_free(space, free), free)
        out, memory = self._estimator.update(key, hparams, memory)
        grads = pullback(out.grad)[0]
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            updates, opt_state = self._optimizer.update(grads, opt_state)
        free = jax.tree.map(
            lambda p, u: p - rate.astype(p.dtype) * u.astype(p.dtype), free, updates
        )
        leaves = jax.tree.leaves((out.value, grads))
        is_sound = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
        if out.diagnostics.reversal_ok is not None:
            is_sound &= out.diagnostics.reversal_ok
        return _strong((free, opt_state, memory)), is_sound

    def descend(self, seed: int, rate: float, num_outer: int) -> Path:
        """Descends from a seed's start, every outer step with a key of its own.

        Args:
            seed: of the start and of all keys.
            rate: Adam's learning rate.
            num_outer: outer steps, at least 1.

        Returns:
            The `Path`.
        """
        loop, key = self.begin(seed), jax.random.key(seed)
        marks = np.ceil(np.arange(1, NUM_MARKS + 1) * num_outer / NUM_MARKS).astype(int)
        points, is_finite, step_size = {}, True, jnp.float32(rate)
        begin = time.perf_counter()
        for i in range(1, num_outer + 1):
            loop, is_sound = self._program(jax.random.fold_in(key, i), step_size, loop)
            if not bool(is_sound):
                is_finite = False
                break
            if i in marks:
                points[i] = loop[0]
        seconds = time.perf_counter() - begin
        found = {i: self._setting.outcome(point, seed) for i, point in points.items()}
        losses = [found.get(int(mark), (np.nan, np.nan)) for mark in marks]
        return Path(tuple(loss for loss, _ in losses), losses[-1][1], seconds, is_finite)

    def tuned(self, num_outer: int, num_seeds: int) -> float:
        """The outer step of the grid with the smallest mean loss at the end, on seeds of its own.

        Args:
            num_outer: outer steps of a descent.
            num_seeds: descents for each.

        Returns:
            Adam's learning rate.
        """
        rates = [share * self._setting.task.outer_lr for share in GRID]
        ends = [
            _mean(
                [
                    self.descend(_TUNING + seed, rate, num_outer).losses[-1]
                    for seed in range(num_seeds)
                ]
            )
            for rate in rates
        ]
        return rates[int(np.argmin(ends))]


def _mean(losses: Sequence[float]) -> float:
    """The mean; infinite where a descent broke off."""
    mean = float(np.mean(losses))
    return mean if np.isfinite(mean) else np.inf


def _strong(tree: Any) -> Any:
    """Drops weak types: the compiled step takes what it returns."""
    return jax.tree.map(lambda a: jax.lax.convert_element_type(a, jnp.result_type(a)), tree)
