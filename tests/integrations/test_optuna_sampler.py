"""Our samplers in Optuna's studies: histories, branches, workers, refusals."""

import logging
import pickle

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from jaxhpo.ask_tell import HostSampler
from jaxhpo.integrations.optuna import JaxhpoSampler


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def new_study(*arguments, storage=None, name=None, **settings):
    sampler = JaxhpoSampler(*arguments, **settings)
    return optuna.create_study(
        sampler=sampler, storage=storage, study_name=name, load_if_exists=True
    )


def bowl(trial):
    x = trial.suggest_float("x", -1.0, 3.0)
    return (x - 1.0) ** 2 + 0.1 * trial.suggest_int("k", 0, 3)


def branches(trial):
    depth = trial.suggest_float("depth", 0.0, 1.0)
    if trial.suggest_categorical("model", ["svm", "knn"]) == "svm":
        return depth + (trial.suggest_float("C", 1e-3, 1e3, log=True) - 1.0) ** 2
    return depth + 2.0 + trial.suggest_int("k", 1, 9)


def params(study):
    return [trial.params for trial in study.trials]


@pytest.mark.slow
def test_it_finds_the_minimum():
    study = new_study("tpe", seed=0)
    study.optimize(bowl, n_trials=40)
    assert study.best_value < 0.05
    assert study.best_params["k"] == 0


@pytest.mark.slow
def test_branches_are_learned_as_groups_of_their_own():
    study = new_study("tpe", seed=0, num_startup=5)
    study.optimize(branches, n_trials=60)
    taken = [t.params["model"] for t in study.trials[30:]]
    assert taken.count("svm") > 20
    late = [t.params["C"] for t in study.trials[30:] if "C" in t.params]
    early = [t.params["C"] for t in study.trials[:20] if "C" in t.params]
    assert np.median(np.abs(np.log(late))) < np.median(np.abs(np.log(early)))


@pytest.mark.parametrize("name", ["random", "qmc"])
def test_a_resumed_study_goes_on_as_the_uninterrupted_one(name, tmp_path):
    whole = new_study(name, seed=3)
    whole.optimize(bowl, n_trials=16)
    for count in (5, 11):
        backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "s.journal"))
        storage = optuna.storages.JournalStorage(backend)
        part = new_study(name, seed=3, storage=storage, name="s")
        part.optimize(bowl, n_trials=count)
    assert params(part) == params(whole)
    assert len({p["x"] for p in params(part)}) == 16


def test_threads_and_copies_never_repeat_each_other(tmp_path):
    study = new_study("random", seed=1)
    study.optimize(bowl, n_trials=16, n_jobs=4)
    assert len({p["x"] for p in params(study)}) == 16
    copy = pickle.loads(pickle.dumps(study.sampler))
    again = optuna.create_study(sampler=copy)
    again.optimize(bowl, n_trials=16)
    assert {p["x"] for p in params(again)[:1]} == {p["x"] for p in params(study)[:1]}
    copy.reseed_rng()


def test_failed_and_pruned_trials_are_told(monkeypatch):
    told, tell = [], HostSampler.tell

    def note(engine, unit, value, violation):
        told.extend(value[:, 0])
        tell(engine, unit, value, violation)

    def moody(trial):
        value = bowl(trial)
        if trial.number % 3 == 1:
            trial.report(value, 1)
            raise optuna.TrialPruned
        return float("nan") if trial.number % 3 == 2 else value

    monkeypatch.setattr(HostSampler, "tell", note)
    study = new_study("random", seed=0)
    study.optimize(moody, n_trials=15)
    expected = [np.nan if t.value is None else t.value for t in study.trials[:14]]
    np.testing.assert_array_equal(told, expected)  # the last one has not been looked at yet
    assert np.isnan(told).sum() == 4


def test_trials_of_another_process_are_known_while_they_run():
    study = new_study("random", seed=0)
    study.optimize(bowl, n_trials=3)
    space = {"x": FloatDistribution(-1.0, 3.0), "k": IntDistribution(0, 3)}
    other = optuna.load_study(
        study_name=study.study_name, storage=study._storage, sampler=JaxhpoSampler("random")
    )
    running = other.ask(space)
    study.optimize(bowl, n_trials=1)
    (block,) = study.sampler._memories[study.study_name]._blocks.values()
    assert block._assumed_failed == {running.number}
    other.tell(running, 0.5)
    study.optimize(bowl, n_trials=1)
    assert block._assumed_failed == set()
    assert running.number in block._told


def test_enqueued_values_are_taken_for_what_they_are():
    study = new_study("random", seed=0)
    study.optimize(bowl, n_trials=2)
    study.enqueue_trial({"x": 1.0, "k": 0})
    study.optimize(bowl, n_trials=3)
    assert study.trials[2].params == {"x": 1.0, "k": 0}
    (block,) = study.sampler._memories[study.study_name]._blocks.values()
    assert block._told == {0, 1, 2, 3}


