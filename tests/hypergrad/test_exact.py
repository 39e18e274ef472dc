"""Exact estimators: against closed forms, finite differences, and each other."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from jaxhpo.hypergrad.unrolled import _binomial
from jaxhpo.hypergrad.unrolled._schedules import level_sizes, states_alive
from tests.compiler import all_optimizations
from tests.hypergrad import problems

SCHEDULES = {
    "none": "none",
    "step": "step",
    "sqrt": "sqrt",
    "nested3": hg.nested(3),
    "binomial": hg.binomial(3),
}


def some(*quick):
    """All schedules as parameters; those not named are for the slow run."""
    return [
        pytest.param(name, marks=() if name in quick else pytest.mark.slow)
        for name in [*SCHEDULES, "forward"]
    ]


T = 13  # prime: every schedule has a tail


def difference(one, two):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return max(float(jnp.max(jnp.abs(a - b) / (1e-12 + jnp.max(jnp.abs(b))))) for a, b in pairs)


@pytest.fixture(scope="module")
def reference():
    """Float64 forward-mode gradient of the momentum network, compiled as its user's is."""
    with jax.enable_x64(True), all_optimizations():
        training = problems.momentum_network()
        estimator = hg.forward(training, num_steps=T)
        return jax.jit(estimator)(jax.random.key(1), problems.MOMENTUM_HPARAMS)


def test_forward_agrees_with_finite_differences(float64, reference):
    objective = jax.jit(hpo.training.objective(problems.momentum_network(), T))
    key = jax.random.key(1)
    error = problems.plateau(lambda h: objective(key, h), problems.MOMENTUM_HPARAMS, reference.grad)
    assert error < 1e-8
    assert float(objective(key, problems.MOMENTUM_HPARAMS)) == float(reference.value)


@pytest.mark.parametrize(
    "mixed", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["mixed", "reverse"]
)
@pytest.mark.parametrize("name", some("none", "sqrt", "binomial")[:-1])
def test_schedules_agree_in_float64(float64, reference, name, mixed):
    training = problems.momentum_network()
    estimator = hg.unrolled(training, num_steps=T, checkpoint=SCHEDULES[name], mixed_mode=mixed)
    out = jax.jit(estimator)(jax.random.key(1), problems.MOMENTUM_HPARAMS)
    assert difference(out.grad, reference.grad) < 1e-11
    assert difference(out.state, reference.state) < 1e-12
    assert float(out.value) == pytest.approx(float(reference.value), rel=1e-13)
    assert out.diagnostics.adjoint_norms.shape == (T + 1,)


@pytest.mark.slow
@pytest.mark.parametrize("name", some("sqrt")[:-1])
def test_schedules_agree_in_float32(float32, reference, name):
    training = problems.momentum_network()
    estimator = hg.unrolled(training, num_steps=T, checkpoint=SCHEDULES[name])
    key = jax.random.key(1)
    out = jax.jit(estimator)(key, problems.MOMENTUM_HPARAMS)
    assert jax.tree.leaves(out.grad)[0].dtype == jnp.float32
    step = jax.jit(hg.forward(training, num_steps=T))(key, problems.MOMENTUM_HPARAMS)
    assert difference(out.grad, step.grad) < 1e-5


def test_ridge_against_the_closed_form(float64):
    training, exact = problems.ridge()
    log_l2 = np.linspace(-3.0, 0.0, 5)
    hparams = {"lr": 0.3, "l2": jnp.asarray(log_l2)}
    value, by_lr, by_l2 = exact(0.3, log_l2, 25)
    for estimator in (
        hg.unrolled(training, num_steps=25, checkpoint="sqrt"),
        hg.unrolled(training, num_steps=25, checkpoint="binomial"),
        hg.forward(training, num_steps=25, batch_tangents=2),
    ):
        out = jax.jit(estimator)(jax.random.key(0), hparams)
        assert float(out.value) == pytest.approx(value, abs=1e-13)
        assert float(out.grad["lr"]) == pytest.approx(by_lr, abs=1e-12)
        np.testing.assert_allclose(out.grad["l2"], by_l2, rtol=0, atol=1e-12)


