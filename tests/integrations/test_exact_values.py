"""Every door hands out exact values: timestamps, fine grids far from 0, huge integers."""

import logging

import numpy as np
import optuna
import pytest
from scipy import stats

import jaxhpo as hpo
from jaxhpo.integrations.optuna import JaxhpoSampler

LOW, HOUR = 1.7e9, 3600.0
BIG = 2**52 + 1


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def check_times(values):
    """Fractions of a second, which float32 rounds to two minutes."""
    values = np.asarray(values, np.float64)
    assert ((values >= LOW) & (values <= LOW + HOUR)).all()
    assert len(set(values.tolist())) == len(values)
    assert len({round(v - LOW) % 128 for v in values.tolist()}) > len(values) // 3
    assert np.std(values) > HOUR / 10


def check_minutes(values):
    values = np.asarray(values, np.float64)
    assert ((values - LOW) % 60.0 == 0.0).all()
    assert ((values >= LOW) & (values <= LOW + HOUR)).all()
    assert len(set(values.tolist())) > 5


def check_integers(values, low=0, high=BIG):
    assert all(float(v).is_integer() and low <= v <= high for v in values)
    assert np.std(np.asarray(values, np.float64)) > (high - low) / 10
    assert {int(v) % 2 for v in values} == {0, 1}


def check_tiny(values):
    logs = np.log10(np.asarray(values, np.float64))
    assert ((logs >= -300.0) & (logs <= 0.0)).all()
    assert np.std(logs) > 30.0


@pytest.mark.parametrize("name", ["random", "qmc", "tpe"])
def test_optuna(name, caplog):
    def objective(trial):
        trial.suggest_float("time", LOW, LOW + HOUR)
        trial.suggest_float("minute", LOW, LOW + HOUR, step=60)
        trial.suggest_int("big", 0, BIG)
        trial.suggest_int("near", 2**40, 2**40 + 10)
        trial.suggest_float("tiny", 1e-300, 1.0, log=True)
        return float(trial.number % 5)

    study = optuna.create_study(sampler=JaxhpoSampler(name, seed=0))
    with caplog.at_level(logging.WARNING, "jaxhpo"):
        study.optimize(objective, n_trials=24)
    assert "drawn at random" not in caplog.text
    found = {key: [t.params[key] for t in study.trials] for key in study.best_params}
    check_times(found["time"])
    check_minutes(found["minute"])
    check_integers(found["big"])
    check_integers(found["near"], 2**40, 2**40 + 10)
    check_tiny(found["tiny"])
    # What has ended was recognised: none was taken for a stranger.
    (block,) = study.sampler._memories[study.study_name]._blocks.values()
    assert len(block._told) == 23


def test_optuna_learns_an_integer_beyond_32_bits():
    study = optuna.create_study(sampler=JaxhpoSampler("tpe", seed=0))
    study.optimize(lambda t: abs(t.suggest_int("n", 0, 2**40) - 2**39) / 2**40, n_trials=50)
    late = [trial.value for trial in study.trials[30:]]
    assert np.median(late) < 0.1


def test_optuna_draws_an_integer_that_no_space_holds(caplog):
    study = optuna.create_study(sampler=JaxhpoSampler("tpe", seed=0))
    with caplog.at_level(logging.WARNING, "jaxhpo"):
        study.optimize(lambda t: float(t.suggest_int("n", 0, 2**70)), n_trials=6)
    assert caplog.text.count("drawn at random") == 1
    assert len({trial.params["n"] for trial in study.trials}) == 6


def test_sklearn():
    from jaxhpo.integrations.sklearn import SearchCV
    from tests.integrations.test_sklearn_inputs import Anything, X, Y

    space = {"value": stats.uniform(LOW, HOUR), "other": stats.loguniform(1e-300, 1.0)}
    search = SearchCV(
        Anything(), space, n_iter=16, cv=2, random_state=0, sampler="qmc", refit=False
    )
    rows = search.fit(X, Y).cv_results_["params"]
    check_times([row["value"] for row in rows])
    check_tiny([row["other"] for row in rows])
    space = {"value": stats.randint(0, BIG + 1), "other": hpo.quantized(LOW, LOW + HOUR, 60)}
    search = SearchCV(
        Anything(), space, n_iter=16, cv=2, random_state=0, sampler="qmc", refit=False
    )
    rows = search.fit(X, Y).cv_results_["params"]
    check_integers([row["value"] for row in rows])
    check_minutes([row["other"] for row in rows])


def test_scipy():
    from jaxhpo.integrations.scipy import minimize

    found = minimize(
        lambda x: float(x[0] - LOW), [LOW + 1.25, 3.0], method="qmc",
        bounds=[(LOW, LOW + HOUR), (0, BIG)], integrality=[False, True], options={"maxiter": 24},
    )  # fmt: skip
    assert found.trials.x[0].tolist() == [LOW + 1.25, 3.0]
    check_times(found.trials.x[:, 0])
    check_integers(found.trials.x[:, 1])


def test_gpyopt():
    from jaxhpo.integrations.gpyopt import BayesianOptimization

    domain = [
        {"name": "time", "type": "continuous", "domain": (LOW, LOW + HOUR)},
        {"name": "big", "type": "discrete", "domain": (0, 2**40 + 1, BIG)},
    ]
    search = BayesianOptimization(lambda x: x[0, 0] - LOW, domain, initial_design_numdata=16)
    check_times(search.X[:, 0])
    assert set(search.X[:, 1].tolist()) == {0.0, float(2**40 + 1), float(BIG)}


def test_hyperopt():
    from hyperopt import Trials, hp

    from jaxhpo.integrations.hyperopt import fmin

    space = {
        "time": hp.uniform("time", LOW, LOW + HOUR),
        "minute": hp.quniform("minute", LOW, LOW + HOUR, 20),
        "big": hp.randint("big", BIG + 1),
        "tiny": hp.loguniform("tiny", np.log(1e-300), 0.0),
    }
    trials, seen = Trials(), []
    fmin(lambda p: seen.append(p) or p["time"] - LOW, space, "qmc", 24, trials=trials)
    check_times([p["time"] for p in seen])
    assert all((p["minute"] - LOW) % 20 == 0 for p in seen)
    check_integers([p["big"] for p in seen])
    check_tiny([p["tiny"] for p in seen])


def test_ray():
    tune = pytest.importorskip("ray.tune")
    from jaxhpo.integrations.ray import JaxhpoSearch

    search = JaxhpoSearch("qmc", metric="loss", mode="min")
    search.set_search_properties(
        None, None,
        {
            "time": tune.uniform(LOW, LOW + HOUR),
            "minute": tune.quniform(LOW, LOW + HOUR, 20),
            "big": tune.randint(0, BIG + 1),
            "tiny": tune.loguniform(1e-300, 1.0),
        },
    )  # fmt: skip
    configs = [search.suggest(str(i)) for i in range(24)]
    check_times([c["time"] for c in configs])
    assert all((c["minute"] - LOW) % 20 == 0 for c in configs)
    check_integers([c["big"] for c in configs])
    check_tiny([c["tiny"] for c in configs])
