"""Enqueued trials: begun before any proposal, by whichever of Optuna and us asks first."""

import numpy as np
import optuna
import pytest

import jaxhpo as hpo

SPACE = {
    "x": hpo.uniform(0.0, 1.0),
    "kind": hpo.choice([None, (1, 2)]),
    "n": hpo.integer(1, 9),
}


def value_of(params):
    return (params["x"] - 0.3) ** 2 + 0.1 * params["n"] + (params["kind"] is None)


def theirs(study):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.load_study(study_name=study.name, storage=study.to_optuna()._storage)


@pytest.fixture(params=["memory", "sqlite", "journal"])
def storage(request, tmp_path):
    where = {"memory": None, "sqlite": f"sqlite:///{tmp_path}/s.db", "journal": tmp_path / "s.log"}
    return where[request.param]


def test_they_come_first_and_in_order(storage):
    study = hpo.Study(SPACE, "random", storage=storage, name="s", seed=0)
    study.optimize(value_of, num_trials=2, progress=False)
    wanted = [{"x": 0.25, "kind": (1, 2), "n": 3}, {"x": 0.5, "kind": None, "n": 9}]
    assert study.enqueue(wanted) == [2, 3]
    assert study.enqueue({"x": 0.0, "kind": None, "n": 1}) == [4]
    waiting = study.trials[2:]
    assert [trial.status for trial in waiting] == [hpo.Status.WAITING] * 3
    assert waiting[0].params == wanted[0]
    study.optimize(value_of, num_trials=5, progress=False)
    trials = study.trials
    assert [trial.status for trial in trials] == [hpo.Status.COMPLETE] * 7
    for trial, params in zip(trials[2:4], wanted, strict=True):
        assert {**trial.params, "x": round(trial.params["x"], 6)} == params
        assert trial.value == pytest.approx(value_of(params))


