"""Wrong use: each raises an error that names the reason and what to use instead."""

import inspect
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

KEY = 0


def simple(step=None, **parts):
    def default(key, hparams, state, t):
        return state * (1 - hparams["lr"])

    functions = {
        "init": lambda key, hparams: jnp.ones(()),
        "step": step or default,
        "loss": lambda hparams, state: state**2,
    }
    return hpo.Training(**{**functions, **parts})


FACTORIES = [hg.unrolled, hg.forward]

# Every factory, as a function of the training and the number of steps.
ALL = {
    "unrolled": hg.unrolled,
    "forward": hg.forward,
    "truncated": partial(hg.truncated, window=1),
    "one_step": hg.one_step,
    "greedy": hg.greedy,
    "drmad": hg.drmad,
    "hyperdistill": hg.hyperdistill,
    "implicit": partial(hg.implicit, solver="gmres"),
    "es": hg.es,
    "pes": partial(hg.pes, window=1),
    "finite_difference": hg.finite_difference,
    "reversible": partial(
        hg.reversible,
        learning_rate=lambda hparams, t: hparams["lr"],
        loss=lambda key, hparams, params, t: params**2,
    ),
}


def test_all_factories_are_here():
    """A factory returns an Estimator; whoever adds one adds it to the table above."""
    functions = {name: getattr(hg, name) for name in dir(hg)}
    made = {
        name
        for name, value in functions.items()
        if inspect.isfunction(value) and value.__annotations__.get("return") == "Estimator"
    }
    assert made == ALL.keys()


@pytest.mark.parametrize("name", ALL)
def test_zero_steps(name):
    with pytest.raises(
        ValueError, match=f"{name}: `num_steps` must be at least 1 .*jax.grad.*, got 0"
    ):
        ALL[name](simple(), num_steps=0)


@pytest.mark.parametrize("name", ALL)
def test_not_a_training(name):
    with pytest.raises(TypeError, match=f"{name}: .* must be a Training"):
        ALL[name](lambda x: x, num_steps=3)


@pytest.mark.parametrize("name", ALL)
def test_every_estimator_refuses_integers_and_unseeded_batches(name):
    with pytest.raises(ValueError, match=rf"{name}: `hparams\['lr'\]` must be real.*sweep"):
        ALL[name](simple(), num_steps=2)(KEY, {"lr": 3})
    draws = itertools.count()  # as a generator without a seed, but never twice the same
    data = jnp.arange(1000.0)

    def unseeded(key, hparams, state, t):
        return state * (1 - hparams["lr"]) + data[next(draws)]

    with pytest.raises(ValueError, match=f"{name}: .*fold_in"):
        ALL[name](simple(unseeded), num_steps=2)(KEY, {"lr": 0.1})


@pytest.mark.parametrize("name", ["truncated", "one_step", "greedy", "drmad", "hyperdistill"])
def test_every_reverse_sweep_names_forward_for_a_while_loop(name):
    estimator = ALL[name](simple(looped), num_steps=2)
    with pytest.raises(ValueError, match=rf"{name}: .*while_loop.*hypergrad\.forward"):
        jax.eval_shape(estimator, jax.random.key(0), {"lr": 0.1})


@pytest.mark.parametrize("leaf", [3, True, np.int32(2), jnp.ones((), bool), "adam"])
@pytest.mark.parametrize("factory", FACTORIES)
def test_leaves_without_a_derivative(factory, leaf):
    with pytest.raises(ValueError, match=r"`hparams\['lr'\]` must be real.*sweep"):
        factory(simple(), num_steps=2)(KEY, {"lr": leaf})


def test_static_choice():
    space = hpo.Space({"lr": hpo.uniform(0.0, 1.0), "width": hpo.static([1, 2])})
    values = jax.tree.map(lambda a: a[0], space.sample(jax.random.key(0), 1))
    with pytest.raises(ValueError, match="must be real"):
        hg.unrolled(simple(), num_steps=2)(KEY, values)


def looped(key, hparams, state, t):
    def body(x):
        return x * (1 - hparams["lr"])

    return jax.lax.while_loop(lambda x: x > 0.5, body, state)


