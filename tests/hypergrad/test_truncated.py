"""Truncated and online estimators against their definitions, written with plain jax.grad."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

from jaxhpo import hypergrad as hg
from jaxhpo import training as tr

T = 7
KEY = jax.random.key(4)
HPARAMS = problems.MOMENTUM_HPARAMS


def steps(training, hparams, state, first, stop):
    key_step = tr.trial_keys(KEY)[1]
    for t in range(first, stop):
        state = training.step(key_step, hparams, state, jnp.int32(t))
    return state


def assert_trees_close(one, two, rtol):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol)


def test_whole_window_is_unrolled_bit_for_bit():
    training = problems.momentum_network()
    whole = jax.jit(hg.truncated(training, num_steps=T, window=T))(KEY, HPARAMS)
    unrolled = jax.jit(hg.unrolled(training, num_steps=T, checkpoint="step"))(KEY, HPARAMS)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(unrolled), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("window", [1, 3])
def test_window_is_the_gradient_from_a_constant_start(float64, window):
    training = problems.momentum_network()
    hparams = jax.tree.map(jnp.asarray, HPARAMS)
    start = steps(training, hparams, training.init(tr.trial_keys(KEY)[0], hparams), 0, T - window)

    def value(h):
        return training.loss(h, steps(training, h, start, T - window, T))

    expected = jax.jit(jax.grad(value))(hparams)
    out = jax.jit(hg.truncated(training, num_steps=T, window=window))(KEY, hparams)
    assert_trees_close(out.grad, expected, 1e-10)
    assert out.diagnostics.adjoint_norms.shape == (window + 1,)
    if window == 1:
        one = jax.jit(hg.one_step(training, num_steps=T))(KEY, hparams)
        assert_trees_close(one.grad, expected, 1e-10)
        online = jax.jit(hg.greedy(training, num_steps=T, decay=0.0))(KEY, hparams)
        assert_trees_close(online.grad, expected, 1e-10)


@pytest.mark.slow
def test_bias_falls_geometrically_with_the_window(float64):
    training, _ = problems.ridge()
    hparams = {"lr": 0.3, "l2": jnp.zeros(5)}
    exact = jax.jit(hg.unrolled(training, num_steps=40))(KEY, hparams).grad["l2"]
    errors = []
    for window in (2, 6, 10):
        out = jax.jit(hg.truncated(training, num_steps=40, window=window))(KEY, hparams)
        errors.append(float(jnp.linalg.norm(out.grad["l2"] - exact)))
    assert errors[1] / errors[0] == pytest.approx(errors[2] / errors[1], rel=0.3)
    assert errors[2] < 0.1 * errors[0]


def test_greedy_is_the_weighted_sum_of_one_step_looks(float64):
    training = problems.momentum_network()
    hparams = jax.tree.map(jnp.asarray, HPARAMS)
    state = training.init(tr.trial_keys(KEY)[0], hparams)
    total = jax.tree.map(jnp.zeros_like, hparams)
    look = jax.jit(
        lambda h, state, t: jax.grad(
            lambda h: training.loss(hparams, training.step(tr.trial_keys(KEY)[1], h, state, t))
        )(h)
    )
    for t in range(4):
        new = look(hparams, state, jnp.int32(t))
        total = jax.tree.map(lambda a, b: 0.7 * a + b, total, new)
        state = steps(training, hparams, state, t, t + 1)
    out = jax.jit(hg.greedy(training, num_steps=4, decay=0.7))(KEY, hparams)
    assert_trees_close(out.grad, total, 1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: hg.truncated(t, num_steps=3, window=4), "`window` must be at most the 3 steps"),
        (lambda t: hg.truncated(t, num_steps=3, window=0), "`window` must be at least 1"),
        (lambda t: hg.truncated(t, num_steps=3, window=2, checkpoint=hg.auto(1e6)), "auto"),
        (lambda t: hg.one_step(t, num_steps=0), "`num_steps` must be at least 1"),
        (lambda t: hg.greedy(t, num_steps=3, decay=1.5), "`decay` must be from 0 to 1"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make(problems.ridge()[0])
