"""Dataset distillation: the ten images that teach a model the most."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxhpo.problems._load import cut, digits_images, examples, real
from jaxhpo.problems.tasks._models import accuracy, linear, linear_zeros, softmax_error
from jaxhpo.problems.tasks._task import Array, Optimizer, Run, Task, sgd_task


def distillation(optimizer: Optimizer = None, *, num_images: int = 10) -> Task:
    """Softmax regression on ten images that are themselves learned: 640 pixels.

    Model: inner loss the cross entropy of the images, one a digit, and `0.001 |w|²`; 20 steps of
    heavy-ball SGD with rate 1 and momentum 0.9; outer loss the cross entropy of 1,000 real images.

    Args:
        optimizer: `optimizer(hparams)` in place of SGD with momentum; static.
        num_images: images, labelled 0 to 9 in turn; static.

    Returns:
        The task; `hparams = {"images": [num_images, 64]}`, blank at first; its score is the test
        accuracy on 797 other images.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.distillation().hparams["images"].shape
        (10, 64)

    References:
        Maclaurin et al. 2015, section 3.3; Wang et al., "Dataset distillation", 2018.
    """
    validation, test = (examples(p) for p in cut(digits_images("distillation"), [1000]))
    labels = {"y": jnp.arange(num_images, dtype=jnp.int32) % 10}

    def loss(hparams: Any, params: Any, batch: Any) -> Array:
        fit = softmax_error(hparams, params, {"x": hparams["images"], **batch})
        return fit + 1e-3 * jnp.sum(params["w"] ** 2)

    return sgd_task(
        lambda key, hparams: linear_zeros(64, 10),
        loss,
        softmax_error,
        Run(lambda hparams, t: real(1.0), Fraction(9, 10)),
        optimizer,
        (labels, validation, test),
        num_steps=20,
        hparams={"images": real(np.zeros((num_images, 64)))},
        score=lambda hparams, state: accuracy(linear(state.params, test["x"]), test["y"]),
        outer_lr=0.05,
        num_outer=100,
    )
