"""Logistic regression with one penalty per feature: the task with a published trace."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.problems._load import Split, examples, real
from jaxhpo.problems.tasks._task import Array, Optimizer, Run, Task, sgd_task
from jaxhpo.space import Space, log_uniform

# Outer step -> outer loss, as printed in hypertorch's notebook on logistic regression: 100 inner
# steps, truncation to the last 10, outer SGD with rate 1 and momentum 0.9 on the penalties
# themselves, clamped at 1e-8.
PUBLISHED_TRACE = {
    0: 0.574399, 10: 0.533768, 20: 0.361522, 50: 0.294467,
    100: 0.285354, 170: 0.281720, 990: 0.280506,
}  # fmt: skip


def logistic(optimizer: Optimizer = None) -> Task:
    """Logistic regression on a drawn hyperplane in 20 dimensions: 20 penalties.

    Model: inner loss `cross entropy + ½ Σ l2_j w_j²`, gradient descent with rate 0.1 from 0; outer
    loss the cross entropy of 500 other examples. The data are those of hypertorch's notebook, drawn
    in its order from its seed; `PUBLISHED_TRACE` holds the losses that it prints.

    Args:
        optimizer: `optimizer(hparams)` in place of SGD; static.

    Returns:
        The task; `hparams = {"l2": [20]}`, penalties, not their logarithms.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.logistic().num_steps
        100

    References:
        Grazzi et al., "On the iteration complexity of hypergradient computation", ICML 2020.
    """
    train, validation, test = (examples(split) for split in notebook_data())

    def error(hparams: Any, params: Array, batch: Any) -> Array:
        logits = batch["x"] @ params
        return jnp.mean(jax.nn.softplus(logits) - batch["y"] * logits)

    def loss(hparams: Any, params: Array, batch: Any) -> Array:
        return error(hparams, params, batch) + 0.5 * jnp.sum(hparams["l2"] * params**2)

    def score(hparams: Any, state: Any) -> Array:
        hits = (test["x"] @ state.params > 0) == (test["y"] > 0)
        return jnp.mean(hits.astype(state.params.dtype))

    return sgd_task(
        lambda key, hparams: jnp.zeros(20, jnp.result_type(float)),
        loss,
        error,
        Run(lambda hparams, t: 0.1),
        optimizer,
        (train, validation, test),
        num_steps=100,
        hparams={"l2": real(np.ones(20))},
        score=score,
        outer_lr=0.1,
        num_outer=100,
        space=Space({"l2": log_uniform(1e-8, 10.0, shape=20)}),
    )


def notebook_data() -> list[Split]:
    """The notebook's two halves, and 500 examples drawn after them."""
    rng = np.random.RandomState(1)
    plane = rng.randn(20)
    x = rng.randn(1000, 20)
    y = (x @ plane + 0.1 * rng.randn(1000) > 0.0).astype(np.float64)
    order = rng.permutation(1000)  # what sklearn's train_test_split draws
    x_test = rng.randn(500, 20)
    y_test = (x_test @ plane + 0.1 * rng.randn(500) > 0.0).astype(np.float64)
    second, first = order[:500], order[500:]
    return [(x[first], y[first]), (x[second], y[second]), (x_test, y_test)]
