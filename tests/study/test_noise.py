"""Known standard errors: recorded, told to the sampler, and told again on resuming."""

import numpy as np
import pytest

import jaxhpo as hpo

SPACE = hpo.Space({"x": hpo.uniform(0.0, 1.0)})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The default storage is a file in the working folder."""
    monkeypatch.chdir(tmp_path)


def objective_with(se):
    def objective(params):
        value = (params["x"] - 0.3) ** 2 + 0.2 * np.sin(1e4 * params["x"])
        return value if se is None else hpo.Outcome(value, se=se)

    return objective


def searched(se, parts=(9,), storage=None, **settings):
    for count in parts:
        study = hpo.Study(
            SPACE, hpo.samplers.gp(SPACE, num_candidates=32, num_lanes=3),
            storage=storage, seed=0, **settings,
        )  # fmt: skip
        study.optimize(objective_with(se), num_trials=count, progress=False)
    return study


def points(study):
    return [trial.params["x"] for trial in study.trials]


@pytest.fixture(scope="module")
def silent():
    return points(searched(None))


def test_a_known_error_reaches_the_sampler(silent):
    study = searched(0.3)
    assert {trial.se for trial in study.trials} == {0.3}
    assert points(study)[:4] == silent[:4]
    assert points(study) != silent


def test_an_unknown_error_changes_nothing(silent):
    study = searched(np.nan)
    assert {trial.se for trial in study.trials} == {None}
    assert points(study) == silent


def test_errors_are_told_again_on_resuming(tmp_path):
    resumed = searched(0.3, (6, 3), storage=f"sqlite:///{tmp_path}/s.db", name="s")
    assert points(resumed) == points(searched(0.3))
    assert resumed.trials[0].se == 0.3


def test_told_by_hand():
    study = hpo.Study(SPACE, "qmc", seed=0)
    trials = study.ask(3)
    outcome = hpo.Outcome(np.arange(3.0), se=np.asarray([0.1, np.nan, 0.2]))
    ended = study.tell(trials, outcome)
    assert [trial.se for trial in ended] == [0.1, None, 0.2]
    [trial] = study.ask()
    with pytest.raises(TypeError, match="Study.tell: `values` must be a standard error"):
        study.tell(trial, hpo.Outcome(1.0, se=[0.1, 0.2]))


def test_several_objectives_have_an_error_each():
    study = hpo.Study(SPACE, "qmc", direction=["minimize", "maximize"], seed=0)
    study.optimize(
        lambda params: hpo.Outcome((params["x"], 1.0), se=(0.1, 0.2)), num_trials=2, progress=False
    )
    assert study.trials[0].se == (0.1, 0.2)


def test_a_value_of_which_nothing_is_known_is_a_failure():
    study = hpo.Study(SPACE, "qmc", seed=0)
    study.optimize(objective_with(np.inf), num_trials=1, progress=False)
    assert study.trials[0].status is hpo.Status.FAILED
    assert "standard error (inf,)" in study.trials[0].reason


@pytest.mark.parametrize("se", ["a", [0.1, 0.2], -1.0])
def test_an_error_that_is_none_is_refused(se):
    with pytest.raises(TypeError, match=r"`objective` must return a standard error `se`"):
        hpo.Study(SPACE, "qmc", seed=0).optimize(objective_with(se), num_trials=1, progress=False)


def test_recorded_errors_reach_the_sampler_and_are_told_again(tmp_path):
    """What `record` tells at once is what a study opened again reads."""
    x = np.linspace(0.05, 0.95, 8)
    value = [objective_with(None)({"x": one}) for one in x]

    def opened(**settings):
        sampler = hpo.samplers.gp(SPACE, num_candidates=32, num_lanes=3)
        return hpo.Study(SPACE, sampler, seed=0, **settings)

    stored = {"storage": f"sqlite:///{tmp_path}/s.db", "name": "s"}
    at_once, silent, first = opened(), opened(), opened(**stored)
    for study, se in ((at_once, 0.3), (silent, None), (first, 0.3)):
        study.record([{"x": one} for one in x], value, se=None if se is None else np.full(8, se))
    resumed = opened(**stored)
    for study in (at_once, silent, resumed):
        study.optimize(objective_with(0.3), num_trials=2, progress=False)
    assert {trial.se for trial in resumed.trials} == {0.3}
    assert points(at_once) == points(resumed)
    assert points(at_once) != points(silent)


@pytest.mark.parametrize(
    ("se", "error", "message"),
    [
        ([0.1], ValueError, r"`se` must be of shape \[2\], one per value, got \(1,\)"),
        ([0.1, -1.0], ValueError, "`se` must be at least 0, or NaN"),
        (["a", "b"], TypeError, "`se` must be an array of real numbers"),
    ],
)
def test_recorded_errors_are_checked(se, error, message):
    study = hpo.Study(SPACE, "qmc", seed=0)
    with pytest.raises(error, match=f"Study.record: {message}"):
        study.record([{"x": 0.1}, {"x": 0.2}], [1.0, 2.0], se=se)
    assert study.trials == []


def test_a_recorded_value_of_which_nothing_is_known_is_a_failure():
    study = hpo.Study(SPACE, "qmc", seed=0)
    study.record([{"x": 0.1}, {"x": 0.2}, {"x": 0.3}], [1.0, 2.0, np.inf], se=[np.inf, 0.1, np.inf])
    assert [trial.status.name for trial in study.trials] == ["FAILED", "COMPLETE", "FAILED"]
    assert "standard error infinite" in study.trials[0].reason
    assert [trial.se for trial in study.trials] == [None, 0.1, None]
