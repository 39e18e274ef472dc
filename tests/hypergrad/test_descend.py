"""The outer loop: it minimises, stays inside, never trusts chaos, and compiles once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

SPACE = {"lr": (1e-3, 0.5), "l2": (1e-3, 10.0)}


def ridge_space():
    return hpo.Space({
        "lr": hpo.log_uniform(1e-3, 0.5),
        "l2": hpo.uniform(-6.0, 3.0, shape=5),
    })  # fmt: skip


def start():
    return {"lr": 0.05, "l2": jnp.zeros(5, jnp.result_type(float))}


def test_descends_on_ridge(float64):
    training, exact = problems.ridge()
    estimator = hg.unrolled(training, num_steps=20)
    path = hg.descend(estimator, start(), optax.adam(0.1), key=0, num_outer=40, space=ridge_space())
    assert float(path.best_value) < 0.85 * float(path.values[0])
    assert float(path.grad_norms[-1]) < 0.2 * float(path.grad_norms[0])
    value, _, _ = exact(float(path.best_hparams["lr"]), np.asarray(path.best_hparams["l2"]), 20)
    assert float(path.best_value) == pytest.approx(value, abs=1e-12)
    assert float(path.best_value) == float(jnp.min(path.values))
    assert bool(jnp.all(path.accepted))
    assert path.hparams["l2"].shape == (40, 5)
    assert path.test_values is None


def test_first_step_is_the_optimizers_in_free_coordinates(float64):
    """Against the logit written out by hand."""
    training, exact = problems.ridge()
    space = hpo.Space({"lr": hpo.uniform(0.1, 0.5), "l2": hpo.uniform(-4.0, 4.0, shape=5)})
    hparams = {"lr": 0.2, "l2": jnp.linspace(-2.0, 2.0, 5)}
    path = hg.descend(
        hg.unrolled(training, num_steps=10),
        hparams,
        optax.sgd(0.7),
        key=0,
        num_outer=2,
        space=space,
    )
    _, by_lr, _ = exact(0.2, np.linspace(-2, 2, 5), 10)
    u = (0.2 - 0.1) / 0.4
    free = np.log(u / (1 - u)) - 0.7 * by_lr * 0.4 * u * (1 - u)
    expected = 0.1 + 0.4 / (1 + np.exp(-free))
    assert float(path.hparams["lr"][1]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_without_a_space_it_is_plain_optax(float64):
    training, _ = problems.ridge()
    estimator = hg.unrolled(training, num_steps=5)
    optimizer = optax.adam(0.01)
    path = hg.descend(estimator, start(), optimizer, key=0, num_outer=4)
    hparams = jax.tree.map(jnp.asarray, start())
    state = optimizer.init(hparams)
    for i in range(4):
        out = jax.jit(estimator)(jax.random.key(0), hparams)
        assert float(out.value) == pytest.approx(float(path.values[i]), rel=1e-12)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(out.grad, state, hparams)
        hparams = optax.apply_updates(hparams, updates)


@pytest.mark.slow
def test_never_leaves_the_space():
    training, _ = problems.ridge()
    path = hg.descend(
        hg.forward(training, num_steps=3), start(), optax.sgd(1e4), key=0, num_outer=5,
        space=ridge_space(),
    )  # fmt: skip
    assert bool(jnp.all((path.hparams["lr"] >= 0.9e-3) & (path.hparams["lr"] <= 0.5)))
    assert bool(jnp.all(jnp.abs(path.hparams["l2"] + 1.5) <= 4.5))


def test_vmap_over_starts_and_seeds_is_a_loop():
    training = problems.seeded_ridge()
    estimator = hg.unrolled(training, num_steps=3, checkpoint="step")
    optimizer = optax.sgd(0.05)

    def one(key, hparams):
        return hg.descend(estimator, hparams, optimizer, key=key, num_outer=3).values

    keys = jax.random.split(jax.random.key(0), 2)
    starts = {"lr": 0.1 + jnp.arange(2.0) / 5, "l2": jnp.arange(10.0).reshape(2, 5) / 10}
    together = jax.vmap(one)(keys, starts)
    for i in range(2):
        alone = one(keys[i], {k: v[i] for k, v in starts.items()})
        np.testing.assert_allclose(together[i], alone, rtol=1e-4)


def test_one_compilation_whatever_the_values():
    from jaxhpo.hypergrad._descend import _compiled

    training, _ = problems.ridge()
    estimator, optimizer, space = hg.unrolled(training, num_steps=3), optax.adam(0.1), ridge_space()
    before = _compiled._cache_size()
    for seed in range(3):
        hparams = {"lr": 0.01 * (seed + 1), "l2": jnp.full(5, 0.1 * seed, jnp.result_type(float))}
        hg.descend(
            estimator, hparams, optimizer, key=seed, num_outer=2, space=space,
            max_log_growth=5.0 + seed,
        )  # fmt: skip
    assert _compiled._cache_size() == before + 1


@pytest.mark.slow
def test_seeds():
    training = problems.momentum_network()
    estimator = hg.unrolled(training, num_steps=2, checkpoint="step")
    still = optax.sgd(0.0)
    fixed = hg.descend(
        estimator, problems.MOMENTUM_HPARAMS, still, key=3, num_outer=3, seeds="fixed"
    )
    fresh = hg.descend(estimator, problems.MOMENTUM_HPARAMS, still, key=3, num_outer=3)
    assert len(set(np.asarray(fixed.values).tolist())) == 1
    assert len(set(np.asarray(fresh.values).tolist())) == 3
    first = jax.jit(estimator)(jax.random.fold_in(jax.random.key(3), 0), problems.MOMENTUM_HPARAMS)
    assert float(fresh.values[0]) == pytest.approx(float(first.value), rel=1e-5)


def logistic_map():
    """Chaotic above a rate of 3.57: the derivative doubles with every step."""
    return hpo.Training(
        init=lambda key, hparams: jnp.full((), 0.3, jnp.result_type(float)),
        step=lambda key, hparams, state, t: hparams["r"] * state * (1 - state),
        loss=lambda hparams, state: -state + 0 * hparams["r"],
    )


@pytest.mark.parametrize("checkpoint", problems.mostly_slow(["none", "sqrt"], "sqrt"))
def test_guard_refuses_chaos(float64, checkpoint):
    training = logistic_map()
    estimator = hg.unrolled(training, num_steps=60, checkpoint=checkpoint)
    calm = jax.jit(estimator)(jax.random.key(0), {"r": 2.5})
    wild = jax.jit(estimator)(jax.random.key(0), {"r": 3.99})
    assert float(calm.diagnostics.log_growth) < 3
    assert float(wild.diagnostics.log_growth) > 20
    # A step of this size jumps from the calm start into chaos; the guard halves it until it lands.
    path = hg.descend(estimator, {"r": 2.5}, optax.sgd(8.5), key=0, num_outer=8, max_log_growth=6.0)
    assert not bool(path.accepted[1])
    assert float(path.hparams["r"][1]) > 3.57
    assert bool(jnp.any(path.accepted[2:]))
    trusted = np.asarray(path.accepted)
    objective = jax.jit(hpo.training.objective(training, 60))
    for r in np.asarray(path.hparams["r"])[trusted]:
        out = jax.jit(estimator)(jax.random.key(0), {"r": r})
        error = problems.plateau(
            lambda h: objective(jax.random.key(0), h), {"r": r}, out.grad, num_directions=1
        )
        assert error < 1e-3


def test_guard_survives_divergence():
    training, _ = problems.ridge()
    hparams = {"lr": 1e6, "l2": jnp.zeros(5, jnp.result_type(float))}
    path = hg.descend(
        hg.unrolled(training, num_steps=50), hparams, optax.sgd(0.1), key=0, num_outer=3
    )
    assert not bool(jnp.any(path.accepted))
    assert float(path.best_value) == np.inf
    assert float(path.best_hparams["lr"]) == pytest.approx(1e6)


def test_a_schedule_of_one_value_a_step(float64):
    """Two steps with rates 1 / c solve a quadratic with two curvatures c; no constant does."""
    curvature = jnp.asarray([1.0, 0.25])
    training = hpo.Training(
        init=lambda key, hparams: jnp.ones(2),
        step=lambda key, hparams, w, t: (1 - hparams["lr"][t] * curvature) * w,
        loss=lambda hparams, w: 0.5 * jnp.sum(curvature * w**2),
    )
    path = hg.descend(
        hg.unrolled(training, num_steps=2), {"lr": jnp.asarray([1.5, 2.5])}, optax.adam(0.05),
        key=0, num_outer=300, space=hpo.Space({"lr": hpo.log_uniform(0.1, 10.0, shape=2)}),
    )  # fmt: skip
    assert path.hparams["lr"].shape == (300, 2)
    np.testing.assert_allclose(path.best_hparams["lr"], 1 / curvature, rtol=1e-3)
    constants = jnp.geomspace(0.1, 10.0, 30)
    best_constant = jnp.min(
        jnp.sum(0.5 * curvature[None] * (1 - constants[:, None] * curvature[None]) ** 4, axis=1)
    )
    assert float(path.best_value) < 1e-5 < 1e-2 < float(best_constant)


def test_third_split_and_progress():
    training, _ = problems.ridge()
    seen = []
    path = hg.descend(
        hg.unrolled(training, num_steps=3), start(), optax.sgd(0.1), key=0, num_outer=4,
        test_loss=lambda hparams, state: jnp.sum(state["params"] ** 2),
        progress=lambda i, value, norm: seen.append((int(i), float(value), float(norm))),
    )  # fmt: skip
    jax.effects_barrier()
    assert path.test_values.shape == (4,)
    assert sorted(i for i, _, _ in seen) == [0, 1, 2, 3]
    for i, value, norm in seen:
        assert value == pytest.approx(float(path.values[i]))
        assert norm == pytest.approx(float(path.grad_norms[i]))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"estimator": lambda k, h: h}, TypeError, "must be an Estimator"),
        ({"outer_optimizer": 0.1}, TypeError, "optax.GradientTransformation"),
        ({"num_outer": 0}, ValueError, "`num_outer` must be at least 1"),
        ({"seeds": "random"}, ValueError, "'fixed' or 'fresh'"),
        ({"space": {"lr": 1}}, TypeError, "must be a Space"),
        ({"max_log_growth": -1.0}, ValueError, "`max_log_growth` must be"),
        ({"hparams": {"lr": 0.9, "l2": jnp.zeros(5)}}, ValueError, "inside their space"),
        ({"hparams": {"lr": 1, "l2": jnp.zeros(5)}}, ValueError, "must be real"),
        ({"space": hpo.Space({"lr": hpo.quantized(0.0, 1.0, 0.1)}), "hparams": {"lr": 0.1}},
         ValueError, "'lr' is discrete"),
    ],
)  # fmt: skip
def test_errors(changes, error, message):
    arguments = {
        "estimator": hg.unrolled(problems.ridge()[0], num_steps=2),
        "hparams": start(), "outer_optimizer": optax.sgd(0.1), "key": 0, "num_outer": 2,
        "space": ridge_space(),
    }  # fmt: skip
    arguments |= changes
    first = [arguments.pop(name) for name in ("estimator", "hparams", "outer_optimizer")]
    with pytest.raises(error, match=message):
        hg.descend(*first, **arguments)


def noisy_quadratic(noise=1.0):
    """A loss whose best point is 1, seen through a draw of the key: any one seed has another."""
    return hpo.Training(
        init=lambda key, hparams: jax.random.normal(key, (4,), hparams["x"].dtype),
        step=lambda key, hparams, state, t: state,
        loss=lambda hparams, state: jnp.sum((hparams["x"] - 1.0 - noise * state) ** 2),
    )


def test_fresh_keys_are_the_default_and_do_not_fit_one_seed(float64):
    """The expected loss is `|x - 1|² + 4`, and 0 for one seed alone."""
    estimator = hg.unrolled(noisy_quadratic(), num_steps=1)
    begin = {"x": jnp.full(4, 3.0)}
    rate = optax.exponential_decay(0.3, 20, 0.5)
    path = hg.descend(estimator, begin, optax.adam(rate), key=0, num_outer=150)
    assert len(set(np.asarray(path.values).tolist())) == 150
    assert path.held_out.start.shape == path.held_out.best.shape == (8,)
    fixed = hg.descend(estimator, begin, optax.adam(rate), key=0, num_outer=150, seeds="fixed")
    assert float(fixed.best_value) < 1e-2 < 2.0 < float(jnp.mean(fixed.held_out.best))

    def expected(path):
        return float(jnp.sum((path.best_hparams["x"] - 1.0) ** 2))

    assert expected(path) < 0.3 < expected(fixed)
    # What the held-out runs say is what they are: runs of the objective from keys of their own.
    objective = hpo.training.objective(estimator.training, 1)
    key = jax.random.fold_in(jax.random.key(0), np.uint32(2**31))
    for found, hparams in ((path.held_out.start, begin), (path.held_out.best, path.best_hparams)):
        assert float(found[0]) == pytest.approx(float(objective(key, hparams)), rel=1e-12)
    assert float(path.best_value) == pytest.approx(float(jnp.mean(path.held_out.best)), rel=1e-12)


def test_the_start_stands_where_nothing_better_was_found(float64):
    path = hg.descend(
        hg.unrolled(noisy_quadratic(), num_steps=1), {"x": jnp.ones(4)}, optax.sgd(2.0), key=0,
        num_outer=10,
    )  # fmt: skip
    np.testing.assert_array_equal(path.best_hparams["x"], 1.0)
    np.testing.assert_array_equal(path.held_out.start, path.held_out.best)


@pytest.mark.parametrize("seeds", ["fresh", "fixed"])
def test_a_loss_without_chance_loses_nothing(float64, seeds):
    """No run is added, and both settings give the same path, bit by bit."""
    estimator = hg.unrolled(logistic_map(), num_steps=5)
    path = hg.descend(estimator, {"r": 2.5}, optax.adam(0.05), key=0, num_outer=6, seeds=seeds)
    assert path.held_out is None
    assert float(path.best_value) == float(jnp.min(path.values))
    other = hg.descend(estimator, {"r": 2.5}, optax.adam(0.05), key=9, num_outer=6)
    np.testing.assert_array_equal(path.values, other.values)


def test_chance_that_leaves_no_trace_is_found_out_by_the_held_out_runs(float64):
    """Multiplied by 0, the key is still in the program: the best point is the same as without."""
    training = noisy_quadratic(0.0)
    path = hg.descend(
        hg.unrolled(training, num_steps=1), {"x": jnp.full(4, 3.0)}, optax.adam(0.3), key=0,
        num_outer=30,
    )  # fmt: skip
    assert float(path.best_value) == pytest.approx(float(jnp.min(path.values)), rel=1e-12)


def test_no_held_out_runs():
    estimator = hg.unrolled(noisy_quadratic(), num_steps=1)
    path = hg.descend(
        estimator, {"x": jnp.ones(4)}, optax.sgd(0.1), key=0, num_outer=3, num_held_out=0
    )
    assert path.held_out is None
