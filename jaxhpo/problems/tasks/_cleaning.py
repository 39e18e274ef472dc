"""Data hyper-cleaning: one weight per example, learned, tells the false labels from the true."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.problems._load import cut, digits_images, examples, real
from jaxhpo.problems.tasks._models import (
    accuracy,
    cross_entropies,
    linear,
    linear_zeros,
    softmax_error,
)
from jaxhpo.problems.tasks._task import Array, Optimizer, Run, Task, sgd_task

_NUM_TRAIN, _NUM_VALIDATION = 600, 400
_PENALTY = 1e-3


class Corrupted(NamedTuple):
    """Digits with false labels.

    Attributes:
        train: 600 examples whose labels may be false.
        validation: 400 examples with true labels.
        test: 797 examples with true labels.
        is_false: `[600]` bool, which labels of `train` are false.
    """

    train: dict[str, Array]
    validation: dict[str, Array]
    test: dict[str, Array]
    is_false: Array


def corrupted_digits(seed: int = 0, corruption: float = 0.5) -> Corrupted:
    """Draws new labels for a part of the training images.

    Args:
        seed: of the split and of the labels; static.
        corruption: share of training labels drawn anew from all ten, so that a tenth of them is
            true all the same; from 0 to 1; static.

    Returns:
        The data.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.corrupted_digits().is_false.shape
        (600,)
    """
    train, validation, test = cut(
        digits_images("cleaning"), [_NUM_TRAIN, _NUM_VALIDATION], seed=seed
    )
    rng = np.random.default_rng([seed, 1])
    chosen = rng.permutation(_NUM_TRAIN)[: round(corruption * _NUM_TRAIN)]
    labels = train[1].copy()
    labels[chosen] = rng.integers(0, 10, len(chosen))
    is_false = jnp.asarray(labels != train[1])
    given = examples((train[0], labels))
    return Corrupted(given, examples(validation), examples(test), is_false)


def cleaning(optimizer: Optimizer = None, *, seed: int = 0, corruption: float = 0.5) -> Task:
    """Softmax regression on digits, half of whose labels were drawn anew: 600 weights.

    Model: inner loss `mean σ(weight_i) cross entropy_i + 0.001 |w|²`, 200 steps of gradient descent
    with rate 0.5; outer loss the cross entropy of 400 clean examples. A weight below 0 after the
    descent says that its label is false.

    Args:
        optimizer: `optimizer(hparams)` in place of SGD; static.
        seed: of the data; static.
        corruption: share of labels drawn anew; static.

    Returns:
        The task; `hparams = {"weights": [600]}`; its score is the F1 of the false labels found.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.problems.cleaning().hparams["weights"].shape
        (600,)

    References:
        Franceschi et al., "Forward and reverse gradient-based hyperparameter optimization", ICML
        2017, section 5.1.
    """
    data = corrupted_digits(seed, corruption)

    def loss(hparams: Any, params: Any, batch: Any) -> Array:
        each = cross_entropies(linear(params, batch["x"]), batch["y"])
        fit = jnp.mean(jax.nn.sigmoid(hparams["weights"]) * each)
        return fit + _PENALTY * jnp.sum(params["w"] ** 2)

    def score(hparams: Any, state: Any) -> Array:
        found = hparams["weights"] <= 0
        dtype = hparams["weights"].dtype
        both = jnp.sum((found & data.is_false).astype(dtype))
        each = jnp.sum(found.astype(dtype)) + jnp.sum(data.is_false.astype(dtype))
        return 2 * both / each

    return sgd_task(
        lambda key, hparams: linear_zeros(64, 10),
        loss,
        softmax_error,
        Run(lambda hparams, t: 0.5),
        optimizer,
        (data.train, data.validation, data.test),
        num_steps=200,
        # A little above 0, so that an example is kept until something speaks against it.
        hparams={"weights": real(np.full(_NUM_TRAIN, 1e-3))},
        score=score,
        outer_lr=0.2,
        num_outer=100,
    )


def cleaning_70(optimizer: Optimizer = None) -> Task:
    """`cleaning` with 70 % of the labels drawn anew.

    Args:
        optimizer: as for `cleaning`; static.

    Returns:
        The task.

    References:
        Franceschi et al. 2017; the three shares 50, 70 and 90 % are those of Dagréou et al., "A
        framework for bilevel optimization that enables stochastic and global variance reduction
        algorithms", NeurIPS 2022.
    """
    return cleaning(optimizer, corruption=0.7)


def cleaning_90(optimizer: Optimizer = None) -> Task:
    """`cleaning` with 90 % of the labels drawn anew.

    Args:
        optimizer: as for `cleaning`; static.

    Returns:
        The task.

    References:
        As `cleaning_70`.
    """
    return cleaning(optimizer, corruption=0.9)


def clean_accuracy(task: Task, hparams: Any, *, seed: int = 0, corruption: float = 0.5) -> Any:
    """Test accuracies of models trained on the examples that the weights keep, and beside them.

    Args:
        task: from `cleaning` with the same `seed` and `corruption`.
        hparams: its hyperparameters after the descent.
        seed: of the data; static.
        corruption: share of labels drawn anew; static.

    Returns:
        `{"all": [], "validation": [], "kept": [], "oracle": []}`: trained on everything, on the
        clean examples only, on those kept and the clean ones, and on the true labels and the clean.
    """
    data = corrupted_digits(seed, corruption)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), data.train, data.validation)
    dtype = both["x"].dtype
    clean = jnp.ones(_NUM_VALIDATION, dtype)
    zeros = jnp.zeros(_NUM_TRAIN, dtype)
    kept = (hparams["weights"] > 0).astype(dtype)
    weights = {
        "all": jnp.concatenate([jnp.ones_like(zeros), clean]),
        "validation": jnp.concatenate([zeros, clean]),
        "kept": jnp.concatenate([kept, clean]),
        "oracle": jnp.concatenate([1.0 - data.is_false.astype(dtype), clean]),
    }

    def trained_accuracy(weight: Array) -> Array:
        def loss(params: Any) -> Array:
            each = cross_entropies(linear(params, both["x"]), both["y"])
            fit = jnp.sum(weight * each) / jnp.sum(weight)
            return fit + _PENALTY * jnp.sum(params["w"] ** 2)

        def step(_: Any, params: Any) -> Any:
            return jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(loss)(params))

        params = jax.lax.fori_loop(0, task.num_steps, step, linear_zeros(64, 10))
        return accuracy(linear(params, data.test["x"]), data.test["y"])

    return jax.jit(lambda weights: jax.tree.map(trained_accuracy, weights))(weights)