def test_everything_a_hyperparameter_can_enter(float64):
    """Schedules with one value a step, initial weights, example weights, a small network."""
    (x, y), steps = problems.as_real(*problems.regression()), 6

    def inner(hparams, w):
        hidden = jnp.tanh(x @ hparams["net"])
        weights = jax.nn.softplus(hparams["weights"])
        return jnp.mean(weights * (x @ w + jnp.sum(hidden, axis=1) - y) ** 2)

    def step(key, hparams, w, t):
        key = jax.random.fold_in(key, t)
        noise = 0.1 * jax.random.normal(key, w.shape, w.dtype)
        lr = jnp.exp(hparams["schedule"][t])
        return w - lr * (hpo.training.gradient(lambda w: inner(hparams, w))(w) + noise)

    training = hpo.Training(
        init=lambda key, hparams: hparams["start"],
        step=step,
        loss=lambda h, w: jnp.sum((x @ w - y) ** 2) + jnp.sum(h["schedule"]),
    )
    rng = np.random.default_rng(0)
    hparams = {
        "schedule": jnp.asarray(rng.normal(size=steps) - 2.0),
        "start": jnp.asarray(rng.normal(size=4)),
        "weights": jnp.asarray(rng.normal(size=20)),
        "net": jnp.asarray(rng.normal(size=(4, 2))),
        "unused": jnp.ones(()),
        "absent": None,
    }
    key = jax.random.key(5)
    objective = jax.jit(hpo.training.objective(training, steps))
    out = jax.jit(hg.unrolled(training, num_steps=steps))(key, hparams)
    assert problems.plateau(lambda h: objective(key, h), hparams, out.grad) < 1e-8
    assert float(out.grad["unused"]) == 0.0
    ahead = jax.jit(hg.forward(training, num_steps=steps))(key, hparams)
    assert difference(ahead.grad, out.grad) < 1e-11


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Hparams:
    rate: jax.Array
    decay: tuple


def hidden_state(batch_statistics=True):
    """Dropout from the key, running statistics, a counter and a key in the state."""
    x, y = problems.as_real(*problems.regression())

    def step(key, hparams, state, t):
        key_use, key_next = jax.random.split(state["key"])
        keep = jax.random.bernoulli(key_use, 0.8, (20, 1))
        inputs = jnp.where(keep, x, jnp.zeros_like(x))
        mean = jnp.mean(inputs, axis=0)

        def loss(w):
            error = (inputs - mean[None]) @ w - y
            return jnp.mean(error**2) + hparams.decay[0] * jnp.sum(w**2), mean

        grads, batch_mean = hpo.training.gradient(loss, has_aux=True)(state["w"])
        rate = hparams.rate / (1.0 + state["count"].astype(x.dtype))
        return {
            "w": state["w"] - rate * grads,
            "mean": 0.9 * state["mean"] + 0.1 * batch_mean * jnp.sum(state["w"]),
            "count": state["count"] + 1,
            "key": key_next,
        }

    def init(key, hparams):
        zero = jnp.zeros(4, x.dtype)
        return {"w": zero, "mean": zero, "count": jnp.int32(0), "key": key}

    def loss(hparams, state):
        return jnp.mean(((x - state["mean"][None]) @ state["w"] - y) ** 2)

    return hpo.Training(init=init, step=step, loss=loss)


@pytest.mark.parametrize("name", some("sqrt")[:-1])
def test_hidden_state_is_replayed(float64, name):
    training = hidden_state()
    hparams = Hparams(jnp.asarray(0.3), (jnp.asarray(0.1),))
    key = jax.random.key(2)
    out = jax.jit(hg.unrolled(training, num_steps=6, checkpoint=SCHEDULES[name]))(key, hparams)
    objective = hpo.training.objective(training, 6)
    expected = jax.jit(jax.grad(lambda h: objective(key, h)))(hparams)
    assert difference(out.grad, expected) < 1e-12
    assert isinstance(out.grad, Hparams)
    assert int(out.state["count"]) == 6


