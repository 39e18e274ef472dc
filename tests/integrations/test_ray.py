"""Ray Tune: our searchers, a pruner as scheduler, and a batch as one trial."""

import dataclasses
import pickle
import re
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("ray", reason='Ray Tune is not installed: pip install "jaxhpo[ray]"')

import optuna
from ray import cloudpickle, tune
from ray.tune.search import Searcher

import jaxhpo as hpo
from jaxhpo import samplers
from jaxhpo.integrations import ray as bridge
from jaxhpo.integrations.ray import JaxhpoSearch, PrunerScheduler, sweep_trainable
from tests.test_docs import ROOT, python_blocks, run

PARAMS = {
    "x": tune.uniform(-1.0, 3.0),
    "net": {"width": tune.choice([16, 32])},
    "data": "digits",
}


def searcher(name="random", params=PARAMS, **settings):
    search = JaxhpoSearch(name, seed=0, **settings)
    assert search.set_search_properties("loss", "min", params)
    return search


def loss(config):
    return (config["x"] - 1.0) ** 2 + 0.01 * config["net"]["width"]


def drive(search, first, count):
    """What a tuner does, one trial after the other."""
    configs = []
    for i in range(first, first + count):
        config = search.suggest(f"t{i}")
        search.on_trial_complete(f"t{i}", {"loss": loss(config)})
        configs.append(config)
    return configs


def test_configs_are_those_of_the_param_space():
    config = searcher().suggest("a")
    assert config["data"] == "digits"
    assert config["net"]["width"] in (16, 32)
    assert -1.0 <= config["x"] <= 3.0


@pytest.mark.parametrize("name", ["random", pytest.param("tpe", marks=pytest.mark.slow)])
def test_a_saved_searcher_goes_on_as_it_would_have(name, tmp_path):
    whole = drive(searcher(name), 0, 16)
    first = searcher(name)
    assert drive(first, 0, 12) == whole[:12]
    first.save(tmp_path / "s.pkl")
    second = JaxhpoSearch("qmc")
    second.restore(tmp_path / "s.pkl")
    rest = drive(second, 12, 4)
    assert [c["x"] for c in rest] == pytest.approx([c["x"] for c in whole[12:]], abs=1e-4)
    third = pickle.loads(pickle.dumps(second))
    assert len(third._told) == 16


def test_no_more_trials_run_at_once_than_allowed():
    search = searcher(max_concurrent=2)
    assert search.suggest("a")
    assert search.suggest("b")
    assert search.suggest("c") is None
    search.on_trial_complete("a", {"loss": 1.0})
    assert search.suggest("c")
    assert search.set_max_concurrency(1)
    search.on_trial_complete("b", {"loss": 1.0})
    assert search.suggest("d") is None


def test_failures_signs_and_stray_results():
    search = searcher()
    search.set_search_properties("score", "max", {})
    for name, result, error in (("a", {"score": 2.0}, False), ("b", None, True), ("c", {}, False)):
        search.suggest(name)
        search.on_trial_complete(name, result, error=error)
    search.on_trial_complete("nobody", {"score": 1.0})
    values = [value for _, value in search._told]
    assert values[0] == -2.0
    assert np.isnan(values[1:]).all()


def test_a_space_that_is_used_up_ends_the_search():
    search = searcher(params={"c": tune.grid_search([1, 2, 3])})
    seen = {search.suggest(f"t{i}")["c"] for i in range(3)}
    assert seen == {1, 2, 3}
    assert search.suggest("t3") == Searcher.FINISHED


def test_points_to_try_first():
    point = {"x": 1.0, "net": {"width": 16}, "data": "digits"}
    search = searcher(points_to_evaluate=[point])
    assert search.suggest("a") == point
    assert search.suggest("b") != point


def test_wrong_use_is_one_line():
    with pytest.raises(ValueError, match="`mode` must be 'min' or 'max'"):
        JaxhpoSearch(mode="minimise")
    with pytest.raises(TypeError, match="`width` is not a setting of 'tpe'"):
        JaxhpoSearch("tpe", width=3)
    with pytest.raises(RuntimeError, match="give `space`, or `param_space`"):
        JaxhpoSearch().suggest("a")
    with pytest.raises(ValueError, match="sample_from"):
        JaxhpoSearch().set_search_properties("l", "min", {"x": tune.sample_from(lambda s: 1)})
    given = JaxhpoSearch(space={"x": hpo.uniform(0.0, 1.0)})
    assert not given.set_search_properties("l", "min", {"y": tune.uniform(0, 1)})
    with pytest.raises(TypeError, match="`pruner` must be an Optuna pruner"):
        PrunerScheduler("median")


def test_a_batch_is_one_trial(monkeypatch):
    import jax.numpy as jnp

    training = hpo.Training(
        init=lambda key, hparams: jnp.ones(hparams["width"]),
        step=lambda key, hparams, state, t: state * (1 - hparams["lr"]) + hparams["shift"],
        loss=lambda hparams, state: jnp.mean(state**2),
    )
    space = {
        "lr": hpo.uniform(0.0, 1.0),
        "shift": hpo.uniform(0.0, 1.0),
        "width": hpo.static([2, 4]),
    }
    train = sweep_trainable(training, space, batch_size=16, num_steps=4, num_reports=1)
    reports = []
    monkeypatch.setattr(bridge.tune, "report", reports.append)
    train({"width": 4, "shift": 0.0, "seed": 3})
    (report,) = reports
    best = report["best"]
    assert (best["width"], best["shift"]) == (4, 0.0)
    assert report["loss"] == pytest.approx((1 - best["lr"]) ** 8, rel=1e-4)
    assert report["median_loss"] > report["loss"]
    with pytest.raises(TypeError, match="`space` must be a dict"):
        sweep_trainable(training, 3, batch_size=2, num_steps=1)


