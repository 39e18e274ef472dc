"""How far a sweep is, for callbacks and for displays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxhpo import progress as reports

COMPILING = "compiling"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Progress(reports.Progress):
    """What a sweep's `progress` callback is told, about once per call of the compiled program.

    It is `jaxhpo.progress.Progress`, and says of a sweep what only a sweep has. Its message is
    "compiling" while the sweep waits for the compiler; with a scheduler it says how many trials go
    on to which step, and the lowest loss where they stand.

    Attributes:
        steps_done: training steps taken, over all trials.
        num_steps: training steps in all; with a scheduler those that it takes if none fails.
        seconds: since the start.
        new_trials: `[k]` numbers of the trials that ended since the last report.
        new_losses: `[k]` their losses, NaN where failed or ended early.
        snapshot: gives the `Sweep` as it stands, without states; the best trial is known once the
            sweep has ended.
    """

    steps_done: int
    num_steps: int
    seconds: float
    new_trials: np.ndarray
    new_losses: np.ndarray
    snapshot: Callable[[], Any]

    @property
    def num_done(self) -> int:
        """`done`, the trials that have ended, failures included."""
        return self.done

    @property
    def num_trials(self) -> int:
        """`total`, the trials in all."""
        return self.total

    @property
    def best_loss(self) -> float:
        """`best`, the smallest final loss so far; infinite before the first."""
        return math.inf if self.best is None else self.best

    @property
    def num_failed(self) -> int:
        """`failed`, the trials whose loss was not finite."""
        return self.failed

    @property
    def is_compiling(self) -> bool:
        """Whether the sweep waits for the compiler."""
        return self.message == COMPILING


def progress_callback(reporter: reports.Reporter) -> Callable[[Progress], Any] | None:
    """A callback that shows a sweep on a display: trials' worth of steps, since many end at once.

    Args:
        reporter: the display.

    Returns:
        What a sweep calls, or None if the display is silent.
    """

    def report_progress(progress: Progress) -> None:
        done = progress.total * progress.steps_done // progress.num_steps
        reporter.update(dataclasses.replace(progress, done=done))

    return None if type(reporter) is reports.Reporter else report_progress
