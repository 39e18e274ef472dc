"""Every optax optimizer inside the run: right derivatives, no NaN, an unchanged trajectory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

STEPS = 6


@pytest.fixture(autouse=True)
def standard_promotion():
    """Optax itself mixes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def warmup(h):
    """In float64 throughout; optax's own warm-up rounds to float32 inside, which spoils
    finite differences (not derivatives)."""

    def schedule(count):
        t = count.astype(jnp.result_type(float))
        return jnp.exp(h["lr"]) * jnp.minimum(t / 2, 1.0) * (1 + jnp.cos(t / 6))

    return schedule


OPTIMIZERS = {
    "sgd": lambda h: optax.sgd(jnp.exp(h["lr"])),
    "momentum": lambda h: optax.sgd(jnp.exp(h["lr"]), jax.nn.sigmoid(h["a"])),
    "nesterov": lambda h: optax.sgd(jnp.exp(h["lr"]), jax.nn.sigmoid(h["a"]), nesterov=True),
    "adam": lambda h: optax.adam(jnp.exp(h["lr"]), jax.nn.sigmoid(h["a"]), jax.nn.sigmoid(h["b"])),
    "adamw": lambda h: optax.adamw(jnp.exp(h["lr"]), weight_decay=jnp.exp(h["a"])),
    "rmsprop": lambda h: optax.rmsprop(jnp.exp(h["lr"]), jax.nn.sigmoid(h["a"])),
    "lion": lambda h: optax.lion(jnp.exp(h["lr"]), weight_decay=jnp.exp(h["a"])),
    "muon": lambda h: optax.contrib.muon(jnp.exp(h["lr"]), beta=jax.nn.sigmoid(h["a"])),
    "radam": lambda h: optax.radam(jnp.exp(h["lr"]), b2=0.6),
    "clipped": lambda h: optax.chain(
        optax.clip_by_global_norm(jnp.exp(h["a"] - 2)), optax.sgd(jnp.exp(h["lr"]))
    ),
    "cosine": lambda h: optax.adam(optax.cosine_decay_schedule(jnp.exp(h["lr"]), 10)),
    "warmup": lambda h: optax.sgd(warmup(h), momentum=0.9),
    "injected": lambda h: optax.inject_hyperparams(optax.adam)(learning_rate=jnp.exp(h["lr"])),
}
# What else optax has: nobody names these in a claim, but "any optimizer" includes them.
OTHERS = {
    "adabelief": lambda h: optax.adabelief(jnp.exp(h["lr"])),
    "adadelta": lambda h: optax.adadelta(jnp.exp(h["lr"])),
    "adafactor": lambda h: optax.adafactor(jnp.exp(h["lr"]), min_dim_size_to_factor=2),
    "adagrad": lambda h: optax.adagrad(jnp.exp(h["lr"])),
    "adamax": lambda h: optax.adamax(jnp.exp(h["lr"])),
    "amsgrad": lambda h: optax.amsgrad(jnp.exp(h["lr"])),
    "fromage": lambda h: optax.fromage(jnp.exp(h["lr"])),
    "lamb": lambda h: optax.lamb(jnp.exp(h["lr"])),
    "lars": lambda h: optax.lars(jnp.exp(h["lr"])),
    "nadam": lambda h: optax.nadam(jnp.exp(h["lr"])),
    "novograd": lambda h: optax.novograd(jnp.exp(h["lr"])),
    "optimistic": lambda h: optax.optimistic_gradient_descent(jnp.exp(h["lr"])),
    "sign_sgd": lambda h: optax.sign_sgd(jnp.exp(h["lr"])),
    "sm3": lambda h: optax.sm3(jnp.exp(h["lr"])),
    "yogi": lambda h: optax.yogi(jnp.exp(h["lr"])),
    "schedule_free": lambda h: optax.contrib.schedule_free_sgd(jnp.exp(h["lr"])),
    "polyak": lambda h: optax.polyak_sgd(jnp.exp(h["lr"]), scaling=jnp.exp(h["a"])),
    "momo": lambda h: optax.contrib.momo(jnp.exp(h["lr"]), beta=jax.nn.sigmoid(h["a"])),
    "momo_adam": lambda h: optax.contrib.momo_adam(jnp.exp(h["lr"])),
    "plateau": lambda h: optax.chain(
        optax.sgd(jnp.exp(h["lr"])), optax.contrib.reduce_on_plateau(patience=1, rtol=0.5)
    ),
    "sam": lambda h: optax.contrib.sam(
        optax.sgd(jnp.exp(h["lr"])), optax.sgd(jnp.exp(h["a"] - 4)), sync_period=2
    ),
    "sam_opaque": lambda h: optax.contrib.sam(
        optax.sgd(jnp.exp(h["lr"])), optax.sgd(jnp.exp(h["a"] - 4)), opaque_mode=True
    ),
    "multi_steps": lambda h: optax.MultiSteps(
        optax.adam(jnp.exp(h["lr"])), 2, accumulator_dtype=jnp.float64
    ),
    "lookahead": lambda h: optax.lookahead(optax.sgd(jnp.exp(h["lr"])), 2, jax.nn.sigmoid(h["a"])),
    "finite": lambda h: optax.apply_if_finite(optax.adam(jnp.exp(h["lr"])), 3),
    "traced_warmup": lambda h: optax.sgd(
        hpo.training.schedules.warmup_cosine_decay(
            0.0, jnp.exp(h["lr"]), jnp.exp(h["a"]), 8, exponent=jax.nn.sigmoid(h["b"])
        )
    ),
    "prodigy": lambda h: optax.contrib.prodigy(jnp.exp(h["lr"] + 3)),
}
HPARAMS = {"lr": -3.0, "a": 1.0, "b": 2.0, "l2": -3.0}


