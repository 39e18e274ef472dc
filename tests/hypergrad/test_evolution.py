"""Estimators without derivatives: definitions, identities, and unbiasedness on a quadratic."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
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


@pytest.mark.parametrize("step", problems.mostly_slow([None, 1e-5], None))
def test_finite_difference(float64, step):
    training = problems.momentum_network()
    exact = jax.jit(hg.forward(training, num_steps=5))(KEY, problems.MOMENTUM_HPARAMS)
    estimator = hg.finite_difference(training, num_steps=5, step=step)
    out = jax.jit(estimator)(KEY, problems.MOMENTUM_HPARAMS)
    assert float(out.value) == pytest.approx(float(exact.value), rel=1e-13)
    for name in exact.grad:
        assert float(out.grad[name]) == pytest.approx(float(exact.grad[name]), rel=1e-6)


@pytest.mark.parametrize("make", [
    pytest.param(
        lambda t: hg.es(t, num_steps=20, num_pairs=10_000, sigma=0.1), marks=pytest.mark.slow
    ),
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


@pytest.mark.slow
def test_standard_error_is_honest(float64):
    """Over independent keys the estimates scatter as much as they say."""
    estimator = hg.pes(drift(), num_steps=6, window=2, num_pairs=32, sigma=0.1)
    out = jax.jit(jax.vmap(estimator, in_axes=(0, None)))(jax.random.split(KEY, 200), hparams())
    scatter = jnp.std(out.grad["push"], axis=0)
    claimed = jnp.mean(out.diagnostics.standard_error["push"], axis=0)
    np.testing.assert_allclose(scatter, claimed, rtol=0.2)


def test_one_window_is_es(float64):
    training = drift()
    one = jax.jit(hg.es(training, num_steps=4, num_pairs=3))(KEY, hparams())
    two = jax.jit(hg.pes(training, num_steps=4, window=4, num_pairs=3))(KEY, hparams())
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize("reuse", problems.mostly_slow([None, 2], None))
def test_one_draw_for_all_windows_is_es(float64, reuse):
    """ES-Single: the changes of the loss add up to the loss, whatever the windows."""
    training = drift()
    whole = jax.jit(hg.es(training, num_steps=8, num_pairs=5))(KEY, hparams())
    single = jax.jit(hg.pes(training, num_steps=8, window=4, num_pairs=5, reuse=reuse))(
        KEY, hparams()
    )
    np.testing.assert_allclose(single.grad["push"], whole.grad["push"], rtol=1e-10)


@pytest.mark.slow
def test_order_of_variances(float64):
    """Window by window, fresh noise costs variance as windows get more; a kept draw does not."""
    training = hpo.Training(
        lambda key, h: jnp.zeros_like(h["push"]),
        lambda key, h, state, t: state + h["push"] / 20,
        lambda h, state: jnp.sum(state),
    )

    def deviation(window, reuse):
        estimator = hg.pes(
            training, num_steps=20, window=window, num_pairs=400, reuse=reuse, online=True
        )

        def call(memory, _):
            out, memory = estimator.update(KEY, hparams(), memory)
            return memory, out.diagnostics.standard_error["push"]

        errors = jax.jit(lambda memory: jax.lax.scan(call, memory, length=40))(
            estimator.init(KEY, hparams())
        )[1]
        return float(jnp.sqrt(jnp.mean(errors[10:] ** 2)))

    few, many, between = deviation(10, 1), deviation(2, 1), deviation(2, 5)
    kept_few, kept_many = deviation(10, None), deviation(2, None)
    assert kept_many == pytest.approx(kept_few, rel=0.1)
    assert many > 1.5 * few > 1.5 * kept_few
    assert kept_many < between < many


@pytest.mark.parametrize("reuse", problems.mostly_slow([1, None], 1))
def test_online_windows_add_up_to_the_gradient(float64, reuse):
    """At hyperparameters that stand still the mean over calls is the exact gradient."""
    training = drift()
    exact = jax.jit(hg.unrolled(training, num_steps=20))(KEY, hparams()).grad["push"]
    estimator = hg.pes(training, num_steps=20, window=4, num_pairs=500, reuse=reuse, online=True)

    def call(memory, _):
        out, memory = estimator.update(KEY, hparams(), memory)
        return memory, (out.grad["push"], out.diagnostics.standard_error["push"], out.value)

    memory, (grads, errors, values) = jax.jit(lambda memory: jax.lax.scan(call, memory, length=45))(
        estimator.init(KEY, hparams())
    )
    # The first episodes were cut where the pairs were spread; after five windows all are whole.
    grads, errors, steps = grads[5:], errors[5:], 40
    mean = jnp.mean(grads, axis=0)
    error = jnp.sqrt(jnp.sum(errors**2, axis=0)) / steps
    assert bool(jnp.all(jnp.abs(mean - exact) < 4 * error))
    assert bool(jnp.all(error < 0.1 * jnp.max(jnp.abs(exact))))
    assert bool(jnp.all(memory.pairs.window < 5))
    assert bool(jnp.all(jnp.isfinite(values)))


@pytest.mark.slow
def test_descend_takes_one_window_a_step(float64):
    """An outer step costs a window, not a run: counted in calls of the training step."""
    calls = []
    inner = drift()

    def step(key, h, state, t):
        jax.debug.callback(lambda _: calls.append(1), state[0])
        return inner.step(key, h, state, t)

    estimator = hg.pes(inner._replace(step=step), num_steps=20, window=2, num_pairs=10, online=True)
    path = hg.descend(estimator, hparams(), optax.sgd(0.02), key=0, num_outer=30)
    jax.effects_barrier()
    assert float(path.values[-1]) < 0.8 * float(path.values[0])
    # 30 outer steps of 10 pairs, plus spreading the pairs side by side over 18 steps.
    assert len(calls) == 30 * 2 * 10 * 2 + 10 * 18


@pytest.mark.slow
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
        (lambda t: hg.pes(t, num_steps=4, window=2, reuse=0), "`reuse` must be at least 1"),
        (lambda t: hg.finite_difference(t, num_steps=3, step=-1.0), "`step` must be greater"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make(drift())
