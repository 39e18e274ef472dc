"""A flax.linen module as a training run, BatchNorm and dropout included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxhpo._checks import check_callable
from jaxhpo.training._adapter import (
    Problem,
    assemble,
    check_data,
    check_pair,
    mean_loss,
    mode_arguments,
)
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
        loss: `loss(hparams, outputs, targets)` -> scalar or `[batch]`; the mean is taken.
        optimizer: `optimizer(hparams) -> optax.GradientTransformation`, hparams traced; or a
            transformation.
        train: `(inputs, targets)`, arrays `[num_train, ...]`.
        validation: `(inputs, targets)`, arrays `[num_validation, ...]`.
        batch_size: examples a step; static; None takes all of them.
        validation_loss: the same signature as `loss`; `loss` if None.
        rngs: names of the random streams that the module draws from while it trains; static.

    Returns:
        The `Training`; its state is a `TrainState` with the other collections in `extra`.

    Raises:
        TypeError: `model` is neither a module nor callable, or data that are no pair of arrays.
        ValueError: leading lengths that differ, or a batch larger than the data.

    Example:
        >>> import flax.linen as nn, jax, jax.numpy as jnp, optax, jaxhpo as hpo
        >>> x = jnp.linspace(-1.0, 1.0, 32, dtype="float32")[:, None]
        >>> training = hpo.training.from_linen(
        ...     nn.Dense(1),
        ...     lambda hparams, outputs, targets: jnp.mean((outputs - targets) ** 2),
        ...     lambda hparams: optax.sgd(hparams["lr"]),
        ...     train=(x, 2.0 * x), validation=(x, 2.0 * x), batch_size=8,
        ... )
        >>> value = hpo.training.objective(training, 200)(jax.random.key(0), {"lr": 0.3})
        >>> bool(value < 1e-6)
        True
    """
    where = "from_linen"
    check_callable(where, "loss", loss)
    evaluate = loss if validation_loss is None else validation_loss
    check_callable(where, "validation_loss", evaluate)
    build = _model_factory(where, model)
    data = check_data(
        where,
        check_pair(where, "train", train),
        check_pair(where, "validation", validation),
        batch_size,
    )
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