def dead_unit(optimizer):
    """One hidden unit whose gradient is zero for ever, and a first step with no gradient at all."""
    x, y = problems.as_real(*problems.regression())

    def init(key, hparams):
        dtype = x.dtype
        w = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), dtype)
        return {"w": w, "b": jnp.asarray([0.1, -100.0, 0.2], dtype), "v": jnp.ones(3, dtype)}

    def loss(hparams, params, batch):
        hidden = jax.nn.relu(batch["x"] @ params["w"] + params["b"][None])
        return jnp.mean((hidden @ params["v"] - batch["y"]) ** 2)

    return hpo.training.from_optax(
        init, loss, optimizer, train={"x": x, "y": y}, validation={"x": x, "y": y}
    )


QUICK = ("adam", "polyak", "multi_steps", "sam_opaque")
LINE_SEARCHES = {
    "lbfgs": lambda h: optax.lbfgs(),
    "backtracking": lambda h: optax.chain(
        optax.sgd(jnp.exp(h["lr"])), optax.scale_by_backtracking_linesearch(5)
    ),
}


@pytest.mark.parametrize("name", LINE_SEARCHES)
def test_line_searches_go_forward_only(float64, name):
    """They hold a while_loop, which has no reverse derivative; `forward` passes it."""
    training = problems.network(LINE_SEARCHES[name])
    with pytest.raises(ValueError, match=r"while_loop.*hypergrad\.forward"):
        hg.unrolled(training, num_steps=3)(jax.random.key(0), HPARAMS)
    objective = jax.jit(hpo.training.objective(training, 3))
    out = jax.jit(hg.forward(training, num_steps=3))(jax.random.key(0), HPARAMS)
    step = 1e-6
    ends = [objective(jax.random.key(0), {**HPARAMS, "l2": -3.0 + d}) for d in (step, -step)]
    assert float(out.grad["l2"]) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-3)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in OPTIMIZERS | OTHERS],
)
def test_derivative_and_trajectory(float64, name):
    training = problems.network((OPTIMIZERS | OTHERS)[name])
    key = jax.random.key(0)
    objective = jax.jit(hpo.training.objective(training, STEPS))
    out = jax.jit(hg.unrolled(training, num_steps=STEPS, checkpoint="step"))(key, HPARAMS)
    # lion moves by signs: smooth almost everywhere, and so it is here.
    assert problems.plateau(lambda h: objective(key, h), HPARAMS, out.grad) < 1e-6
    assert float(out.value) == pytest.approx(float(objective(key, HPARAMS)), rel=1e-13)