@pytest.mark.parametrize("batch_size", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_study_stopped_after_each_trial_goes_on_alike(tmp_path, batch_size):
    def run(parts, name):
        numbers = iter(parts)
        stored = {"storage": f"sqlite:///{tmp_path}/s.db", "name": name, "seed": 0}

        def opened():
            space = hpo.Space(SPACE)
            sampler = hpo.samplers.gp(
                space, batch_size=batch_size, num_startup=4, num_candidates=32, num_lanes=3
            )
            return hpo.Study(space, sampler, **stored)

        study = opened()
        study.optimize(value_of, num_trials=3, progress=False)
        study.enqueue([{"x": 0.9, "kind": None, "n": 2}, {"x": 0.8, "kind": (1, 2), "n": 4}])
        for count in numbers:
            study.optimize(value_of, num_trials=count, progress=False)
            study = opened()
            if len(study.trials) == 9:  # inside a batch, if there are batches
                study.enqueue({"x": 0.7, "kind": None, "n": 1})
        return np.asarray([trial.unit for trial in study.trials])

    np.testing.assert_array_equal(run([6, 6], "whole"), run([1, 2, 1, 2, 3, 1, 1, 1], "stopped"))


def test_what_optuna_enqueues_in_part_is_filled_up(storage):
    study = hpo.Study(SPACE, "random", storage=storage, name="s", seed=0)
    other = theirs(study)
    other.enqueue_trial({"x": 0.75})
    other.enqueue_trial({"x": 7.0})
    other.enqueue_trial({"n": 4, "kind": "no such"})
    # Whoever opened the study before learns of them where numbers are taken, or on opening it.
    study = study if storage is None else hpo.Study(SPACE, "random", storage=storage, name="s")
    if storage is None:
        study._sampler.refresh()
    [trial] = study.ask()
    assert trial.params["x"] == 0.75
    assert 1 <= trial.params["n"] <= 9
    study.tell(trial, 1.0)
    [proposed] = study.ask()
    assert proposed.number == 3
    failed = study.trials[1:3]
    assert [trial.status for trial in failed] == [hpo.Status.FAILED] * 2
    assert "do not lie in the space" in failed[0].reason


def test_a_branch_may_be_all_that_is_fixed():
    branches = {"svm": {"C": hpo.log_uniform(0.1, 10.0)}, "tree": {"depth": hpo.integer(1, 9)}}
    study = hpo.Study(
        {"x": hpo.uniform(0.0, 1.0), "m": hpo.choice(branches)}, "random", storage=None, seed=0
    )
    wanted = [
        {"m": "svm"},
        {"m": "tree"},
        {"x": 0.5},
        {"m.tree.depth": 4},
        {"m": "svm", "m.svm.C": 3.0},
    ]
    for params in wanted * 2:
        theirs(study).enqueue_trial(params)
    study._sampler.refresh()
    study.optimize(lambda params: params["x"], num_trials=10, progress=False)
    for trial, params in zip(study.trials, wanted * 2, strict=True):
        assert trial.status is hpo.Status.COMPLETE
        assert {name: trial.flat[name] for name in params} == pytest.approx(params)
    theirs(study).enqueue_trial({"m": "svm", "m.tree.depth": 4})
    study._sampler.refresh()
    study.optimize(lambda params: params["x"], num_trials=1, progress=False)
    assert study.trials[10].status is hpo.Status.FAILED
    assert "m.tree.depth" in study.trials[10].reason


def test_constraints_are_met():
    space = hpo.Space(
        {"a": hpo.uniform(0.0, 1.0), "b": hpo.uniform(0.0, 1.0)},
        constraints=[lambda params: params["a"] + params["b"] <= 1.0],
    )
    study = hpo.Study(space, "random", storage=None, seed=0)
    with pytest.raises(ValueError, match="`params` must be allowed by the space's constraints"):
        study.enqueue([{"a": 0.1, "b": 0.1}, {"a": 0.9, "b": 0.9}])
    assert study.trials == []
    theirs(study).enqueue_trial({"a": 0.9})
    study._sampler.refresh()
    [trial] = study.ask()
    assert trial.params["a"] == pytest.approx(0.9)
    assert trial.params["b"] <= 0.1


def test_a_vector_is_one_trial():
    study = hpo.Study(hpo.uniform(0.0, 1.0, shape=(2,)), "random", storage=None)
    assert study.enqueue([0.25, 0.5]) == [0]
    assert study.enqueue([[0.25, 0.75], [0.5, 0.5]]) == [1, 2]
    assert [trial.params for trial in study.ask(2)] == [[0.25, 0.5], [0.25, 0.75]]


def test_what_another_process_enqueues_is_next(tmp_path):
    stored = {"storage": f"sqlite:///{tmp_path}/s.db", "name": "s", "seed": 0}
    study, other = (hpo.Study(SPACE, "random", **stored) for _ in range(2))
    study.optimize(value_of, num_trials=2, progress=False)
    other.enqueue({"x": 0.5, "kind": None, "n": 7})
    assert study.ask()[0].params["n"] == 7


def test_a_used_up_space_still_takes_what_waits(tmp_path):
    stored = {"storage": f"sqlite:///{tmp_path}/s.db", "name": "s", "seed": 0}
    study, other = (hpo.Study({"n": hpo.integer(1, 3)}, "grid", **stored) for _ in range(2))
    study.optimize(lambda params: params["n"], num_trials=3, progress=False)
    other.enqueue({"n": 2})
    assert [trial.params for trial in study.ask(2)] == [{"n": 2}]
    assert study.ask() == []


def test_a_trial_that_cannot_be_written_leaves_none_running(tmp_path):
    """Optuna refuses another distribution for a name; a journal takes parameters one by one."""
    space = {"x": hpo.uniform(0.0, 1.0)}
    study = hpo.Study(space, "random", storage=tmp_path / "s.log", name="s", seed=0)
    theirs(study).ask().suggest_float("x", 1e-3, 1.0, log=True)
    study.enqueue({"x": 0.5})
    with pytest.raises(ValueError, match="log configuration"):
        study.optimize(lambda params: params["x"], num_trials=1, progress=False)
    assert study.trials[1].status is hpo.Status.FAILED


def test_optuna_takes_what_we_enqueue(storage):
    study = hpo.Study(SPACE, "random", storage=storage, name="s", seed=0)
    study.enqueue({"x": 0.125, "kind": None, "n": 5})
    trial = theirs(study).ask()
    assert trial.suggest_float("x", 0.0, 1.0) == 0.125
    assert trial.suggest_int("n", 1, 9) == 5


def test_each_is_begun_once(tmp_path):
    stored = {"storage": f"sqlite:///{tmp_path}/s.db", "name": "s", "seed": 0}
    first = hpo.Study(SPACE, "random", **stored)
    first.enqueue([{"x": 0.1 * i, "kind": None, "n": 1 + i} for i in range(3)])
    second = hpo.Study(SPACE, "random", **stored)
    asked = [*first.ask(2), *second.ask(2)]
    assert [trial.number for trial in asked] == [0, 1, 2, 3]
    assert [trial.params["n"] for trial in asked[:3]] == [1, 2, 3]
    first.tell(asked[:2], [1.0, 2.0])
    second.tell(asked[2:], [3.0, 4.0])
    assert [trial.value for trial in first.trials] == [1.0, 2.0, 3.0, 4.0]


def test_params_outside_the_space_leave_nothing_behind():
    study = hpo.Study(SPACE, "random", storage=None)
    with pytest.raises(ValueError, match="n"):
        study.enqueue([{"x": 0.5, "kind": None, "n": 1}, {"x": 0.5, "kind": None, "n": 10}])
    with pytest.raises(ValueError, match="Study.enqueue: `params` must be at least one trial's"):
        study.enqueue([])
    assert study.trials == []


def test_a_waiting_trial_cannot_be_told():
    study = hpo.Study(SPACE, "random", storage=None)
    [number] = study.enqueue({"x": 0.5, "kind": None, "n": 1})
    with pytest.raises(ValueError, match="0 is still waiting"):
        study.tell(number, 1.0)
    assert study.fail_stale(everywhere=True) == []
