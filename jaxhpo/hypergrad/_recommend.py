"""Which estimator fits a training run and a space, and why."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_positive
from jaxhpo.hypergrad._arguments import check_run
from jaxhpo.hypergrad._base import Estimator, real_leaves
from jaxhpo.hypergrad._coordinates import check_continuous
from jaxhpo.hypergrad.estimates._evolution import es
from jaxhpo.hypergrad.unrolled._budget import state_bytes
from jaxhpo.hypergrad.unrolled._forward import forward
from jaxhpo.hypergrad.unrolled._opened_run import open_run
from jaxhpo.hypergrad.unrolled._schedules import auto
from jaxhpo.hypergrad.unrolled._unrolled import unrolled
from jaxhpo.training import Training

_FEW = 3  # hyperparameters up to which forward mode was measured to be faster than reverse


class Recommendation(NamedTuple):
    """An estimator and the reason for it.

    Attributes:
        estimator: ready to be called.
        reason: one or two sentences.
    """

    estimator: Estimator
    reason: str


def recommend(
    training: Training, space: Any, num_steps: int, *, max_bytes: float = 256e6
) -> Recommendation:
    """Names the estimator that fits, and says why.

    It traces the run at the middle of the space; nothing is trained. The exact estimators come
    first; if `diagnose` then finds chaos, `es` and `pes` are what is left, and if training
    converges and the hyperparameters act in the inner loss, `implicit` is cheaper.

    Args:
        training: the run.
        space: a continuous `Space`.
        num_steps: steps of the run; static.
        max_bytes: temporary memory that a hypergradient may take; static.

    Returns:
        The `Recommendation`.

    Raises:
        TypeError: `training` is not a Training, or `space` not a Space.
        ValueError: no steps, a discrete dimension, or a budget not above 0.

    Example:
        >>> import jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: 1.0,
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> space = hpo.Space({"lr": hpo.uniform(0.0, 1.0)})
        >>> hpo.hypergrad.recommend(training, space, 10).estimator.name
        'forward'
    """
    where = "recommend"
    num_steps = check_run(where, training, num_steps)
    max_bytes = check_positive(where, "max_bytes", max_bytes)
    check_continuous(where, space)
    hparams, key = real_leaves(where, _middle(space)), jax.random.key(0)
    count = sum(leaf.size for leaf in jax.tree.leaves(hparams))
    run = open_run(where, training, key, hparams, mixed=False)
    one = state_bytes(run)
    reverse = _refusal(unrolled(training, num_steps=1, checkpoint="step"), hparams)
    ahead = _refusal(forward(training, num_steps=1), hparams)
    if ahead is None and (count <= _FEW or reverse is not None) and count * one <= max_bytes:
        why = f"{count} hyperparameters travel forward with the run, exactly and without storage"
        if reverse is not None:
            why += "; reverse mode does not apply: " + reverse
        return Recommendation(forward(training, num_steps=num_steps), why + ".")
    if reverse is None:
        why = (
            f"{count} hyperparameters at the price of one: exact reverse sweep over {num_steps} "
            f"steps with states of {one} bytes, recomputed as the {max_bytes:.0f} bytes require"
        )
        estimator = unrolled(training, num_steps=num_steps, checkpoint=auto(max_bytes))
        return Recommendation(estimator, why + ".")
    why = f"no exact mode applies: {reverse} The smoothed gradient needs only runs."
    return Recommendation(es(training, num_steps=num_steps), why)


def _middle(space: Any) -> Any:
    return space.from_unit(jnp.full(space.num_dims, 0.5, jnp.result_type(float)))


def _refusal(estimator: Estimator, hparams: Any) -> str | None:
    """What an estimator says against this run when it is traced, or None."""
    try:
        jax.eval_shape(estimator, jax.random.key(0), hparams)
    except (ValueError, TypeError) as error:
        return str(error)
    return None
