"""Automatic relevance determination: one log penalty per feature of a logistic regression."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.problems._load import cut, examples, load, real, standardised
from jaxhpo.problems.tasks._models import linear, linear_zeros
from jaxhpo.problems.tasks._task import Array, Optimizer, Run, Task, sgd_task


def penalties(optimizer: Optimizer = None) -> Task:
    """Logistic regression on breast cancer: 30 log penalties, one per feature.

    Model: inner loss `cross entropy + ½ Σ exp(l2_j) w_j²`, heavy-ball SGD with rate 0.3 and
    momentum 0.9; outer loss the cross entropy of 150 other examples. As many penalties as weights:
    the test loss tells how far the validation examples are overfitted.

    Args:
        optimizer: `optimizer(hparams)` in place of SGD with momentum; static.

    Returns:
        The task; `hparams = {"l2": [30]}`; its score is the test accuracy.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.penalties().hparams["l2"].shape
        (30,)

    References:
        Lorraine et al., "Optimizing millions of hyperparameters by implicit differentiation", 2020.
    """
    parts = standardised(cut(load("penalties", "breast_cancer"), [200, 150]))
    train, validation, test = (examples((x, y.astype(np.float64))) for x, y in parts)

    def logits(params: Any, batch: Any) -> Array:
        return linear(params, batch["x"])[:, 0]

    def error(hparams: Any, params: Any, batch: Any) -> Array:
        out = logits(params, batch)
        return jnp.mean(jax.nn.softplus(out) - batch["y"] * out)

    def loss(hparams: Any, params: Any, batch: Any) -> Array:
        penalty = jnp.exp(hparams["l2"])[:, None]
        return error(hparams, params, batch) + 0.5 * jnp.sum(penalty * params["w"] ** 2)

    def score(hparams: Any, state: Any) -> Array:
        hits = (logits(state.params, test) > 0) == (test["y"] > 0)
        return jnp.mean(hits.astype(state.params["w"].dtype))

    return sgd_task(
        lambda key, hparams: linear_zeros(30, 1),
        loss,
        error,
        Run(lambda hparams, t: real(0.3), Fraction(9, 10)),
        optimizer,
        (train, validation, test),
        num_steps=100,
        hparams={"l2": real(np.full(30, np.log(0.01) + 1.0))},
        score=score,
        outer_lr=0.1,
        num_outer=50,
    )
