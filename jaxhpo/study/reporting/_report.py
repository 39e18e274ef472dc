"""What an objective that reports as it goes may yield in place of a number."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Report:
    """A loss on the way, and from what the trial can go on.

    Attributes:
        loss: a real number or an array without axes, in the study's own direction.
        checkpoint: a path, which is stored as text; or nested dicts, lists and tuples of arrays and
            numbers, which are kept in a file beside the study until the trial has ended. None: the
            trial goes on from the last report that had one.

    Example:
        >>> import jaxhpo as hpo
        >>> def objective(params, checkpoint=None):
        ...     state = checkpoint or {"w": 1.0, "step": 0}
        ...     for step in range(int(state["step"]), 9):
        ...         state = {"w": state["w"] * params["x"], "step": step + 1}
        ...         yield hpo.Report(state["w"], checkpoint=state)
        >>> study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=None)
        >>> study.optimize(objective, num_trials=9, num_steps=9, scheduler="halving")
        >>> [trial.status.name for trial in study.trials].count("COMPLETE")
        1
    """

    loss: Any
    checkpoint: Any = None
