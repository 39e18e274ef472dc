"""A training run as an objective, and the one place that says which key a trial uses for what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_count, check_key, check_takes, noted
from jaxhpo._tracing.manual import on_each_device
from jaxhpo.training._calls import call_init, call_loss, call_step
from jaxhpo.training._training import Training

_TAKEN = {
    "init": "key, hparams",
    "step": "key, hparams, state, t",
    "loss": "hparams, state",
    "inner_loss": "hparams, params",
}
"""What the functions of a training are given."""


def check_training(where: str, training: Any) -> Training:
    """Requires a `Training` (or a tuple of its functions) and returns it."""
    if not isinstance(training, Training):
        raise TypeError(
            f"{where}: `training` must be a Training(init, step, loss), got "
            f"{type(training).__name__}."
        )
    for name, taken in _TAKEN.items():
        if name != "inner_loss" or training.inner_loss is not None:
            check_takes(where, f"training.{name}", getattr(training, name), taken)
    return training


def trial_keys(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Splits a trial's key into the key of `init` and the key of every `step`.

    Args:
        key: `[]` the trial's key; in a sweep `fold_in(sweep_key, i)`.

    Returns:
        `(key_init, key_step)`; `step` folds its step number into the second.
    """
    key_init, key_step = jax.random.split(check_key("trial_keys", key))
    return key_init, key_step


def train(
    training: Training, key: jax.Array, hparams: Any, num_steps: int, *, unroll: int = 1
) -> Any:
    """Runs one trial from its first step to its last and returns the state.

    The loop is a `lax.scan`, so the run passes `jit`, `vmap` and reverse-mode differentiation.

    Args:
        training: the run's functions.
        key: `[]` the trial's key.
        hparams: unbatched hyperparameters, traced.
        num_steps: steps to take; static.
        unroll: steps that the compiler lays out in one loop turn; static.

    Returns:
        The state after `num_steps` steps.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: 1.0,
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> print(hpo.training.train(training, jax.random.key(0), {"lr": 0.5}, 3))
        0.125
    """
    training = check_training("train", training)
    num_steps = check_count("train", "num_steps", num_steps, 0)
    unroll = check_count("train", "unroll", unroll, 1)
    key = check_key("train", key)

    def run(key: jax.Array, hparams: Any) -> Any:
        key_init, key_step = trial_keys(key)
        state = call_init("train", training, key_init, hparams)

        def advance(state: Any, t: jax.Array) -> tuple[Any, None]:
            return call_step("train", training, key_step, hparams, state, t), None

        steps = jnp.arange(num_steps, dtype=jnp.int32)
        return jax.lax.scan(advance, state, steps, unroll=unroll)[0]

    with noted("train: raised while `training` was run with `hparams`."):
        return on_each_device(run)(key, hparams)


def objective(training: Training, num_steps: int) -> Callable[[jax.Array, Any], jax.Array]:
    """Turns a training run into an objective: the validation loss after `num_steps` steps.

    The result is pure and traceable, so `minimize` can compile a whole study over it. Trial `i` of
    `population.sweep(training, hparams, key=key, …)` has the value `objective(fold_in(key, i), …)`.

    Args:
        training: the run's functions.
        num_steps: steps to take; static, at least 1.

    Returns:
        `objective(key, params) -> []`, params being the hyperparameters.

    Raises:
        TypeError: `training` is not a Training, or `num_steps` is not an integer.
        ValueError: `num_steps` is below 1, or (when the objective is called) the loss is not a
            scalar.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: 1.0,
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> print(hpo.training.objective(training, 2)(jax.random.key(0), {"lr": 0.5}))
        0.0625
    """
    training = check_training("objective", training)
    num_steps = check_count("objective", "num_steps", num_steps, 1)

    def value(key: jax.Array, params: Any) -> jax.Array:
        state = train(training, key, params, num_steps)
        return call_loss("objective", training, params, state)

    return value
