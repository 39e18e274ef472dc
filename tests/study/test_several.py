"""Studies of several objectives: directions, the front, resuming, and what they refuse."""

import math

import jax.numpy as jnp
import numpy as np
import optuna
import pytest

import jaxhpo as hpo
from jaxhpo import Outcome, Status
from jaxhpo.study import Study, StudyMismatchError

X = {"x": hpo.uniform(-1.0, 3.0), "y": hpo.uniform(0.0, 1.0)}
BOTH = ["minimize", "maximize"]


def score(params):
    """The front: x from 0 to 2 with y = 0."""
    x, y = params["x"], params["y"]
    if x > 2.9:
        return [math.nan, 0.0]
    return Outcome(jnp.asarray([x**2 + y, -((x - 2.0) ** 2) - y]), violation=-1.0 - x + 0.2)


@pytest.fixture(params=["sqlite", pytest.param("journal", marks=pytest.mark.slow)])
def storage(request, tmp_path):
    return tmp_path / {"sqlite": "s.db", "journal": "s.log"}[request.param]


def test_what_is_stored_and_which_trials_are_best(storage):
    study = Study(X, "nsga2", storage=storage, seed=2, direction=BOTH, name="two")
    told = []
    tell = study._sampler._proposer.tell
    study._sampler._proposer.tell = lambda t, *rest: told.append(t.value[0]) or tell(t, *rest)
    study.optimize(score, num_trials=40)
    assert study.direction == study.directions == ("minimize", "maximize")
    assert study.values.shape == (40, 2)
    counts = {s: sum(t.status is s for t in study.trials) for s in Status}
    assert counts[Status.COMPLETE] + counts[Status.FAILED] + counts[Status.INFEASIBLE] == 40
    assert counts[Status.INFEASIBLE] >= 1
    np.testing.assert_array_equal(np.stack(told)[:, 1], -study.values[:, 1])
    done = [t for t in study.trials if t.status is Status.COMPLETE]
    best = [
        t.number
        for t in done
        if not any(
            o.values[0] <= t.values[0] and o.values[1] >= t.values[1] and o.values != t.values
            for o in done
        )
    ]
    assert [t.number for t in study.best_trials] == best
    front = study.pareto_front()
    assert (np.diff(front[:, 0]) > 0).all()
    assert (np.diff(front[:, 1]) > 0).all()
    theirs = study.to_optuna()
    assert [d.name for d in theirs.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert [t.number for t in theirs.best_trials] == best
    assert [t.values for t in theirs.trials] == [
        None if t.values is None else list(t.values) for t in study.trials
    ]


@pytest.fixture(scope="module")
def sampler():
    """One compiled sampler for all studies."""
    return hpo.samplers.nsga2(hpo.Space(X), population_size=6)


def test_stopped_and_opened_again_it_goes_on_as_if_never_stopped(sampler, tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    whole = Study(X, sampler, storage=None, direction=BOTH, seed=3)
    whole.optimize(score, num_trials=24)
    for _ in range(2):
        study = Study(X, sampler, storage=url, name="half", direction=BOTH, seed=3)
        study.optimize(score, num_trials=12)
    again = Study(X, sampler, storage=url, name="half", direction=tuple(BOTH))
    assert [t.params for t in again.trials] == [t.params for t in whole.trials]
    np.testing.assert_array_equal(again.values, whole.values)
    with pytest.raises(StudyMismatchError, match=r"\['minimize', 'maximize'\], got 'minimize'"):
        Study(X, "qmc", storage=url, name="half")


def test_a_foreign_study_of_several_objectives_is_taken_up(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    theirs = optuna.create_study(study_name="s", storage=url, directions=BOTH)
    theirs.optimize(lambda t: (t.suggest_float("x", -1, 3), t.suggest_float("y", 0, 1)), n_trials=3)
    study = Study(X, "random", storage=url, name="s", direction=BOTH)
    study.optimize(score, num_trials=2)
    assert study.values[:3].tolist() == [t.values for t in theirs.trials[:3]]


def test_ask_tell_and_record():
    study = Study(X, "random", storage=None, direction=BOTH)
    first, second = study.ask(2)
    study.tell(first, (1.0, 2.0))
    study.tell([second], Outcome(jnp.asarray([[3.0, 4.0]])))
    study.record(
        [{"x": 0.5, "y": 0.5}, {"x": 0.6, "y": 0.5}], np.asarray([[0.0, 9.0], [math.inf, 1.0]])
    )
    assert [t.values for t in study.trials] == [(1.0, 2.0), (3.0, 4.0), (0.0, 9.0), None]
    assert study.trials[3].status is Status.FAILED
    assert study.pareto_front().tolist() == [[0.0, 9.0]]
    frame = study.to_dataframe()
    assert frame["values_1"].tolist()[:3] == [2.0, 4.0, 9.0]
    assert repr(study).endswith("trials=4)")


@pytest.mark.parametrize(
    ("returned", "shown"),
    [(1.0, "got 1.0"), ([1.0], r"got \[1.0\]"), ([1.0, None], "None"), ((1, 2, 3), r"\(1, 2, 3\)")],
)
def test_another_number_of_values_is_misuse(returned, shown):
    study = Study(X, "random", storage=None, direction=BOTH)
    with pytest.raises(TypeError, match=f"must return 2 real numbers .one per objective.*{shown}"):
        study.optimize(lambda params: returned, num_trials=1)
    assert study.trials[0].status is Status.FAILED


def test_what_several_objectives_refuse():
    study = Study(X, "random", storage=None, direction=BOTH)
    assert study.best_trials == []
    assert study.pareto_front().shape == (0, 2)
    with pytest.raises(ValueError, match="no trial is best in 2 objectives"):
        _ = study.best
    with pytest.raises(ValueError, match="`direction` must be one"):
        study.surrogate()
    with pytest.raises(ValueError, match="`values` must be of shape .1, 2."):
        study.record([{"x": 0.5, "y": 0.5}], [1.0])
    with pytest.raises(ValueError, match="`sampler` must take 2 objectives, such as .*nsga2"):
        Study(X, "de", storage=None, direction=BOTH)
    for wrong in ([], ["minimize", "up"], "up", 3):
        with pytest.raises(ValueError, match="Study: `direction` must be 'minimize' or"):
            Study(X, "qmc", storage=None, direction=wrong)


def test_one_direction_in_a_list_is_one_objective():
    study = Study(X, "random", storage=None, direction=["maximize"])
    study.optimize(lambda params: params["x"], num_trials=5)
    assert study.direction == "maximize"
    assert [t.value for t in study.best_trials] == [study.best_value]
