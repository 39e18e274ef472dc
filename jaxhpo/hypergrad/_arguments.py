"""Checks of the arguments that estimators share."""

from __future__ import annotations

from typing import Any

from jaxhpo._checks import check_count, check_number, fail, is_traced
from jaxhpo.training.internal import check_training


def check_run(where: str, training: Any, num_steps: Any) -> int:
    """Requires a training and at least one step of it; their number."""
    check_training(where, training)
    return _check_steps(where, num_steps)


def check_window(where: str, window: Any, num_steps: Any) -> int:
    """Requires a window of at least one step, within the run."""
    num_steps = _check_steps(where, num_steps)
    window = check_count(where, "window", window, 1)
    if window > num_steps:
        raise fail(where, "window", f"at most the {num_steps} steps of the run", window)
    return window


def check_decay(where: str, decay: Any) -> None:
    """Requires a weight from 0 to 1, where it is known."""
    check_number(where, "decay", decay)
    if not is_traced(decay) and not 0 <= decay <= 1:
        raise fail(where, "decay", "from 0 to 1", decay)


def _check_steps(where: str, num_steps: Any) -> int:
    """Requires at least one training step; the reason is in the error."""
    if check_count(where, "num_steps", num_steps, -(2**31)) < 1:
        expected = (
            "at least 1 (nothing is trained otherwise: jax.grad of the training's loss at its "
            "start is the gradient then)"
        )
        raise fail(where, "num_steps", expected, num_steps)
    return int(num_steps)
