"""A small network as hyperparameter: it weighs every example by the loss that it has now."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxhpo.problems.tasks._cleaning import corrupted_digits
from jaxhpo.problems.tasks._models import (
    accuracy,
    cross_entropies,
    forward,
    linear,
    linear_zeros,
    weights,
)
from jaxhpo.problems.tasks._task import Array, Optimizer, Task
from jaxhpo.training import Training, gradient

_HIDDEN = 8


def weighting(optimizer: Optimizer = None, *, seed: int = 0, corruption: float = 0.5) -> Task:
    """Softmax regression on digits with false labels, reweighted by a 1-8-1 network.

    Model: at every step example i gets the weight `σ(net(loss_i))`, which the step's gradient
    treats as a constant; 50 steps of SGD with momentum 0.9 and rate 0.3; outer loss the cross
    entropy of 400 clean examples. The step follows no gradient field: the weights move with the
    parameters, so implicit methods by a Hessian do not apply, and none is offered an `inner_loss`.

    Args:
        optimizer: `optimizer(hparams)` in place of SGD with momentum; static.
        seed: of the data; static.
        corruption: share of labels drawn anew; static.

    Returns:
        The task; `hparams = {"net": [{"w", "b"}, {"w", "b"}]}`; its score is the test accuracy.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.weighting().hparams["net"][0]["w"].shape
        (1, 8)

    References:
        Shu et al., "Meta-Weight-Net: learning an explicit mapping for sample weighting", 2019.
    """
    data = corrupted_digits(seed, corruption)
    build = optimizer or (lambda hparams: optax.sgd(0.3, momentum=0.9))

    def each(params: Any, batch: Any) -> Array:
        return cross_entropies(linear(params, batch["x"]), batch["y"])

    def init(key: Array, hparams: Any) -> Any:
        params = linear_zeros(64, 10)
        # From zero all losses, and so all weights, would be the same in the first step.
        noise = jax.random.normal(key, (64, 10), params["w"].dtype)
        params = {**params, "w": 0.01 * noise}
        return {"params": params, "opt_state": build(hparams).init(params)}

    def step(key: Array, hparams: Any, state: Any, t: Array) -> Any:
        params = state["params"]
        scores = forward(hparams["net"], each(params, data.train)[:, None])[:, 0]
        weight = jax.nn.sigmoid(scores)
        grads = gradient(lambda p: jnp.mean(weight * each(p, data.train)))(params)
        updates, opt_state = build(hparams).update(grads, state["opt_state"], params)
        return {"params": optax.apply_updates(params, updates), "opt_state": opt_state}

    def error(state: Any, batch: Any) -> Array:
        return jnp.mean(each(state["params"], batch))

    def score(hparams: Any, state: Any) -> Array:
        return accuracy(linear(state["params"], data.test["x"]), data.test["y"])

    return Task(
        training=Training(init, step, lambda hparams, state: error(state, data.validation)),
        num_steps=50,
        hparams={"net": weights(jax.random.key(0), (1, _HIDDEN, 1))},
        test_loss=lambda hparams, state: error(state, data.test),
        score=score,
        outer_lr=0.05,
        num_outer=50,
    )
