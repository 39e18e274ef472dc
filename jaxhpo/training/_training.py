"""The one description of a training run that every family of methods shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Training(NamedTuple):
    """A training run as pure functions, written once and tuned in any way.

    In bilevel terms `init` and `step` are the inner problem and `loss` is the outer objective. The
    state carries everything that changes (parameters, optimizer state, batch statistics). The batch
    and the dropout mask are functions of the key and of `t`, so a step that is recomputed is the
    same step. Hyperparameters are traced arrays: no value is baked into the program.

    Attributes:
        init: `init(key, hparams) -> state`.
        step: `step(key, hparams, state, t) -> state`, where `t` is the int32 step number from 0.
        loss: `loss(hparams, state) -> scalar`, the validation loss.
        inner_loss: `inner_loss(hparams, params) -> scalar`, the training loss that implicit
            methods differentiate, or None.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    loss: Callable[..., Any]
    inner_loss: Callable[..., Any] | None = None
