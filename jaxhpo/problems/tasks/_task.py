"""A bilevel problem: a training run, where its hyperparameters start, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import jax
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
        data: examples for training, validation and test, where the losses are means over such.
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
    data: tuple[PyTree, PyTree, PyTree] | None = None


class Run(NamedTuple):
    """How a task trains: SGD, with heavy-ball momentum where `decay` is given."""

    learning_rate: Callable[[Any, Array], Any]
    decay: Fraction | None = None
    batch_size: int | None = None


def sgd_task(
    init: Callable[..., Any],
    loss: Callable[..., Any],
    error: Callable[..., Any],
    run: Run,
    optimizer: Optimizer,
    data: tuple[PyTree, PyTree, PyTree],
    **known: Any,
) -> Task:
    """A task trained by `run`; with the arguments of `reversible` if it is SGD with momentum.

    Args:
        init: as in `training.from_optax`.
        loss: `loss(hparams, params, batch)`, the inner loss.
        error: `error(hparams, params, batch)`, the outer loss and the test loss.
        run: the task's own optimizer.
        optimizer: another one, `optimizer(hparams)`, in its place; or None.
        data: examples for training, validation and test.
        known: the other attributes of the task.

    Returns:
        The task.
    """
    train, validation, test = data

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
        validation_loss=error,
    )
    num_train = jax.tree.leaves(train)[0].shape[0]

    def step_loss(key: Array, hparams: Any, params: Any, t: Array) -> Any:
        key = jax.random.fold_in(key, t)
        return loss(hparams, params, minibatch(key, train, num_train, run.batch_size))

    settings = {"learning_rate": run.learning_rate, "decay": run.decay, "loss": step_loss}
    return Task(
        training=training,
        test_loss=lambda hparams, state: error(hparams, state.params, test),
        data=data,
        reversible=None if optimizer is not None or run.decay is None else settings,
        **known,
    )
