"""A call with one senseless argument works or says which argument it is, before JAX says it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxhpo as hpo
from jaxhpo import (
    acquisition,
    benchmarking,
    gp,
    inspection,
    pareto,
    population,
    samplers,
    schedulers,
)
from jaxhpo import hypergrad as hg
from jaxhpo import training as trainings
from jaxhpo.hypergrad import bilevel
from tests.malformed import VALUES, call, complaint, parameters

TRAINING = hpo.Training(
    init=lambda key, hparams: jnp.ones(()),
    step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
    loss=lambda hparams, state: state**2,
    inner_loss=lambda hparams, params: hparams["lr"] * params**2,
)
LINE = hpo.Space({"lr": hpo.uniform(0.0, 1.0)})
MIXED = hpo.Space({"x": hpo.uniform(0.0, 1.0), "n": hpo.integer(1, 5), "c": ["a", "b"]})
RUN = {"training": TRAINING, "num_steps": 2}
ESTIMATOR = hg.unrolled(TRAINING, num_steps=2)
HPARAMS = {"lr": 0.1}
PROBLEM = bilevel.problem(
    lambda h, w, x: jnp.mean((w - x) ** 2) + h["lr"] * w**2,
    lambda h, w, x: jnp.mean((w - x) ** 2),
    train=jnp.ones(8),
    validation=jnp.ones(4),
    batch_size=2,
)
STEPS = {"problem": PROBLEM, "inner_step": 0.1, "outer_step": 0.1}
POINTS = np.linspace(0.0, 1.0, 6)[:, None]
DATA = gp.Data(jnp.asarray(POINTS), jnp.zeros(6), jnp.zeros(6), jnp.ones(6, bool))
KERNEL, PRIOR = gp.Kernel((0,)), gp.default_prior(1, noise_floor=1e-4)
HYPER = gp.Hyperparameters(jnp.full(1, -1.0), jnp.zeros(()), jnp.full((), -4.0))
GAUSS = {"kernel": KERNEL, "hyper": HYPER, "data": DATA, "bias": 1.0}
POSTERIOR = gp.condition(**GAUSS)
MOMENTS = {"mean": jnp.zeros(2), "variance": jnp.ones(2)}
FRONT = {"value": jnp.ones((3, 2))}
RANDOM = samplers.random(LINE)
STUDY = {"objective": lambda key, params: params["lr"], "space": LINE}
KEYS = jax.random.split(jax.random.key(0), 2)
SWEPT = population.sweep(
    TRAINING,
    {"lr": np.full(4, 0.5)},
    key=0,
    num_steps=2,
    scheduler="pbt",
    space=LINE,
    progress=False,
)
SURROGATE = inspection.fit_surrogate(LINE, POINTS, POINTS[:, 0] ** 2)


def factory(name):
    """A sampler's factory and the arguments that it cannot do without."""
    given = {"space": LINE if name == "gradient" else MIXED}
    if name in ("gp_multi", "nsga2", "nsga3"):
        given["num_objectives"] = 2
    return getattr(samplers, name), given


