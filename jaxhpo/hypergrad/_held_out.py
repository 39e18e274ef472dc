"""Runs from keys that a descent never followed: what its hyperparameters are worth elsewhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo.hypergrad._base import Estimator
from jaxhpo.hypergrad.implicit._implicit import reaches
from jaxhpo.training import objective

Array = jax.Array

_STREAM = 2**31
"""Held-out run `j` has the key `fold_in(key, _STREAM + j)`; the descent's runs count from 0."""


class HeldOut(NamedTuple):
    """Losses of training runs from the same keys, before and after a descent.

    Attributes:
        start: `[num_held_out]` at the hyperparameters that the descent began with.
        best: `[num_held_out]` at `best_hparams`.
    """

    start: Array
    best: Array


def is_noisy(estimator: Estimator, key: Array, hparams: Any) -> bool:
    """Whether the loss of a training run may depend on the key: False only if it cannot."""
    run = objective(estimator.training, estimator.num_steps)
    return reaches(jax.make_jaxpr(run)(key, hparams).jaxpr, key)[0]


def losses(estimator: Estimator, key: Array, candidates: Any, num_held_out: int) -> Array:
    """Losses of whole training runs of candidates, each from the same held-out keys.

    Args:
        estimator: whose training it is.
        key: the descent's key.
        candidates: hyperparameters, leading axis `c`.
        num_held_out: keys; static.

    Returns:
        `[c, num_held_out]`.
    """
    run = objective(estimator.training, estimator.num_steps)
    numbers = jnp.asarray(_STREAM + np.arange(num_held_out), jnp.uint32)
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)

    # One after another: no more memory than the descent itself.
    def of_candidate(hparams: Any) -> Array:
        return jax.lax.map(lambda key: run(key, hparams), keys)

    return jax.lax.map(of_candidate, candidates)
