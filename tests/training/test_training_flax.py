"""The flax adapters: one description of BatchNorm and dropout, kept by linen and nnx alike."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxhpo as hpo
from jaxhpo import training as hpt
from jaxhpo.space._values import StaticValue
from tests.training.training_problems import examples, squared_error

# flax computes batch statistics in float32 whatever the default float, so these tests do too.
FLOAT = np.float32
TRAIN, VALIDATION = examples(dtype=FLOAT), examples(10, seed=1, dtype=FLOAT)
RTOL = 500 * np.finfo(FLOAT).eps
MOMENTUM = 0.9


class Linen(nn.Module):
    """BatchNorm, dropout and one dense layer."""

    rate: float
    width: int = 4

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.BatchNorm(
            use_running_average=not train, momentum=MOMENTUM, param_dtype=FLOAT, name="norm"
        )(x)
        x = nn.Dense(self.width, param_dtype=FLOAT)(x)
        if train:
            x = hpt.dropout(self.make_rng("dropout"), x, self.rate)
        return nn.Dense(1, param_dtype=FLOAT)(x)


class Nnx(nnx.Module):
    """The same in nnx."""

    def __init__(self, rate, width, rngs):
        options = {"rngs": rngs, "param_dtype": FLOAT}
        self.norm = nnx.BatchNorm(3, momentum=MOMENTUM, **options)
        self.hidden = nnx.Linear(3, width, **options)
        self.rate, self.rngs = rate, rngs
        self.out = nnx.Linear(width, 1, **options)

    def __call__(self, x, train):
        x = self.hidden(self.norm(x))
        if train:
            x = hpt.dropout(self.rngs.dropout(), x, self.rate)
        return self.out(x)


def linen(batch_size=None, rate=None, **options):
    return hpt.from_linen(
        lambda h: Linen(h["rate"] if rate is None else rate, h.get("width", 4)),
        squared_error,
        lambda h: optax.sgd(h["lr"]),
        train=TRAIN,
        validation=VALIDATION,
        batch_size=batch_size,
        **options,
    )


def flax_nnx(batch_size=None, rate=None, **options):
    return hpt.from_nnx(
        lambda h, rngs: Nnx(h["rate"] if rate is None else rate, h.get("width", 4), rngs),
        squared_error,
        lambda h: optax.sgd(h["lr"]),
        train=TRAIN,
        validation=VALIDATION,
        batch_size=batch_size,
        **options,
    )


def averages(state):
    """The running mean and variance, wherever the library keeps them."""
    extra = state.extra
    if "batch_stats" in extra:
        return extra["batch_stats"]["norm"]["mean"], extra["batch_stats"]["norm"]["var"]
    return extra["norm"]["mean"][...], extra["norm"]["var"][...]


def values(lr=0.05, rate=0.5):
    return {"lr": jnp.asarray(lr, FLOAT), "rate": jnp.asarray(rate, FLOAT)}


ADAPTERS = pytest.mark.parametrize("adapter", [linen, flax_nnx])


@ADAPTERS
def test_batch_statistics_follow_their_recursion(key, adapter):
    state = hpt.train(adapter(), key, values(), 3)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(3):  # The full batch: the same statistics at every step.
        mean = MOMENTUM * mean + (1 - MOMENTUM) * TRAIN[0].mean(0)
        var = MOMENTUM * var + (1 - MOMENTUM) * TRAIN[0].var(0)
    got_mean, got_var = averages(state)
    np.testing.assert_allclose(got_mean, mean, rtol=RTOL)
    np.testing.assert_allclose(got_var, var, rtol=RTOL)


@ADAPTERS
def test_validation_uses_the_running_averages_and_changes_nothing(key, adapter):
    training, h = adapter(rate=0.0), values()
    state = hpt.train(training, key, h, 2)
    before = training.loss(h, state)
    np.testing.assert_array_equal(before, training.loss(h, state))
    shifted = jax.tree.map(lambda a: a + 1, state.extra)
    moved = training.loss(h, hpt.TrainState(state.params, state.opt_state, shifted))
    assert abs(moved - before) > 1e-3


@ADAPTERS
def test_dropout_differs_by_step_and_is_off_in_validation(key, adapter):
    training, h = adapter(), values()
    state = training.init(key, h)

    def after(t, **change):
        return jax.tree.leaves(training.step(key, h | change, state, jnp.int32(t)).params)

    first, again, other = after(0), after(0), after(1)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    # The batch is all the data, so only the dropout mask can make the difference.
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    losses = [training.loss(h | {"rate": jnp.asarray(r, FLOAT)}, state) for r in (0.0, 0.5, 0.9)]
    assert losses[0] == losses[1] == losses[2]


@ADAPTERS
def test_without_dropout_the_steps_are_the_same(key, adapter):
    training, h = adapter(rate=0.0), values()
    state = training.init(key, h)
    first, other = (training.step(key, h, state, jnp.int32(t)).params for t in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, other)


@ADAPTERS
def test_dropout_rate_and_learning_rate_are_traced(key, adapter):
    count = []
    base = adapter(4)

    def step(*arguments):
        count.append(0)
        return base.step(*arguments)

    run = jax.jit(hpt.objective(base._replace(step=step), 4))
    results = {float(run(key, values(lr, rate))) for lr in (0.01, 0.1) for rate in (0.1, 0.6)}
    assert len(results) == 4
    assert len(count) == 1


@ADAPTERS
def test_jit_equals_eager(key, adapter):
    training, h = adapter(5), values()
    key_init, key_step = hpt.trial_keys(key)
    state = training.init(key_init, h)
    for t in range(2):
        state = training.step(key_step, h, state, jnp.int32(t))
    eager = training.loss(h, state)
    jitted = jax.jit(hpt.objective(training, 2))(key, h)
    np.testing.assert_allclose(jitted, eager, rtol=RTOL)


@ADAPTERS
def test_sweep_with_a_static_width(key, adapter):
    n = 5
    h = {
        "lr": jnp.linspace(0.01, 0.1, n, dtype=FLOAT),
        "rate": jnp.full(n, 0.2, FLOAT),
        "width": StaticValue(np.asarray([0, 1, 0, 1, 1], np.int32), (2, 5)),
    }
    training = adapter(8)
    result = hpo.population.sweep(training, h, key=key, num_steps=6)
    assert result.num_compilations == 2
    for i in range(n):
        one = {"lr": h["lr"][i], "rate": h["rate"][i], "width": (2, 5)[h["width"].index[i]]}
        run = jax.jit(lambda k, one=one: hpt.objective(training, 6)(k, one))
        expected = run(jax.random.fold_in(key, i))
        np.testing.assert_allclose(result.losses[i], expected, rtol=RTOL)


@ADAPTERS
def test_training_learns(key, adapter):
    run = jax.jit(hpt.objective(adapter(8, rate=0.0), 400))
    assert run(key, values(lr=0.03)) < 0.05 * np.var(VALIDATION[1])


def test_nnx_state_holds_no_random_stream(key):
    state = flax_nnx().init(key, values())
    assert len(jax.tree.leaves(state.extra)) == 2


def test_modules_are_told_in_their_own_words(key):
    class Word(nn.Module):
        @nn.compact
        def __call__(self, x, deterministic: bool):
            return nn.Dropout(0.5, deterministic=deterministic)(nn.Dense(1, param_dtype=FLOAT)(x))

    training = hpt.from_linen(
        Word(), squared_error, optax.sgd(0.1), train=TRAIN, validation=VALIDATION
    )
    state = training.init(key, {})
    first, other = (training.step(key, {}, state, jnp.int32(t)).params for t in (0, 1))
    assert not np.array_equal(first["Dense_0"]["kernel"], other["Dense_0"]["kernel"])


@pytest.mark.parametrize(
    ("make", "change", "error", "words"),
    [
        (hpt.from_linen, {"model": Linen}, TypeError, "got the class Linen; write Linen"),
        (hpt.from_linen, {"model": 3}, TypeError, "from_linen: `model` must be callable"),
        (hpt.from_linen, {"train": TRAIN[0]}, TypeError, r"`train` must be a pair \(inputs"),
        (hpt.from_linen, {"loss": None}, TypeError, "`loss` must be callable"),
        (hpt.from_linen, {"batch_size": 99}, ValueError, "`batch_size` must be at most"),
        (
            hpt.from_nnx,
            {"model": nnx.Linear(2, 2, rngs=nnx.Rngs(0))},
            TypeError,
            r"`model` must be a function model\(hparams, rngs\)",
        ),
        (hpt.from_nnx, {"model": 3}, TypeError, "from_nnx: `model` must be callable"),
        (hpt.from_nnx, {"validation": 3}, TypeError, "`validation` must be a pair"),
        (hpt.from_nnx, {"batch_size": 99}, ValueError, "`batch_size` must be at most"),
    ],
)
def test_bad_input_is_named(make, change, error, words):
    model = Linen(0.1) if make is hpt.from_linen else (lambda h, rngs: Nnx(0.1, 4, rngs))
    arguments = {"model": model, "loss": squared_error, "optimizer": optax.sgd(0.1)}
    arguments |= {"train": TRAIN, "validation": VALIDATION, "batch_size": 4} | change
    first = [arguments.pop(name) for name in ("model", "loss", "optimizer")]
    with pytest.raises(error, match=words):
        make(*first, **arguments)


@ADAPTERS
def test_a_loss_of_a_wrong_shape_is_named(key, adapter):
    training = adapter()
    make = hpt.from_linen if adapter is linen else hpt.from_nnx
    model = Linen(0.1) if adapter is linen else (lambda h, rngs: Nnx(0.1, 4, rngs))
    training = make(
        model, lambda h, z, y: z - y, optax.sgd(0.1), train=TRAIN, validation=VALIDATION
    )
    with pytest.raises(ValueError, match=r"`loss` must return a scalar or one value per example"):
        hpo.population.sweep(training, {"lr": np.ones(2)}, key=key, num_steps=1)


class Layers(nnx.Module):
    """The library's own dropout layer, its rate a Python number."""

    def __init__(self, rngs):
        self.hidden = nnx.Linear(3, 4, rngs=rngs, param_dtype=FLOAT)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(4, 1, rngs=rngs, param_dtype=FLOAT)

    def __call__(self, x):
        return self.out(self.dropout(self.hidden(x)))


