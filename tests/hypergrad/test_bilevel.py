"""Bilevel solvers on a finite-sum quadratic whose solution NumPy knows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from jaxhpo.hypergrad import bilevel
from jaxhpo.hypergrad.bilevel import _driver

RNG = np.random.default_rng(0)
A, Y = RNG.normal(size=(12, 3)), RNG.normal(size=12)
C, U = RNG.normal(size=(8, 3)), RNG.normal(size=8)
START = np.asarray([0.5, -0.5, 1.0])
HESSIAN = A.T @ A / 12 + 0.2 * np.eye(3)


def inner(hparams, w, batch):
    error = batch["a"] @ w - batch["y"]
    return 0.5 * jnp.mean(error**2) + 0.1 * jnp.sum(w**2) + 0.3 * jnp.sum(hparams["x"] * w)


def outer(hparams, w, batch):
    error = batch["c"] @ w - batch["u"]
    return 0.5 * jnp.mean(error**2) + 0.5 * jnp.sum(hparams["x"] ** 2)


def quadratic(batch_size=None, validation_batch_size=None, space=None):
    real = {k: jnp.asarray(v, jnp.result_type(float))
            for k, v in {"a": A, "y": Y, "c": C, "u": U}.items()}  # fmt: skip
    return bilevel.problem(
        inner, outer,
        train={k: real[k] for k in "ay"}, validation={k: real[k] for k in "cu"},
        batch_size=batch_size, validation_batch_size=validation_batch_size, space=space,
    )  # fmt: skip


def minimum(x):
    return np.linalg.solve(HESSIAN, A.T @ Y / 12 - 0.3 * x)


def hypergradient(x):
    return x - 0.3 * np.linalg.solve(HESSIAN, C.T @ (C @ minimum(x) - U) / 8)


def solution():
    """Where the hypergradient, which is affine in x, is zero."""
    offset = hypergradient(np.zeros(3))
    slope = np.stack([hypergradient(e) - offset for e in np.eye(3)], axis=1)
    return np.linalg.solve(slope, -offset)


def penalised(x, weight):
    """The gradient of F2SA's objective: both of its minimisers solve linear systems."""
    curvature = C.T @ C / 8 + weight * HESSIAN
    y = np.linalg.solve(curvature, C.T @ U / 8 + weight * (A.T @ Y / 12 - 0.3 * x))
    return x + 0.3 * weight * (y - minimum(x))


SOLVERS = {
    "soba": bilevel.soba,
    "saba": bilevel.saba,
    "stocbio": functools.partial(bilevel.stocbio, num_inner=5, num_linear=200),
    "amigo": functools.partial(bilevel.amigo, num_inner=5, num_linear=5),
    "f2sa": functools.partial(bilevel.f2sa, penalty=1e6, num_inner=5),
}


def run(solver, num_updates, key=0, record_every=None, **kwargs):
    hparams, params = {"x": jnp.asarray(START, jnp.result_type(float))}, jnp.zeros(3)
    return bilevel.solve(
        solver, hparams, params, key=key, num_updates=num_updates,
        record_every=record_every or num_updates, **kwargs,
    )  # fmt: skip


@pytest.mark.parametrize("name", problems.mostly_slow(SOLVERS, "soba", "f2sa"))
def test_full_batches_find_the_hypergradient_and_the_solution(float64, name):
    problem = quadratic()
    # Hyperparameters that stand still: what is left is the hypergradient there.
    still = run(SOLVERS[name](problem, inner_step=0.4, outer_step=1e-30), 400)
    tolerance = 2e-5 if name == "f2sa" else 1e-9
    np.testing.assert_allclose(still.params, minimum(START), atol=1e-12)
    np.testing.assert_allclose(still.state.grad["x"], hypergradient(START), atol=tolerance)
    moving = run(SOLVERS[name](problem, inner_step=0.4, outer_step=0.1), 400)
    np.testing.assert_allclose(moving.hparams["x"], solution(), atol=tolerance)
    assert bool(moving.is_finite)
    assert float(moving.grad_norms[-1]) < 10 * tolerance


