"""The traced schedules against optax's, and what optax's cannot trace."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxhpo as hpo
from jaxhpo.training import schedules
from tests.training.training_problems import FLOAT

COUNTS = np.arange(-1, 24)

# Name here, name in optax, and sets of arguments.
CASES = [
    ("constant", "constant_schedule", [{"value": 0.3}]),
    (
        "polynomial",
        "polynomial_schedule",
        [
            {"init_value": 1.0, "end_value": 0.1, "power": 2.0, "transition_steps": 10},
            {"init_value": 0.1, "end_value": 1.0, "power": 0.5, "transition_steps": 7,
             "transition_begin": 4},
            {"init_value": 1.0, "end_value": 0.1, "power": 3.0, "transition_steps": 0},
            {"init_value": 1.0, "end_value": 0.1, "power": 0.0, "transition_steps": 5},
            {"init_value": 1.0, "end_value": 0.1, "power": 1.0, "transition_steps": 5,
             "transition_begin": -3},
        ],
    ),
    (
        "linear",
        "linear_schedule",
        [
            {"init_value": 0.0, "end_value": 0.5, "transition_steps": 5},
            {"init_value": 0.5, "end_value": 0.5, "transition_steps": 1, "transition_begin": 2},
        ],
    ),
    (
        "exponential_decay",
        "exponential_decay",
        [
            {"init_value": 0.5, "transition_steps": 5, "decay_rate": 0.7},
            {"init_value": 0.5, "transition_steps": 5, "decay_rate": 0.7, "transition_begin": 3,
             "staircase": True},
            {"init_value": 0.5, "transition_steps": 5, "decay_rate": 0.7, "end_value": 0.3},
            {"init_value": 0.5, "transition_steps": 5, "decay_rate": 1.4, "end_value": 0.9},
            {"init_value": 0.5, "transition_steps": 5, "decay_rate": 0.0, "end_value": 0.9},
            {"init_value": 0.5, "transition_steps": 0, "decay_rate": 0.7, "end_value": 0.9},
        ],
    ),
    (
        "cosine_decay",
        "cosine_decay_schedule",
        [
            {"init_value": 0.5, "decay_steps": 10},
            {"init_value": 0.5, "decay_steps": 10, "alpha": 0.1, "exponent": 2.0},
        ],
    ),
    (
        "warmup_constant",
        "warmup_constant_schedule",
        [{"init_value": 0.0, "peak_value": 0.5, "warmup_steps": 5}],
    ),
    (
        "warmup_cosine_decay",
        "warmup_cosine_decay_schedule",
        [
            {"init_value": 0.0, "peak_value": 0.5, "warmup_steps": 5, "decay_steps": 15},
            {"init_value": 0.2, "peak_value": 0.5, "warmup_steps": 1, "decay_steps": 15,
             "end_value": 0.1, "exponent": 1.5},
            {"init_value": 0.2, "peak_value": 0.0, "warmup_steps": 5, "decay_steps": 15,
             "end_value": 0.1},
            {"init_value": 0.2, "peak_value": 0.5, "warmup_steps": 0, "decay_steps": 15},
        ],
    ),
    (
        "warmup_exponential_decay",
        "warmup_exponential_decay_schedule",
        [
            {"init_value": 0.0, "peak_value": 0.5, "warmup_steps": 4, "transition_steps": 3,
             "decay_rate": 0.8},
            {"init_value": 0.0, "peak_value": 0.5, "warmup_steps": 4, "transition_steps": 3,
             "decay_rate": 0.8, "transition_begin": 2, "staircase": True, "end_value": 0.2},
        ],
    ),
    (
        "piecewise_constant",
        "piecewise_constant_schedule",
        [{"init_value": 0.5, "boundaries_and_scales": {10: 0.1, 5: 0.5}}, {"init_value": 0.5}],
    ),
    (
        "piecewise_interpolate",
        "piecewise_interpolate_schedule",
        [
            {"interpolate_type": kind, "init_value": 0.5,
             "boundaries_and_scales": {4: 0.5, 9: 3.0, 12: 0.1}}
            for kind in ("linear", "cosine")
        ],
    ),
    (
        "linear_onecycle",
        "linear_onecycle_schedule",
        [{"transition_steps": 20, "peak_value": 0.5},
         {"transition_steps": 17, "peak_value": 0.5, "pct_start": 0.4, "pct_final": 0.7}],
    ),
    (
        "cosine_onecycle",
        "cosine_onecycle_schedule",
        [{"transition_steps": 20, "peak_value": 0.5},
         {"transition_steps": 13, "peak_value": 0.5, "div_factor": 5.0}],
    ),
]  # fmt: skip
ROWS = [(name, peer, kwargs) for name, peer, sets in CASES for kwargs in sets]
# What is not a number, or was rounded before it got here.
STATIC = ("interpolate_type", "boundaries_and_scales", "staircase")


@pytest.fixture(autouse=True)
def standard_promotion_for_optax(request):
    """Optax's own schedules mix dtypes; ours run under the suite's strictness."""
    return jax.numpy_dtype_promotion("standard")


def values_of(schedule):
    return np.asarray([schedule(jnp.int32(count)) for count in COUNTS], FLOAT)


@pytest.mark.parametrize(("name", "peer", "kwargs"), ROWS)
@pytest.mark.parametrize("is_traced", [False, True])
def test_equals_optax(standard_promotion_for_optax, name, peer, kwargs, is_traced):
    with standard_promotion_for_optax, jax.numpy_rank_promotion("allow"):
        expected = values_of(getattr(optax, peer)(**kwargs))
    make = getattr(schedules, name)
    if is_traced:
        known = {k: v for k, v in kwargs.items() if k in STATIC}
        traced = {k: v for k, v in kwargs.items() if k not in STATIC}
        counts = jnp.asarray(COUNTS, jnp.int32)
        got = jax.jit(lambda h: jax.vmap(make(**h, **known))(counts))(traced)
    else:
        got = values_of(make(**kwargs))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_sgdr_and_join(standard_promotion_for_optax):
    cycles = [
        {"init_value": 0.0, "peak_value": p, "warmup_steps": 2, "decay_steps": 6}
        for p in (0.5, 1.0)
    ]
    with standard_promotion_for_optax:
        expected = values_of(optax.sgdr_schedule(cycles))
    np.testing.assert_allclose(values_of(schedules.sgdr(cycles)), expected, rtol=1e-5, atol=1e-7)
    traced = jax.jit(lambda c: jax.vmap(schedules.sgdr(c))(jnp.asarray(COUNTS, jnp.int32)))(cycles)
    np.testing.assert_allclose(traced, expected, rtol=1e-5, atol=1e-7)


def test_every_schedule_of_optax_is_here():
    theirs = {n for n in vars(optax.schedules) if n.endswith(("_schedule", "_decay"))}
    theirs -= {"_schedule"}  # the module
    assert theirs == {peer for _, peer, _ in CASES} | {"sgdr_schedule"}
    assert set(schedules.__all__) == {name for name, _, _ in CASES} | {"sgdr", "join"}


def test_boundaries_may_be_traced():
    def value(start, scale):
        return schedules.piecewise_constant(1.0, [(start, scale), (8, 0.5)])(6)

    assert float(jax.jit(value)(5, 0.1)) == pytest.approx(0.1)
    assert float(jax.jit(value)(7, 0.1)) == 1.0


DERIVATIVES = [(n, k) for n, _, k in ROWS if n not in ("linear_onecycle", "cosine_onecycle")]


@pytest.mark.parametrize(("name", "kwargs"), DERIVATIVES)
def test_derivatives_are_finite_everywhere(name, kwargs):
    known = {k: v for k, v in kwargs.items() if k in STATIC}
    real = {k: jnp.asarray(v, FLOAT) for k, v in kwargs.items() if k not in STATIC}
    make = getattr(schedules, name)
    counts = jnp.asarray(COUNTS, jnp.int32)
    slopes = jax.jit(jax.jacrev(lambda h: jax.vmap(make(**h, **known))(counts)))(real)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(slopes))


def test_a_traced_peak_and_warmup_are_trained():
    x = jnp.linspace(-1.0, 1.0, 16, dtype=FLOAT)

    def training(make):
        return hpo.training.from_optax(
            lambda key, h: jnp.zeros((), FLOAT),
            lambda h, w, batch: jnp.mean((w * batch - 3 * batch) ** 2),
            lambda h: optax.sgd(make(h)),
            train=x,
            validation=x,
        )

    ours = training(lambda h: schedules.warmup_cosine_decay(0.0, h["lr"], h["warmup"], 10))
    hparams = {"lr": np.asarray([0.1, 0.5], FLOAT), "warmup": np.asarray([2, 4], np.int32)}
    swept = hpo.population.sweep(ours, hparams, key=0, num_steps=8).losses
    for lr, warmup, got in zip(hparams["lr"], hparams["warmup"], swept, strict=True):
        peer = optax.warmup_cosine_decay_schedule(0.0, float(lr), int(warmup), 10)
        value = hpo.training.objective(training(lambda h, peer=peer: peer), 8)
        np.testing.assert_allclose(got, value(jax.random.key(0), {}), rtol=1e-4)
    theirs = training(lambda h: optax.warmup_cosine_decay_schedule(0.0, h["lr"], 2, 10))
    words = r"sweep: `training.init` needs `hparams\['lr'\]` .*`hpo.training.schedules`"
    with pytest.raises(TypeError, match=words):
        hpo.population.sweep(theirs, hparams, key=0, num_steps=8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: schedules.cosine_decay(0.1, 0), "cosine_decay: `decay_steps` must be greater"),
        (
            lambda: schedules.warmup_cosine_decay(0, 1, 5, 5),
            "`decay_steps` must be more than the 5 warmup_steps",
        ),
        (
            lambda: schedules.piecewise_interpolate("cubic", 1.0),
            "'linear' or 'cosine', got 'cubic'",
        ),
        (lambda: schedules.piecewise_constant(1.0, {3: -1.0}), "factors of at least 0"),
        (lambda: schedules.piecewise_constant(1.0, [3]), r"a dict or pairs \(step, factor\)"),
        (lambda: schedules.join([schedules.constant(1.0)], [3]), "one fewer than the 1 schedules"),
        (lambda: schedules.linear_onecycle(0, 1.0), "`transition_steps` must be greater than 0"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_text_is_no_value():
    with pytest.raises(TypeError, match="linear: `end_value` must be a real number|polynomial:"):
        schedules.linear(0.0, "1", 5)
