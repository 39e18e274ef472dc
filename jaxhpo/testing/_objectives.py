"""Several objectives: searched with constraints and failures, or refused by name."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import pareto, samplers
from jaxhpo import space as hps
from jaxhpo._base import Outcome, PyTree, Sampler
from jaxhpo._status import Status
from jaxhpo.search import minimize
from jaxhpo.space import Space
from jaxhpo.testing import _case, _spaces
from jaxhpo.testing._case import SamplerCase

_NUM_TRIALS = 200
_SEEDS = 3
_CORNER = (40.0, 40.0)


def check_objectives(case: SamplerCase) -> None:
    """Two objectives with a constraint and failures: more volume than random search finds."""
    if case.several is None:
        _check_refuses(case)
        return
    box = {"x": hps.uniform(-2.0, 5.0), "y": hps.uniform(-6.0, 1.0)}
    space = hps.Space({**box, "rest": hps.uniform(-1.0, 4.0, shape=(4,))})
    volumes = {}
    for name, sampler in (("own", case.make_several(space)), ("random", samplers.random(space))):
        value, status = _studies(sampler, space)
        codes = np.asarray(status)
        assert np.isin(codes, (Status.COMPLETE, Status.FAILED, Status.INFEASIBLE)).all(), codes
        is_complete = (status == int(Status.COMPLETE))[..., None]
        volume = jax.vmap(functools.partial(pareto.hypervolume, reference=jnp.asarray(_CORNER)))
        volumes[name] = np.asarray(volume(jnp.where(is_complete, value, jnp.nan)))
    assert (volumes["own"] > volumes["random"]).all(), f"dominated volumes {volumes}"


def _objective(key: jax.Array, params: PyTree) -> Outcome:
    """A front between (1.3, -0.7) and (3, -3), a corner of the box broken, a strip failing.

    Four more coordinates lead away from it: few random points are near.
    """
    x, y = params["x"], params["y"]
    first = (x - 1.3) ** 2 + (y + 0.7) ** 2
    second = (x - 3.0) ** 2 + (y + 3.0) ** 2
    first = jnp.where(y > 0.5, jnp.nan, first)
    away = jnp.sum((params["rest"] - 0.3) ** 2)
    return Outcome(jnp.stack([first, second]) + away, violation=x - y - 5.5)


def _studies(sampler: Sampler, space: Space) -> tuple[jax.Array, jax.Array]:
    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        trials = minimize(_objective, space, sampler, key=key, num_trials=_NUM_TRIALS).trials
        return trials.value, trials.status

    found: tuple[jax.Array, jax.Array] = jax.jit(lambda keys: jax.lax.map(one, keys))(
        jax.random.split(_case.study_key(), _SEEDS)
    )
    return found


def _check_refuses(case: SamplerCase) -> None:
    """Two values a trial are an error that names the argument, or make no difference."""
    sampler = case.make(_spaces.continuous(), 2)
    state, unit = _case.ask(sampler, _case.study_key(1), _case.init(sampler, _case.study_key()))
    message = None
    values = jnp.stack([unit[:, 0], unit[:, 1]], axis=1)
    try:
        state, _ = _case.tell(sampler, _case.study_key(2), state, unit, values)
    except ValueError as error:
        message = str(error)
    if message is not None:
        assert "`outcome.value` must be of shape [q]" in message, message
        return
    _, unit = _case.ask(sampler, _case.study_key(3), state)
    assert ((unit >= 0) & (unit <= 1)).all(), unit


CHECKS = {"objectives": check_objectives}
