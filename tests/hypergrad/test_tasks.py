"""Exactness on every task: finite differences, all exact estimators, and every optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from tests.hypergrad.problems import plateau

STEPS = 7  # prime: every schedule has a tail
SCHEDULES = {
    "none": "none",
    "step": "step",
    "nested3": hg.nested(3),
    "binomial": hg.binomial(3),
}


def quick_for(*quick):
    """All tasks as parameters; those not named are for the slow run."""
    return [
        pytest.param(name, marks=() if name in quick else pytest.mark.slow)
        for name in hpo.problems.TASKS
    ]


def near_start(task):
    """A point near the task's start, in no special place: blank images are one, for Adam."""
    rng = np.random.default_rng(0)

    def move(leaf):
        size = 0.01 if bool(jnp.any(jnp.abs(leaf) > 0.01)) else 0.3
        shift = jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)
        return leaf * (1 + 0.1 * shift) + size * shift

    return jax.tree.map(move, task.hparams)


def difference(one, two):
    """Largest distance of two gradients, leaf by leaf relative to the leaf's largest entry."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / (1e-12 + jnp.max(jnp.abs(b)))) for a, b in pairs)


def exact_estimators(task, num_steps):
    """Every exact estimator that applies, but the square-root one."""
    training = task.training
    for name, schedule in SCHEDULES.items():
        if name == "none" or num_steps > 1:
            yield name, hg.unrolled(training, num_steps=num_steps, checkpoint=schedule)
    yield "reverse", hg.unrolled(training, num_steps=num_steps, mixed_mode=False)
    yield "forward", hg.forward(training, num_steps=num_steps, batch_tangents=64)
    if task.reversible is not None:
        yield "reversible", hg.reversible(training, num_steps=num_steps, **task.reversible)


@pytest.mark.parametrize("name", quick_for("distillation"))
def test_finite_differences(float64, name):
    task = hpo.problems.TASKS[name]()
    num_steps = min(STEPS, task.num_steps)
    key, hparams = jax.random.key(3), near_start(task)
    out = jax.jit(hg.unrolled(task.training, num_steps=num_steps))(key, hparams)
    objective = jax.jit(hpo.training.objective(task.training, num_steps))
    assert plateau(lambda h: objective(key, h), hparams, out.grad) < 1e-6
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(out.grad)) > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", hpo.problems.TASKS)
def test_the_whole_run_agrees_with_finite_differences(float64, name):
    """Not a few steps, but as many as the task is meant for."""
    task = hpo.problems.TASKS[name]()
    key, hparams = jax.random.key(3), near_start(task)
    objective = jax.jit(hpo.training.objective(task.training, task.num_steps))
    out = jax.jit(hg.unrolled(task.training, num_steps=task.num_steps))(key, hparams)
    assert plateau(lambda h: objective(key, h), hparams, out.grad) < 1e-6
    found = {
        other: difference(jax.jit(estimator)(key, hparams).grad, out.grad)
        for other, estimator in exact_estimators(task, task.num_steps)
    }
    print(name, found)
    assert {other: error for other, error in found.items() if not error < 1e-7} == {}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", hpo.problems.TASKS)
def test_exact_estimators_agree(name, precision):
    with jax.enable_x64(precision == "float64"):
        task = hpo.problems.TASKS[name]()
        num_steps = min(STEPS, task.num_steps)
        key, hparams = jax.random.key(3), near_start(task)
        reference = jax.jit(hg.unrolled(task.training, num_steps=num_steps))(key, hparams)
        found = {
            other: difference(jax.jit(estimator)(key, hparams).grad, reference.grad)
            for other, estimator in exact_estimators(task, num_steps)
        }
        limit = 1e-11 if precision == "float64" else 1e-5
        assert {other: error for other, error in found.items() if not error < limit} == {}


def rate(h):
    """Warm-up and a cosine, in the precision of the run."""

    def schedule(count):
        t = count.astype(jnp.result_type(float))
        return jnp.exp(h["rate"]) * jnp.minimum((t + 1) / 3, 1.0) * (1 + jnp.cos(t / 6))

    return schedule


# Each with a schedule; the numbers beside it are hyperparameters too.
OPTIMIZERS = {
    "sgd": lambda h: optax.sgd(rate(h)),
    "momentum": lambda h: optax.sgd(rate(h), jax.nn.sigmoid(h["a"])),
    "nesterov": lambda h: optax.sgd(rate(h), jax.nn.sigmoid(h["a"]), nesterov=True),
    "adam": lambda h: optax.adam(rate(h), jax.nn.sigmoid(h["a"]), jax.nn.sigmoid(h["b"])),
    "adamw": lambda h: optax.adamw(rate(h), weight_decay=jnp.exp(h["a"] - 5)),
    "rmsprop": lambda h: optax.rmsprop(rate(h), jax.nn.sigmoid(h["a"])),
    "lion": lambda h: optax.lion(rate(h), weight_decay=jnp.exp(h["a"] - 5)),
    "muon": lambda h: optax.contrib.muon(rate(h), beta=jax.nn.sigmoid(h["a"])),
}
PAIRS = [
    pytest.param(
        task, optimizer,
        marks=() if (task, optimizer) == ("distillation", "adam") else pytest.mark.slow,
    )
    for task in hpo.problems.TASKS
    for optimizer in OPTIMIZERS
    # The step of the first solves a system, that of the second is the optimizer; and the others are
    # the run of "cleaning" on other labels.
    if task not in ("kernel", "learned_optimizer", "cleaning_70", "cleaning_90")
]  # fmt: skip


@pytest.mark.parametrize(("name", "optimizer"), PAIRS)
def test_optimizers(float64, name, optimizer):
    with jax.numpy_dtype_promotion("standard"):  # optax itself mixes dtypes
        task = hpo.problems.TASKS[name](OPTIMIZERS[optimizer])
        num_steps = min(STEPS, task.num_steps)
        extra = {"rate": jnp.asarray(-3.5), "a": jnp.asarray(1.0), "b": jnp.asarray(2.0)}
        key, hparams = jax.random.key(3), {**near_start(task), **extra}
        objective = jax.jit(hpo.training.objective(task.training, num_steps))
        estimator = hg.unrolled(task.training, num_steps=num_steps, checkpoint="step")
        out = jax.jit(estimator)(key, hparams)
        assert plateau(lambda h: objective(key, h), hparams, out.grad) < 1e-6
        assert float(jnp.abs(out.grad["rate"])) > 1e-9
