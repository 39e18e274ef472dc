"""DrMAD and HyperDistill: where they are exact, what they are otherwise, and their memory."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from jaxhpo import training as tr

KEY = jax.random.key(1)
T = 5


def linear(matrix, num_hparams=3):
    """`s <- M s + push`, under a quadratic loss; a counter travels along."""
    matrix = jnp.asarray(matrix, jnp.result_type(float))

    def step(key, hparams, state, t):
        return {"params": matrix @ state["params"] + hparams["push"], "count": state["count"] + 1}

    return hpo.Training(
        lambda key, h: {"params": jnp.ones(num_hparams, matrix.dtype), "count": jnp.int32(0)},
        step,
        lambda h, s: jnp.sum(s["params"] ** 2) + 0.1 * jnp.sum(h["push"] ** 2),
    )


def push():
    return {"push": jnp.asarray([0.3, -0.2, 0.1], jnp.result_type(float))}


def assert_close(one, two, rtol=1e-10):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)


def test_drmad_is_exact_on_a_linear_system(float64):
    training = linear([[0.5, 0.2, 0.0], [-0.1, 0.7, 0.3], [0.0, 0.1, 0.4]])
    out = jax.jit(hg.drmad(training, num_steps=T))(KEY, push())
    exact = jax.jit(hg.unrolled(training, num_steps=T))(KEY, push())
    assert_close(out, exact)


@pytest.mark.slow
def test_drmad_is_the_sweep_along_the_line(float64):
    """Written once more with plain vector-Jacobian products."""
    training = problems.momentum_network()
    hparams = jax.tree.map(jnp.asarray, problems.MOMENTUM_HPARAMS)
    key_init, key_step = tr.trial_keys(KEY)
    start = training.init(key_init, hparams)
    final = tr.train(training, KEY, hparams, T)
    d_hparams, adjoint = jax.grad(training.loss, argnums=(0, 1), allow_int=True)(hparams, final)

    @jax.jit
    def pull(adjoint, t):
        def between(a, b):
            return a + t / T * (b - a) if jnp.issubdtype(a.dtype, jnp.floating) else a

        at = jax.tree.map(between, start, final)
        pullback = jax.vjp(lambda h, s: training.step(key_step, h, s, jnp.int32(0)), hparams, at)
        return pullback[1](adjoint)

    for t in reversed(range(T)):
        part, adjoint = pull(adjoint, float(t))
        d_hparams = jax.tree.map(jnp.add, d_hparams, part)
    out = jax.jit(hg.drmad(training, num_steps=T))(KEY, hparams)
    assert_close(out.grad, d_hparams, 1e-9)


def test_hyperdistill_is_exact_where_every_step_contracts_alike(float64):
    training = linear(0.8 * np.eye(3))
    exact = jax.jit(hg.unrolled(training, num_steps=T))(KEY, push())
    out = jax.jit(hg.hyperdistill(training, num_steps=T, decay=0.8))(KEY, push())
    assert_close(out.grad, exact.grad)
    assert_close(out.state, exact.state)
    # With another decay the fit is a compromise over the horizons.
    other = jax.jit(hg.hyperdistill(training, num_steps=T, decay=0.3))(KEY, push())
    one = jax.jit(hg.one_step(training, num_steps=T))(KEY, push())
    error, short = (
        float(jnp.linalg.norm(o.grad["push"] - exact.grad["push"])) for o in (other, one)
    )
    assert 1e-3 < error < 0.5 * short


@pytest.mark.slow
def test_one_step_has_nothing_to_distill(float64):
    training = problems.momentum_network()
    one = jax.jit(hg.unrolled(training, num_steps=1))(KEY, problems.MOMENTUM_HPARAMS)
    out = jax.jit(hg.hyperdistill(training, num_steps=1))(KEY, problems.MOMENTUM_HPARAMS)
    assert_close(out.grad, one.grad)


def test_hyperdistill_is_the_least_squares_fit(float64):
    """The partial sums and the fit, by hand on a system that is not uniform."""
    matrix = np.asarray([[0.5, 0.2, 0.0], [-0.1, 0.7, 0.3], [0.0, 0.1, 0.4]])
    training, decay = linear(matrix), 0.6
    alpha = 2 * np.asarray(tr.train(training, KEY, push(), T)["params"])
    pulled = [alpha @ np.linalg.matrix_power(matrix, k) for k in range(T)]
    horizons = [(1 - decay**k) / (1 - decay) for k in range(1, T + 1)]
    sums = np.cumsum(pulled, axis=0)  # v is alpha: the push acts alike at every state
    theta = sum(x * (g @ alpha) for x, g in zip(horizons, sums, strict=True)) / (
        np.sum(np.square(horizons)) * (alpha @ alpha)
    )
    expected = 0.2 * np.asarray(push()["push"]) + alpha * theta * horizons[-1]
    out = jax.jit(hg.hyperdistill(training, num_steps=T, decay=decay))(KEY, push())
    np.testing.assert_allclose(out.grad["push"], expected, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
def test_hyperdistill_is_the_published_algorithm(float64, decay):
    """Algorithms 3 and 4 written as the loops that they are, means and horizons in full, on a
    network of which no step is like another."""
    training = problems.momentum_network()
    hparams = jax.tree.map(jnp.asarray, problems.MOMENTUM_HPARAMS)
    key_init, key_step = tr.trial_keys(KEY)
    step = jax.jit(training.step)

    def blend(states, weights):
        def mean(*rows):
            if not jnp.issubdtype(rows[0].dtype, jnp.floating):
                return rows[0]
            return sum(w * row for w, row in zip(weights, rows, strict=True)) / sum(weights)

        return jax.tree.map(mean, *states)

    @jax.jit
    def pull(state, adjoint):
        pullback = jax.vjp(lambda h, s: training.step(key_step, h, s, jnp.int32(0)), hparams, state)
        return pullback[1](adjoint)

    def flat(tree):
        return np.asarray(jax.flatten_util.ravel_pytree(tree)[0])

    states = [training.init(key_init, hparams)]
    for t in range(T):
        states.append(step(key_step, hparams, states[-1], jnp.int32(t)))
    grads = jax.grad(training.loss, argnums=(0, 1), allow_int=True)(hparams, states[-1])
    first_order, alpha = flat(grads[0]), grads[1]
    line = [blend([states[0], states[-1]], [1 - t / T, t / T]) for t in range(T)]
    adjoint, second_order, xs, ys = alpha, 0.0, [], []
    for s in range(1, T + 1):
        part, adjoint = pull(line[T - s], adjoint)
        second_order = second_order + flat(part)
        v = flat(pull(blend(line[T - s :][::-1], [decay**j for j in range(s)]), alpha)[0])
        size = np.linalg.norm(v)
        xs.append(size * sum(decay**j for j in range(s)))
        ys.append(v / size @ second_order)
    theta = np.dot(xs, ys) / np.dot(xs, xs)
    powers = [decay**j for j in range(T)]
    v = flat(pull(blend(states[:-1][::-1], powers), alpha)[0])
    out = jax.jit(hg.hyperdistill(training, num_steps=T, decay=decay))(KEY, hparams)
    np.testing.assert_allclose(flat(out.grad), first_order + theta * sum(powers) * v, rtol=1e-9)


@pytest.mark.slow
def test_the_scale_is_kept_between_fits(float64):
    training = linear(0.8 * np.eye(3))
    estimator = hg.hyperdistill(training, num_steps=T, decay=0.3, refit_every=2)
    fresh, update = jax.jit(estimator), jax.jit(estimator.update)
    memory = estimator.init(KEY, push())
    moved = {"push": 5.0 * push()["push"]}
    first, memory = update(KEY, push(), memory)
    assert_close(first.grad, fresh(KEY, push()).grad)
    theta = float(memory.theta)
    _, memory = update(KEY, moved, memory)
    assert float(memory.theta) == theta
    third, memory = update(KEY, moved, memory)
    assert_close(third.grad, fresh(KEY, moved).grad)
    assert int(memory.calls) == 3
    path = hg.descend(estimator, push(), optax.sgd(0.02), key=0, num_outer=30)
    assert float(path.values[-1]) < 0.5 * float(path.values[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: hg.drmad(t, num_steps=0), "`num_steps` must be at least 1"),
        (lambda t: hg.hyperdistill(t, num_steps=3, decay=1.5), "`decay` must be from 0 to 1"),
        (lambda t: hg.hyperdistill(t, num_steps=3, refit_every=0), "`refit_every` must be at"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make(problems.ridge()[0])
