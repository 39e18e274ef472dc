import warnings

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from jaxhpo.space import from_optuna
from tests.space.readers.foreign_draws import draw, same_frequencies, same_law

optuna.logging.set_verbosity(optuna.logging.WARNING)

DISTRIBUTIONS = {
    "a": FloatDistribution(-1.0, 3.0),
    "b": FloatDistribution(1e-5, 1e-1, log=True),
    "c": FloatDistribution(0.0, 0.9, step=0.3),
    "d": IntDistribution(-3, 3),
    "e": IntDistribution(1, 9, step=4),
    "f": IntDistribution(1, 100, log=True),
    "g": CategoricalDistribution([None, True, 1.5, "x"]),
    "h": FloatDistribution(2.0, 2.0),
}


def optuna_draws(num_draws):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    return [study.ask(DISTRIBUTIONS).params for _ in range(num_draws)]


def test_draws_follow_optunas_random_sampler():
    ours, theirs = draw(from_optuna(DISTRIBUTIONS)), optuna_draws(2000)
    for name in "ab":
        same_law([p[name] for p in ours], [p[name] for p in theirs])
    for name in "deg":
        same_frequencies([p[name] for p in ours], [p[name] for p in theirs])
    # Optuna's grid carries rounding errors (0.8999999999999999); ours is exact.
    same_frequencies([p["c"] for p in ours], [round(p["c"], 9) for p in theirs])
    same_law(np.log([p["f"] for p in ours]), np.log([p["f"] for p in theirs]))
    assert {p["f"] for p in ours} <= set(range(1, 101))
    assert {p["h"] for p in ours} == {2.0}


def test_optuna_accepts_every_decoded_configuration():
    study = optuna.create_study()
    with warnings.catch_warnings():
        # enqueue_trial + ask validates each value: out of range is a warning, an error here.
        warnings.simplefilter("error")
        for params in draw(from_optuna(DISTRIBUTIONS), 50):
            study.enqueue_trial(params)
            assert study.ask(DISTRIBUTIONS).params == params
            optuna.trial.create_trial(params=params, distributions=DISTRIBUTIONS, value=0.0)


def test_a_study_gives_the_union_of_its_trials():
    study = optuna.create_study()
    study.ask({"x": FloatDistribution(0.0, 1.0)})
    trial = study.ask({"x": FloatDistribution(0.0, 1.0), "y": IntDistribution(1, 4)})
    assert from_optuna(study).names == ("x", "y")
    assert from_optuna(trial).names == ("x", "y")
    assert from_optuna(study.trials[0]).names == ("x",)


def test_older_classes_derive_from_the_new_ones():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        old = {"lr": optuna.distributions.LogUniformDistribution(1e-3, 1.0)}
    space = from_optuna(old)
    assert float(space.from_unit(np.asarray([0.5]))["lr"]) == pytest.approx(10**-1.5, rel=1e-5)


def test_bad_input_is_named():
    with pytest.raises(TypeError, match=r"from_optuna: `distributions\['x'\]` must be a FloatD.*3"):
        from_optuna({"x": 3})
    with pytest.raises(TypeError, match=r"from_optuna: `distributions` must be a dict.*got 5"):
        from_optuna(5)
    with pytest.raises(ValueError, match=r"from_optuna: `distributions` must be a dict with at le"):
        from_optuna({})
    study = optuna.create_study()
    study.ask({"x": FloatDistribution(0.0, 1.0)})
    study.ask({"x": FloatDistribution(0.0, 2.0)})
    with pytest.raises(ValueError, match="a study whose trials agree about 'x', got"):
        from_optuna(study)
