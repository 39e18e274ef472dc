"""A traced hyperparameter where Python needs a number: named, in one sentence, by all."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

X = np.linspace(-1, 1, 8, dtype="float32")[:, None]


def started(init):
    return hpo.Training(init, lambda key, h, state, t: state, lambda h, state: jnp.sum(state))


def squared(h, outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


def linen(h):
    return nn.Sequential([nn.Dense(h["w"]), nn.Dense(1)])


DATA = {"train": (X, X), "validation": (X, X)}
WIDTHS = {
    "shape": started(lambda key, h: jnp.ones((h["w"], 3)) * h["lr"]),
    "draw": started(lambda key, h: jax.random.normal(key, (3, h["w"])) * h["lr"]),
    "range": started(lambda key, h: sum([h["lr"] for _ in range(h["w"])], jnp.zeros(()))),
    "sum": started(lambda key, h: jnp.ones(2 * h["w"] + 1) * h["lr"]),
    "slice": started(lambda key, h: jnp.ones(9)[: h["w"]]),
    "int": started(lambda key, h: jnp.ones(int(h["w"]))),
    "key of a dict": started(lambda key, h: {0: jnp.ones(3)}[h["w"]]),
    "index of a list": started(lambda key, h: [jnp.ones(3)][h["w"]]),
    "length": started(lambda key, h: jax.lax.scan(lambda c, _: (c, None), 1.0, length=h["w"])[0]),
    "split": started(lambda key, h: jax.random.normal(jax.random.split(key, h["w"])[0])),
    "reshape": started(lambda key, h: jnp.ones(8).reshape(h["w"], -1)),
    "linen": hpo.training.from_linen(linen, squared, optax.sgd(0.1), **DATA),
    "nnx": hpo.training.from_nnx(
        lambda h, rngs: nnx.Linear(1, h["w"], rngs=rngs), squared, optax.sgd(0.1), **DATA
    ),
}
WORDS = r": `training.init` needs `hparams\['w'\]` as a Python number .*`hpo.static"


@pytest.mark.parametrize("name", WIDTHS)
def test_sweep_names_the_width(name):
    hparams = {"w": np.asarray([1, 2]), "lr": np.asarray([0.1, 0.2], "float32")}
    with pytest.raises(TypeError, match="sweep" + WORDS) as caught:
        hpo.population.sweep(WIDTHS[name], hparams, key=0, num_steps=2)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["shape", "linen"])
def test_minimize_names_the_width(name):
    space = hpo.Space({"w": hpo.integer(1, 3), "lr": hpo.uniform(0.0, 1.0)})
    with pytest.raises(TypeError, match="train" + WORDS):
        hpo.minimize(hpo.training.objective(WIDTHS[name], 2), space, "random", key=0, num_trials=2)
    with pytest.raises(TypeError, match=r"minimize: `objective` needs `params\['w'\]`"):
        hpo.minimize(lambda key, p: jnp.sum(jnp.ones(p["w"])), space, "random", key=0, num_trials=2)


def test_a_hypergradient_names_the_branch():
    training = started(lambda key, h: jnp.ones(3) if h["lr"] > 0.5 else jnp.zeros(3))
    with pytest.raises(TypeError, match=r"unrolled: .* needs `hparams\['lr'\]` .*test_concrete"):
        jax.jit(hg.unrolled(training, num_steps=2))(jax.random.key(0), {"lr": 0.1, "l2": 0.2})


def test_a_state_in_a_branch_blames_no_hyperparameter():
    training = hpo.Training(
        lambda key, h: jnp.ones(3), lambda key, h, s, t: s if t == 0 else 2 * s, lambda h, s: s[0]
    )
    hparams = {"a": np.ones(2, "float32"), "b": np.ones(2, "float32")}
    with pytest.raises(TypeError, match="`training.step` needs a traced value as a Python number"):
        hpo.population.sweep(training, hparams, key=0, num_steps=2)


def test_dropout_points_to_the_traced_one():
    def model(h):
        return nn.Sequential([nn.Dense(3), nn.Dropout(h["rate"], deterministic=False)])

    training = hpo.training.from_linen(model, squared, optax.sgd(0.1), **DATA)
    with pytest.raises(TypeError, match=r"`hparams\['rate'\]`.*`hpo.training.dropout`"):
        hpo.population.sweep(training, {"rate": np.ones(2, "float32")}, key=0, num_steps=1)


def test_static_widths_pass():
    space = hpo.Space({"w": hpo.static([1, 2]), "lr": hpo.uniform(0.0, 0.1)})
    hparams = space.sample(jax.random.key(0), 4)
    trials = hpo.population.sweep(WIDTHS["linen"], hparams, key=0, num_steps=2)
    assert np.isfinite(trials.losses).all()


WAYS = [
    lambda training: hpo.population.sweep(
        training, {"lr": np.ones(2, "float32")}, key=0, num_steps=2
    ),
    lambda training: hpo.training.objective(training, 2)(jax.random.key(0), {"lr": 0.1}),
    lambda training: hg.unrolled(training, num_steps=2)(jax.random.key(0), {"lr": 0.1}),
]
OTHER = {
    "init": lambda key, h: jnp.ones(3),
    "step": lambda key, h, s, t: s,
    "loss": lambda h, s: jnp.sum(s) * h["lr"],
}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"init": lambda key, h: None}, TypeError, "`training.init` must return a state, got None"),
        ({"init": lambda key, h: {"a": "x"}}, TypeError, r"arrays, got 'x' for state\['a'\]"),
        ({"step": lambda key, h, s, t: None}, TypeError, "structure that .* got None"),
        ({"step": lambda key, h, s, t: (s, s)}, TypeError, "must return the structure that"),
        ({"step": lambda key, h, s, t: s[:2]}, TypeError, r"must keep each leaf .*\[3\] .*\[2\]"),
        ({"step": lambda key, h, s, t: s > 0}, TypeError, "must keep each leaf .*bool"),
        ({"loss": lambda h, s: None}, TypeError, "`training.loss` must return a scalar, got None"),
        ({"loss": lambda h, s: (s[0], s)}, (TypeError, ValueError), "`training.loss` must return"),
        ({"loss": lambda h, s: s}, ValueError, r"must return a scalar, got shape \(3,\)"),
    ],
)
@pytest.mark.parametrize("run", WAYS)
def test_what_the_functions_return_is_checked_alike(run, change, error, words):
    with pytest.raises(error, match=words):
        run(hpo.Training(**{**OTHER, **change}))


def mixed():
    return hpo.Training(
        lambda key, h: {"params": jnp.ones(3), "ema": 1.0, "flag": True, "count": 0},
        lambda key, h, s, t: {
            "params": s["params"] * (1 - h["lr"]), "ema": s["ema"] * 0.9, "flag": True,
            "count": s["count"] + 1,
        },
        lambda h, s: jnp.sum(s["params"] ** 2) * s["ema"],
    )  # fmt: skip


@pytest.mark.parametrize("checkpoint", ["none", "step", "sqrt", "binomial"])
def test_python_numbers_in_the_state(checkpoint):
    out = hg.unrolled(mixed(), num_steps=4, checkpoint=checkpoint)(jax.random.key(0), {"lr": 0.1})
    assert float(out.value) == pytest.approx(3 * 0.9**12, rel=1e-5)
    assert float(out.grad["lr"]) == pytest.approx(-24 * 0.9**11, rel=1e-5)


def test_python_numbers_pass_reversible():
    training = hpo.Training(
        lambda key, h: {"params": 1.0, "v": 0.0, "flag": True},
        lambda key, h, s, t: {
            "params": s["params"] - h["lr"] * (0.5 * s["v"] + s["params"]),
            "v": 0.5 * s["v"] + s["params"], "flag": True,
        },
        lambda h, s: s["params"] ** 2,
        lambda h, params: 0.5 * params**2,
    )  # fmt: skip
    out = hg.reversible(training, num_steps=4, learning_rate=lambda h, t: h["lr"], decay=0.5)(
        jax.random.key(0), {"lr": 0.1}
    )
    exact = hg.forward(training, num_steps=4)(jax.random.key(0), {"lr": 0.1})
    assert bool(out.diagnostics.reversal_ok)
    assert float(out.grad["lr"]) == pytest.approx(float(exact.grad["lr"]), rel=1e-4)


def test_a_python_number_takes_the_dtype_of_its_step():
    """A float32 hyperparameter meets a state that began as 1.0, whatever the default float is."""
    training = hpo.Training(
        lambda key, h: 1.0, lambda key, h, s, t: s * (1 - h["lr"]), lambda h, s: s**2
    )
    h = {"lr": jnp.float32(0.5)}
    assert hpo.training.train(training, jax.random.key(0), h, 2).dtype == jnp.float32
    assert float(hg.unrolled(training, num_steps=2)(jax.random.key(0), h).grad["lr"]) == -0.5


@pytest.mark.parametrize("checkpoint", ["none", "sqrt", "binomial"])
def test_a_python_hyperparameter_widens_no_float32_state(checkpoint):
    training = hpo.Training(
        lambda key, h: jnp.ones(2, "float32"),
        lambda key, h, s, t: s * (1 - h["lr"]),
        lambda h, s: jnp.sum(s**2),
    )
    out = hg.unrolled(training, num_steps=2, checkpoint=checkpoint)(jax.random.key(0), {"lr": 0.5})
    assert out.state.dtype == jnp.float32
    assert float(out.grad["lr"]) == pytest.approx(-1.0)
