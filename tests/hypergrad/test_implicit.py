"""Implicit hypergradients: against the closed form, and the identities among solvers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

KEY = jax.random.key(0)
LOG_L2 = np.linspace(-3.0, 0.0, 5)


def converged(momentum=None, decoupled=False):
    """The ridge problem with a fixed learning rate, and the exact derivative at its solution."""
    training, exact = problems.ridge()
    optimizer = optax.sgd(0.3, momentum=momentum)

    def init(key, hparams):
        w = jnp.zeros(5, jnp.result_type(float))
        return {"params": w, "opt": optimizer.init(w)}

    def step(key, hparams, state, t):
        w = state["params"]
        grads = jax.grad(lambda w: training.inner_loss(hparams, w))(w)
        if decoupled:  # the penalty as a decay of the weights beside the gradient
            grads = grads - jnp.exp(hparams["l2"]) * w
        updates, opt = optimizer.update(grads, state["opt"], w)
        if decoupled:
            updates = updates - 0.3 * jnp.exp(hparams["l2"]) * w
        return {"params": optax.apply_updates(w, updates), "opt": opt}

    return training._replace(init=init, step=step), exact(0.3, LOG_L2, None)


@pytest.mark.parametrize(
    "solver",
    ["cg", "dense", "gmres", "normal_cg", hg.neumann(400, 0.3), hg.fixed_point(400),
     hg.nystrom(5, 1e-9)],
    ids=str,
)  # fmt: skip
def test_converged_ridge(float64, solver):
    training, (value, _, by_l2) = converged()
    out = jax.jit(hg.implicit(training, num_steps=400, solver=solver))(KEY, {"l2": LOG_L2})
    assert float(out.value) == pytest.approx(value, abs=1e-12)
    is_damped = not isinstance(solver, str) and hasattr(solver, "damping")
    np.testing.assert_allclose(out.grad["l2"], by_l2, rtol=0, atol=1e-7 if is_damped else 1e-12)
    assert float(out.diagnostics.stationarity) < 1e-12
    assert float(out.diagnostics.linear_residual) < 1e-6
    if isinstance(solver, type(hg.fixed_point(1)) | type(hg.neumann(1, 0.1))):
        assert 0 < float(out.diagnostics.contraction) < 1


@pytest.mark.parametrize("solver", ["gmres", "normal_cg", hg.fixed_point(800)], ids=str)
@pytest.mark.parametrize("kind", ["momentum", "decoupled"])
def test_maps_that_are_not_symmetric(float64, kind, solver):
    training, (_, _, by_l2) = converged(momentum=0.8, decoupled=kind == "decoupled")
    estimator = hg.implicit(training, num_steps=600, solver=solver)
    out = jax.jit(estimator)(KEY, {"l2": LOG_L2})
    if kind == "momentum":
        np.testing.assert_allclose(out.grad["l2"], by_l2, rtol=0, atol=1e-10)
    else:
        unrolled = jax.jit(hg.unrolled(training, num_steps=600))(KEY, {"l2": LOG_L2})
        np.testing.assert_allclose(out.grad["l2"], unrolled.grad["l2"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("num_terms", [0, 3, 10])
def test_neumann_is_truncated_from_the_optimum(float64, num_terms):
    training, _ = converged()
    hparams = {"l2": jnp.asarray(LOG_L2)}
    series = hg.implicit(training, num_steps=500, solver=hg.neumann(num_terms, 0.3))
    window = hg.truncated(training, num_steps=500, window=num_terms + 1)
    iterated = hg.implicit(training, num_steps=500, solver=hg.fixed_point(num_terms))
    expected = jax.jit(window)(KEY, hparams).grad["l2"]
    for estimator in (series, iterated):
        got = jax.jit(estimator)(KEY, hparams).grad["l2"]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_cg_is_closer_than_unrolling_before_convergence(float64):
    """Grazzi et al. 2020: approximate implicit beats iterative differentiation at equal steps."""
    training, (_, _, by_l2) = converged()
    for num_steps in (20, 60):
        errors = [
            float(jnp.linalg.norm(jax.jit(e)(KEY, {"l2": LOG_L2}).grad["l2"] - by_l2))
            for e in (hg.implicit(training, num_steps=num_steps),
                      hg.unrolled(training, num_steps=num_steps))
        ]  # fmt: skip
        assert errors[0] < errors[1]


def test_nystrom_of_full_rank_is_dense(float64):
    training, _ = converged()
    hparams = {"l2": jnp.asarray(LOG_L2)}
    got = [
        jax.jit(hg.implicit(training, num_steps=50, solver=solver))(KEY, hparams).grad["l2"]
        for solver in (hg.nystrom(5, 0.1), hg.dense(0.1), hg.cg(damping=0.1))
    ]
    np.testing.assert_allclose(got[0], got[1], rtol=1e-9)
    np.testing.assert_allclose(got[2], got[1], rtol=1e-9)


def test_unfinished_training_shows_in_stationarity(float64):
    training, _ = converged()
    values = [
        float(jax.jit(hg.implicit(training, num_steps=n))(KEY, {"l2": LOG_L2})
              .diagnostics.stationarity)
        for n in (2, 20, 200)
    ]  # fmt: skip
    assert values[0] > 10 * values[1] > 100 * values[2]


def test_vmap_and_float32(float32):
    training, (_, _, by_l2) = converged()
    estimator = hg.implicit(training, num_steps=200, solver="gmres")
    many = {"l2": jnp.asarray(np.stack([LOG_L2, LOG_L2 - 1]), jnp.float32)}
    out = jax.jit(jax.vmap(estimator, in_axes=(None, 0)))(KEY, many)
    np.testing.assert_allclose(out.grad["l2"][0], by_l2, rtol=2e-3, atol=2e-5)


def test_learning_rate_is_refused():
    training, _ = problems.ridge()
    hparams = {"lr": 0.3, "l2": jnp.zeros(5)}
    for solver in ("cg", "gmres"):
        estimator = hg.implicit(training, num_steps=3, solver=solver)
        with pytest.raises(ValueError, match=r"`hparams\['lr'\]`.*identically zero.*unrolled"):
            estimator(KEY, hparams)


def test_initial_weights_are_refused():
    training, _ = converged()
    training = training._replace(
        init=lambda key, h: {"params": h["start"], "opt": optax.sgd(0.3).init(h["start"])}
    )
    with pytest.raises(ValueError, match="identically zero"):
        hg.implicit(training, num_steps=3)(KEY, {"start": jnp.zeros(5), "l2": jnp.zeros(5)})


def test_cg_on_a_field_that_is_not_symmetric():
    training, _ = converged()
    inner = training.inner_loss

    def loss(hparams, w):
        return inner(hparams, w) + jnp.sum(w * jax.lax.stop_gradient(jnp.roll(w, 1)))

    asymmetric = training._replace(inner_loss=loss)
    for solver in ("cg", "dense", hg.neumann(3, 0.1), hg.nystrom(2)):
        with pytest.raises(ValueError, match=r"not symmetric.*gmres"):
            hg.implicit(asymmetric, num_steps=3, solver=solver)(KEY, {"l2": jnp.zeros(5)})


def test_softmax_is_symmetric():
    x = jnp.linspace(-1, 1, 12).reshape(4, 3)

    def inner(hparams, w):
        return jnp.mean(jax.nn.logsumexp(x @ w, axis=-1)) + hparams["l2"] * jnp.sum(w**2)

    training = hpo.Training(
        lambda key, h: {"params": jnp.ones((3, 2))},
        lambda key, h, s, t: {"params": s["params"] - jax.grad(lambda w: inner(h, w))(s["params"])},
        lambda h, s: jnp.sum(s["params"]),
        inner,
    )
    out = hg.implicit(training, num_steps=3)(KEY, {"l2": 0.3})
    assert bool(jnp.isfinite(out.grad["l2"]))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda t: hg.implicit(t._replace(inner_loss=None), num_steps=2), ValueError, "gmres"),
        (lambda t: hg.implicit(t, num_steps=2, solver="newton"), ValueError, "`solver` must be"),
        (lambda t: hg.implicit(t, num_steps=2, solver=3), TypeError, "`solver` must be"),
        (lambda t: hg.implicit(t, num_steps=0), ValueError, "`num_steps` must be at least 1"),
        (lambda t: hg.cg(0), ValueError, "`max_steps` must be at least 1"),
        (lambda t: hg.neumann(3, -0.1), ValueError, "`step_size` must be greater than 0"),
        (lambda t: hg.nystrom(0), ValueError, "`rank` must be at least 1"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(problems.ridge()[0])