@pytest.mark.parametrize("mixed", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", problems.mostly_slow(["adam", "radam", "rmsprop", "clipped", "muon"], "adam", "radam")
)
def test_dead_unit(float64, name, mixed):
    training = dead_unit(OPTIMIZERS[name])
    key = jax.random.key(0)
    objective = jax.jit(hpo.training.objective(training, STEPS))
    estimator = hg.unrolled(training, num_steps=STEPS, checkpoint="step", mixed_mode=mixed)
    out = jax.jit(estimator)(key, HPARAMS)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(out.grad))
    assert problems.plateau(lambda h: objective(key, h), HPARAMS, out.grad) < 1e-6


@pytest.mark.parametrize("name", problems.mostly_slow(["adam", "radam", "clipped"], "adam"))
def test_plain_autodiff_has_the_trap(float64, name):
    """Without the cure the same runs give NaN, or the test above shows nothing."""
    optimizer = OPTIMIZERS[name]
    training = vanishing(optimizer) if name == "clipped" else dead_unit(optimizer)
    objective = hpo.training.objective(training, STEPS)
    grads = jax.jit(jax.grad(lambda h: objective(jax.random.key(0), h)))(HPARAMS)
    assert any(bool(jnp.any(jnp.isnan(leaf))) for leaf in jax.tree.leaves(grads))


def vanishing(optimizer):
    """Training that starts at a stationary point: every gradient is zero."""
    return hpo.training.from_optax(
        lambda key, hparams: jnp.zeros(3, jnp.result_type(float)),
        lambda hparams, w, batch: jnp.sum(w**2) * jnp.exp(hparams["l2"]),
        optimizer,
        train={"x": jnp.zeros(2)},
        validation={"x": jnp.zeros(2)},
        validation_loss=lambda hparams, w, batch: jnp.sum((w - 1) ** 2),
    )


@pytest.mark.parametrize(
    "name", problems.mostly_slow(["adam", "clipped", "muon", "radam"], "clipped")
)
def test_zero_gradient(float64, name):
    out = jax.jit(hg.unrolled(vanishing(OPTIMIZERS[name]), num_steps=3))(jax.random.key(0), HPARAMS)
    assert float(out.value) == 3.0
    for leaf in jax.tree.leaves(out.grad):
        assert float(leaf) == 0.0


@pytest.mark.parametrize("name", problems.mostly_slow([*OPTIMIZERS, *OTHERS], "adam", "radam"))
def test_the_cure_changes_no_bit_of_the_step(name):
    """The step, replayed with safe derivatives, against the step as it was written."""
    from jaxhpo.hypergrad.unrolled._opened_run import open_run

    training = dead_unit((OPTIMIZERS | OTHERS)[name])
    hparams = jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(float)), HPARAMS)
    run = open_run("test", training, jax.random.key(0), hparams, mixed=False)
    key_step = hpo.training.trial_keys(jax.random.key(0))[1]
    carry = run.start
    for t in range(3):
        state = jax.jit(training.step)(key_step, hparams, run.state(carry), jnp.int32(t))
        carry = jax.jit(run.step)(hparams, carry, jnp.int32(t))
        for new, old in zip(jax.tree.leaves(run.state(carry)), jax.tree.leaves(state), strict=True):
            np.testing.assert_array_equal(new, old)
