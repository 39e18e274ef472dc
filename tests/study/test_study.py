"""What a study does with what an objective does."""

import inspect
import logging
import math

import jax.numpy as jnp
import numpy as np
import optuna
import pytest

import jaxhpo as hpo
from jaxhpo import Outcome, Status
from jaxhpo.study import Progress, Study, Trial
from tests.study import objectives

X = {"x": hpo.uniform(-1.0, 3.0)}
STORAGES = ["memory", "sqlite", "journal"]


@pytest.fixture(params=STORAGES)
def storage(request, tmp_path):
    """Each kind of storage that needs no server."""
    journal = tmp_path / "study.log"
    return {"memory": None, "sqlite": f"sqlite:///{tmp_path}/s.db", "journal": journal}[
        request.param
    ]


def test_finds_the_minimum_and_gives_real_values(storage):
    space = hpo.Space({**X, "opt": ["adam", None], "n": hpo.integer(1, 4)})
    study = Study(space, "qmc", storage=storage)
    seen = []
    study.optimize(lambda p: seen.append(p) or (p["x"] - 1.0) ** 2, num_trials=32)
    assert [trial.params for trial in study.trials] == seen
    assert [trial.number for trial in study.trials] == list(range(32))
    values = [(p["x"] - 1.0) ** 2 for p in seen]
    assert study.values.tolist() == values
    assert study.best_value == min(values)
    assert study.best.number == values.index(min(values))
    assert study.best_params == seen[study.best.number]
    assert all(type(p["x"]) is float and type(p["n"]) is int for p in seen)
    assert {p["opt"] for p in seen} == {"adam", None}
    assert "32" in study.stop_reason


def test_maximize_tells_the_sampler_the_negative_and_stores_the_user_s_sign(storage):
    study = Study(X, "de", storage=storage, direction="maximize", name="up")
    told = []
    proposer = study._sampler._proposer
    tell = proposer.tell
    proposer.tell = lambda t, *rest: told.append(float(t.value[0])) or tell(t, *rest)
    study.optimize(lambda p: p["x"], num_trials=8)
    assert study.best_value == max(study.values)
    assert told == [-value for value in study.values]


def test_an_objective_that_raises_is_kept_with_its_traceback(storage):
    study = Study(X, "qmc", storage=storage)
    study.optimize(objectives.raises, num_trials=3)
    for trial in study.trials:
        assert trial.status is Status.FAILED
        assert trial.value is None
        assert trial.reason == "LookupError: no luck with ['x']"
        assert "in raises" in trial.error
        assert "LookupError" in trial.error
    with pytest.raises(ValueError, match=r"no complete trial yet, got 3 failed"):
        _ = study.best


def test_catch_raises_what_it_does_not_name_and_keeps_the_trial(storage):
    study = Study(X, "qmc", storage=storage)
    with pytest.raises(LookupError):
        study.optimize(objectives.raises, num_trials=3, catch=())
    with pytest.raises(LookupError):
        study.optimize(objectives.raises, num_trials=3, catch=(ValueError,))
    assert [trial.status for trial in study.trials] == [Status.FAILED] * 2
    assert study.stop_reason == "stopped by LookupError"
    study.optimize(objectives.raises, num_trials=3, catch=LookupError)
    assert len(study.trials) == 5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_value_that_is_not_finite_fails_with_a_reason(storage, value):
    study = Study(X, "qmc", storage=storage)
    study.optimize(lambda p: value, num_trials=1)
    study.optimize(lambda p: p["x"], num_trials=1)
    failed, complete = study.trials
    assert failed.status is Status.FAILED
    assert f"the value was {float(value)}" in failed.reason
    assert complete.status is Status.COMPLETE
    assert study.best.number == 1
    assert np.isnan(study.values[0])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, r"None \(is a `return` missing\?\)"),
        ("0.5", r"'0.5' \(str\)"),
        (np.zeros(3), r"of shape \(3,\)"),
        (jnp.zeros((1, 1)), r"of shape \(1, 1\)"),
        (True, "bool"),
        (1j, "complex"),
        ({"loss": 1.0}, "dict"),
        (Outcome(np.zeros(2)), r"of shape \(2,\)"),
    ],
)
def test_a_return_that_is_no_number_is_an_error_and_the_trial_is_kept(value, shown):
    study = Study(X, "qmc", storage=None)
    with pytest.raises(TypeError, match=f"`objective` must return a real number.*{shown}"):
        study.optimize(lambda p: value, num_trials=5)
    assert [trial.status for trial in study.trials] == [Status.FAILED]


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.int64(1), np.ones(()), jnp.ones(())])
def test_every_kind_of_scalar_is_a_value(value):
    study = Study(X, "qmc", storage=None)
    study.optimize(lambda p: value, num_trials=1)
    assert study.best_value == 1.0
    assert type(study.trials[0].value) is float


