"""A descent on hyperparameters as a training run, so that a population of them can be swept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._checks import check_callable, check_instance, check_positive
from jaxhpo.hypergrad._base import Estimator, real_leaves
from jaxhpo.hypergrad._coordinates import check_continuous, from_free, nan_outside
from jaxhpo.hypergrad._outer_step import TRAIL, Loop, begin_loop, outer_step
from jaxhpo.space import Space
from jaxhpo.training import Training
from jaxhpo.training.internal import optimizer_factory

Array = jax.Array
PyTree = Any

_WHERE = "hypergrad.as_training"


class DescentState(NamedTuple):
    """Where a descent of a population stands.

    Attributes:
        hparams: the point with the smallest mean of eight accepted values in a row; before there
            are so many, the one with the smallest value.
        value: `[]` mean of the last accepted values, at most eight; NaN as long as there is none.
        loop: what the next step goes on from.
    """

    hparams: PyTree
    value: Array
    loop: Loop


def as_training(
    estimator: Estimator,
    outer_optimizer: Any,
    *,
    space: Space,
    start: Callable[[Array, Any], Any] | None = None,
    max_log_growth: float = 10.0,
) -> Training:
    """Makes a descent on hyperparameters a `Training`, each step of which is an outer step.

    When to use it: for many descents at once, of which a scheduler ends the losers or lets them go
    on from copies of winners: `population.sweep(as_training(…), …, scheduler="halving")` or
    `"pbt"`. The steps are those of `descend` with fresh seeds, its guard included. What such a
    sweep tunes are the outer optimizer's settings, and the start by the trial's key.

    Args:
        estimator: from one of the factories of `jaxhpo.hypergrad`.
        outer_optimizer: `outer_optimizer(settings) -> optax.GradientTransformation`, settings
            traced: the `hparams` of the sweep; or a transformation.
        space: `Space` of the hyperparameters that the descent moves, continuous.
        start: `start(key, settings) -> hparams`, a point inside the space: from one outside no
            value is finite, and the trial fails. None draws one.
        max_log_growth: limit of the guard, as in `descend`; traced.

    Returns:
        The `Training`. Its state is a `DescentState`, its loss the state's `value`.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a space with a discrete dimension, or a limit out of range.

    Example:
        >>> import jax, optax, jaxhpo as hpo
        >>> training = hpo.Training(
        ...     init=lambda key, hparams: 1.0,
        ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        ...     loss=lambda hparams, state: state**2,
        ... )
        >>> descents = hpo.hypergrad.as_training(
        ...     hpo.hypergrad.unrolled(training, num_steps=2),
        ...     lambda settings: optax.adam(settings["rate"]),
        ...     space=hpo.Space({"lr": hpo.uniform(0.0, 1.0)}),
        ... )
        >>> rates = hpo.Space({"rate": hpo.log_uniform(1e-3, 1.0)})
        >>> sweep = hpo.population.sweep(
        ...     descents, rates.sample(jax.random.key(0), 16), key=1, num_steps=27,
        ...     scheduler="pbt", space=rates,
        ... )
        >>> bool(sweep.best_state.hparams["lr"] > 0.9)
        True
    """
    expected = "an Estimator of jaxhpo.hypergrad"
    check_instance(_WHERE, "estimator", estimator, Estimator, expected)
    make = optimizer_factory(_WHERE, outer_optimizer, "outer_optimizer")
    check_instance(_WHERE, "space", space, Space, "a Space")
    check_continuous(_WHERE, space)
    if start is not None:
        check_callable(_WHERE, "start", start)
    limit = check_positive(_WHERE, "max_log_growth", max_log_growth)

    def init(key: Array, settings: Any) -> DescentState:
        key_start, key_memory = jax.random.split(key)
        if start is None:
            drawn = space.sample(key_start, 1)
            hparams = jax.tree.map(lambda leaf: leaf[0], drawn)
        else:
            hparams = nan_outside(space, real_leaves(_WHERE, start(key_start, settings)))
        loop = begin_loop(estimator, make(settings), key_memory, hparams, space, TRAIL)
        return _state_of(space, loop)

    def step(key: Array, settings: Any, state: DescentState, t: Array) -> DescentState:
        run_key = jax.random.fold_in(key, t)
        bound = jnp.asarray(limit, jnp.result_type(float))
        how = (estimator, make(settings), run_key, space, bound)
        return _state_of(space, outer_step(*how, state.loop)[0])

    def loss(settings: Any, state: DescentState) -> Array:
        del settings
        return state.value

    return Training(init, step, loss)


def _state_of(space: Space, loop: Loop) -> DescentState:
    """The state for a loop, with what its last values say."""
    values, is_known = loop.trail.values, jnp.isfinite(loop.trail.values)
    mean = jnp.mean(values, where=is_known)  # NaN where none is known
    has_trail = jnp.isfinite(loop.trail.best_mean)
    best = jax.tree.map(lambda a, b: jnp.where(has_trail, a, b), loop.trail.best, loop.best)
    return DescentState(from_free(space, best), mean, loop)