@pytest.mark.parametrize("name", some("sqrt"))
def test_transforms(name):
    training = problems.seeded_ridge()
    if name == "forward":
        estimator = hg.forward(training, num_steps=4)
    else:
        estimator = hg.unrolled(training, num_steps=4, checkpoint=SCHEDULES[name])
    keys = jax.random.split(jax.random.key(3), 3)
    many = {"lr": 0.1 + jnp.arange(3.0) / 10, "l2": jnp.arange(15.0).reshape(3, 5) / 10 - 2}
    one = [{k: v[i] for k, v in many.items()} for i in range(3)]
    compiled = jax.jit(estimator)
    loop = [compiled(k, h).grad for k, h in zip(keys, one, strict=True)]
    stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *loop)
    batched = jax.jit(jax.vmap(estimator))(keys, many)
    tolerance = 1e-4 if jnp.result_type(float) == jnp.float32 else 1e-10
    assert difference(batched.grad, stacked) < tolerance

    def body(h, _):
        out = estimator(keys[0], h)
        return jax.tree.map(lambda a, g: a - 0.01 * g, h, out.grad), out.value

    start = jax.tree.map(jnp.asarray, one[0])
    _, values = jax.jit(lambda h: jax.lax.scan(body, h, length=2))(start)
    expected = jax.tree.map(lambda a, g: a - 0.01 * g, start, loop[0])
    assert float(values[1]) == pytest.approx(float(compiled(keys[0], expected).value), rel=1e-4)


def test_eager_is_jit():
    estimator = hg.unrolled(problems.ridge()[0], num_steps=4)
    hparams = {"lr": 0.1, "l2": jnp.zeros(5)}
    eager = estimator(jax.random.key(0), hparams)
    compiled = jax.jit(estimator)(jax.random.key(0), hparams)
    assert difference(eager, compiled) < 1e-5


@pytest.mark.slow
def test_grad_of_vmap_is_vmap_of_grad(float64):
    """The mean over seeds, differentiated as a whole, is the mean of the gradients."""
    training = problems.momentum_network()
    keys = jax.random.split(jax.random.key(3), 3)
    estimator = hg.unrolled(training, num_steps=5)
    hparams = jax.tree.map(jnp.asarray, problems.MOMENTUM_HPARAMS)
    each = jax.jit(jax.vmap(estimator, in_axes=(0, None)))(keys, hparams)
    objective = hpo.training.objective(training, 5)

    def mean_value(h):
        return jnp.mean(jax.vmap(lambda key: objective(key, h))(keys))

    expected = jax.jit(jax.grad(mean_value))(hparams)
    assert difference(jax.tree.map(lambda g: jnp.mean(g, axis=0), each.grad), expected) < 1e-11


def test_one_compilation_and_few_traces():
    count = 0
    inner = problems.momentum_network()

    def step(*args):
        nonlocal count
        count += 1
        return inner.step(*args)

    estimator = hg.unrolled(inner._replace(step=step), num_steps=13)
    compiled = jax.jit(estimator)
    for seed in range(3):
        hparams = {k: v + seed / 10 for k, v in problems.MOMENTUM_HPARAMS.items()}
        compiled(jax.random.key(seed), hparams)
    assert compiled._cache_size() == 1
    assert count <= 3


def fewest_steps(length, slots, memory={}):  # noqa: B006
    """Fewest forward steps to reverse a range, by trying every place for the next state."""
    if length == 1:
        return 0
    if slots == 1:
        return length * (length - 1) // 2
    if (length, slots) not in memory:
        memory[length, slots] = min(
            first + fewest_steps(length - first, slots - 1) + fewest_steps(first, slots)
            for first in range(1, length)
        )
    return memory[length, slots]


@pytest.mark.parametrize("slots", [2, 3, 5])
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 40])
def test_binomial_plan_takes_the_fewest_steps(steps, slots):
    plan = _binomial.make_plan(steps, slots)
    taken = np.arange(len(plan.position)) - plan.position  # before each step, the first run too
    assert np.sum(taken) == fewest_steps(steps + 1, slots)
    assert np.all(plan.position <= np.arange(steps + 1))


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 97, 100, 997, 1000, 9973])
def test_level_sizes_keep_few_states(steps, levels):
    sizes = level_sizes(steps, levels)
    assert int(np.prod(sizes)) <= steps
    if steps > 50:
        assert states_alive(steps, sizes) <= 1.4 * levels * steps ** (1 / levels) + 1
