"""The samplers and schedulers of this package: one row here is the whole conformance suite."""

import functools

import jax.numpy as jnp

import jaxhpo as hpo
from jaxhpo import samplers, schedulers
from jaxhpo.testing import SamplerCase, SchedulerCase


def _told_nothing(space, *, batch_size=1):
    """Rows of NaN are no trials, so that a finite space still has all its configurations."""
    nothing = jnp.full((3, space.num_dims), jnp.nan)
    return samplers.warm_start(
        samplers.tpe(space, batch_size=batch_size), space, nothing, [0.0] * 3
    )


def _mixed_with_random(space, *, batch_size=1):
    parts = (samplers.pattern, samplers.random)
    return samplers.mixture([make(space, batch_size=batch_size) for make in parts], [0.9, 0.1])


def _restarted(space, *, batch_size=1):
    return samplers.with_restarts(samplers.de(space, batch_size=batch_size), space, patience=100)


SAMPLERS = (
    SamplerCase("random", samplers.random, is_batch_invariant=True),
    SamplerCase("qmc", samplers.qmc, is_batch_invariant=True, sphere_below=0.3, branin_below=1.5),
    SamplerCase(
        "qmc",
        samplers.qmc,
        {"sequence": "halton"},
        variant="halton",
        is_batch_invariant=True,
        sphere_below=0.3,
        branin_below=1.5,
    ),
    SamplerCase(
        "grid",
        samplers.grid,
        {"points_per_dim": 16},
        is_random=False,
        is_endless=False,
        supports_mixed=False,
        is_batch_invariant=True,
    ),
    SamplerCase(
        "gp",
        samplers.gp,
        {"capacity": 64},
        progress_trials=30,
        sphere_below=1e-4,
        branin_below=0.45,
    ),
    SamplerCase(
        "turbo",
        samplers.turbo,
        {"capacity": 64},
        progress_trials=60,
        sphere_below=1e-3,
        branin_below=0.6,
    ),
    SamplerCase(
        "tpe",
        samplers.tpe,
        {"capacity": 64},
        progress_trials=100,
        sphere_below=0.05,
        branin_below=1.0,  # Optuna's worst of 100 seeds after as many trials: 0.78
    ),
    SamplerCase(
        "tpe",
        samplers.tpe,
        {"capacity": 64, "multivariate": False, "split": "sqrt", "num_startup": 20},
        variant="hyperopt",
        progress_trials=100,
        sphere_below=0.2,
        branin_below=0.9,
    ),
    # A told history lacks the points as they were before rounding to discrete values.
    SamplerCase(
        "cma_es",
        samplers.cma_es,
        resumes_exactly=False,
        progress_trials=200,
        sphere_below=1e-3,
        branin_below=0.41,
    ),
    SamplerCase(
        "cma_es",
        samplers.cma_es,
        {"separable": True, "restarts": "bipop", "max_doublings": 2},
        variant="separable",
        resumes_exactly=False,
        progress_trials=200,
        sphere_below=1e-3,
        branin_below=0.6,
    ),
    # A told history does not say which member a point competed with.
    SamplerCase("de", samplers.de, resumes_exactly=False, sphere_below=0.02, branin_below=0.45),
    SamplerCase(
        "de",
        samplers.de,
        {"strategy": "rand2exp", "population_size": 10},
        variant="rand2exp",
        resumes_exactly=False,
        sphere_below=0.5,
        branin_below=1.0,
    ),
    # A told history does not say around which point a point was polled.
    SamplerCase(
        "pattern", samplers.pattern, resumes_exactly=False, sphere_below=1e-6, branin_below=0.4
    ),
    # A told history does not say which descent a point belonged to.
    SamplerCase(
        "gradient",
        samplers.gradient,
        resumes_exactly=False,
        needs_gradient=True,
        progress_trials=100,
        sphere_below=1e-6,
        branin_below=0.4,
    ),
    SamplerCase(
        "auto",
        samplers.auto,
        {"num_trials": 1000},
        resumes_exactly=False,
        progress_trials=200,
        sphere_below=1e-3,
        branin_below=0.41,
    ),
    SamplerCase(
        "tpe",
        _told_nothing,
        variant="warm",
        progress_trials=100,
        sphere_below=0.05,
        branin_below=1.0,
    ),
    SamplerCase(
        "pattern",
        _mixed_with_random,
        variant="mixture",
        resumes_exactly=False,
        sphere_below=1e-5,
        branin_below=0.4,
    ),
    SamplerCase(
        "de",
        _restarted,
        variant="restarts",
        resumes_exactly=False,
        sphere_below=0.05,
        branin_below=0.6,
    ),
    SamplerCase(
        "gp_multi",
        samplers.gp_multi,
        {"num_objectives": 1, "capacity": 64},
        several={"num_objectives": 2, "constrained": True},
        progress_trials=30,
        sphere_below=1e-2,
        branin_below=0.6,
    ),
    SamplerCase(
        "nsga2",
        samplers.nsga2,
        {"num_objectives": 1},
        several={"num_objectives": 2},
        sphere_below=0.02,
        branin_below=0.6,
    ),
    SamplerCase(
        "nsga2",
        samplers.nsga2,
        {"num_objectives": 1, "crossover": "sbx", "population_size": 20, "offspring_size": 20},
        several={"num_objectives": 2},
        variant="generations",
        sphere_below=0.1,
        branin_below=0.8,
    ),
    SamplerCase(
        "nsga3",
        samplers.nsga3,
        {"num_objectives": 1},
        several={"num_objectives": 2},
        sphere_below=0.1,
        branin_below=0.8,
    ),
)

