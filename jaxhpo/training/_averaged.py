"""Several runs of one training as one run, so that what is tuned is not the luck of a seed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_count
from jaxhpo.training._objective import check_training, trial_keys
from jaxhpo.training._training import Training


def averaged(training: Training, num_runs: int) -> Training:
    """Runs a training from several keys side by side; its loss is the mean of theirs.

    Hyperparameters that are fitted to one run (a learning rate per step, above all) fit its initial
    weights and its batches too. The mean over some runs is also smoother.

    Args:
        training: the run's functions.
        num_runs: runs; static, at least 1.

    Returns:
        A `Training` whose state is `{"keys", "params"}`, both with a leading axis of runs, where
        `params` holds the whole states.

    Raises:
        TypeError: `training` is not a Training, or `num_runs` not an integer.
        ValueError: no runs.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> one = hpo.Training(
        ...     init=lambda key, hparams: jax.random.uniform(key),
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state,
        ... )
        >>> many = hpo.training.averaged(one, 100)
        >>> value = hpo.training.objective(many, 1)(jax.random.key(0), {"lr": 0.0})
        >>> bool(abs(value - 0.5) < 0.1)
        True
    """
    check_training("averaged", training)
    num_runs = check_count("averaged", "num_runs", num_runs, 1)

    def init(key: jax.Array, hparams: Any) -> Any:
        keys_init, keys_step = jax.vmap(trial_keys)(jax.random.split(key, num_runs))
        runs = jax.vmap(training.init, in_axes=(0, None))(keys_init, hparams)
        return {"keys": keys_step, "params": runs}

    def step(key: jax.Array, hparams: Any, state: Any, t: jax.Array) -> Any:
        step_all = jax.vmap(training.step, in_axes=(0, None, 0, None))
        return {**state, "params": step_all(state["keys"], hparams, state["params"], t)}

    def loss(hparams: Any, state: Any) -> jax.Array:
        return jnp.mean(jax.vmap(training.loss, in_axes=(None, 0))(hparams, state["params"]))

    return Training(init, step, loss)
