"""A flax.nnx module as a training run, BatchNorm and dropout included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jaxhpo._checks import check_callable
from jaxhpo.training._adapter import Problem, assemble, check_supervised, mean_loss, mode_arguments
from jaxhpo.training._optimizer import optimizer_factory
from jaxhpo.training._training import Training


def from_nnx(
    model: Callable[..., Any],
    loss: Callable[..., Any],
    optimizer: Any,
    *,
    train: Any,
    validation: Any,
    batch_size: int | None = None,
    validation_loss: Callable[..., Any] | None = None,
    is_random: bool = True,
) -> Training:
    """Builds a training run from a flax.nnx module, an optax optimizer and data.

    The module is built anew inside each traced function, with random streams from the key and the
    step, and takes its variables from the state: `nnx.Param` is trained, other variables
    (BatchNorm's running averages) are carried along. A hyperparameter may so be a traced attribute
    of the module. What the constructor draws in a step is dead code that
    the compiler removes. Training runs after `module.train()`, validation after `module.eval()`.
    `nnx.Dropout` needs a rate that is a Python number; for a traced one use
    `jaxhpo.training.dropout`.

    Args:
        model: `model(hparams, rngs) -> nnx.Module`, called with `nnx.Rngs`.
        loss: `loss(hparams, outputs, targets)` -> scalar or `[batch]`; the mean is taken.
        optimizer: `optimizer(hparams) -> optax.GradientTransformation`, hparams traced; or a
            transformation.
        train: `(inputs, targets)`, arrays `[num_train, ...]`.
        validation: `(inputs, targets)`, arrays `[num_validation, ...]`.
        batch_size: examples a step; static; None takes all of them.
        validation_loss: the same signature as `loss`; `loss` if None.
        is_random: whether the module draws random numbers while it trains (dropout); static.

    Returns:
        The `Training`; its state is a `TrainState` of `nnx.State` pytrees.

    Raises:
        TypeError: `model` is not callable, or data that are no pair of arrays.
        ValueError: leading lengths that differ, or a batch larger than the data.

    Example:
        >>> from flax import nnx
        >>> import jax, jax.numpy as jnp, optax, jaxhpo as hpo
        >>> x = jnp.linspace(-1.0, 1.0, 32, dtype="float32")[:, None]
        >>> training = hpo.training.from_nnx(
        ...     lambda hparams, rngs: nnx.Linear(1, 1, rngs=rngs),
        ...     lambda hparams, outputs, targets: jnp.mean((outputs - targets) ** 2),
        ...     lambda hparams: optax.sgd(hparams["lr"]),
        ...     train=(x, 2.0 * x), validation=(x, 2.0 * x), batch_size=8,
        ... )
        >>> value = hpo.training.objective(training, 200)(jax.random.key(0), {"lr": 0.3})
        >>> bool(value < 1e-6)
        True
    """
    where = "from_nnx"
    _check_model(where, model)
    evaluate, data = check_supervised(where, loss, validation_loss, train, validation, batch_size)

    def init(key: jax.Array, hparams: Any) -> tuple[Any, Any]:
        return _variables(_build(where, model, hparams, key))

    def train_loss(
        key: jax.Array, hparams: Any, params: Any, extra: Any, batch: Any
    ) -> tuple[jax.Array, Any]:
        module = _restore(_build(where, model, hparams, key), params, extra)
        module.train()
        outputs = module(batch[0], **mode_arguments(module, is_training=True))
        return mean_loss(where, loss, hparams, outputs, batch[1]), _variables(module)[1]

    def validation_value(hparams: Any, params: Any, extra: Any) -> jax.Array:
        inputs, targets = data.validation
        # The module draws nothing while it validates; its constructor's draws are overwritten.
        module = _restore(_build(where, model, hparams, jax.random.key(0)), params, extra)
        module.eval()
        outputs = module(inputs, **mode_arguments(module, is_training=False))
        return mean_loss(where, evaluate, hparams, outputs, targets)

    problem = Problem(init, train_loss, validation_value, None)
    return assemble(where, problem, optimizer_factory(where, optimizer), data, is_random)


def _check_model(where: str, model: Any) -> None:
    """Requires a function that builds the module, not a module."""
    from flax import nnx

    if isinstance(model, nnx.Module):
        raise TypeError(
            f"{where}: `model` must be a function model(hparams, rngs) -> nnx.Module, got an "
            f"instance of {type(model).__name__}."
        )
    check_callable(where, "model", model)


def _build(where: str, model: Callable[..., Any], hparams: Any, key: jax.Array) -> Any:
    from flax import nnx

    module = model(hparams, nnx.Rngs(key))
    if not isinstance(module, nnx.Module):
        raise TypeError(f"{where}: `model` must return an nnx.Module, got {type(module).__name__}.")
    return module


def _variables(module: Any) -> tuple[Any, Any]:
    """Reads (trained parameters, other variables) off a module, random streams left out.

    Plain array attributes are left out too: they follow from the hyperparameters.
    """
    from flax import nnx

    parts: Any = nnx.split(module, nnx.Param, nnx.RngState, nnx.Variable, ...)
    return parts[1], parts[3]


def _restore(module: Any, params: Any, extra: Any) -> Any:
    """Puts the state's variables into a fresh module, keeping its random streams."""
    from flax import nnx

    nnx.update(module, params, extra)
    return module