QUICK = {
    "qmc-halton": {"continuous", "mixed", "branin"},
    "gp": {
        *("signatures", "traced_once", "mixed", "conditional"),
        *("all_failed", "infinite", "padding", "resume", "branin"),
    },
    "turbo": {"signatures"},
    "tpe": {"conditional", "branin"},
    "tpe-hyperopt": {"signatures"},
    "cma_es": {"signatures", "branin"},
    "cma_es-separable": set(),
    "de": {"signatures", "infinite"},
    "de-rand2exp": set(),
    "nsga2": {"signatures", "objectives"},
    "nsga2-generations": set(),
    "gp_multi": set(),
    "nsga3": {"objectives"},
    "auto": {"signatures"},
    "tpe-warm": {"signatures", "state_is_stable"},
    "pattern-mixture": {"signatures", "padding"},
    "de-restarts": {"signatures", "state_is_stable"},
    "pattern": {"signatures", "mixed", "nothing_told", "branin"},
    "gradient": {"signatures", "conditional", "some_failed", "branin"},
}
"""Checks of the quick suite, for rows whose programs take long to compile or that differ little
from another row; their other checks are marked slow. A row that is not here runs them all."""

SQUARE = hpo.Space({"x": hpo.uniform(-1.0, 1.0), "y": hpo.log_uniform(1e-3, 1.0)})
POPULATION = functools.partial(schedulers.pbt, space=SQUARE)

SCHEDULERS = (
    SchedulerCase("halving", schedulers.halving, (30, 15, 7, 3, 1, 1)),
    SchedulerCase(
        "halving",
        schedulers.halving,
        (31, 7, 1),
        {"levels": [5, 6, 27], "eta": 4},
        variant="levels",
        num_trials=31,
    ),
    # Brackets of 17, 7, 4 and 2 trials, of which a third goes on: 5 + 7 + 4 + 2, and so on.
    SchedulerCase("hyperband", schedulers.hyperband, (30, 18, 9, 5), is_symmetric=False),
    SchedulerCase("asha", schedulers.asha, (30, 10, 3, 1), is_synchronous=False),
    # What a sampler proposes depends on the keys, of which there are more with fewer jobs at once.
    SchedulerCase(
        "asha",
        schedulers.asha,
        (30, 10),
        {"levels": [9, 27], "sampler": "tpe", "space": SQUARE, "batch_size": 30},
        variant="tpe",
        is_synchronous=False,
        proposes=True,
    ),
    SchedulerCase(
        "halving",
        schedulers.halving,
        (30, 15),
        {"levels": [9, 27], "sampler": "tpe", "space": SQUARE, "batch_size": 8},
        variant="tpe",
        is_synchronous=False,
        proposes=True,
    ),
    SchedulerCase(
        "hyperband",
        schedulers.hyperband,
        (30, 18),
        {"levels": [9, 27], "sampler": "tpe", "space": SQUARE, "batch_size": 8},
        variant="tpe",
        is_synchronous=False,
        proposes=True,
        is_symmetric=False,
    ),
    SchedulerCase(
        "median",
        schedulers.median,
        (30, 15, 15, 15),
        {"levels": [3, 9, 18, 27], "warmup": 0},
        is_synchronous=False,
        breaks_ties=False,
        is_ordinal=False,
    ),
    SchedulerCase(
        "patience",
        schedulers.patience,
        (30, 30, 16, 5),
        {"levels": [3, 9, 18, 27], "num_levels": 1},
    ),
    # What it draws depends on the keys, of which there are more with fewer jobs at once.
    SchedulerCase(
        "pb2",
        functools.partial(schedulers.pb2, space=SQUARE),
        (12,) * 4,
        {"interval": 2},
        num_trials=12,
        num_steps=8,
        is_synchronous=False,
        is_ordinal=False,
        may_copy=True,
    ),
    SchedulerCase(
        "pbt", POPULATION, (30,) * 9, {"interval": 3}, is_synchronous=False, may_copy=True
    ),
    SchedulerCase(
        "pbt",
        POPULATION,
        (30,) * 27,
        {"intervals": [1, 2, 5]},
        variant="intervals",
        is_synchronous=False,
        is_symmetric=False,
        may_copy=True,
    ),
    SchedulerCase(
        "pbt",
        POPULATION,
        (30,) * 9,
        {"interval": 3, "explore": "hypergradient"},
        variant="hypergradient",
        is_synchronous=False,
        may_copy=True,
    ),
)