def test_nnx_own_dropout_follows_the_step_and_the_mode(key):
    training = hpt.from_nnx(
        lambda h, rngs: Layers(rngs),
        squared_error,
        optax.sgd(0.1),
        train=TRAIN,
        validation=VALIDATION,
    )
    state = training.init(key, {})
    kernels = [
        np.asarray(training.step(key, {}, state, jnp.int32(t)).params["out"]["kernel"][...])
        for t in (0, 0, 1)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    x, y = VALIDATION
    for name in ("hidden", "out"):  # Without dropout.
        layer = state.params[name]
        x = x @ np.asarray(layer["kernel"][...]) + np.asarray(layer["bias"][...])
    np.testing.assert_allclose(training.loss({}, state), np.mean((x - y) ** 2), rtol=RTOL)


def test_dropout_at_its_ends_and_its_gradient(key):
    x = jnp.arange(1.0, 9.0, dtype=FLOAT)
    np.testing.assert_array_equal(hpt.dropout(key, x, 0.0), x)
    np.testing.assert_array_equal(hpt.dropout(key, x, 1.0), 0 * x)
    for rate in (0.0, 0.3, 1.0):
        value, gradient = jax.value_and_grad(lambda r: jnp.sum(hpt.dropout(key, x, r)), argnums=0)(
            jnp.asarray(rate, FLOAT)
        )
        assert np.isfinite([value, gradient]).all()