CALLS = {
    **{name: (getattr(hg, name), RUN) for name in (
        "unrolled", "forward", "one_step", "greedy", "drmad", "hyperdistill", "es",
        "finite_difference",
    )},
    "truncated": (hg.truncated, {**RUN, "window": 1}),
    "pes": (hg.pes, {**RUN, "window": 1}),
    "implicit": (hg.implicit, {**RUN, "solver": "gmres"}),
    "reversible": (hg.reversible, {**RUN, "learning_rate": lambda hparams, t: hparams["lr"]}),
    "nested": (hg.nested, {"levels": 2}),
    "binomial": (hg.binomial, {}),
    "auto": (hg.auto, {"max_bytes": 1e6}),
    "cg": (hg.cg, {}),
    "dense": (hg.dense, {}),
    "gmres": (hg.gmres, {}),
    "normal_cg": (hg.normal_cg, {}),
    "fixed_point": (hg.fixed_point, {"num_iters": 2}),
    "neumann": (hg.neumann, {"num_terms": 2, "step_size": 0.1}),
    "nystrom": (hg.nystrom, {"rank": 2}),
    "recommend": (hg.recommend, {"training": TRAINING, "space": LINE, "num_steps": 2}),
    "problem": (bilevel.problem, {
        "inner_loss": PROBLEM.inner_loss, "outer_loss": PROBLEM.outer_loss,
        "train": jnp.ones(8), "validation": jnp.ones(4),
    }),
    **{name: (getattr(bilevel, name), STEPS) for name in ("soba", "saba", "stocbio", "amigo")},
    "f2sa": (bilevel.f2sa, {**STEPS, "penalty": 1.0}),
    "Kernel": (gp.Kernel, {"groups": (0,)}),
    "condition": (gp.condition, GAUSS),
    "log_marginal_likelihood": (gp.log_marginal_likelihood, GAUSS),
    "default_prior": (gp.default_prior, {"num_groups": 2}),
    "draw_paths": (gp.draw_paths, {
        "key": 0, "posterior": POSTERIOR, "noise": jnp.ones(6), "num_paths": 2, "num_waves": 8,
    }),
    "predict": (POSTERIOR.predict, {"features": POINTS}),
    "predict_with_gradient": (POSTERIOR.predict_with_gradient, {"features": POINTS}),
    "sample": (POSTERIOR.sample, {"key": 0, "features": POINTS, "num_samples": 2}),
    "warp": (gp.warp, {"value": jnp.ones(4), "mask": jnp.ones(4, bool)}),
    **{f"samplers.{name}": factory(name) for name in samplers.names()},
    "warm_start": (samplers.warm_start, {
        "sampler": RANDOM, "space": LINE, "points": POINTS, "outcomes": POINTS[:, 0],
    }),
    "mixture": (samplers.mixture, {"samplers": [RANDOM, RANDOM]}),
    "with_restarts": (samplers.with_restarts, {
        "sampler": RANDOM, "space": LINE, "patience": 5,
    }),
    "get": (samplers.get, {"name": "random", "space": LINE}),
    "Space.sample": (LINE.sample, {"key": 0, "n": 2}),
    "with_gradient": (hpo.with_gradient, STUDY),
    "replicates": (hpo.replicates, {"objective": STUDY["objective"], "count": 2}),
    "front_mask": (pareto.front_mask, FRONT),
    "ranks": (pareto.ranks, FRONT),
    "crowding_distance": (pareto.crowding_distance, {**FRONT, "rank": jnp.zeros(3, jnp.int32)}),
    "hypervolume": (pareto.hypervolume, {**FRONT, "reference": jnp.full(2, 2.0)}),
    "reference_directions": (
        pareto.reference_directions, {"num_objectives": 2, "divisions": 3},
    ),
    "objective": (trainings.objective, RUN),
    "averaged": (trainings.averaged, {"training": TRAINING, "num_runs": 2}),
    "cells": (benchmarking.cells, {
        "problems": ["quick"], "sampler_names": ["random"], "num_trials": 8, "num_seeds": 2,
    }),
    "fit_surrogate": (inspection.fit_surrogate, {
        "space": LINE, "unit": POINTS, "value": POINTS[:, 0],
    }),
    "slice_of": (inspection.slice_of, {"surrogate": SURROGATE, "names": "lr"}),
    "sensitivity": (inspection.sensitivity, {"surrogate": SURROGATE, "num_samples": 64}),
    "log_ei": (acquisition.log_ei, {**MOMENTS, "best": 0.0}),
    "log_pi": (acquisition.log_pi, {**MOMENTS, "best": 0.0}),
    "ucb": (acquisition.ucb, {**MOMENTS, "beta": 1.0}),
    **{f"schedulers.{name}": (getattr(schedulers, name), {
        "num_trials": 8, "num_steps": 4, "space": LINE,
    }) for name in ("pbt", "pb2")},
    "noisy_quadratic": (hpo.problems.noisy_quadratic, {}),
    "replay": (population.replay, {"training": TRAINING, "swept": SWEPT}),
    "sweep": (population.sweep, {
        "training": TRAINING, "hparams": {"lr": jnp.ones(2)}, "key": 0, "num_steps": 2,
    }),
    "as_training": (hg.as_training, {
        "estimator": ESTIMATOR, "outer_optimizer": optax.sgd(0.1),
        "space": hpo.Space({"lr": hpo.uniform(0.0, 1.0)}),
    }),
}  # fmt: skip
"""Public functions, and arguments with which they work."""

