"""Optuna's own published test cases for samplers, one class a sampler of ours."""

import optuna
import pytest
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from jaxhpo import samplers
from jaxhpo.integrations.optuna import JaxhpoSampler

SEVERAL = {"random", "qmc", "grid", "gp_multi", "nsga2", "nsga3", "auto"}
NAMES = [name for name in samplers.names() if name != "gradient"]  # needs gradients

# One sampler runs these every time: what is published about the shape of a study, not of a value.
QUICK = (
    "test_conditional_sample_independent",
    "test_nan_objective_value",
    "test_partial_fixed_sampling",
    "test_sample_single_distribution",
    "test_conditional_parameter_objective",
    "test_dynamic_range_objective",
    "test_sample_relative_categorical",
    "test_trial_relative_params",
)

# No trial has ended in them, so that nothing is known that a sampler could learn from.
DRAWN_ONE_BY_ONE = (
    "test_float",
    "test_int",
    "test_categorical",
    "test_multi_objective_sample_independent",
)


def fixture_of(name):
    """The fixture that the published cases ask for: a function that makes the sampler."""

    @pytest.fixture
    def sampler(self):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return lambda: JaxhpoSampler(name, seed=0)

    return sampler


def published_cases(name):
    """All published test cases that hold for one sampler, as a class.

    Those of parameters that are drawn one by one take no sampler of ours: `random` stands for all.
    """
    objectives = MultiObjectiveSamplerTestCase if name in SEVERAL else SingleOnlySamplerTestCase
    bases = (BasicSamplerTestCase, RelativeSamplerTestCase, objectives)
    dropped = {} if name == "random" else dict.fromkeys(DRAWN_ONE_BY_ONE)
    return pytest.mark.slow(type(f"Test_{name}", bases, dropped | {"sampler": fixture_of(name)}))


for _name in NAMES:
    globals()[f"Test_{_name}"] = published_cases(_name)


class TestQuick:
    sampler = fixture_of("random")


for _case in QUICK:
    _owner = (
        BasicSamplerTestCase if hasattr(BasicSamplerTestCase, _case) else (RelativeSamplerTestCase)
    )
    setattr(TestQuick, _case, getattr(_owner, _case))