@pytest.mark.slow
def test_penalty_bias_is_known_and_falls(float64):
    problem, errors = quadratic(), []
    for weight in (10.0, 20.0):
        solver = bilevel.f2sa(problem, inner_step=0.3, outer_step=1e-30, penalty=weight)
        grad = run(solver, 400).state.grad["x"]
        np.testing.assert_allclose(grad, penalised(START, weight), atol=1e-10)
        errors.append(np.linalg.norm(grad - hypergradient(START)))
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.2)


@pytest.mark.slow
def test_short_series_of_stocbio_has_the_neumann_bias(float64):
    solver = bilevel.stocbio(quadratic(), inner_step=0.4, outer_step=1e-30, num_linear=3)
    found = run(solver, 400)
    slope, v = C.T @ (C @ minimum(START) - U) / 8, np.zeros(3)
    for k in range(4):
        v -= 0.4 * np.linalg.matrix_power(np.eye(3) - 0.4 * HESSIAN, k) @ slope
    np.testing.assert_allclose(found.state.adjoint, v, atol=1e-10)
    np.testing.assert_allclose(found.state.grad["x"], START + 0.3 * v, atol=1e-10)


def falling(scale):
    return lambda count: scale / jnp.sqrt(1.0 + count.astype(jnp.result_type(float)) / 50)


