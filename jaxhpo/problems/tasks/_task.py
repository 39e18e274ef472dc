"""A bilevel problem: a training run, where its hyperparameters start, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxhpo.space import Space
from jaxhpo.training import Training, from_optax
from jaxhpo.training.internal import minibatch

Array = jax.Array
PyTree = Any
Optimizer = Callable[[Any], optax.GradientTransformation] | None


class Task(NamedTuple):
    """A training run to differentiate.

    Attributes:
        training: the run; its loss is the outer objective.
        num_steps: inner steps that the task is meant for.
        hparams: where an outer descent starts.
        test_loss: `test_loss(hparams, state) -> []`, on examples that nothing was fitted to.
        score: `score(hparams, state) -> []`, what the task is about, larger is better: an accuracy,
            the F1 of found labels, or minus a loss.
        outer_lr: learning rate of `optax.adam` that suits the outer descent.
        num_outer: outer steps that the task is meant for.
        space: bounds of the hyperparameters, or None where any real number will do.
        exact: `exact(hparams) -> (value, grad)` of the solution that training converges to, by
            closed form in NumPy float64, or None.
        reversible: arguments of `hypergrad.reversible` for this run, or None.
    """

    training: Training
    num_steps: int
    hparams: PyTree
    test_loss: Callable[..., Array]
    score: Callable[..., Array]
    outer_lr: float
    num_outer: int
    space: Space | None = None
    exact: Callable[[PyTree], tuple[float, PyTree]] | None = None
    reversible: dict[str, Any] | None = None


class Run(NamedTuple):
    """How a task trains: SGD, with heavy-ball momentum where `decay` is given."""

    learning_rate: Callable[[Any, Array], Any]
    decay: Fraction | None = None
    batch_size: int | None = None


def sgd_training(
    init: Callable[..., Any],
    loss: Callable[..., Any],
    run: Run,
    optimizer: Optimizer,
    *,
    train: Any,
    validation: Any,
    validation_loss: Callable[..., Any],
) -> tuple[Training, dict[str, Any] | None]:
    """Builds the training, and the arguments of `reversible` if it is SGD with momentum.

    Args:
        init: as in `training.from_optax`.
        loss: `loss(hparams, params, batch)`, the inner loss.
        run: the task's own optimizer.
        optimizer: another one, `optimizer(hparams)`, in its place; or None.
        train: examples.
        validation: examples.
        validation_loss: the outer loss.

    Returns:
        The pair.
    """

    def own(hparams: Any) -> optax.GradientTransformation:
        decay = None if run.decay is None else float(run.decay)
        return optax.sgd(lambda count: run.learning_rate(hparams, count), momentum=decay)

    training = from_optax(
        init,
        loss,
        optimizer or own,
        train=train,
        validation=validation,
        batch_size=run.batch_size,
        validation_loss=validation_loss,
    )
    if optimizer is not None or run.decay is None:
        return training, None
    num_train = jax.tree.leaves(train)[0].shape[0]

    def step_loss(key: Array, hparams: Any, params: Any, t: Array) -> Any:
        key = jax.random.fold_in(key, t)
        return loss(hparams, params, minibatch(key, train, num_train, run.batch_size))

    settings = {"learning_rate": run.learning_rate, "decay": run.decay, "loss": step_loss}
    return training, settings


def linear(params: Any, x: Array) -> Array:
    """Logits `[n, k]` of a linear model `{"w", "b"}`."""
    return x @ params["w"] + params["b"][None]


def linear_zeros(num_features: int, num_classes: int) -> dict[str, Array]:
    """A linear model that knows nothing."""
    dtype = jnp.result_type(float)
    return {"w": jnp.zeros((num_features, num_classes), dtype), "b": jnp.zeros(num_classes, dtype)}


def cross_entropies(logits: Array, labels: Array) -> Array:
    """Cross entropy of each example `[n]`."""
    log_probabilities = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]


def accuracy(logits: Array, labels: Array) -> Array:
    """Share of examples whose largest logit is the label's."""
    hits = jnp.argmax(logits, axis=1).astype(jnp.int32) == labels
    return jnp.mean(hits.astype(logits.dtype))
