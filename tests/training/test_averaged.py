"""Several runs as one: the mean of what each would have been alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo


def noisy():
    """A run that draws in its start and in every step."""

    def step(key, hparams, state, t):
        noise = jax.random.normal(jax.random.fold_in(key, t), (), state.dtype)
        return state - hparams["lr"] * (state + noise)

    return hpo.Training(
        init=lambda key, hparams: jax.random.normal(key, (), jnp.result_type(float)),
        step=step,
        loss=lambda hparams, state: state**2,
    )


def test_is_the_mean_of_single_runs():
    one, many = noisy(), hpo.training.averaged(noisy(), 3)
    key, hparams = jax.random.key(4), {"lr": jnp.asarray(0.3)}
    value = hpo.training.objective(many, 5)(key, hparams)
    keys = jax.random.split(hpo.training.trial_keys(key)[0], 3)
    alone = [float(hpo.training.objective(one, 5)(k, hparams)) for k in keys]
    assert float(value) == pytest.approx(np.mean(alone), rel=1e-5)
    assert len(set(alone)) == 3


def test_errors():
    with pytest.raises(ValueError, match="averaged: `num_runs` must be at least 1"):
        hpo.training.averaged(noisy(), 0)
    with pytest.raises(TypeError, match="averaged: `training` must be a Training"):
        hpo.training.averaged(None, 2)
