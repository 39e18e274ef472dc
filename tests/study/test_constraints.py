"""A sampler given by name models constraints, from the first trial that tells of them."""

import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.study import Study

X = {"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)}


def on_a_hyperbola(params):
    """Least where x = y on x y = 0.3, which bounds what is feasible."""
    x, y = params["x"], params["y"]
    return hpo.Outcome(x + y, violation=0.3 - x * y)


def told_late(params):
    """The same, of which only part of the square tells."""
    return on_a_hyperbola(params) if params["y"] > 0.5 else params["x"] + params["y"]


def units(study):
    return np.asarray([trial.unit for trial in study.trials])


def run(sampler, *parts, storage=None, objective=on_a_hyperbola):
    for num_trials in parts:
        study = Study(X, sampler, storage=storage, name="one", seed=0)
        study.optimize(objective, num_trials=num_trials, progress=False)
    return study


@pytest.fixture(scope="module")
def made():
    """A study of a sampler that was made with a model of violations."""
    return run(hpo.samplers.gp(Study(X, storage=None).space, constrained=True), 16)


@pytest.mark.parametrize("name", ["gp", "auto"])
def test_by_name_it_finds_the_border(name, made):
    study = run(name, 16)
    np.testing.assert_array_equal(units(study), units(made))
    assert study.best_value < 2 * np.sqrt(0.3) + 0.02


@pytest.mark.parametrize("first", [1, 6], ids=["before", "after"])
def test_stopped_before_and_after_constraints_came_up_it_goes_on_alike(tmp_path, first):
    storage = f"sqlite:///{tmp_path}/study.db"
    stopped = run("gp", first, 10 - first, storage=storage, objective=told_late)
    whole = run("gp", 10, objective=told_late)
    has_told = [bool(trial.violation) for trial in whole.trials]
    assert has_told.index(True) in range(1, 6)
    np.testing.assert_array_equal(units(stopped), units(whole))


def test_without_constraints_and_ready_made_it_stays_the_same():
    free = Study(X, "gp", storage=None, seed=0)
    free.optimize(lambda params: params["x"], num_trials=2, progress=False)
    assert free._sampler._with_constraints is not None
    made = Study(X, hpo.samplers.gp(free.space), storage=None, seed=0)
    assert made._sampler._with_constraints is None
    assert Study(X, "tpe", storage=None)._sampler._with_constraints is None


def test_recorded_violations_count_as_told_ones(tmp_path):
    """The sampler of a name takes over, at once as after opening the study again."""
    params = [{"x": x, "y": y} for x in (0.2, 0.5, 0.8) for y in (0.3, 0.6, 0.9)]
    outcomes = [on_a_hyperbola(one) for one in params]
    values, violation = ([getattr(o, name) for o in outcomes] for name in ("value", "violation"))
    stored = {"storage": f"sqlite:///{tmp_path}/study.db", "name": "one"}
    at_once, first = Study(X, "gp", storage=None, seed=0), Study(X, "gp", seed=0, **stored)
    for study in (at_once, first):
        study.record(params, values, violation=violation)
        assert study.best_value == min(
            value for value, broken in zip(values, violation, strict=True) if broken <= 0
        )
    resumed = Study(X, "gp", seed=0, **stored)
    for study in (at_once, resumed):
        study.optimize(on_a_hyperbola, num_trials=2, progress=False)
    np.testing.assert_array_equal(units(at_once), units(resumed))
    broken = [trial.status is hpo.Status.INFEASIBLE for trial in resumed.trials[:9]]
    assert broken == [v > 0 for v in violation]


def test_recorded_violations_are_judged_row_by_row():
    study = Study(X, "qmc", storage=None, seed=0)
    params = [{"x": 0.1, "y": 0.1 * i} for i in range(4)]
    violation = [[0.0, -1.0], [0.0, 0.5], [np.nan, 0.0], [0.0, 0.0]]
    study.record(params, [3.0, 1.0, 0.0, np.nan], violation=violation)
    names = [trial.status.name for trial in study.trials]
    assert names == ["COMPLETE", "INFEASIBLE", "FAILED", "FAILED"]
    assert study.trials[1].violation == (0.0, 0.5)
    assert "the violation was [nan, 0.0]" in study.trials[2].reason
    assert study.best_value == 3.0
    assert study.trials[3].violation == ()
    with pytest.raises(
        ValueError, match=r"Study.record: `violation` must be of shape \[1\] or .* got \(2,\)"
    ):
        study.record(params[:1], [1.0], violation=[0.0, 1.0])
    with pytest.raises(
        TypeError, match="Study.record: `violation` must be an array of real numbers"
    ):
        study.record(params[:1], [1.0], violation=["much"])
    for violation in (None, [0.0]):
        with pytest.raises(ValueError, match="`status` must be INFEASIBLE only where"):
            study.record(params[:1], [1.0], status=[hpo.Status.INFEASIBLE], violation=violation)
    for status in (hpo.Status.RUNNING, hpo.Status.WAITING, 17):
        with pytest.raises(ValueError, match="Study.record: `status` must be codes of COMPLETE"):
            study.record(params[:1], [1.0], status=[status])
    assert len(study.trials) == 4
