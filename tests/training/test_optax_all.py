"""Every optimizer that optax exports, as the adapters take it, against optax's own loop."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import jaxhpo as hpo
from jaxhpo import training as hpt
from tests.training.training_problems import FLOAT, examples

TRAIN, VALIDATION = examples(), examples(10, seed=1)
STEPS = 4


def loss(hparams, params, batch):
    x, y = batch
    hidden = jnp.tanh(x @ params["w"] + params["b"][None])
    return jnp.mean((hidden @ params["v"] - y) ** 2)


def init(key, hparams):
    rng = np.random.default_rng(0)
    w = jnp.asarray(0.3 * rng.normal(size=(3, 4)), FLOAT)
    return {"w": w, "b": jnp.zeros(4, FLOAT), "v": jnp.full((4, 1), 0.5, FLOAT)}


def labels(params):
    return {"w": "fast", "b": "slow", "v": "fast"}


def mask(params):
    return {"w": True, "b": False, "v": True}


def all_axes(params):
    return jax.tree.map(lambda leaf: contrib.MuonDimensionNumbers(), params)


def always(step, *args, **kwargs):
    return jnp.bool_(True)


# What is made with a learning rate alone.
RATES = [
    "adabelief", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad",
    "fromage", "lamb", "lars", "lion", "nadam", "nadamw", "novograd", "optimistic_adam_v2",
    "optimistic_gradient_descent", "radam", "rmsprop", "rprop", "scale_by_learning_rate",
    "scale_by_rprop", "sgd", "sign_sgd", "signum", "sm3", "yogi", "adadelta", "adafactor",
]  # fmt: skip
CONTRIB_RATES = [
    "acprop", "ademamix", "adopt", "dadapt_adamw", "galore", "madgrad", "momo", "momo_adam",
    "muon", "prodigy", "scale_by_madgrad", "schedule_free_adamw", "schedule_free_sgd",
    "simplified_ademamix", "sophia",
]  # fmt: skip
# Rules without a rate, each in a chain that ends with one.
RULES = [
    "centralize", "identity", "keep_params_nonnegative", "normalize_by_update_norm",
    "scale_by_adadelta", "scale_by_adam", "scale_by_adamax", "scale_by_adan",
    "scale_by_amsgrad", "scale_by_belief", "scale_by_distance_over_gradients",
    "scale_by_lion", "scale_by_novograd", "scale_by_optimistic_gradient",
    "scale_by_param_block_norm", "scale_by_param_block_rms", "scale_by_radam", "scale_by_rms",
    "scale_by_rss", "scale_by_sign", "scale_by_sm3", "scale_by_stddev",
    "scale_by_trust_ratio", "scale_by_yogi", "zero_nans", "add_decayed_weights",
    "scale_by_lbfgs", "apply_every", "set_to_zero",
]  # fmt: skip
CONTRIB_RULES = [
    "normalize", "scale_by_acprop", "scale_by_ademamix", "scale_by_adopt", "scale_by_cocob",
    "scale_by_galore", "scale_by_simplified_ademamix", "cocob",
]  # fmt: skip


def rate(make):
    return lambda h: make(learning_rate=h["lr"])


def rule(make):
    return lambda h: optax.chain(make(), optax.scale_by_learning_rate(h["lr"]))


MADE = {
    "adaptive_grad_clip": lambda h: optax.chain(optax.adaptive_grad_clip(0.1), optax.sgd(h["lr"])),
    "add_noise": lambda h: optax.chain(optax.add_noise(0.01, 0.5, 3), optax.sgd(h["lr"])),
    "apply_if_finite": lambda h: optax.apply_if_finite(optax.adam(h["lr"]), 3),
    "chain": lambda h: optax.chain(optax.clip(0.1), optax.adam(h["lr"])),
    "clip": lambda h: optax.chain(optax.clip(h["lr"]), optax.sgd(h["lr"])),
    "clip_by_block_rms": lambda h: optax.chain(optax.clip_by_block_rms(0.1), optax.sgd(h["lr"])),
    "clip_by_global_norm": lambda h: optax.chain(
        optax.clip_by_global_norm(h["lr"]), optax.sgd(h["lr"])
    ),
    "conditionally_mask": lambda h: optax.conditionally_mask(optax.adam(h["lr"]), always),
    "conditionally_transform": lambda h: optax.conditionally_transform(optax.adam(h["lr"]), always),
    "ema": lambda h: optax.chain(optax.ema(0.9), optax.sgd(h["lr"])),
    "flatten": lambda h: optax.flatten(optax.adam(h["lr"])),
    "freeze": lambda h: optax.chain(optax.freeze(mask), optax.sgd(h["lr"])),
    "inject_hyperparams": lambda h: optax.inject_hyperparams(optax.adam)(h["lr"]),
    "lookahead": lambda h: optax.lookahead(optax.adam(h["lr"]), 2, 0.5),
    "masked": lambda h: optax.masked(optax.adam(h["lr"]), mask),
    "measure_with_ema": lambda h: optax.chain(
        optax.measure_with_ema(lambda updates: jax.tree.map(jnp.abs, updates), 0.9),
        optax.sgd(h["lr"]),
    ),
    "multi_transform": lambda h: optax.multi_transform(
        {"fast": optax.adam(h["lr"]), "slow": optax.sgd(0.1 * h["lr"])}, labels
    ),
    "named_chain": lambda h: optax.named_chain(("a", optax.clip(0.1)), ("b", optax.sgd(h["lr"]))),
    "noisy_sgd": lambda h: optax.noisy_sgd(h["lr"], key=3),
    "partition": lambda h: optax.partition(
        {"fast": optax.adam(h["lr"]), "slow": optax.set_to_zero()}, labels
    ),
    "scale": lambda h: optax.scale(-h["lr"]),
    "scale_by_schedule": lambda h: optax.scale_by_schedule(lambda count: -h["lr"] / (1 + count)),
    "selective_transform": lambda h: optax.selective_transform(
        optax.adam(h["lr"]), freeze_mask=mask
    ),
    "snapshot": lambda h: optax.chain(
        optax.snapshot("norm", optax.tree.norm),
        optax.sgd(h["lr"]),
    ),
    "stateless": lambda h: optax.stateless(
        lambda updates, params: jax.tree.map(lambda u: -h["lr"] * u, updates)
    ),
    "stateless_with_tree_map": lambda h: optax.stateless_with_tree_map(lambda u, p: -h["lr"] * u),
    "trace": lambda h: optax.chain(optax.trace(0.9), optax.scale(-h["lr"])),
    "with_extra_args_support": lambda h: optax.with_extra_args_support(optax.sgd(h["lr"])),
    "MultiSteps": lambda h: optax.MultiSteps(optax.adam(h["lr"]), 2),
    "MultiSteps_transformation": lambda h: optax.MultiSteps(
        optax.adam(h["lr"]), 2
    ).gradient_transformation(),
    "MultiSteps_skip": lambda h: optax.MultiSteps(
        optax.adam(h["lr"]), 2, should_skip_update_fn=optax.skip_not_finite
    ),
    "mechanize": lambda h: contrib.mechanize(optax.sgd(h["lr"])),
    "scale_by_muon": lambda h: optax.chain(
        optax.masked(contrib.scale_by_muon(weight_dimension_numbers=all_axes), mask),
        optax.sgd(h["lr"]),
    ),
    "sam": lambda h: contrib.sam(optax.sgd(h["lr"]), optax.sgd(0.01), sync_period=2),
    "schedule_free": lambda h: contrib.schedule_free(optax.sgd(h["lr"]), h["lr"]),
    "split_real_and_imaginary": lambda h: contrib.split_real_and_imaginary(optax.adam(h["lr"])),
}
# These take more than gradients.
EXTRA = {
    "lbfgs": lambda h: optax.lbfgs(),
    "lbfgs_backtracking": lambda h: optax.lbfgs(
        linesearch=optax.scale_by_backtracking_linesearch(5)
    ),
    "scale_by_backtracking_linesearch": lambda h: optax.chain(
        optax.sgd(h["lr"]), optax.scale_by_backtracking_linesearch(5)
    ),
    "scale_by_zoom_linesearch": lambda h: optax.chain(
        optax.sgd(h["lr"]), optax.scale_by_zoom_linesearch(5)
    ),
    "polyak_sgd": lambda h: optax.polyak_sgd(max_learning_rate=h["lr"]),
    "scale_by_polyak": lambda h: optax.chain(optax.scale_by_polyak(), optax.scale(-h["lr"])),
    "momo": lambda h: contrib.momo(h["lr"]),
    "momo_adam": lambda h: contrib.momo_adam(h["lr"]),
    "reduce_on_plateau": lambda h: optax.chain(
        optax.adam(h["lr"]), contrib.reduce_on_plateau(patience=1, rtol=0.9)
    ),
    "sophia": lambda h: contrib.sophia(h["lr"], update_interval=2),
    "sam_opaque": lambda h: contrib.sam(
        optax.sgd(h["lr"]), optax.sgd(0.01), sync_period=2, opaque_mode=True
    ),
    "sam_in_a_chain": lambda h: optax.chain(
        optax.clip(1.0),
        contrib.sam(optax.sgd(h["lr"]), optax.sgd(0.01), sync_period=2, opaque_mode=True),
    ),
    "lbfgs_in_multi_steps": lambda h: optax.MultiSteps(optax.lbfgs(), 2),
    "polyak_masked": lambda h: optax.masked(optax.polyak_sgd(h["lr"]), mask),
    "polyak_finite": lambda h: optax.apply_if_finite(optax.polyak_sgd(h["lr"]), 3),
    "plateau_injected": lambda h: optax.chain(
        optax.inject_hyperparams(optax.sgd)(h["lr"]), contrib.reduce_on_plateau(patience=1)
    ),
}
# Gradients an example, which no adapter has: optax's own words must come through.
PER_EXAMPLE = {
    "dpsgd": lambda h: contrib.dpsgd(h["lr"], 1.0, 0.1, seed=3),
    "differentially_private_aggregate": lambda h: contrib.differentially_private_aggregate(
        1.0, 0.1, key=3
    ),
}


def table():
    found = {n: rate(getattr(optax, n)) for n in RATES}
    found |= {n: rate(getattr(contrib, n)) for n in CONTRIB_RATES}
    rules = [(optax, RULES), (contrib, CONTRIB_RULES)]
    found |= {n: rule(getattr(m, n)) for m, names in rules for n in names if hasattr(m, n)}
    return found | MADE | EXTRA


TABLE = table()


def test_the_table_is_complete():
    exported = {
        name
        for module in (optax, contrib)
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and not name.startswith("_")
        and "GradientTransformation" in str(inspect.signature(value).return_annotation)
    }
    old = {"optimistic_adam", "inject_stateful_hyperparams"}  # deprecated for a name in the table
    exported -= old
    assert not exported - set(TABLE) - set(PER_EXAMPLE)


def build(make, **options):
    return hpt.from_optax(init, loss, make, train=TRAIN, validation=VALIDATION, **options)


def extras(name, value, grads, value_fn):
    """By optax's documentation of each."""
    if name.startswith("sam_"):
        return {"grad_fn": lambda params, i: jax.grad(value_fn)(params)}
    if name == "sophia":
        return {"obj_fn": value_fn}
    return {"value": value, "grad": grads, "value_fn": value_fn} if name in EXTRA else {}


