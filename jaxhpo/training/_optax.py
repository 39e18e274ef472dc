"""Plain functions and an optax optimizer as a training run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jaxhpo._checks import check_callable
from jaxhpo.training._adapter import Problem, assemble, check_data, check_losses
from jaxhpo.training._optimizer import optimizer_factory
from jaxhpo.training._training import Training


def from_optax(
    init: Callable[..., Any],
    loss: Callable[..., Any],
    optimizer: Any,
    *,
    train: Any,
    validation: Any,
    batch_size: int | None = None,
    validation_loss: Callable[..., Any] | None = None,
    needs_key: bool = False,
) -> Training:
    """Builds a training run from an initialiser, a loss, an optax optimizer and data.

    Model: `params <- params + optimizer(hparams).update(grad loss(hparams, params, batch_t))`, with
    `batch_t` drawn with replacement by the key and the step number `t`.
    The data are arrays in memory; for a stream, write `Training(init, step, loss)` by hand.

    Args:
        init: `init(key, hparams) -> params`, any pytree of float arrays.
        loss: `loss(hparams, params, batch) -> scalar`, the training loss, regularisation included;
            with `needs_key`, `loss(key, hparams, params, batch)`.
        optimizer: `optimizer(hparams) -> optax.GradientTransformation`, hparams traced; or a
            transformation.
        train: pytree of arrays `[num_train, ...]`.
        validation: pytree of arrays `[num_validation, ...]`.
        batch_size: examples a step; static; None takes all of them.
        validation_loss: `validation_loss(hparams, params, validation) -> scalar`; `loss` if None.
        needs_key: whether `loss` takes a key first (dropout, noise); static. It then needs a
            `validation_loss` that takes none.

    Returns:
        The `Training`, with `inner_loss` the loss over all training examples unless `needs_key`.

    Raises:
        TypeError: an argument that is not callable, or data that are not numeric arrays.
        ValueError: leading lengths that differ, a batch larger than the data, or `needs_key`
            without `validation_loss`.

    Example:
        >>> import jax, jax.numpy as jnp, optax, jaxhpo as hpo
        >>> x = jnp.linspace(-1.0, 1.0, 32)
        >>> training = hpo.training.from_optax(
        ...     lambda key, hparams: jnp.zeros(()),
        ...     lambda hparams, w, batch: jnp.mean((w * batch["x"] - batch["y"]) ** 2),
        ...     lambda hparams: optax.sgd(hparams["lr"]),
        ...     train={"x": x, "y": 3.0 * x}, validation={"x": x, "y": 3.0 * x}, batch_size=8,
        ... )
        >>> value = hpo.training.objective(training, 100)(jax.random.key(0), {"lr": 0.5})
        >>> bool(value < 1e-6)
        True
    """
    where = "from_optax"
    check_callable(where, "init", init)
    evaluate = check_losses(where, loss, validation_loss)
    if validation_loss is None and needs_key:
        raise ValueError(
            f"{where}: `validation_loss` must be given when `needs_key` is True, got None."
        )
    data = check_data(where, train, validation, batch_size)

    def train_loss(
        key: jax.Array, hparams: Any, params: Any, extra: Any, batch: Any
    ) -> tuple[Any, Any]:
        value = loss(key, hparams, params, batch) if needs_key else loss(hparams, params, batch)
        return value, extra

    problem = Problem(
        init=lambda key, hparams: (init(key, hparams), ()),
        train_loss=train_loss,
        validation_loss=lambda hparams, params, extra: evaluate(hparams, params, data.validation),
        inner_loss=None if needs_key else lambda hparams, params: loss(hparams, params, data.train),
    )
    return assemble(where, problem, optimizer_factory(where, optimizer), data, needs_key)
