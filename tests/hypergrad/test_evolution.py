"""Estimators without derivatives: definitions, identities, and unbiasedness on a quadratic."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

KEY = jax.random.key(3)


def drift(num_hparams=2):
    """A linear system under a quadratic loss; every hyperparameter acts in every step."""

    def step(key, hparams, state, t):
        return 0.9 * state + 0.1 * hparams["push"] - 0.05 * jnp.flip(state)

    def loss(hparams, state):
        return jnp.sum((state - 1.0) ** 2) + 0.1 * jnp.sum(hparams["push"] ** 2)

    start = jnp.zeros(num_hparams, jnp.result_type(float))
    return hpo.Training(lambda key, hparams: start + 0.5 * hparams["push"], step, loss)


def hparams(dtype=None):
    return {"push": jnp.asarray([0.4, -0.3], dtype or jnp.result_type(float))}


def test_finite_difference(float64):
    training = problems.momentum_network()
    exact = jax.jit(hg.forward(training, num_steps=5))(KEY, problems.MOMENTUM_HPARAMS)
    for step in (None, 1e-5):
        estimator = hg.finite_difference(training, num_steps=5, step=step)
        out = jax.jit(estimator)(KEY, problems.MOMENTUM_HPARAMS)
        assert float(out.value) == pytest.approx(float(exact.value), rel=1e-13)
        for name in exact.grad:
            assert float(out.grad[name]) == pytest.approx(float(exact.grad[name]), rel=1e-6)


@pytest.mark.parametrize("make", [
    lambda t: hg.es(t, num_steps=20, num_pairs=10_000, sigma=0.1),
    lambda t: hg.pes(t, num_steps=20, window=4, num_pairs=10_000, sigma=0.1),
], ids=["es", "pes"])  # fmt: skip
def test_mean_is_the_exact_gradient(float64, make):
    """On a quadratic the smoothing adds no bias, so the mean lies within its standard errors."""
    training = drift()
    exact = jax.jit(hg.unrolled(training, num_steps=20))(KEY, hparams()).grad["push"]
    out = jax.jit(make(training))(KEY, hparams())
    error = out.diagnostics.standard_error["push"]
    assert bool(jnp.all(jnp.abs(out.grad["push"] - exact) < 3 * error))
    assert bool(jnp.all(error < 0.2 * jnp.max(jnp.abs(exact))))


def test_standard_error_is_honest(float64):
    """Over independent keys the estimates scatter as much as they say."""
    estimator = hg.pes(drift(), num_steps=6, window=2, num_pairs=32, sigma=0.1)
    out = jax.jit(jax.vmap(estimator, in_axes=(0, None)))(jax.random.split(KEY, 200), hparams())
    scatter = jnp.std(out.grad["push"], axis=0)
    claimed = jnp.mean(out.diagnostics.standard_error["push"], axis=0)
    np.testing.assert_allclose(scatter, claimed, rtol=0.2)


def test_one_window_is_es(float64):
    training = problems.momentum_network()
    one = jax.jit(hg.es(training, num_steps=4, num_pairs=3))(KEY, problems.MOMENTUM_HPARAMS)
    two = jax.jit(hg.pes(training, num_steps=4, window=4, num_pairs=3))(
        KEY, problems.MOMENTUM_HPARAMS
    )
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_truncated_es_has_the_bias_of_truncation(float64):
    training = drift()
    short = jax.jit(hg.es(training, num_steps=20, num_pairs=10_000, window=3))(KEY, hparams())
    window = jax.jit(hg.truncated(training, num_steps=20, window=3))(KEY, hparams()).grad["push"]
    exact = jax.jit(hg.unrolled(training, num_steps=20))(KEY, hparams()).grad["push"]
    error = short.diagnostics.standard_error["push"]
    assert bool(jnp.all(jnp.abs(short.grad["push"] - window) < 3 * error))
    assert bool(jnp.any(jnp.abs(exact - window) > 6 * error))


def test_es_stays_bounded_in_chaos(float64):
    training = hpo.Training(
        lambda key, h: jnp.full((), 0.3, jnp.result_type(float)),
        lambda key, h, x, t: h["r"] * x * (1 - x),
        lambda h, x: -x,
    )
    point = {"r": 3.9}
    exact = jax.jit(hg.unrolled(training, num_steps=100))(KEY, point)
    smooth = jax.jit(hg.es(training, num_steps=100, sigma=0.02))(KEY, point)
    assert abs(float(exact.grad["r"])) > 1e10
    assert abs(float(smooth.grad["r"])) < 100


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: hg.es(t, num_steps=0), "`num_steps` must be at least 1"),
        (lambda t: hg.es(t, num_steps=3, num_pairs=0), "`num_pairs` must be at least 1"),
        (lambda t: hg.es(t, num_steps=3, sigma=0.0), "`sigma` must be greater than 0"),
        (lambda t: hg.es(t, num_steps=3, window=4), "`window` must be at most the 3 steps"),
        (lambda t: hg.pes(t, num_steps=4, window=3), "`window` must be a divisor"),
        (lambda t: hg.finite_difference(t, num_steps=3, step=-1.0), "`step` must be greater"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make(drift())
