"""Weights of auxiliary losses: which of ten further questions help to read few digits."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.problems._load import cut, digits_images, real
from jaxhpo.problems.tasks._models import accuracy, cross_entropies
from jaxhpo.problems.tasks._task import Array, Optimizer, Run, Task, sgd_task

_NUM_TRAIN, _NUM_LABELLED, _NUM_VALIDATION = 600, 40, 400
_HIDDEN, _NUM_QUESTIONS = 16, 10


def auxiliary(optimizer: Optimizer = None) -> Task:
    """Digits of which 40 have labels, and ten yes-or-no questions that all 600 answer: 11 weights.

    Model: a 64-16 tanh layer below 10 class logits and 10 answers; inner loss the sum over the main
    loss and the questions of `exp(log_weight_k) loss_k`, 100 steps of gradient descent with
    momentum 0.9 and rate 0.1; outer loss the cross entropy of 400 labelled digits. Five questions
    are about the digit (even, above 4, has a loop, …), five are coins that teach nothing.

    Args:
        optimizer: `optimizer(hparams)` in place of SGD with momentum; static.

    Returns:
        The task; `hparams = {"log_weights": [11]}`, the main loss first; its score is the test
        accuracy.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.auxiliary().hparams["log_weights"].shape
        (11,)

    References:
        Navon et al., "Auxiliary learning by implicit differentiation", ICLR 2021.
    """
    parts = cut(digits_images("auxiliary"), [_NUM_TRAIN, _NUM_VALIDATION])
    train, validation, test = (_with_answers(part, i) for i, part in enumerate(parts))

    def outputs(params: Any, x: Array) -> Array:
        hidden = jnp.tanh(x @ params["in"] + params["bias"][None])
        return hidden @ params["out"]

    def error(hparams: Any, params: Any, batch: Any) -> Array:
        return jnp.mean(cross_entropies(outputs(params, batch["x"])[:, :10], batch["y"]))

    def loss(hparams: Any, params: Any, batch: Any) -> Array:
        found = outputs(params, batch["x"])
        main = cross_entropies(found[:, :10], batch["y"])
        main = jnp.sum(batch["is_labelled"] * main) / _NUM_LABELLED
        answers = found[:, 10:]
        others = jnp.mean(jax.nn.softplus(answers) - batch["answers"] * answers, axis=0)
        weights = jnp.exp(hparams["log_weights"])
        penalty = 1e-3 * (jnp.sum(params["in"] ** 2) + jnp.sum(params["out"] ** 2))
        return weights[0] * main + jnp.sum(weights[1:] * others) + penalty

    def init(key: Array, hparams: Any) -> Any:
        key_in, key_out = jax.random.split(key)
        dtype = jnp.result_type(float)
        shape = (_HIDDEN, 10 + _NUM_QUESTIONS)
        return {
            "in": jax.random.normal(key_in, (64, _HIDDEN), dtype) / 8,
            "bias": jnp.zeros(_HIDDEN, dtype),
            "out": jax.random.normal(key_out, shape, dtype) / _HIDDEN**0.5,
        }

    def score(hparams: Any, state: Any) -> Array:
        return accuracy(outputs(state.params, test["x"])[:, :10], test["y"])

    return sgd_task(
        init,
        loss,
        error,
        Run(lambda hparams, t: real(0.1), Fraction(9, 10)),
        optimizer,
        (train, validation, test),
        num_steps=100,
        hparams={"log_weights": real(np.full(1 + _NUM_QUESTIONS, -1.0))},
        score=score,
        outer_lr=0.1,
        num_outer=50,
    )


def _with_answers(part: Any, number: int) -> dict[str, Array]:
    """Examples with the answers to the questions, and which of them show their label."""
    x, y = part
    known = [y % 2 == 0, y > 4, np.isin(y, (0, 6, 8, 9)), np.isin(y, (2, 3, 5, 7)), y % 3 == 0]
    coins = np.random.default_rng([number, 4]).integers(0, 2, (len(y), _NUM_QUESTIONS - len(known)))
    answers = np.concatenate([np.stack(known, axis=1), coins], axis=1).astype(np.float64)
    return {
        "x": real(x),
        "y": jnp.asarray(y, jnp.int32),
        "answers": real(answers),
        "is_labelled": real(np.arange(len(y)) < _NUM_LABELLED),
    }