def test_infeasible_trials_are_never_best_here_or_in_optuna(storage):
    study = Study(X, "qmc", storage=storage, name="constrained")
    study.optimize(objectives.constrained, num_trials=24)
    feasible = [t for t in study.trials if t.params["x"] >= 0.5]
    assert 0 < len(feasible) < 24
    assert [t.status is Status.COMPLETE for t in study.trials] == [
        t.params["x"] >= 0.5 for t in study.trials
    ]
    assert study.best_value == min(t.value for t in feasible)
    assert study.to_optuna().best_trial.number == study.best.number
    assert study.best.violation == (0.5 - study.best_params["x"],)


def test_a_callback_sees_recorded_trials_and_may_stop_or_raise(storage):
    study = Study(X, "qmc", storage=storage)
    seen = []

    def watch(inner, trial):
        assert inner is study
        assert isinstance(trial, Trial)
        assert inner.trials[trial.number].value == trial.value
        seen.append(trial.number)
        if trial.number == 2:
            inner.stop()

    study.optimize(objectives.score, num_trials=10, callbacks=[watch])
    assert seen == [0, 1, 2]
    assert study.stop_reason == "stop() was called"

    def fail(inner, trial):
        raise RuntimeError("callback")

    with pytest.raises(RuntimeError, match="callback"):
        study.optimize(objectives.score, num_trials=10, callbacks=[fail])
    assert [trial.status for trial in study.trials] == [Status.COMPLETE] * 4
    study.optimize(objectives.score, num_trials=1)
    assert len(study.trials) == 5


def test_a_discrete_space_ends_the_study_when_it_is_used_up(storage, caplog):
    study = Study({"a": [1, 2, 3], "b": ["x", "y"]}, "grid", storage=storage)
    with caplog.at_level(logging.INFO, logger="jaxhpo"):
        study.optimize(lambda p: p["a"], num_trials=100)
    assert len(study.trials) == 6
    assert len({str(t.params) for t in study.trials}) == 6
    assert "Every configuration" in study.stop_reason
    assert "Every configuration" in caplog.text
    assert study.ask(1) == []


def test_timeout_stops_before_the_next_trial():
    study = Study(X, "qmc", storage=None)
    study.optimize(objectives.slow_score, num_trials=10_000, timeout=0.3)
    assert 1 <= len(study.trials) < 100
    assert study.stop_reason == "the timeout was reached"
    study.optimize(objectives.score, num_trials=5, timeout=0)
    assert study.stop_reason == "the timeout was reached"