@pytest.mark.parametrize("checkpoint", ["none", "sqrt", "binomial"])
def test_while_loop_names_forward(checkpoint):
    with pytest.raises(ValueError, match=r"while_loop.*hypergrad\.forward"):
        hg.unrolled(simple(looped), num_steps=4, checkpoint=checkpoint)(KEY, {"lr": 0.1})


def test_forward_passes_a_while_loop():
    out = hg.forward(simple(looped), num_steps=1)(KEY, {"lr": 0.3})
    assert float(out.grad["lr"]) == pytest.approx(-4 * 0.7**3, rel=1e-5)


def test_a_custom_reverse_rule_is_passed_by_what_it_computes():
    @jax.custom_vjp
    def identity(x):
        return x

    identity.defvjp(lambda x: (x, None), lambda _, g: (g,))

    def step(key, hparams, state, t):
        return identity(state * (1 - hparams["lr"]))

    for factory in (hg.forward, hg.unrolled):
        assert float(factory(simple(step), num_steps=2)(KEY, {"lr": 0.5}).grad["lr"]) == -0.5


def test_a_custom_reverse_rule_around_what_has_no_derivative_names_unrolled():
    @jax.custom_vjp
    def halved(x):
        return jax.lax.while_loop(lambda x: x > 1e9, lambda x: x / 2, x)

    halved.defvjp(lambda x: (halved(x), None), lambda _, g: (g,))

    def step(key, hparams, state, t):
        return halved(state * (1 - hparams["lr"]))

    with pytest.raises(ValueError, match=r"custom reverse rule.*hypergrad\.unrolled"):
        hg.forward(simple(step), num_steps=2)(KEY, {"lr": 0.1})
    assert float(hg.unrolled(simple(step), num_steps=2)(KEY, {"lr": 0.5}).grad["lr"]) == -0.5


@pytest.mark.parametrize("factory", FACTORIES)
def test_unseeded_batches(factory):
    rng, draws = np.random.default_rng(), itertools.count()
    data = jnp.arange(1000.0)

    def constant(key, hparams, state, t):
        return state * (1 - hparams["lr"]) + data[next(draws)]

    def array(key, hparams, state, t):
        return state * (1 - hparams["lr"]) + jnp.sum(jnp.asarray(rng.normal(size=3), state.dtype))

    def callback(key, hparams, state, t):
        shape = jax.ShapeDtypeStruct((), state.dtype)
        return state * (1 - hparams["lr"]) + jax.pure_callback(lambda: rng.normal(), shape)

    for step in (constant, array, callback):
        with pytest.raises(ValueError, match="fold_in"):
            factory(simple(step), num_steps=2)(KEY, {"lr": 0.1})


def test_seeded_batches_pass():
    training = problems.momentum_network(batch_size=4)
    out = jax.jit(hg.unrolled(training, num_steps=2))(jax.random.key(0), problems.MOMENTUM_HPARAMS)
    assert jnp.isfinite(out.value)


def test_state_that_changes_shape():
    def step(key, hparams, state, t):
        return jnp.stack([state, state])

    with pytest.raises(TypeError, match=r"must keep each leaf .* float32\[\]|float64\[\]"):
        hg.unrolled(simple(step), num_steps=2)(KEY, {"lr": 0.1})


def test_loss_that_is_no_scalar():
    training = simple(loss=lambda hparams, state: jnp.stack([state, state]))
    with pytest.raises(ValueError, match="must return a scalar"):
        hg.unrolled(training, num_steps=2)(KEY, {"lr": 0.1})


@pytest.mark.parametrize("checkpoint", [3, None, "treeverse"])
def test_unknown_schedule(checkpoint):
    with pytest.raises((ValueError, TypeError), match="binomial"):
        hg.unrolled(simple(), num_steps=2, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: hg.nested(0), "levels"),
        (lambda: hg.binomial(1), "slots"),
        (lambda: hg.auto(-1.0), "max_bytes"),
        (lambda: hg.forward(simple(), num_steps=1, batch_tangents=0), "batch_tangents"),
    ],
)
def test_ranges(make, argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be"):
        make()
