"""A curve of minimisers: a one-dimensional bilevel problem with many outer optima, all known."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxhpo.problems._load import real
from jaxhpo.problems.tasks._task import Array, Optimizer, Run, Task, sgd_training
from jaxhpo.space import Space, uniform


def valley(optimizer: Optimizer = None) -> Task:
    """A scalar bilevel problem whose inner minimum is `y = -x` and whose outer loss oscillates.

    Model: inner loss `(x + y)² + x sin²(x + y)`, gradient descent with rate 0.15 from 2; outer loss
    `cos(4 y + 2) / (1 + exp(2 - 4 x)) + ½ log((4 x - 2)² + 1)`, for x in [0, 3]. Its value after
    training is known, so the local optima in which a descent may end are too.

    Args:
        optimizer: `optimizer(hparams)` in place of SGD; static.

    Returns:
        The task; `hparams = {"x": []}`; its score is minus the outer loss.

    Example:
        >>> import jaxhpo as hpo
        >>> task = hpo.problems.valley()
        >>> round(task.exact({"x": 1.0})[0], 4)
        0.4382

    References:
        Kwon et al., "On penalty methods for nonconvex bilevel optimization", 2023.
    """

    def outer(x: Array, y: Array) -> Array:
        return jnp.cos(4 * y + 2) / (1 + jnp.exp(2 - 4 * x)) + 0.5 * jnp.log((4 * x - 2) ** 2 + 1)

    def loss(hparams: Any, y: Array, batch: Any) -> Array:
        gap = hparams["x"] + y
        return gap**2 + hparams["x"] * jnp.sin(gap) ** 2

    training, _ = sgd_training(
        lambda key, hparams: jnp.asarray(2.0, jnp.result_type(float)),
        loss,
        Run(lambda hparams, t: 0.15),
        optimizer,
        train=real(np.zeros(1)),  # the loss needs no data
        validation=real(np.zeros(1)),
        validation_loss=lambda hparams, y, batch: outer(hparams["x"], y),
    )

    def value(hparams: Any, state: Any) -> Array:
        return outer(hparams["x"], state.params)

    return Task(
        training=training,
        num_steps=200,
        hparams={"x": real(1.0)},
        test_loss=value,
        score=lambda hparams, state: -value(hparams, state),
        outer_lr=0.03,
        num_outer=150,
        space=Space({"x": uniform(0.0, 3.0)}),
        exact=_exact,
    )


def _exact(hparams: Any) -> tuple[float, Any]:
    """The outer loss at `y = -x` and its derivative, in NumPy float64."""
    x = float(np.asarray(hparams["x"]))
    gate = 1 / (1 + np.exp(2 - 4 * x))
    wave, far = np.cos(2 - 4 * x), 4 * x - 2
    value = wave * gate + 0.5 * np.log(far**2 + 1)
    slope = 4 * np.sin(2 - 4 * x) * gate + 4 * wave * gate * (1 - gate) + 4 * far / (far**2 + 1)
    return float(value), {"x": np.array(slope)}
