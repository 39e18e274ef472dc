"""Progress reports out of a compiled program, to a display on the host.

The program calls the host with the number of a display that it gets as an argument, so that one
program serves every call. Where nothing is to be shown there is no number, and the program is the
one without a display.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._checks import fail, is_traced
from jaxhpo.progress._reporter import Progress, Reporter, make_reporter

_MAX_REPORTS = 200
"""Calls of the host at most, each some ten microseconds and a wait for the device."""

_NUMBERS = itertools.count()
_DISPLAYS: dict[int, _Display] = {}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DeviceReporter:
    """Reports progress from a compiled program: its display, and what ended before this loop.

    Attributes:
        number: `[]` int32, of the display.
        part: `[]` int32, how many loops ran before.
        done: `[]` int32, trials before.
        best: `[]` best value before; infinite if there is none.
        failed: `[]` int32, trials that failed before.
        parts: static; how many loops of equal length there are, one after another.
        axis: static; name of the axis over which loops run side by side, or None.
    """

    number: jax.Array
    part: jax.Array
    done: jax.Array
    best: jax.Array
    failed: jax.Array
    parts: int = dataclasses.field(default=1, metadata={"static": True})
    axis: str | None = dataclasses.field(default=None, metadata={"static": True})

    def after(self, done: int, best: jax.Array, failed: jax.Array) -> DeviceReporter:
        """The reporter of the next loop."""
        return dataclasses.replace(
            self,
            part=self.part + 1,
            done=self.done + done,
            best=jnp.minimum(self.best, best.astype(self.best.dtype)),
            failed=self.failed + failed,
        )


class _Display:
    """Where the calls of one running program go."""

    def __init__(self, reporter: Reporter, total: int) -> None:
        self._reporter, self._total = reporter, total
        self._done = -1
        self.error: BaseException | None = None

    def update(self, done: int, best: float, failed: int, message: str = "") -> None:
        """Shows a report; one that a later one has overtaken is dropped."""
        if done <= self._done or self.error is not None:
            return
        self._done = done
        known_best = best if np.isfinite(best) else None
        try:
            self._reporter.update(Progress(done, self._total, known_best, failed, message))
        except BaseException as error:  # the program cannot be left from here
            self.error = error


@contextlib.contextmanager
def display(
    where: str, progress: Any, title: str, total: int, *inputs: Any, unit: str = "trials"
) -> Iterator[DeviceReporter | None]:
    """Opens a display for the program that runs in the block.

    Args:
        where: the public function, for errors.
        progress: False, True or a callable, as `make_reporter` takes it.
        title: what a bar is called.
        total: what `done` ends at.
        inputs: what the program gets, to tell whether a transformation is at work.
        unit: what is counted.

    Yields:
        What to give to `report`, or None if nothing is shown.

    Raises:
        TypeError: `progress` is none of these.
        ValueError: something is to be shown, and a transformation is at work.
    """
    if progress is False or progress is None:
        yield None
        return
    check_not_traced(where, progress, (jnp.zeros(()), *inputs))
    note = "the program compiles first"
    reporter = make_reporter(where, progress, title, total, unit=unit, note=note)
    if type(reporter) is Reporter:
        yield None
        return
    number = next(_NUMBERS)
    with reporter:
        opened = _DISPLAYS[number] = _Display(reporter, total)
        try:
            opened.update(0, np.inf, 0, "starting")
            zero = jnp.int32(0)
            yield DeviceReporter(jnp.int32(number), zero, zero, jnp.full((), jnp.inf), zero)
            jax.effects_barrier()
        finally:
            del _DISPLAYS[number]
    if opened.error is not None:
        raise opened.error


def check_not_traced(where: str, progress: Any, tree: Any) -> None:
    """Refuses progress inside of a transformation, where one call would stand for many or none."""
    if any(is_traced(leaf) for leaf in jax.tree.leaves(tree)):
        expected = "False under a transformation such as jit or vmap"
        raise fail(where, "progress", expected, progress)


def report(
    reporter: DeviceReporter, index: jax.Array, count: int, *, done: Any, best: Any, failed: Any
) -> None:
    """Reports progress from inside a compiled loop, at most 200 times per program.

    Args:
        reporter: from `display`.
        index: turn of the loop, from 0.
        count: turns in all; static.
        done: `[]` trials done after this turn.
        best: `[]` best value so far; not finite if there is none.
        failed: `[]` trials that failed.
    """
    if reporter.axis is not None:  # one report for all loops that run side by side
        done = done * jax.lax.axis_size(reporter.axis)
        best, failed = jax.lax.pmin(best, reporter.axis), jax.lax.psum(failed, reporter.axis)
    turns = count * reporter.parts
    every = max(1, -(-turns // _MAX_REPORTS))
    turn = reporter.part * count + index
    is_due = (turn % every == every - 1) | (turn == turns - 1)
    best = jnp.minimum(reporter.best, best.astype(reporter.best.dtype))
    counts = (reporter.done + done, best, reporter.failed + failed)

    def call() -> None:
        jax.debug.callback(_update, reporter.number, *counts)

    jax.lax.cond(is_due, call, lambda: None)


def _update(number: Any, done: Any, best: Any, failed: Any) -> None:
    running = _DISPLAYS.get(int(number))
    if running is not None:
        running.update(int(done), float(best), int(failed))
