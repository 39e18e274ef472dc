"""`from_optax` and `objective` against a NumPy transcription of SGD with momentum."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxhpo as hpo
from jaxhpo import training as hpt
from jaxhpo.training import _data
from tests.training.training_problems import FLOAT, examples

TRAIN, VALIDATION = examples(), examples(10, seed=1)
RTOL = 500 * np.finfo(FLOAT).eps


def penalised(hparams, params, batch):
    x, y = batch
    residual = x @ params["w"] + params["b"][None] - y
    return jnp.mean(residual**2) + hparams["l2"] * jnp.sum(params["w"] ** 2)


def plain(hparams, params, batch):
    return penalised({"l2": jnp.zeros((), FLOAT)}, params, batch)


def zeros(key, hparams):
    return {"w": jnp.zeros((3, 1), FLOAT), "b": jnp.zeros((1,), FLOAT)}


def build(batch_size=None, init=zeros, **options):
    return hpt.from_optax(
        init,
        penalised,
        lambda h: optax.sgd(h["lr"], h["momentum"]),
        train=TRAIN,
        validation=VALIDATION,
        batch_size=batch_size,
        validation_loss=plain,
        **options,
    )


def values(lr=0.03, momentum=0.6, l2=0.01):
    return {k: jnp.asarray(v, FLOAT) for k, v in dict(lr=lr, momentum=momentum, l2=l2).items()}


def numpy_sgd(batches, lr, momentum, l2):
    """The oracle: v <- m v + g; p <- p - lr v, in float64."""
    w, b = np.zeros((3, 1)), np.zeros(1)
    vw, vb = np.zeros_like(w), np.zeros_like(b)
    for rows in batches:
        x, y = TRAIN[0][rows].astype(np.float64), TRAIN[1][rows].astype(np.float64)
        residual = x @ w + b - y
        gw = 2 * x.T @ residual / len(x) + 2 * l2 * w
        vw, vb = momentum * vw + gw, momentum * vb + 2 * residual.mean(0)
        w, b = w - lr * vw, b - lr * vb
    x, y = VALIDATION
    return w, b, np.mean((x @ w + b - y) ** 2)


def drawn_rows(key, num_steps, batch_size):
    """The rows that a run draws, read off data that are their own row numbers."""
    _, key_step = hpt.trial_keys(key)
    numbers = jnp.arange(24)
    return [
        np.asarray(_data.minibatch(jax.random.fold_in(key_step, t), numbers, 24, batch_size))
        for t in range(num_steps)
    ]


@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("jit", [False, True])
def test_equals_sgd_in_numpy(key, batch_size, jit):
    training, h = build(batch_size), values()
    run = hpt.objective(training, 6)
    value = (jax.jit(run) if jit else run)(key, h)
    rows = [np.arange(24)] * 6 if batch_size is None else drawn_rows(key, 6, batch_size)
    w, b, expected = numpy_sgd(rows, 0.03, 0.6, 0.01)
    np.testing.assert_allclose(value, expected, rtol=RTOL)
    state = hpt.train(training, key, h, 6)
    np.testing.assert_allclose(state.params["w"], w, rtol=RTOL)
    np.testing.assert_allclose(state.params["b"], b, rtol=RTOL)


def test_a_recomputed_step_is_the_same_step(key):
    training, h = build(5), values()
    state = training.init(key, h)
    first, again = (training.step(key, h, state, jnp.int32(3)) for _ in range(2))
    other = training.step(key, h, state, jnp.int32(4))
    np.testing.assert_array_equal(first.params["w"], again.params["w"])
    assert not np.array_equal(first.params["w"], other.params["w"])


def test_minibatches_cover_the_data_evenly(key):
    rows = np.concatenate([r for r in drawn_rows(key, 400, 12)])
    counts = np.bincount(rows, minlength=24)
    # 200 draws a row are expected, standard deviation 13.8: five of them.
    assert abs(counts - 200).max() < 70
    assert counts.sum() == 4800


def test_hyperparameters_are_not_baked(key):
    count = []

    def counting(hparams):
        count.append(0)
        return optax.sgd(hparams["lr"], hparams["momentum"])

    training = hpt.from_optax(
        zeros, plain, counting, train=TRAIN, validation=VALIDATION, batch_size=4
    )
    run = jax.jit(hpt.objective(training, 5))
    results = {float(run(key, values(lr=lr))) for lr in (0.001, 0.01, 0.02, 0.05)}
    assert len(results) == 4
    # The optimizer is built once for init and once for the step, whatever the values.
    assert len(count) == 2


def test_the_whole_run_is_differentiable_in_the_hyperparameters(key):
    run = jax.jit(hpt.objective(build(5), 8))
    gradient = jax.grad(lambda lr: run(key, values(lr=lr)))(jnp.asarray(0.02, FLOAT))
    step = 1e-3
    ahead, behind = (run(key, values(lr=0.02 + s)) for s in (step, -step))
    np.testing.assert_allclose(gradient, (ahead - behind) / (2 * step), rtol=0.03)


def test_inner_loss_is_the_training_loss(key):
    training, h = build(5), values()
    params = hpt.train(training, key, h, 3).params
    np.testing.assert_allclose(
        training.inner_loss(h, params), penalised(h, params, TRAIN), rtol=RTOL
    )


def test_a_loss_with_a_key_sees_another_key_at_every_step(key):
    def noisy(key, hparams, params, batch):
        return jnp.sum(params["w"]) * jax.random.normal(key, (), FLOAT)

    training = hpt.from_optax(
        zeros,
        noisy,
        lambda h: optax.sgd(h["lr"]),
        train=TRAIN,
        validation=VALIDATION,
        validation_loss=plain,
        needs_key=True,
    )
    assert training.inner_loss is None
    h, state = values(lr=1.0), training.init(key, values())
    moves = [float(training.step(key, h, state, jnp.int32(t)).params["w"][0, 0]) for t in (0, 1, 0)]
    assert moves[0] == moves[2] != moves[1]


def test_a_float32_state_survives_wider_hyperparameters(key):
    if np.float64 != FLOAT:
        pytest.skip("needs float64 hyperparameters")
    with jax.numpy_dtype_promotion("standard"):
        training = build(
            5, init=lambda k, h: jax.tree.map(lambda a: a.astype("float32"), zeros(k, h))
        )
        state = hpt.train(training, key, values(), 3)
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {np.dtype("float32")}


def test_a_fixed_transformation_is_accepted(key):
    training = hpt.from_optax(zeros, plain, optax.sgd(0.05), train=TRAIN, validation=VALIDATION)
    _, _, expected = numpy_sgd([np.arange(24)] * 4, 0.05, 0.0, 0.0)
    np.testing.assert_allclose(hpt.objective(training, 4)(key, values()), expected, rtol=RTOL)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"init": 3}, TypeError, "from_optax: `init` must be callable, got 3"),
        ({"loss": 3}, TypeError, "from_optax: `loss` must be callable"),
        ({"optimizer": 3}, TypeError, "from_optax: `optimizer` must be callable"),
        ({"validation_loss": 3}, TypeError, "`validation_loss` must be callable"),
        ({"batch_size": 25}, ValueError, "`batch_size` must be at most the 24 training examples"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        ({"train": {}}, ValueError, "`train` must be a pytree of arrays"),
        ({"train": (TRAIN[0], TRAIN[1][:5])}, ValueError, "arrays of equal leading length"),
        ({"validation": (np.zeros((0, 3)),)}, ValueError, "at least one example"),
        ({"train": ("text",)}, TypeError, r"`train\[0\]` must be a numeric array, got str"),
        ({"needs_key": True}, ValueError, "`validation_loss` must be given when `needs_key`"),
    ],
)
def test_bad_input_is_named(change, error, words):
    arguments = {"init": zeros, "loss": plain, "optimizer": optax.sgd(0.1), "train": TRAIN}
    arguments |= {"validation": VALIDATION, "batch_size": 4} | change
    first = [arguments.pop(name) for name in ("init", "loss", "optimizer")]
    with pytest.raises(error, match=words):
        hpt.from_optax(*first, **arguments)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"optimizer": lambda h: 3}, TypeError, "`optimizer` must return an optax.Gradient"),
        ({"loss": lambda h, p, b: b[1]}, ValueError, "must return a scalar"),
    ],
)
def test_bad_results_are_named_before_a_sweep_trains(options, error, words):
    parts = {"optimizer": optax.sgd(0.1), "loss": plain} | options
    training = hpt.from_optax(
        zeros, parts["loss"], parts["optimizer"], train=TRAIN, validation=VALIDATION
    )
    with pytest.raises(error, match=words):
        hpo.population.sweep(training, {"lr": np.ones(3)}, key=0, num_steps=2)


def test_objective_refuses_what_is_no_training():
    with pytest.raises(TypeError, match="objective: `training` must be a Training"):
        hpt.objective(lambda: 0, 3)
    with pytest.raises(ValueError, match="objective: `num_steps` must be at least 1"):
        hpt.objective(build(), 0)
