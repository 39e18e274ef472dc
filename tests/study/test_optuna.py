"""Optuna reads our studies as they are: its loader, its plots, its importances, its samplers."""

import jax
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import jaxhpo as hpo
from jaxhpo.study import Study
from jaxhpo.study.storage._distributions import distributions_of, internal_value
from tests.study import objectives

EVERYTHING = {
    "lr": hpo.log_uniform(1e-4, 1.0),
    "u": hpo.uniform(-1e3, 0.1, shape=(2, 1)),
    "q": hpo.quantized(0.0, 0.95, 0.1),
    "ql": hpo.quantized(0.1, 3.0, 0.1, log=True),
    "i": hpo.integer(-3, 9, step=4),
    "il": hpo.integer(1, 512, log=True),
    "ils": hpo.integer(2, 64, step=3, log=True),
    "n": hpo.normal(0.0, 1.0),
    "ns": hpo.normal(0.0, 1.0, step=0.25),
    "ln": hpo.log_normal(0.0, 1.0),
    "lns": hpo.log_normal(0.0, 1.0, step=0.5),
    "c": hpo.choice([None, True, 1, 1.0, "x", (1, 2)]),
    "o": hpo.ordinal([8, 32, 128]),
    "s": hpo.static([3, 4]),
    "f": hpo.fixed("data"),
    "m": hpo.choice({"svm": {"C": hpo.log_uniform(0.1, 10.0)}, "none": {}}),
}


@pytest.fixture
def study(url):
    study = Study(objectives.SPACES["conditional"](), "qmc", storage=url, name="s")
    study.optimize(objectives.score, num_trials=24)
    return study


def test_every_value_of_every_dimension_lies_in_its_distribution():
    space = hpo.Space(EVERYTHING)
    found = distributions_of(space)
    ends = [space.from_unit(jax.numpy.full((1, space.num_dims), end)) for end in (0.0, 1.0)]
    batches = [space.sample(jax.random.key(0), 64), *ends]
    for params in [row for batch in batches for row in space.decode(batch)]:
        flat = space.flatten_params(params)
        assert set(flat) <= set(found)
        for name, value in flat.items():
            stored = internal_value(found[name], value)
            assert found[name]._contains(stored), (name, value)
            back = found[name].to_external_repr(stored)
            assert back == value
            assert type(back) is type(value)


def test_kinds_and_scales_are_those_of_the_space():
    found = distributions_of(hpo.Space(EVERYTHING))
    assert found["lr"] == FloatDistribution(1e-4, 1.0, log=True)
    assert found["u[0][0]"] == found["u[1][0]"] == FloatDistribution(-1e3, 0.1)
    assert found["q"] == FloatDistribution(0.0, 0.9, step=0.1)
    assert found["i"] == IntDistribution(-3, 9, step=4)
    assert found["il"] == IntDistribution(1, 512, log=True)
    assert found["ils"].log
    assert found["o"] == CategoricalDistribution([8, 32, 128])
    assert found["m"] == CategoricalDistribution(["svm", "none"])
    assert "m.svm.C" in found


def test_a_space_of_everything_survives_the_database(url):
    made = Study(EVERYTHING, "random", storage=url, name="s")
    made.optimize(lambda p: p["lr"], num_trials=30)
    again = Study(EVERYTHING, "random", storage=url, name="s")
    seen = []
    twin = Study(EVERYTHING, "random", storage=None)
    twin.optimize(lambda p: seen.append(p) or p["lr"], num_trials=30)
    assert [t.params for t in again.trials] == seen
    assert {type(t.params["c"]) for t in again.trials} >= {bool, int, float, str, tuple}


def test_inactive_parameters_are_absent(study):
    for trial in study.to_optuna().trials:
        branch = trial.params["model"]
        assert ("model.svm.C" in trial.params) is (branch == "svm")
        assert ("model.knn.k" in trial.params) is (branch == "knn")


def test_optuna_loads_and_plots_it(study, url):
    pytest.importorskip("plotly")
    loaded = optuna.load_study(study_name="s", storage=url)
    assert loaded.best_value == study.best_value
    assert loaded.direction.name == "MINIMIZE"
    from optuna import visualization

    assert len(visualization.plot_optimization_history(loaded).data[0].x) == 24
    assert visualization.plot_parallel_coordinate(loaded).data
    assert visualization.plot_slice(loaded).data
    assert visualization.plot_timeline(loaded).data
    names = set(optuna.importance.get_param_importances(loaded))
    assert {"w[0]", "w[1]", "model"} <= names
    assert visualization.plot_param_importances(loaded).data


def test_learning_curves_are_intermediate_values(url):
    pytest.importorskip("plotly")
    from optuna import visualization

    study = Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=url, name="s")
    study.record([{"x": 0.5}], [1.0], curves=[[3.0, 1.0]], curve_steps=[1, 2])
    (line,) = visualization.plot_intermediate_values(study.to_optuna()).data
    assert list(line.y) == [3.0, 1.0]


def test_optuna_s_sampler_goes_on_with_our_study_and_we_with_its_trials(url):
    space = {"x": hpo.uniform(-1.0, 3.0), "lr": hpo.log_uniform(1e-4, 1.0)}
    ours = Study(space, "qmc", storage=url, name="s")
    ours.optimize(objectives.score, num_trials=12)
    theirs = optuna.load_study(
        study_name="s", storage=url, sampler=optuna.samplers.TPESampler(seed=0)
    )
    theirs.optimize(
        lambda t: t.suggest_float("x", -1.0, 3.0) + t.suggest_float("lr", 1e-4, 1.0, log=True),
        n_trials=3,
    )
    ours.optimize(objectives.score, num_trials=2)
    assert [t.number for t in ours.trials] == list(range(17))
    assert ours.best_value == optuna.load_study(study_name="s", storage=url).best_value
