"""A curve of minimisers: a one-dimensional bilevel problem with many outer optima, all known."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxhpo.problems._load import real
from jaxhpo.problems.tasks._task import Array, Optimizer, Run, Task, sgd_task
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

    def error(hparams: Any, y: Array, batch: Any) -> Array:
        x = hparams["x"]
        return jnp.cos(4 * y + 2) / (1 + jnp.exp(2 - 4 * x)) + 0.5 * jnp.log((4 * x - 2) ** 2 + 1)

    def loss(hparams: Any, y: Array, batch: Any) -> Array:
        gap = hparams["x"] + y
        return gap**2 + hparams["x"] * jnp.sin(gap) ** 2

    nothing = real(np.zeros(1))  # the losses need no data
    return sgd_task(
        lambda key, hparams: jnp.asarray(2.0, jnp.result_type(float)),
        loss,
        error,
        Run(lambda hparams, t: 0.15),
        optimizer,
        (nothing, nothing, nothing),
        num_steps=200,
        hparams={"x": real(1.0)},
        score=lambda hparams, state: -error(hparams, state.params, nothing),
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