def test_constraints_are_stored_and_told():
    study = new_study("random", seed=0, constraints_func=lambda t: [t.params["x"] - 0.5])
    study.optimize(bowl, n_trials=20)
    assert study.best_params["x"] <= 0.5
    assert all(len(trial.constraints) == 1 for trial in study.trials)
    bad = new_study("random", constraints_func=lambda t: [float("nan")])
    with pytest.raises(ValueError, match="`constraints_func` must return numbers"):
        bad.optimize(bowl, n_trials=1)


@pytest.mark.slow
def test_gp_by_name_models_constraints():
    def found(**settings):
        study = new_study(
            "gp",
            seed=0,
            num_startup=2,
            constraints_func=lambda t: [0.8 - t.params["x"]],
            **settings,
        )
        study.optimize(bowl, n_trials=5)
        return params(study)

    assert found() == found(constrained=True)
    assert found() != found(constrained=False)


def test_several_objectives_where_the_sampler_takes_them():
    def two(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        return x, 1.0 - x

    study = optuna.create_study(directions=["minimize"] * 2, sampler=JaxhpoSampler("random"))
    study.optimize(two, n_trials=4)
    assert len(study.best_trials) == 4
    refused = optuna.create_study(directions=["minimize"] * 2, sampler=JaxhpoSampler("tpe"))
    with pytest.raises(ValueError, match="must take 2 objectives"):
        refused.optimize(two, n_trials=1)


def test_an_exhausted_space_repeats_or_ends_the_study(caplog):
    def few(trial):
        return trial.suggest_categorical("c", [1, 2, 3])

    study = new_study("random", seed=0)
    with caplog.at_level(logging.WARNING, "jaxhpo"):
        study.optimize(few, n_trials=8)
    assert len(study.trials) == 8
    assert caplog.text.count("every configuration has been tried") == 1
    ended = new_study("random", seed=0, stop_when_exhausted=True)
    ended.optimize(few, n_trials=20)
    assert 3 <= len(ended.trials) <= 4


def test_what_no_space_expresses_is_drawn_at_random_and_said_once(caplog):
    def wide(trial):
        return trial.suggest_int("n", 0, 2**60) + trial.suggest_float("x", 0.0, 1.0)

    study = new_study("qmc", seed=0)
    with caplog.at_level(logging.WARNING, "jaxhpo"):
        study.optimize(wide, n_trials=6)
    assert caplog.text.count("too many values for a Space") == 1
    assert len({t.params["n"] for t in study.trials}) == 6


def test_choices_that_are_equal_in_python_stay_apart():
    choices = [True, 1, 1.0, None, "1"]
    study = new_study("random", seed=0)
    study.optimize(lambda t: float(t.suggest_categorical("c", choices) is None), n_trials=5)
    assert {t.params["c"] for t in study.trials[1:]} <= set(choices)


def test_hyperband_s_brackets_work():
    def curve(trial):
        x = trial.suggest_float("x", -1.0, 3.0)
        for step in range(4):
            trial.report((x - 1.0) ** 2 + 1.0 / (step + 1), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return (x - 1.0) ** 2

    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=4)
    study = optuna.create_study(sampler=JaxhpoSampler("random", seed=0), pruner=pruner)
    study.optimize(curve, n_trials=12)
    assert len(study.trials) == 12


def test_wrong_arguments_are_named_when_the_sampler_is_made():
    with pytest.raises(ValueError, match=r"JaxhpoSampler: `sampler` must be one of .*tpe"):
        JaxhpoSampler("tpee")
    with pytest.raises(ValueError, match="`sampler` must be one that needs no gradient"):
        JaxhpoSampler("gradient")
    with pytest.raises(TypeError, match="`gama` is not a setting of 'tpe'; its settings"):
        JaxhpoSampler("tpe", gama=3)
    with pytest.raises(TypeError, match="`sampler` must be a name"):
        JaxhpoSampler(3)
    with pytest.raises(TypeError, match="`constraints_func`"):
        JaxhpoSampler("tpe", constraints_func=1)
    with pytest.raises(ValueError, match="`seed`"):
        JaxhpoSampler("tpe", seed=-1)
    with pytest.raises(ValueError, match="batch_size"):
        JaxhpoSampler("random", batch_size=0)


def test_a_categorical_value_outside_the_choices_is_left_out_of_the_history():
    study = new_study("random", seed=0)
    old = CategoricalDistribution(["a", "b", "z"])
    study.add_trial(optuna.create_trial(params={"c": "z"}, distributions={"c": old}, value=1.0))
    space = {"c": CategoricalDistribution(["a", "b"])}
    drawn = study.sampler.sample_relative(study, study.ask()._cached_frozen_trial, space)
    assert drawn["c"] in ("a", "b")