def own_loop(name, h):
    """Optax's documented loop, without a line of the adapters."""
    params, optimizer = init(None, h), TABLE[name](h)
    is_pair = name == "lookahead"
    params = optax.LookaheadParams.init_synced(params) if is_pair else params
    state = optimizer.init(params)
    value_fn = lambda params: loss(h, params, TRAIN)  # noqa: E731

    @jax.jit
    def step(params, state):
        at = params.fast if is_pair else params
        value, grads = jax.value_and_grad(value_fn)(at)
        updates, state = optimizer.update(
            grads, state, params, **extras(name, value, grads, value_fn)
        )
        return optax.apply_updates(params, updates), state

    for _ in range(STEPS):
        params, state = step(params, state)
    if is_pair:
        params = params.slow
    if name.startswith("schedule_free"):
        params = contrib.schedule_free_eval_params(state, params)
    return float(loss(h, params, VALIDATION))


RATE = np.asarray([0.01, 0.03], FLOAT)
QUICK = ("lbfgs", "polyak_sgd", "MultiSteps", "reduce_on_plateau", "lookahead", "schedule_free")


@pytest.mark.parametrize("name", TABLE)
def test_traces_under_strict_promotion(name):
    training = build(TABLE[name])
    h = {"lr": jnp.asarray(0.01, FLOAT)}
    out = jax.eval_shape(hpt.objective(training, STEPS), jax.random.key(0), h)
    assert out.shape == ()
    assert out.dtype == FLOAT


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in TABLE]
)
def test_sweep_is_optax_own_loop(name):
    trials = hpo.population.sweep(build(TABLE[name]), {"lr": RATE}, key=0, num_steps=STEPS)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = [own_loop(name, {"lr": jnp.asarray(r)}) for r in RATE]
    np.testing.assert_allclose(trials.losses, expected, rtol=2e4 * np.finfo(FLOAT).eps)


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("name", PER_EXAMPLE)
def test_gradients_an_example_are_refused(name):
    with pytest.raises(ValueError, match="batch dimension"):
        jax.eval_shape(
            hpt.objective(build(PER_EXAMPLE[name]), 1), jax.random.key(0), {"lr": jnp.ones(())}
        )