STOCHASTIC = {
    "soba": {"inner_step": falling(0.2), "outer_step": falling(0.05)},
    "saba": {"inner_step": 0.1, "outer_step": 0.03},
    "stocbio": {"inner_step": 0.1, "outer_step": falling(0.05)},
    "amigo": {"inner_step": 0.1, "outer_step": falling(0.05)},
    "f2sa": {"inner_step": falling(0.2), "outer_step": falling(0.02), "penalty": 20.0},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
def test_batches_come_close_to_the_solution(name):
    solver = SOLVERS[name](quadratic(4, 4), **STOCHASTIC[name])
    found = jax.vmap(lambda key: run(solver, 3000, key))(jax.random.split(jax.random.key(1), 4))
    errors = np.linalg.norm(np.asarray(found.hparams["x"]) - solution(), axis=1)
    assert np.max(errors) < 0.15 * np.linalg.norm(START - solution())
    assert len(set(errors.tolist())) == 4


def test_tables_take_the_variance_out(float64):
    """With the same constant steps and samples SABA converges, SOBA stays in its ball."""
    distance = {}
    for name in ("soba", "saba"):
        solver = SOLVERS[name](quadratic(2, 2), inner_step=0.08, outer_step=0.03)
        keys = jax.random.split(jax.random.key(0), 3)
        found = jax.vmap(lambda key, s=solver: run(s, 4000, key))(keys)
        distance[name] = np.linalg.norm(np.asarray(found.hparams["x"]) - solution(), axis=1)
    assert np.max(distance["saba"]) < 1e-8
    assert np.min(distance["soba"]) > 1e-3


def falls(scale):
    """The square-root schedule of the benchmark."""
    return lambda count: scale / jnp.sqrt(1.0 + count.astype(jnp.result_type(float)))


LARGE = {
    "soba": (20_000, {"inner_step": falls(0.3), "outer_step": falls(3.0)}, 2e-3),
    "saba": (20_000, {"inner_step": 0.2, "outer_step": 0.2}, 1e-6),
    "stocbio": (2000, {"inner_step": falls(0.5), "linear_step": 0.3, "outer_step": falls(3.0),
                       "num_linear": 30}, 2e-3),
    "amigo": (2000, {"inner_step": falls(0.5), "outer_step": falls(3.0)}, 2e-3),
    "f2sa": (2000, {"inner_step": falls(0.5), "outer_step": falls(3.0), "penalty": 100.0}, 2e-3),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_quadratic(float32, name):
    """1024 examples on either side, 100 unknowns on either level, batches of 64, in float32.

    The targets for the squared norm of the true hypergradient are those of the reference: 2e-3,
    and 1e-6 for the variance-reduced solver at as many samples.
    """
    rng, d, n = np.random.default_rng(0), 100, 1024
    q, r = (np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2))
    root = np.sqrt(np.linspace(0.1, 1, d))
    a, c = (rng.normal(size=(n, d)) * root @ m.T for m in (q, r))
    b, e = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    cross = jnp.asarray(0.1 * r, jnp.float32)

    def inner(h, w, batch):
        fit = 0.5 * jnp.mean((batch["a"] @ w) ** 2) + jnp.mean(batch["b"] @ w)
        return fit + 0.05 * jnp.sum(w**2) + h["x"] @ cross @ w

    def outer(h, w, batch):
        fit = 0.5 * jnp.mean((batch["c"] @ w) ** 2) + jnp.mean(batch["e"] @ w)
        return fit + 0.05 * jnp.sum(h["x"] ** 2) + 0.1 * jnp.sum(h["x"])

    def true_grad(x):
        hessian = a.T @ a / n + 0.1 * np.eye(d)
        w = -np.linalg.solve(hessian, 0.1 * r.T @ x + b.mean(0))
        v = -np.linalg.solve(hessian, c.T @ (c @ w) / n + e.mean(0))
        return 0.1 * r @ v + 0.1 * x + 0.1

    train, validation = (
        {k: jnp.asarray(v, jnp.float32) for k, v in data.items()}
        for data in ({"a": a, "b": b}, {"c": c, "e": e})
    )
    problem = bilevel.problem(
        inner, outer, train=train, validation=validation, batch_size=64, validation_batch_size=64
    )
    num_updates, settings, target = LARGE[name]
    start = np.full(d, -2.0)
    found = bilevel.solve(
        getattr(bilevel, name)(problem, **settings), {"x": jnp.asarray(start, jnp.float32)},
        jnp.zeros(d), key=0, num_updates=num_updates, record_every=num_updates,
    )  # fmt: skip
    assert np.sum(true_grad(start) ** 2) > 1
    assert np.sum(true_grad(np.asarray(found.hparams["x"], np.float64)) ** 2) < target


@pytest.mark.slow
def test_directions_of_saba_are_unbiased_and_its_means_are_means(float64):
    problem = quadratic(4, 4)
    solver = bilevel.saba(problem, inner_step=0.1, outer_step=0.1)
    state = run(solver, 7).state
    for table in state.memory:
        means = jax.tree.map(lambda a: jnp.mean(a, axis=0), table.rows)
        for a, b in zip(jax.tree.leaves(means), jax.tree.leaves(table.mean), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
    # Six equally likely pairs of blocks: with many keys each comes up, and the mean over the
    # distinct ones is the full-batch direction.
    keys = jax.random.split(jax.random.key(2), 64)
    grads = jax.jit(jax.vmap(lambda key: solver.update(key, state).grad["x"]))(keys)
    distinct = np.unique(np.round(np.asarray(grads), 12), axis=0)
    assert len(distinct) == 6
    whole = bilevel.soba(quadratic(), inner_step=0.1, outer_step=0.1)
    full = whole.update(jax.random.key(0), state).grad["x"]
    np.testing.assert_allclose(np.mean(distinct, axis=0), full, atol=1e-10)


@pytest.mark.parametrize("name", problems.mostly_slow(SOLVERS, "soba"))
def test_jit_is_eager_and_solve_is_a_loop_of_updates(name):
    penalty = {"penalty": 20.0} if name == "f2sa" else {}
    solver = SOLVERS[name](quadratic(4, 4), inner_step=0.1, outer_step=0.05, **penalty)
    key = jax.random.key(3)
    state = solver.init({"x": jnp.asarray(START, jnp.result_type(float))}, jnp.zeros(3))
    for i in range(2):
        state = solver.update(jax.random.fold_in(key, i), state)
    found = run(solver, 2, key)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(found.state), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_vmap_over_seeds_and_steps_is_a_loop_and_compiles_once():
    problem = quadratic(4)

    def one(step, key):
        solver = bilevel.soba(problem, inner_step=step, outer_step=0.05)
        return run(solver, 6, key, record_every=2, metric=lambda hparams, w: jnp.sum(w**2))

    keys, steps = jax.random.split(jax.random.key(0), 3), jnp.asarray([0.1, 0.2, 0.3])
    together = jax.vmap(one)(steps, keys)
    assert together.metrics.shape == together.grad_norms.shape == (3, 3)
    assert together.hparams_path["x"].shape == (3, 3, 3)
    alone = one(0.2, keys[1])
    np.testing.assert_allclose(together.hparams_path["x"][1], alone.hparams_path["x"], rtol=1e-5)
    before = _driver._compiled._cache_size()
    for step in (0.1, 0.2):
        run(bilevel.soba(quadratic(4), inner_step=step, outer_step=step / 2), 3, key=1)
    assert _driver._compiled._cache_size() == before + 1


def test_moves_in_free_coordinates_and_stays_inside():
    space = hpo.Space({"x": hpo.uniform(-1.0, 1.5, shape=3)})
    solver = bilevel.soba(quadratic(4, 4, space=space), inner_step=0.1, outer_step=50.0)
    found = run(solver, 40, record_every=1)
    path = np.asarray(found.hparams_path["x"])
    assert path.min() >= -1.0
    assert path.max() <= 1.5
    assert np.ptp(path) > 1.0
    np.testing.assert_array_equal(solver.hparams(found.state)["x"], found.hparams["x"])


def test_starts_outside_the_space_are_refused():
    space = hpo.Space({"x": hpo.uniform(-0.1, 0.1, shape=3)})
    with pytest.raises(ValueError, match="soba: `hparams` must lie inside their space"):
        run(bilevel.soba(quadratic(space=space), inner_step=0.1, outer_step=0.1), 2)


def test_divergence_is_told():
    assert not bool(run(bilevel.soba(quadratic(), inner_step=1e3, outer_step=1e3), 200).is_finite)


P = quadratic()
GOOD = {"inner_step": 0.1, "outer_step": 0.1}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: bilevel.soba(inner, **GOOD), TypeError, "must come from bilevel.problem"),
        (lambda: bilevel.soba(P, inner_step=0.0, outer_step=1.0), ValueError, "`inner_step` must"),
        (lambda: bilevel.saba(P, inner_step=0.1, outer_step="a"), TypeError, "`outer_step` must"),
        (lambda: bilevel.saba(quadratic(5), **GOOD), ValueError, "divisor of the 12.*such as 4"),
        (lambda: bilevel.amigo(P, **GOOD, num_inner=0), ValueError, "`num_inner` must be at least"),
        (lambda: bilevel.stocbio(P, **GOOD, num_linear=0), ValueError, "`num_linear` must be"),
        (lambda: bilevel.f2sa(P, **GOOD, penalty=-1.0), ValueError, "`penalty` must be greater"),
        (lambda: quadratic(13), ValueError, "`batch_size` must be at most the 12"),
        (lambda: quadratic(3, 9), ValueError, "`validation_batch_size` must be at most the 8"),
        (lambda: quadratic(space=hpo.Space({"x": hpo.integer(0, 3)})), ValueError, "is discrete"),
        (lambda: bilevel.problem(inner, 3, train=A, validation=C), TypeError, "`outer_loss`"),
        (lambda: bilevel.solve(P, {}, 0.0, key=0, num_updates=1), TypeError, "must come from soba"),
        (lambda: run(bilevel.soba(P, **GOOD), 0, record_every=1), ValueError, "`num_updates` must"),
        (lambda: run(bilevel.soba(P, **GOOD), 4, record_every=3), ValueError, "`record_every`"),
        (lambda: bilevel.soba(P, **GOOD).init({"x": 1}, 0.0), ValueError, "must be real"),
        (lambda: bilevel.soba(P, **GOOD).init({"x": 1.0}, 0), ValueError, "`params` must be real"),
    ],
)  # fmt: skip
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_rate_is_refused():
    """Hyperparameters that do not move the inner minimum have no hypergradient here."""
    problem = bilevel.problem(
        lambda h, w, batch: jnp.mean((w - batch) ** 2),
        lambda h, w, batch: jnp.mean((w - batch) ** 2),
        train=jnp.ones(4), validation=jnp.ones(4),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"`hparams\['lr'\]`.*identically zero.*unrolled"):
        bilevel.soba(problem, **GOOD).init({"lr": 0.1}, 0.0)
    assert hg.bilevel is bilevel
