"""Reversible training: exact, small, and honest when it cannot be."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from jaxhpo.hypergrad.reversible import _fixed_point_arithmetic, _fixed_point_sgd

HPARAMS = {"lr": -2.5, "l2": -3.0}
KEY = jax.random.key(4)


def training_with(decay, **kwargs):
    return problems.network(lambda h: optax.sgd(jnp.exp(h["lr"]), momentum=decay), **kwargs)


def rate(hparams, t):
    return jnp.exp(hparams["lr"])


def test_equals_unrolled_through_several_words(float64):
    """decay 1/2 fills a word every 24 steps, so 50 steps need three."""
    training = training_with(0.5)
    estimator = hg.reversible(training, num_steps=50, learning_rate=rate, decay=Fraction(1, 2))
    out = jax.jit(estimator)(KEY, HPARAMS)
    exact = jax.jit(hg.unrolled(training, num_steps=50))(KEY, HPARAMS)
    assert bool(out.diagnostics.reversal_ok)
    assert float(out.value) == pytest.approx(float(exact.value), rel=1e-12)
    for name in HPARAMS:
        assert float(out.grad[name]) == pytest.approx(float(exact.grad[name]), rel=1e-11)
    np.testing.assert_allclose(
        out.diagnostics.adjoint_norms, exact.diagnostics.adjoint_norms, rtol=1e-11
    )


@pytest.mark.slow
@pytest.mark.parametrize("x64", [False, True])
def test_either_precision_and_vmap(x64):
    with jax.enable_x64(x64):
        training = training_with(0.9)
        estimator = hg.reversible(training, num_steps=6, learning_rate=rate)
        keys = jax.random.split(jax.random.key(0), 3)
        many = jax.jit(jax.vmap(estimator, in_axes=(0, None)))(keys, HPARAMS)
        one = jax.jit(estimator)(keys[1], HPARAMS)
        exact = jax.jit(hg.unrolled(training, num_steps=6))(keys[1], HPARAMS)
    assert bool(jnp.all(many.diagnostics.reversal_ok))
    tolerance = 1e-11 if x64 else 1e-5
    for name in HPARAMS:
        assert one.grad[name].dtype == exact.grad[name].dtype
        assert float(many.grad[name][1]) == pytest.approx(float(one.grad[name]), rel=tolerance)
        assert float(one.grad[name]) == pytest.approx(float(exact.grad[name]), rel=tolerance)


def test_initial_weights_and_schedule(float64):
    """What acts at the start comes back as the last adjoint."""

    def inner(hparams, w):
        return jnp.sum(jnp.cosh(w - hparams["centre"]))

    def step(key, hparams, state, t):
        grads = jax.grad(lambda w: inner(hparams, w))(state["params"])
        velocity = 0.9 * state["velocity"] + grads
        new = state["params"] - hparams["schedule"][t] * velocity
        return {"params": new, "velocity": velocity}

    training = hpo.Training(
        init=lambda key, h: {"params": h["start"], "velocity": jnp.zeros_like(h["start"])},
        step=step,
        loss=lambda h, s: jnp.sum(s["params"] ** 3) + jnp.sum(h["start"] ** 2),
        inner_loss=inner,
    )
    hparams = {
        "start": jnp.asarray([1.0, -0.5]),
        "centre": jnp.asarray([0.2, 0.3]),
        "schedule": jnp.linspace(0.05, 0.1, 8),
    }
    estimator = hg.reversible(training, num_steps=8, learning_rate=lambda h, t: h["schedule"][t])
    out = jax.jit(estimator)(KEY, hparams)
    exact = jax.jit(hg.unrolled(training, num_steps=8))(KEY, hparams)
    assert bool(out.diagnostics.reversal_ok)
    for name in hparams:
        np.testing.assert_allclose(out.grad[name], exact.grad[name], rtol=1e-11, atol=1e-12)


@pytest.mark.slow
def test_minibatches_by_key(float64):
    x, y = problems.as_real(*problems.regression())

    def loss(key, hparams, w, t):
        rows = jax.random.permutation(jax.random.fold_in(key, t), 20)[:5]
        return jnp.mean((x[rows] @ w - y[rows]) ** 2) + hparams["l2"] * jnp.sum(w**2)

    def step(key, hparams, state, t):
        w, v = state["params"], state["velocity"]
        v = 0.9 * v + jax.grad(lambda w: loss(key, hparams, w, t))(w)
        return {"params": w - hparams["lr"] * v, "velocity": v}

    zero = jnp.zeros(4)
    training = hpo.Training(
        lambda key, h: {"params": zero, "velocity": zero}, step,
        lambda h, s: jnp.mean((x @ s["params"] - y) ** 2),
    )  # fmt: skip
    hparams = {"lr": 0.02, "l2": 0.1}
    estimator = hg.reversible(training, num_steps=9, learning_rate=lambda h, t: h["lr"], loss=loss)
    out = jax.jit(estimator)(KEY, hparams)
    exact = jax.jit(hg.unrolled(training, num_steps=9))(KEY, hparams)
    for name in hparams:
        assert float(out.grad[name]) == pytest.approx(float(exact.grad[name]), rel=1e-11)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"learning_rate": lambda h, t: 1.02 * rate(h, t)}, marks=pytest.mark.slow),
        pytest.param({"decay": Fraction(8, 10)}, marks=pytest.mark.slow),
        {"training": problems.network(lambda h: optax.adam(jnp.exp(h["lr"])))},
        pytest.param({"training": training_with(0.9, batch_size=5)}, marks=pytest.mark.slow),
    ],
    ids=["other rate", "other decay", "other optimizer", "other batches"],
)
def test_refuses_another_run(broken):
    with jax.numpy_dtype_promotion("standard"):
        arguments = {"training": training_with(0.9), "learning_rate": rate, "num_steps": 4}
        out = jax.jit(hg.reversible(**{**arguments, **broken}))(KEY, HPARAMS)
    assert not bool(out.diagnostics.reversal_ok)
    assert bool(jnp.isnan(out.value))
    assert all(bool(jnp.isnan(g)) for g in jax.tree.leaves(out.grad))


@pytest.mark.parametrize(
    ("learning_rate", "is_fine"),
    [(0.1, True), *(pytest.param(rate, False, marks=pytest.mark.slow) for rate in (5.0, np.nan))],
)
@pytest.mark.parametrize("num_steps", [8, pytest.param(400, marks=pytest.mark.slow)])
def test_refuses_a_run_that_outgrows_fixed_point(learning_rate, is_fine, num_steps):
    """Integers would wrap around and come back all the same, bit for bit, from a wrong run."""

    def inner(hparams, w):
        return 0.5 * jnp.sum(w**2)

    def step(key, hparams, state, t):
        velocity = 0.5 * state["velocity"] + state["params"]
        rate = jnp.where(t < 4, 0.1, hparams["lr"]).astype(velocity.dtype)
        return {"params": state["params"] - rate * velocity, "velocity": velocity}

    one = jnp.ones(2)
    training = hpo.Training(
        lambda key, h: {"params": one, "velocity": jnp.zeros_like(one)},
        step,
        lambda h, s: jnp.sum(s["params"] ** 2),
        inner,
    )
    estimator = hg.reversible(
        training, num_steps=num_steps, decay=Fraction(1, 2),
        learning_rate=lambda h, t: jnp.where(t < 4, 0.1, h["lr"]).astype(one.dtype),
    )  # fmt: skip
    out = jax.jit(estimator)(KEY, {"lr": learning_rate})
    is_fine = is_fine or (num_steps == 8 and learning_rate == 5.0)
    assert bool(out.diagnostics.reversal_ok) == is_fine
    for number in (out.value, out.grad["lr"], jnp.sum(out.state["params"])):
        assert bool(jnp.isfinite(number)) == is_fine


def test_numbers_below_a_bound():
    """Half of what an int64 holds; what is not a number is not below anything."""
    bound = _fixed_point_arithmetic.largest(40)
    assert bool(
        _fixed_point_arithmetic.are_below([jnp.asarray([-1.0, 0.99 * bound]), jnp.zeros(0)], bound)
    )
    for wrong in (bound, -bound, jnp.nan, jnp.inf):
        assert not bool(_fixed_point_arithmetic.are_below([jnp.asarray([1.0, wrong])], bound))


def test_refuses_a_way_back_that_differs(monkeypatch):
    """One lost digit on the way back must be noticed."""
    honest = _fixed_point_sgd.exchange

    def lossy(v, digits, out, back):
        v, digits = honest(v, digits, out, back)
        return v + (1 if out < back else 0), digits

    monkeypatch.setattr(_fixed_point_sgd, "exchange", lossy)
    out = jax.jit(hg.reversible(training_with(0.9), num_steps=4, learning_rate=rate))(KEY, HPARAMS)
    assert not bool(out.diagnostics.reversal_ok)
    assert bool(jnp.isnan(out.grad["lr"]))


def test_refuses_a_momentum_among_the_hyperparameters():
    """It acts in the step alone, so its derivative would silently be zero."""
    training = problems.momentum_network()
    estimator = hg.reversible(training, num_steps=4, learning_rate=rate)
    with pytest.raises(ValueError, match=r"`hparams\['m'\]`.*momentum.*hypergrad\.unrolled"):
        estimator(KEY, {**HPARAMS, "m": 2.2})


@pytest.mark.parametrize(("n", "d"), problems.mostly_slow([(1, 2), (9, 10), (999, 1000)], (9, 10)))
def test_digits_fit_into_their_word(float64, n, d):
    """As many steps as one word takes, there and back, on extreme velocities."""
    v = jnp.asarray([-(2**55), 2**55, -1, 0, 12345], jnp.int64)
    count = _fixed_point_arithmetic.steps_per_word(n, d)

    def ahead(t, loop):
        return _fixed_point_arithmetic.exchange(loop[0] + 1000 * t, loop[1], d, n)

    def back(i, loop):
        v, digits = _fixed_point_arithmetic.exchange(*loop, n, d)
        return v - 1000 * (count - 1 - i), digits

    @jax.jit
    def there_and_back(v):
        far = jax.lax.fori_loop(0, count, ahead, (v, jnp.zeros_like(v, jnp.uint32)))
        return far, jax.lax.fori_loop(0, count, back, far)

    far, (again, digits) = there_and_back(v)
    np.testing.assert_array_equal(again, v)
    np.testing.assert_array_equal(digits, 0)
    exact, lost = [int(a) for a in v], [0] * len(v)
    for t in range(count):
        for i in range(len(v)):
            exact[i], rest = divmod(exact[i] + 1000 * t, d)
            lost[i], low = divmod(lost[i] * d + rest, n)
            exact[i] = exact[i] * n + low
    assert max(lost) < 2**32
    assert far[1].tolist() == lost


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"decay": 1.5}, ValueError, "`decay` must be a fraction between 0 and 1"),
        ({"decay": "fast"}, TypeError, "`decay` must be a fraction"),
        ({"num_steps": 0}, ValueError, "`num_steps` must be at least 1"),
        ({"learning_rate": 0.1}, TypeError, "`learning_rate` must be callable"),
        ({"training": training_with(0.9)._replace(inner_loss=None)}, ValueError, "`loss` must be"),
    ],
)
def test_errors(changes, error, message):
    arguments = {"training": training_with(0.9), "learning_rate": rate, "num_steps": 4}
    with pytest.raises(error, match=message):
        hg.reversible(**{**arguments, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_three_thousand_steps_come_back_bit_for_bit(seed, float64):
    training = training_with(0.9)
    out = jax.jit(hg.reversible(training, num_steps=3000, learning_rate=rate))(
        jax.random.key(seed), {"lr": -4.0, "l2": -3.0}
    )
    assert bool(out.diagnostics.reversal_ok)
