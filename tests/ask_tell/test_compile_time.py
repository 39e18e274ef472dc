"""Waiting for the compiler: counted apart from trials, and said while it lasts."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optuna
import pytest
from jax.tree_util import Partial
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

import jaxhpo as hpo
from jaxhpo._base import Sampler
from jaxhpo.ask_tell import CompileClock, _compile_clock
from jaxhpo.integrations.optuna import JaxhpoSampler
from jaxhpo.integrations.sklearn import SearchCV
from jaxhpo.progress import _reporter
from jaxhpo.study.running._evaluate import evaluate

WAIT = 0.5
TREE = {"x": hpo.uniform(0.0, 1.0)}


def slow_sampler(during_trace=lambda: None):
    """A random sampler whose program takes `WAIT` seconds to trace."""

    def ask(key, state):
        time.sleep(WAIT)
        during_trace()
        return state, jax.random.uniform(key, (1, 1))

    def tell(key, state, unit, outcome):
        return state, None

    return Sampler(Partial(lambda key: jnp.zeros(())), Partial(ask), Partial(tell))


def study_of(sampler, **settings):
    return hpo.Study(TREE, sampler, storage=None, **settings)


def test_a_trial_has_the_wait_before_it_beside_its_duration():
    study = study_of(slow_sampler())
    study.optimize(lambda params: params["x"], num_trials=3, progress=False)
    first, *others = study.trials
    assert first.compile_seconds > WAIT
    assert [trial.compile_seconds for trial in others] == [0.0, 0.0]
    assert max(trial.seconds for trial in study.trials) < WAIT / 2
    assert study.compile_seconds == first.compile_seconds
    assert list(study.to_dataframe()["compile_seconds"]) == [first.compile_seconds, 0.0, 0.0]


def test_a_trial_that_waited_beside_a_proposal_has_no_part_of_it():
    study = study_of(slow_sampler())
    study.enqueue({"x": 0.5})
    trials = study._sampler.ask(2)  # as with two workers: the first one waits for the other
    results = [evaluate(lambda params: params["x"], trial.params) for trial in trials]
    study._sampler.tell(trials, results)
    enqueued, proposed = study.trials
    assert enqueued.seconds < WAIT / 2
    assert proposed.seconds < WAIT / 2
    assert enqueued.compile_seconds == 0.0
    assert proposed.compile_seconds > WAIT


def test_a_study_that_finds_the_program_waits_for_nothing():
    for _ in range(2):
        study = study_of("random")
        study.optimize(lambda params: params["x"], num_trials=2, progress=False)
    assert study.compile_seconds == 0.0


def test_the_wait_outlives_the_process(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    study = hpo.Study(TREE, slow_sampler(), storage=storage, name="kept")
    [asked] = study.ask()
    [told] = study.tell(asked, 0.5)
    loaded = hpo.load_study("kept", storage)
    assert loaded.compile_seconds == told.compile_seconds == asked.compile_seconds > WAIT


@pytest.mark.parametrize("progress", [True, False, lambda event: None])
def test_what_is_waited_for_is_said_meanwhile(progress, monkeypatch, capfd):
    meanwhile = []
    sampler = slow_sampler(lambda: meanwhile.append(capfd.readouterr().err))
    study = study_of(sampler)
    meanwhile.clear()
    monkeypatch.setattr(_reporter, "SLOW_SECONDS", WAIT / 10)
    study.optimize(lambda params: params["x"], num_trials=2, progress=progress)
    said = "".join(meanwhile)
    assert len(meanwhile) == 1
    assert (": compiling test_compile_time, " in said) == (progress is True)
    assert progress is True or said == ""
    assert "compiling" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("is_kept", "capacity", "line"),
    [
        (True, 128, "compiling gp for 128 trials, once per machine\n"),
        (False, 0, "compiling gp, in every process\n"),
    ],
)
def test_how_often_it_comes_is_said_as_well(is_kept, capacity, line, monkeypatch, capfd):
    monkeypatch.setattr(_compile_clock, "keeps_programs", lambda: is_kept)
    monkeypatch.setattr(_reporter, "SLOW_SECONDS", 0.0)
    with CompileClock().waiting("gp", capacity):
        time.sleep(WAIT)
        assert capfd.readouterr().err == line


def test_a_sweep_s_trials_have_no_part_of_the_compilation():
    def step(key, hparams, state, t):
        time.sleep(WAIT)  # while it is traced
        return state * (1 - hparams["x"])

    training = hpo.Training(
        init=lambda key, hparams: jnp.ones(()), step=step, loss=lambda hparams, state: state**2
    )
    study = study_of("random")
    study.sweep(training, num_trials=4, num_steps=3, progress=False)
    assert study.trials[0].compile_seconds > WAIT
    assert sum(trial.compile_seconds for trial in study.trials[1:]) == 0.0
    assert sum(trial.seconds for trial in study.trials) < WAIT


def test_searchcv_s_fits_have_no_part_of_it():
    settings = {"n_iter": 2, "cv": 2, "batch_size": 1, "sampler": lambda space: slow_sampler()}
    search = SearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2, 3]}, **settings)
    search.fit(*load_iris(return_X_y=True))
    first, second = search.study_.trials
    assert first.compile_seconds > WAIT > second.compile_seconds
    assert max(first.seconds, second.seconds) < WAIT / 2
    assert np.sum(search.cv_results_["mean_fit_time"]) < WAIT / 2


def test_optuna_s_trials_say_how_much_of_them_it_was():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=JaxhpoSampler(lambda space: slow_sampler(), seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=3)
    waits = [trial.system_attrs.get("jaxhpo", {}).get("compile_seconds") for trial in study.trials]
    assert waits[0] is waits[2] is None  # the first one is drawn at random
    assert waits[1] > WAIT
    assert study.trials[1].duration.total_seconds() > waits[1]


def test_the_report_tells_both(tmp_path):
    study = study_of(slow_sampler())
    study.optimize(lambda params: params["x"], num_trials=2, progress=False)
    text = study.report(tmp_path / "report.html", model=False, progress=False).read_text()
    assert f"The compiler took {study.compile_seconds:.3g} s beside that." in text