def test_ask_and_tell_in_any_order(storage):
    study = Study(X, "qmc", storage=storage)
    trials = study.ask(4)
    assert [t.number for t in trials] == [0, 1, 2, 3]
    assert [t.status for t in study.trials] == [Status.RUNNING] * 4
    ended = study.tell([trials[3], 1], [0.5, Outcome(2.0, violation=1.0)])
    assert [t.status for t in ended] == [Status.COMPLETE, Status.INFEASIBLE]
    (last,) = study.tell(trials[0], math.nan)
    assert last.status is Status.FAILED
    study.tell(2, 7)
    assert study.values.tolist()[1:] == [2.0, 7.0, 0.5]
    assert study.best.number == 3
    asked = Study(X, "qmc", storage=None)
    asked.optimize(objectives.score, num_trials=5)
    assert study.ask(1)[0].params == asked.trials[4].params


def test_telling_wrongly_names_what_is_wrong(storage):
    study = Study(X, "qmc", storage=storage)
    trials = study.ask(2)
    with pytest.raises(ValueError, match="`values` must be one for each of 2 trials"):
        study.tell(trials, [1.0])
    with pytest.raises(ValueError, match=r"`trials` must be numbers of existing trials.*17"):
        study.tell(17, 1.0)
    with pytest.raises(TypeError, match=r"`values` must be a real number.*None"):
        study.tell(trials[0], None)
    with pytest.raises(ValueError, match="free of duplicates"):
        study.tell([0, 0], [1.0, 2.0])
    study.tell(trials[0], 1.0)
    with pytest.raises(ValueError, match="0 has already ended"):
        study.tell(trials[0], 2.0)
    assert study.trials[0].value == 1.0


def test_trials_asked_by_hand_outlive_their_study_object(url):
    asked = Study(X, "qmc", storage=url, name="s").ask(2)
    again = Study(X, "qmc", storage=url, name="s")
    assert [t.status for t in again.trials] == [Status.RUNNING] * 2
    again.tell([t.number for t in asked], [1.0, 2.0])
    assert again.values.tolist() == [1.0, 2.0]
    expected = Study(X, "qmc", storage=None)
    expected.tell(expected.ask(2), [1.0, 2.0])
    assert again.ask(1)[0].params == expected.ask(1)[0].params


def test_fail_stale_everywhere_ends_what_was_asked_by_hand(storage, caplog):
    study = Study(X, "qmc", storage=storage)
    study.ask(2)
    study.optimize(objectives.score, num_trials=1)
    assert study.fail_stale() == []
    assert study.fail_stale(everywhere=True) == [0, 1]
    assert [t.status for t in study.trials] == [Status.FAILED] * 2 + [Status.COMPLETE]
    assert "marked as failed" in caplog.text


def test_progress_is_told_after_every_round():
    study = Study(X, "qmc", storage=None)
    events = []
    study.optimize(objectives.sometimes_nan, num_trials=6, progress=events.append)
    assert events[0] == Progress(0, 6, None, 0)
    assert [event.done for event in events] == [0, 1, 2, 3, 4, 5, 6]
    assert events[-1].best == study.best_value
    assert events[-1].failed == sum(t.status is Status.FAILED for t in study.trials) > 0


def test_a_pipe_gets_one_line_at_the_start_and_no_bar(capfd):
    study = Study(X, "qmc", storage=None, name="s")
    study.optimize(objectives.score, num_trials=3, progress=False)
    assert capfd.readouterr() == ("", "")
    study.optimize(objectives.score, num_trials=3, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "s: 3 trials; the sampler's programs compile for the first proposals\n"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"objective": 3}, TypeError, "`objective` must be callable, got 3"),
        ({"num_trials": 1.5}, TypeError, "`num_trials` must be an integer"),
        ({"num_trials": -1}, ValueError, "`num_trials` must be at least 0, got -1"),
        ({"num_workers": 0}, ValueError, "`num_workers` must be at least 1, got 0"),
        ({"timeout": "1 h"}, TypeError, "`timeout` must be a real number, got '1 h'"),
        ({"callbacks": [1]}, TypeError, "`callbacks` must be callable, got 1"),
        ({"catch": (1,)}, TypeError, "`catch` must be a tuple of exception classes"),
        ({"catch": (KeyboardInterrupt,)}, TypeError, "`catch` must be a tuple of exception"),
        ({"progress": "yes"}, TypeError, "`progress` must be True, False or a callable"),
    ],
)
def test_bad_arguments_are_named_before_anything_runs(arguments, error, message):
    study = Study(X, "qmc", storage=None)
    with pytest.raises(error, match=message):
        study.optimize(**{"objective": objectives.score, "num_trials": 1, **arguments})
    assert study.trials == []


