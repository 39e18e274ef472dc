"""What the adapters share: the state, the optimizer's step, and the assembly of a `Training`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_callable, describe
from jaxhpo._tracing.manual import plain
from jaxhpo.training._calls import check_loss
from jaxhpo.training._data import (
    advice,
    as_examples,
    check_batch_size,
    gathered,
    minibatch,
    wants_whole_data,
)
from jaxhpo.training._optimizer import (
    apply_optimizer,
    differentiate,
    evaluated,
    keep_dtype,
    start_optimizer,
)
from jaxhpo.training._training import Training

# How models call the switch between training and validation, and its value while training.
_MODES = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a run built by an adapter carries from step to step.

    Attributes:
        params: the trained parameters.
        opt_state: the optax state.
        extra: what else the model keeps, such as BatchNorm's running averages.
    """

    params: Any
    opt_state: Any
    extra: Any


class Problem(NamedTuple):
    """A model reduced to what an optimizer needs.

    Attributes:
        init: `init(key, hparams) -> (params, extra)`.
        train_loss: `train_loss(key, hparams, params, extra, batch) -> (scalar, extra)`.
        validation_loss: `validation_loss(hparams, params, extra) -> scalar`.
        inner_loss: `inner_loss(hparams, params) -> scalar`, or None where there is none.
    """

    init: Callable[..., Any]
    train_loss: Callable[..., Any]
    validation_loss: Callable[..., Any]
    inner_loss: Callable[..., Any] | None


@dataclasses.dataclass(frozen=True)
class Data:
    """Checked examples, with what the minibatch needs to know of them."""

    given: tuple[Any, Any]
    num_train: int
    batch_size: int | None

    @property
    def train(self) -> Any:
        """The training examples, where the caller wants them."""
        return self._examples[0]

    @property
    def validation(self) -> Any:
        """The validation examples, where the caller wants them."""
        return self._examples[1]

    @property
    def _examples(self) -> tuple[Any, Any]:
        return self._gathered if wants_whole_data() else plain(self.given)

    @functools.cached_property
    def _gathered(self) -> tuple[Any, Any]:
        return gathered(self.given)


def check_data(where: str, train: Any, validation: Any, batch_size: Any) -> Data:
    """Checks both data sets and the batch size before anything is traced."""
    train, num_train = as_examples(where, "train", train)
    validation, _ = as_examples(where, "validation", validation)
    return Data((train, validation), num_train, check_batch_size(where, batch_size, num_train))


def check_supervised(
    where: str, loss: Any, validation_loss: Any, train: Any, validation: Any, batch_size: Any
) -> tuple[Callable[..., Any], Data]:
    """Requires losses, and data that are `(inputs, targets)`; the loss that validates, the data."""
    evaluate = check_losses(where, loss, validation_loss)
    pairs = _pair(where, "train", train), _pair(where, "validation", validation)
    return evaluate, check_data(where, *pairs, batch_size)


def _pair(where: str, argument: str, data: Any) -> tuple[Any, Any]:
    """Requires `(inputs, targets)`."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(
            f"{where}: `{argument}` must be a pair (inputs, targets), got {describe(data)}."
            f"{advice(data)}"
        )
    return data[0], data[1]


def check_losses(where: str, loss: Any, validation_loss: Any) -> Callable[..., Any]:
    """Requires functions; the one that validates."""
    check_callable(where, "loss", loss)
    evaluate = loss if validation_loss is None else validation_loss
    return check_callable(where, "validation_loss", evaluate)


def assemble(
    where: str, problem: Problem, optimizer: Callable[..., Any], data: Data, is_random: bool
) -> Training:
    """Joins a problem, an optimizer and data into a `Training`.

    The optimizer is built inside the traced functions, from traced hyperparameters, so that no
    value is baked into the program.
    """

    def init(key: jax.Array, hparams: Any) -> TrainState:
        params, extra = problem.init(key, hparams)
        params, opt_state = start_optimizer(optimizer(hparams), params)
        return TrainState(params, opt_state, extra)

    def step(key: jax.Array, hparams: Any, state: TrainState, t: jax.Array) -> TrainState:
        key = jax.random.fold_in(key, t)
        key_batch, key_noise = jax.random.split(key) if is_random else (key, key)
        batch = minibatch(key_batch, data.train, data.num_train, data.batch_size)

        def loss_fn(params: Any) -> tuple[jax.Array, Any]:
            loss, extra = problem.train_loss(key_noise, hparams, params, state.extra, batch)
            return check_loss(where, loss), extra

        slope, extra = differentiate(loss_fn, state.params)
        opt_state, params = state.opt_state, state.params
        params, opt_state = apply_optimizer(optimizer(hparams), slope, opt_state, params)
        return jax.tree.map(keep_dtype, TrainState(params, opt_state, extra), state)

    def loss(hparams: Any, state: TrainState) -> jax.Array:
        params = evaluated(state.params, state.opt_state)
        return problem.validation_loss(hparams, params, state.extra)

    return Training(init, step, loss, problem.inner_loss)


def mean_loss(
    where: str, loss: Callable[..., Any], hparams: Any, outputs: Any, targets: Any
) -> jax.Array:
    """Averages a loss that is a scalar or one value per example."""
    value = jnp.asarray(loss(hparams, outputs, targets))
    num_examples = jax.tree.leaves(targets)[0].shape[0]
    if value.shape not in ((), (num_examples,)):
        raise ValueError(
            f"{where}: `loss` must return a scalar or one value per example ({num_examples},), got "
            f"shape {value.shape}."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        value = value.astype(jnp.result_type(float))
    return jnp.mean(value)


def mode_arguments(module: Any, *, is_training: bool) -> dict[str, bool]:
    """Finds the argument by which this module learns whether it trains."""
    parameters = inspect.signature(type(module).__call__).parameters
    return {
        name: value if is_training else not value
        for name, value in _MODES.items()
        if name in parameters
    }
