"""Ridge regression with one penalty per feature: the task whose answer is known in closed form."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxhpo.problems._load import cut, examples, load, real
from jaxhpo.problems.tasks._task import Array, Optimizer, Run, Task, sgd_task


def ridge(optimizer: Optimizer = None) -> Task:
    """Ridge regression on diabetes, rows of unit length: 10 log penalties.

    Model: inner loss `½ mean (x w - y)² + ½ Σ exp(l2_j) w_j²`, full-batch gradient descent from 0;
    outer loss `½ mean (x w - y)²` on validation rows. It converges in 300 steps to `task.exact`.

    Args:
        optimizer: `optimizer(hparams)` in place of SGD; static.

    Returns:
        The task; `hparams = {"l2": [10]}`.

    Example:
        >>> import jaxhpo as hpo
        >>> task = hpo.problems.ridge()
        >>> value, grad = task.exact(task.hparams)
        >>> grad["l2"].shape
        (10,)

    References:
        The bilevel ridge example of JAXopt's documentation.
    """
    x, y = load("ridge", "diabetes")
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = (y - y.mean()) / y.std()
    train, validation, test = cut((x, y), [200, 120])
    # 1 / L: the largest curvature at the start, doubled for penalties that grow.
    curvature = np.linalg.eigvalsh(train[0].T @ train[0] / len(train[0])).max() + 0.1

    def error(hparams: Any, params: Array, batch: Any) -> Array:
        return 0.5 * jnp.mean((batch["x"] @ params - batch["y"]) ** 2)

    def loss(hparams: Any, params: Array, batch: Any) -> Array:
        return error(hparams, params, batch) + 0.5 * jnp.sum(jnp.exp(hparams["l2"]) * params**2)

    held_out = examples(test)

    def exact(hparams: Any) -> tuple[float, Any]:
        penalty = np.exp(np.asarray(hparams["l2"], np.float64))
        hessian = train[0].T @ train[0] / len(train[1]) + np.diag(penalty)
        w = np.linalg.solve(hessian, train[0].T @ train[1] / len(train[1]))
        residual = validation[0] @ w - validation[1]
        slope = np.linalg.solve(hessian, validation[0].T @ residual / len(residual))
        return 0.5 * float(np.mean(residual**2)), {"l2": -penalty * w * slope}

    return sgd_task(
        lambda key, hparams: jnp.zeros(10, jnp.result_type(float)),
        loss,
        error,
        Run(lambda hparams, t: 1.0 / curvature),
        optimizer,
        (examples(train), examples(validation), held_out),
        num_steps=300,
        hparams={"l2": real(np.full(10, -3.0))},
        score=lambda hparams, state: -error(hparams, state.params, held_out),
        outer_lr=0.1,
        num_outer=100,
        exact=exact,
    )
