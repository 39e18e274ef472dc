"""Implicit hypergradients: against the closed form, and the identities among solvers."""

import itertools

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
MAP_SOLVERS = ["gmres", "normal_cg", hg.fixed_point(800)]


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
    problems.mostly_slow(
        ["cg", "dense", "gmres", "normal_cg", hg.neumann(400, 0.3), hg.fixed_point(400),
         hg.nystrom(5, 1e-9)], "cg", "gmres",
    ),
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


@pytest.mark.parametrize(
    ("solver", "kind"),
    problems.mostly_slow(
        list(itertools.product(MAP_SOLVERS, ["momentum", "decoupled"])), ("normal_cg", "momentum")
    ),
    ids=str,
)
def test_maps_that_are_not_symmetric(float64, kind, solver):
    training, (_, _, by_l2) = converged(momentum=0.8, decoupled=kind == "decoupled")
    estimator = hg.implicit(training, num_steps=600, solver=solver)
    out = jax.jit(estimator)(KEY, {"l2": LOG_L2})
    if kind == "momentum":
        np.testing.assert_allclose(out.grad["l2"], by_l2, rtol=0, atol=1e-10)
    else:
        unrolled = jax.jit(hg.unrolled(training, num_steps=600))(KEY, {"l2": LOG_L2})
        np.testing.assert_allclose(out.grad["l2"], unrolled.grad["l2"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("num_terms", problems.mostly_slow([0, 3, 10], 3))
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


@pytest.mark.slow
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


def test_gmres_stays_finite_where_the_map_hardly_contracts(float32):
    """Curvatures over five decades: the Krylov basis has no Cholesky factor in float32."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    gap = jnp.asarray(q @ np.diag(np.logspace(-5, 0, 40)) @ q.T, jnp.float32)
    b = jnp.asarray(rng.normal(size=40), jnp.float32)

    def back(v):
        return [v[0] - gap @ v[0]]

    v = jax.jit(lambda b: hg.gmres(30).solve(back, back, [b], None).v[0])(b)
    assert float(jnp.linalg.norm(gap @ v - b)) < 0.3 * float(jnp.linalg.norm(b))


@pytest.mark.slow
def test_nystrom_of_full_rank_is_dense(float64):
    training, _ = converged()
    hparams = {"l2": jnp.asarray(LOG_L2)}
    got = [
        jax.jit(hg.implicit(training, num_steps=50, solver=solver))(KEY, hparams).grad["l2"]
        for solver in (hg.nystrom(5, 0.1), hg.dense(0.1), hg.cg(damping=0.1))
    ]
    np.testing.assert_allclose(got[0], got[1], rtol=1e-9)
    np.testing.assert_allclose(got[2], got[1], rtol=1e-9)


@pytest.mark.slow
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


def ladder_of_curvatures(num_params=40):
    """A quadratic with curvatures from 0.1 to 2, which conjugate gradients take step by step."""
    scale = jnp.linspace(0.1, 2.0, num_params, dtype=jnp.result_type(float))

    def inner(hparams, w):
        return 0.5 * jnp.sum((scale + jnp.exp(hparams["l2"])) * w**2) - jnp.sum(w)

    def step(key, hparams, state, t):
        grads = jax.grad(lambda w: inner(hparams, w))(state["params"])
        return {"params": state["params"] - 0.3 * grads}

    return hpo.Training(
        lambda key, h: {"params": jnp.zeros(num_params, scale.dtype)},
        step,
        lambda h, s: jnp.sum(jnp.cos(7.0 * scale + s["params"])),
        inner,
    )


@pytest.mark.parametrize(
    "solver",
    problems.mostly_slow([hg.cg(tol=1e-8), hg.normal_cg(tol=1e-8)], hg.cg(tol=1e-8)),
    ids=["cg", "normal"],
)
def test_a_warm_solve_takes_fewer_steps_to_the_same_gradient(float64, solver):
    training = ladder_of_curvatures()
    estimator = hg.implicit(training, num_steps=200, solver=solver, warm_start="solve")
    update, cold = jax.jit(estimator.update), jax.jit(estimator)
    memory, steps = estimator.init(KEY, {"l2": -2.0}), []
    for l2 in (-2.0, -2.0001, -2.0002):
        out, memory = update(KEY, {"l2": l2}, memory)
        fresh = cold(KEY, {"l2": l2})
        assert float(out.grad["l2"]) == pytest.approx(float(fresh.grad["l2"]), rel=1e-6)
        steps.append((int(out.diagnostics.linear_steps), int(fresh.diagnostics.linear_steps)))
    assert steps[0][0] == steps[0][1]
    assert all(warm <= 0.75 * cold for warm, cold in steps[1:])
    # At the same hyperparameters nothing is left to do.
    assert int(update(KEY, {"l2": -2.0002}, memory)[0].diagnostics.linear_steps) == 0


@pytest.mark.parametrize(
    "solver",
    problems.mostly_slow([hg.neumann(5, 0.3), hg.fixed_point(5), hg.gmres(3)], hg.neumann(5, 0.3)),
    ids=["neumann", "fixed", "gmres"],
)  # fmt: skip
def test_short_solves_add_up(float64, solver):
    """Repeated at one point, a warm start turns few terms a call into the full series."""
    training, (_, _, by_l2) = converged()
    estimator = hg.implicit(training, num_steps=400, solver=solver, warm_start="solve")
    hparams = {"l2": jnp.asarray(LOG_L2)}

    def call(memory, _):
        out, memory = estimator.update(KEY, hparams, memory)
        return memory, (out.grad["l2"], out.diagnostics.linear_residual)

    grads, residuals = jax.jit(lambda m: jax.lax.scan(call, m, length=40))(
        estimator.init(KEY, hparams)
    )[1]
    assert float(jnp.linalg.norm(grads[0] - by_l2)) > 1e-4
    np.testing.assert_allclose(grads[-1], by_l2, rtol=0, atol=1e-8)
    assert float(residuals[-1]) < 1e-6 * float(residuals[0])


@pytest.mark.slow
def test_descend_carries_the_warm_start(float64):
    """With two training steps an outer step only a kept state comes to the inner minimum."""
    training, _ = converged()
    distances = {}
    for warm in ("none", "both"):
        estimator = hg.implicit(training, num_steps=2, warm_start=warm)
        path = hg.descend(
            estimator, {"l2": jnp.asarray(LOG_L2)}, optax.adam(0.01), key=0, num_outer=60,
            test_loss=lambda h, s: jnp.linalg.norm(
                jax.grad(lambda w: training.inner_loss(h, w))(s["params"])
            ),
        )  # fmt: skip
        distances[warm] = float(path.test_values[-1])
    assert distances["both"] < 0.05 * distances["none"]


def test_learning_rate_is_refused():
    training, _ = problems.ridge()
    hparams = {"lr": 0.3, "l2": jnp.zeros(5)}
    for solver in ("cg", "gmres"):
        estimator = hg.implicit(training, num_steps=3, solver=solver)
        with pytest.raises(ValueError, match=r"`hparams\['lr'\]`.*identically zero.*unrolled"):
            estimator(KEY, hparams)


@pytest.mark.slow
def test_decoupled_decay_names_gmres_on_the_map(float64):
    """AdamW's decay is not the gradient of a loss: the message names the way, and it is right."""
    training, _ = problems.ridge()
    inner = training.inner_loss

    def step(key, hparams, state, t):
        w = state["params"]
        grads = jax.grad(lambda w: inner({"l2": jnp.full(5, -9.0)}, w))(w)
        return {"params": (1 - 0.3 * hparams["wd"]) * w - 0.3 * grads}

    plain = training._replace(
        step=step, inner_loss=lambda h, w: inner({"l2": jnp.full(5, -9.0)}, w)
    )
    with pytest.raises(ValueError, match=r"decoupled weight decay.*gmres\(\).*inner_loss=None"):
        hg.implicit(plain, num_steps=3)(KEY, {"wd": 0.2})
    by_map = hg.implicit(plain._replace(inner_loss=None), num_steps=300, solver="gmres")
    exact = hg.unrolled(plain, num_steps=300)
    one, two = (jax.jit(e)(KEY, {"wd": 0.2}).grad["wd"] for e in (by_map, exact))
    assert float(one) == pytest.approx(float(two), rel=1e-8)


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
    jax.eval_shape(hg.implicit(training, num_steps=3), KEY, {"l2": 0.3})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda t: hg.implicit(t._replace(inner_loss=None), num_steps=2), ValueError, "gmres"),
        (lambda t: hg.implicit(t, num_steps=2, solver="newton"), ValueError, "`solver` must be"),
        (lambda t: hg.implicit(t, num_steps=2, solver=3), TypeError, "`solver` must be"),
        (lambda t: hg.implicit(t, num_steps=2, warm_start=True), ValueError, "`warm_start` must"),
        (lambda t: hg.implicit(t, num_steps=0), ValueError, "`num_steps` must be at least 1"),
        (lambda t: hg.cg(0), ValueError, "`max_steps` must be at least 1"),
        (lambda t: hg.neumann(3, -0.1), ValueError, "`step_size` must be greater than 0"),
        (lambda t: hg.nystrom(0), ValueError, "`rank` must be at least 1"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(problems.ridge()[0])
