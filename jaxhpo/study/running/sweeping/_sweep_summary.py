"""What a sweep of a study did; apart from the sweep, which imports populations and optax."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class SweepSummary:
    """What one call of `Study.sweep` did; the trials are in the study.

    Attributes:
        num_trials: trials recorded.
        num_failed: those of them that failed.
        num_batches: transactions they were ended in.
        seconds: wall time in all.
        compile_seconds: time spent on tracing and compiling.
        write_seconds: time spent on writing to the storage.
        plans: how each batch was laid out, and how many trials a batch has where the sampler learns
            between them; `str(plan)` is text for people.
    """

    num_trials: int
    num_failed: int
    num_batches: int
    seconds: float
    compile_seconds: float
    write_seconds: float
    plans: tuple[Any, ...]