TRACED = {
    "descend": (hg.descend, {
        "estimator": ESTIMATOR, "hparams": HPARAMS, "outer_optimizer": optax.sgd(0.1), "key": 0,
        "num_outer": 2,
    }),
    "estimator": (ESTIMATOR, {"key": 0, "hparams": HPARAMS}),
    "estimator.init": (ESTIMATOR.init, {"key": 0, "hparams": HPARAMS}),
    "estimator.update": (ESTIMATOR.update, {"key": 0, "hparams": HPARAMS, "memory": ()}),
    "solve": (bilevel.solve, {
        "solver": bilevel.amigo(PROBLEM, inner_step=0.1, outer_step=0.1), "hparams": HPARAMS,
        "params": 0.0, "key": 0, "num_updates": 2,
    }),
    "fit": (gp.fit, {
        "kernel": KERNEL, "data": DATA, "prior": PRIOR, "starts": PRIOR.mean[None],
    }),
    "minimize": (hpo.minimize, {**STUDY, "sampler": "random", "key": 0, "num_trials": 2}),
    "minimize_many": (
        hpo.minimize_many, {**STUDY, "sampler": "random", "keys": KEYS, "num_trials": 2},
    ),
    "train": (trainings.train, {**RUN, "key": 0, "hparams": HPARAMS}),
}  # fmt: skip
"""The same of functions that run long: they are traced only."""

SLOW = {"samplers.cma_es", "sweep", "replay", "slice_of", "draw_paths", "fit", "solve"}


def cases():
    for table, traces in ((CALLS, False), (TRACED, True)):
        for name, (function, given) in table.items():
            marks = [pytest.mark.slow] if name in SLOW else []
            yield pytest.param(function, given, traces, id=name, marks=marks)


@pytest.mark.parametrize(("function", "given", "traces"), list(cases()))
def test_a_senseless_argument_is_named(function, given, traces):
    if not traces:
        call(function, given)
    found = []
    for name in parameters(function, given):
        for label, value in VALUES.items():
            said = complaint(function, given, name, value, traces)
            if said is not None:
                found.append(f"{name}={label}: {said[:200]}")
    assert not found, "\n".join(found)


def test_an_objective_of_one_argument():
    for function, rest in (
        (hpo.minimize, {"sampler": "random", "key": 0, "num_trials": 2}),
        (hpo.minimize_many, {"sampler": "random", "keys": KEYS, "num_trials": 2}),
        (hpo.with_gradient, {}),
    ):
        with pytest.raises(TypeError, match=r"callable as objective\(key, params\), got one that"):
            function(lambda params: params["lr"], LINE, **rest)
    with pytest.raises(TypeError, match=r"replicates: .* objective\(key, params\)"):
        hpo.replicates(lambda params: params["lr"], 2)


@pytest.mark.parametrize("name", ["init", "step", "loss", "inner_loss"])
def test_a_training_whose_functions_take_something_else(name):
    wrong = TRAINING._replace(**{name: lambda hparams: 1.0})
    with pytest.raises(TypeError, match=rf"`training.{name}` must be callable as {name}\("):
        hg.unrolled(wrong, num_steps=2)


def test_counts_and_seeds_have_an_end():
    with pytest.raises(ValueError, match="`num_trials` must be below 2"):
        hpo.minimize(**STUDY, sampler="random", key=0, num_trials=2**31)
    with pytest.raises(ValueError, match="`key` must be a key, or an integer seed of 64 bits"):
        hpo.minimize(**STUDY, sampler="random", key=2**70, num_trials=2)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_keys_of_every_kind(impl):
    """Typed and raw, JAX's and NumPy's, traced and batched."""
    with jax.default_prng_impl(impl):
        key, sampler = jax.random.key(3), samplers.random(LINE)
        raw = jax.random.PRNGKey(3)
        expected = sampler.ask(key, sampler.init(key))[1]
        for other in (raw, np.asarray(raw), 3, np.int64(3)):
            np.testing.assert_array_equal(sampler.ask(other, sampler.init(other))[1], expected)
        np.testing.assert_array_equal(jax.jit(sampler.ask)(raw, sampler.init(raw))[1], expected)
        several = jax.random.split(raw, 2)
        many = hpo.minimize_many(**STUDY, sampler="random", keys=several, num_trials=2)
        assert many.best_value.shape == (2,)
        with pytest.raises(ValueError, match="`key` must be one key"):
            sampler.init(several)
