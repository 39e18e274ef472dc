"""A flax.linen module as a training run, BatchNorm and dropout included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxhpo._checks import check_callable
from jaxhpo.training._adapter import Problem, assemble, check_supervised, mean_loss, mode_arguments
from jaxhpo.training._optimizer import optimizer_factory
from jaxhpo.training._training import Training


def from_linen(
    model: Any,
    loss: Callable[..., Any],
    optimizer: Any,
    *,
    train: Any,
    validation: Any,
    batch_size: int | None = None,
    validation_loss: Callable[..., Any] | None = None,
    rngs: Sequence[str] = ("dropout",),
) -> Training:
    """Builds a training run from a flax.linen module, an optax optimizer and data.

    The module's `__call__(inputs, ...)` is told whether it trains through the argument it has for
    it: `train`, `training`, `is_training`, `deterministic` or `use_running_average`. Collections
    other than `params` (BatchNorm's running averages) live in the state: training updates them,
    validation reads them. `nn.Dropout` needs a rate that is a Python number; for a traced one use
    `jaxhpo.training.dropout`.

    Args:
        model: a linen module, or `model(hparams) -> module` (a width that is `static`, a slope
            that is traced).
        loss: as in `from_nnx`.
        optimizer: as in `from_nnx`.
        train: as in `from_nnx`.
        validation: as in `from_nnx`.
        batch_size: as in `from_nnx`.
        validation_loss: as in `from_nnx`.
        rngs: names of the random streams that the module draws from while it trains; static.

    Returns:
        The `Training`; its state is a `TrainState` with the other collections in `extra`.

    Raises:
        TypeError: `model` is neither a module nor callable, or data that are no pair of arrays.
        ValueError: leading lengths that differ, or a batch larger than the data.

    Example:
        >>> import flax.linen as nn, jax, jax.numpy as jnp, optax, jaxhpo as hpo
        >>> x = jnp.linspace(-1.0, 1.0, 32, dtype="float32")[:, None]
        >>> data = x, (x[:, 0] > 0).astype("int32")
        >>> training = hpo.training.from_linen(
        ...     nn.Dense(2),
        ...     lambda hparams, outputs, targets:
        ...         optax.softmax_cross_entropy_with_integer_labels(outputs, targets),
        ...     lambda hparams: optax.adam(hparams["lr"]), train=data, validation=data,
        ... )
        >>> value = hpo.training.objective(training, 200)(jax.random.key(0), {"lr": 0.3})
        >>> bool(value < 0.1)
        True
    """
    where = "from_linen"
    build = _model_factory(where, model)
    evaluate, data = check_supervised(where, loss, validation_loss, train, validation, batch_size)
    streams = tuple(rngs)

    def init(key: jax.Array, hparams: Any) -> tuple[Any, Any]:
        module = build(hparams)
        names = ("params", *streams)
        keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
        example = jax.tree.map(lambda a: a[:1], data.train[0])
        variables = dict(module.init(keys, example, **mode_arguments(module, is_training=False)))
        return variables.pop("params", {}), variables

    def train_loss(
        key: jax.Array, hparams: Any, params: Any, extra: Any, batch: Any
    ) -> tuple[jax.Array, Any]:
        module = build(hparams)
        keys = dict(zip(streams, jax.random.split(key, len(streams)), strict=True))
        outputs, updated = module.apply(
            {"params": params, **extra},
            batch[0],
            rngs=keys,
            mutable=list(extra),
            **mode_arguments(module, is_training=True),
        )
        return mean_loss(where, loss, hparams, outputs, batch[1]), {**extra, **updated}

    def validation_value(hparams: Any, params: Any, extra: Any) -> jax.Array:
        module = build(hparams)
        inputs, targets = data.validation
        variables = {"params": params, **extra}
        outputs = module.apply(variables, inputs, **mode_arguments(module, is_training=False))
        return mean_loss(where, evaluate, hparams, outputs, targets)

    problem = Problem(init, train_loss, validation_value, None)
    return assemble(where, problem, optimizer_factory(where, optimizer), data, bool(streams))


def _is_module(value: Any) -> bool:
    return callable(getattr(value, "init", None)) and callable(getattr(value, "apply", None))


def _model_factory(where: str, model: Any) -> Callable[[Any], Any]:
    """Accepts a module, or a function of the hyperparameters that returns one."""
    if isinstance(model, type):
        raise TypeError(
            f"{where}: `model` must be a module or a function of hparams, got the class "
            f"{model.__name__}; write {model.__name__}(...) or lambda hparams: "
            f"{model.__name__}(...)."
        )
    if _is_module(model):
        return lambda hparams: model
    check_callable(where, "model", model)

    def build(hparams: Any) -> Any:
        module = model(hparams)
        if not _is_module(module):
            raise TypeError(
                f"{where}: `model` must return a flax.linen module, got {type(module).__name__}."
            )
        return module

    return build