@pytest.mark.slow
def test_the_page_for_ray_s_users_runs(tmp_path):
    page = ROOT / "docs" / "coming-from-ray.md"
    done = run(["-c", python_blocks(page)], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def cluster():
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


def fit(search, tmp_path, trainable, params, scheduler=None, num_samples=8, reuse_actors=False):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner = tune.Tuner(
            trainable,
            param_space=params,
            tune_config=tune.TuneConfig(
                metric="loss", mode="min", num_samples=num_samples, search_alg=search,
                scheduler=scheduler, reuse_actors=reuse_actors,
            ),
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        )  # fmt: skip
        return tuner.fit()


def local(function):
    """Sent to the workers by value: they need not import this module, nor JAX."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return function


def report_loss(config):
    from ray import tune

    tune.report({"loss": (config["x"] - 1.0) ** 2})


def report_curve(config):
    from ray import tune

    for step in range(6):
        tune.report({"loss": (config["x"] - 1.0) ** 2 + 1.0 / (step + 1)})


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in samplers.names() if n != "gradient"])
def test_every_sampler_is_a_searcher(name, tmp_path):
    search = searcher(name)
    configs = drive(search, 0, 6)
    assert all(-1.0 <= config["x"] <= 3.0 for config in configs)
    search.save(tmp_path / "s.pkl")
    other = JaxhpoSearch()
    other.restore(tmp_path / "s.pkl")
    assert drive(other, 6, 2)[0] not in configs


@pytest.mark.filterwarnings("ignore")
def test_a_real_tuner_runs_it(cluster, tmp_path):
    search = JaxhpoSearch("random", seed=0, max_concurrent=1)
    params = {"x": tune.uniform(-1.0, 3.0)}
    # One process for all trials: most of the time of this test is the start of Ray's processes.
    results = fit(search, tmp_path, local(report_loss), params, num_samples=3, reuse_actors=True)
    assert len(results) == 3
    assert results.num_errors == 0
    best = results.get_best_result()
    assert best.metrics["loss"] == (best.config["x"] - 1.0) ** 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_pruner_stops_trials_of_a_real_tuner(cluster, tmp_path):
    scheduler = PrunerScheduler(optuna.pruners.MedianPruner(n_startup_trials=2))
    search = JaxhpoSearch("random", seed=0, max_concurrent=1)
    params = {"x": tune.uniform(-1.0, 3.0)}
    results = fit(search, tmp_path, local(report_curve), params, scheduler, num_samples=6)
    lengths = [result.metrics["training_iteration"] for result in results]
    assert min(lengths) < max(lengths) == 6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_real_tuner_trains_batches(cluster, tmp_path):
    import jax.numpy as jnp

    training = hpo.Training(
        init=lambda key, hparams: jnp.ones(hparams["width"]),
        step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        loss=lambda hparams, state: jnp.mean(state**2),
    )
    space = {"lr": hpo.uniform(0.0, 1.0), "width": hpo.static([2, 4])}
    trainable = local(sweep_trainable(training, space, batch_size=32, num_steps=3))
    results = fit(None, tmp_path, trainable, {"width": tune.grid_search([2, 4])}, num_samples=1)
    assert results.num_errors == 0
    found = {result.config["width"]: result.metrics for result in results}
    assert set(found) == {2, 4}
    for width, metrics in found.items():
        assert metrics["best"]["width"] == width
        assert metrics["loss"] == pytest.approx((1 - metrics["best"]["lr"]) ** 6, rel=1e-3)
        assert metrics["num_failed"] == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_page_s_two_programs_of_population_based_training_run(cluster, tmp_path):
    """Ray's in a smaller population and fewer rounds, since each copy starts a process."""
    page = ROOT / "docs" / "coming-from-ray.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    theirs = next(block for block in blocks if "PopulationBasedTraining(" in block)
    ours = next(block for block in blocks if "hpo.schedulers.pbt(" in block)
    names = {"tune": tune}
    exec(theirs, names)
    exec(ours, names)
    config = dataclasses.replace(names["pbt_config"], num_samples=4, reuse_actors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = tune.Tuner(
            names["Train"],
            param_space={"lr": tune.loguniform(1e-4, 1e-1)},
            tune_config=config,
            run_config=tune.RunConfig(
                stop={"training_iteration": 3}, storage_path=str(tmp_path), verbose=0
            ),
        ).fit()
    assert len(results) == 4
    assert results.get_best_result("loss", "min").metrics["loss"] < 1
    # No schedule within the space is better than the highest rate from the first step on.
    assert (1 - 0.1) ** 200 * 0.999 <= names["swept"].best_loss < 0.1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_page_s_two_programs_of_asha_run(cluster, tmp_path):
    page = ROOT / "docs" / "coming-from-ray.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    names = {"tune": tune}
    exec(next(block for block in blocks if "ASHAScheduler(" in block), names)
    exec(next(block for block in blocks if "def run_with_study(" in block), names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = names["run_with_tune"](str(tmp_path))
    ours = names["run_with_study"](f"sqlite:///{tmp_path / 's.db'}")
    # Of nine uniform draws, none is nearer than this once in 10,000 times.
    assert all(abs(config["x"] - 0.3) < 0.34 for config in (theirs, ours))