def test_a_data_frame_has_a_column_a_parameter():
    study = Study(objectives.SPACES["conditional"](), "qmc", storage=None)
    study.optimize(objectives.score, num_trials=8)
    frame = study.to_dataframe()
    assert list(frame.columns[:3]) == ["number", "state", "value"]
    names = {c.removeprefix("params_") for c in frame.columns if c.startswith("params_")}
    assert names == {"model", "model.svm.C", "model.knn.k", "w[0]", "w[1]"}
    assert frame["value"].tolist() == study.values.tolist()
    inactive = frame[frame["params_model"] == "svm"]["params_model.knn.k"]
    assert len(inactive) > 0
    assert inactive.isna().all()


def test_without_pandas_the_error_names_the_command(monkeypatch):
    import sys

    study = Study(X, "qmc", storage=None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install \"jaxhpo\[plot\]\""):
        study.to_dataframe()


def test_each_nameless_study_is_a_new_one(url):
    first, second = Study(X, "qmc", storage=url), Study(X, "qmc", storage=url)
    assert first.name != second.name
    first.optimize(objectives.score, num_trials=2)
    assert second.trials == []


def test_objects_come_back_as_themselves(url):
    options = [math.sin, (1, 2), "text", 3, None, True]
    space = hpo.Space({"f": hpo.choice(options), "width": hpo.static([8, 16])})
    study = Study(space, "grid", storage=url, name="s")
    study.optimize(lambda p: p["width"] + options.index(p["f"]), num_trials=12)
    again = Study(space, "grid", storage=url, name="s")
    assert [t.params for t in again.trials] == [t.params for t in study.trials]
    assert again.best_params == {"f": math.sin, "width": 8}
    kinds = {type(t.params["f"]) for t in again.trials}
    assert kinds == {type(option) for option in options}


def test_one_program_asks_and_tells_for_a_whole_study():
    import jax

    from jaxhpo.ask_tell import _compiled

    study = Study({"y": hpo.uniform(0.0, 1.0)}, "qmc", storage=None)
    study.optimize(lambda p: p["y"], num_trials=1)
    programs = (_compiled.tell_and_ask, _compiled._tell)
    sizes = [program._cache_size() for program in programs]
    with jax.log_compiles(False):
        study.optimize(lambda p: p["y"], num_trials=40)
        other = Study({"y": hpo.uniform(-5.0, 7.0)}, "qmc", storage=None, seed=3)
        other.optimize(lambda p: p["y"], num_trials=5)
    assert [program._cache_size() for program in programs] == sizes


def test_a_ready_sampler_of_any_batch_size_gives_the_same_trials():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
    units = []
    for batch_size in (1, 4):
        sampler = hpo.samplers.qmc(space, batch_size=batch_size)
        study = Study(space, sampler, storage=None)
        study.optimize(lambda p: p["x"], num_trials=10)
        units.append([t.unit.tolist() for t in study.trials])
    assert units[0] == units[1]


def test_optuna_verbosity_is_left_as_it_was(url):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    Study(X, "qmc", storage=url)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_auto_is_the_default_and_knows_the_directions():
    assert inspect.signature(Study).parameters["sampler"].default == "auto"
    study = Study(X, storage=None, seed=4, direction=("minimize", "maximize"))
    named = Study(X, "gp_multi", storage=None, seed=4, direction=("minimize", "maximize"))
    assert [trial.params for trial in study.ask(2)] == [trial.params for trial in named.ask(2)]
