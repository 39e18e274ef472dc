"""Learning rates of a small tanh network on digits: a schedule, and one at the edge of chaos."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxhpo.problems._load import cut, digits_images, examples, real
from jaxhpo.problems.tasks._models import accuracy, cross_entropies, forward, weights
from jaxhpo.problems.tasks._task import Array, Optimizer, Run, Task, sgd_task
from jaxhpo.space import Space, log_uniform


def schedule(optimizer: Optimizer = None, *, num_steps: int = 100, width: int = 32) -> Task:
    """A 64-32-10 tanh network on digits, trained for 100 steps: one learning rate per step.

    Model: cross entropy of 50 of 600 images a step, heavy-ball SGD with momentum 0.9 and the
    rates `lr`; outer loss the cross entropy of 500 other images. Weights and batches are drawn from
    the key: a descent with `seeds="fresh"` learns a schedule that fits them all.

    Args:
        optimizer: `optimizer(hparams)` in place of SGD with momentum; static.
        num_steps: steps, and learning rates; static.
        width: hidden units; static.

    Returns:
        The task; `hparams = {"lr": [num_steps]}`; its score is the test accuracy.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.schedule().hparams["lr"].shape
        (100,)

    References:
        Maclaurin, Duvenaud, Adams, "Gradient-based hyperparameter optimization through reversible
        learning", ICML 2015, section 3.1.
    """
    run = Run(lambda hparams, t: hparams["lr"][t], Fraction(9, 10), 50)
    return _network(
        "schedule",
        (64, width, 10),
        run,
        optimizer,
        num_steps=num_steps,
        hparams={"lr": real(np.full(num_steps, 0.05))},
        space=Space({"lr": log_uniform(1e-4, 10.0, shape=num_steps)}),
        outer_lr=0.03,  # at 0.1 the noise of fresh runs walks the rates over the edge of chaos
    )


def chaos(optimizer: Optimizer = None) -> Task:
    """A 64-50-20-10 tanh network on digits: one log learning rate, up to the edge of chaos.

    Model: as `schedule`, 50 steps of momentum 0.9 with the rate `exp(log_lr)`. Somewhere above
    `log_lr = 1` the adjoint grows by many orders of magnitude and the exact gradient of the run
    says nothing any more.

    Args:
        optimizer: `optimizer(hparams)` in place of SGD with momentum; static.

    Returns:
        The task; `hparams = {"log_lr": []}`; its score is the test accuracy.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.chaos().num_steps
        50

    References:
        Maclaurin et al. 2015, section 4; Metz et al., "Gradients are not all you need", 2021.
    """
    run = Run(lambda hparams, t: jnp.exp(hparams["log_lr"]), Fraction(9, 10), 250)
    return _network(
        "chaos",
        (64, 50, 20, 10),
        run,
        optimizer,
        num_steps=50,
        hparams={"log_lr": real(-3.0)},
        outer_lr=0.1,
    )


def _network(
    where: str,
    widths: tuple[int, ...],
    run: Run,
    optimizer: Optimizer,
    **known: Any,
) -> Task:
    """The task of a tanh network on digits."""
    train, validation, test = (examples(p) for p in cut(digits_images(where), [600, 500]))

    def error(hparams: Any, params: Any, batch: Any) -> Array:
        return jnp.mean(cross_entropies(forward(params, batch["x"]), batch["y"]))

    return sgd_task(
        lambda key, hparams: weights(key, widths),
        error,
        error,
        run,
        optimizer,
        (train, validation, test),
        score=lambda hparams, state: accuracy(forward(state.params, test["x"]), test["y"]),
        num_outer=50,
        **known,
    )
