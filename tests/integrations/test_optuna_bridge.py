"""Their trials in our studies, their pruners on our trials, and our rule on theirs."""

import logging

import numpy as np
import optuna
import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.integrations.optuna import FoldPruner, import_study

X = {"x": hpo.uniform(-1.0, 3.0)}


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def mixed(trial):
    x = trial.suggest_float("x", -1.0, 3.0)
    trial.report(x + 1.0, 1)
    trial.report(x, 2 + trial.number % 2)
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise RuntimeError("no data")
    return x


def test_a_study_of_theirs_is_taken_over_with_all_it_has():
    theirs = optuna.create_study(direction="maximize", study_name="old")
    theirs.optimize(mixed, n_trials=6, catch=(RuntimeError,))
    ours = import_study(theirs)
    assert (ours.name, ours.direction) == ("old", "maximize")
    assert [t.params["x"] for t in ours.trials] == pytest.approx(
        [t.params["x"] for t in theirs.trials]
    )
    status = [t.status for t in ours.trials]
    assert status == [Status.COMPLETE, Status.PRUNED, Status.FAILED] + [Status.COMPLETE] * 3
    assert ours.trials[0].curve == theirs.trials[0].intermediate_values
    assert ours.trials[3].curve == theirs.trials[3].intermediate_values
    assert ours.best_value == theirs.best_value
    ours.optimize(lambda p: p["x"], num_trials=2, progress=False)
    assert len(ours.trials) == 8


def test_trials_outside_the_space_are_left_out_and_counted(caplog):
    theirs = optuna.create_study()
    theirs.optimize(lambda t: t.suggest_float("x", -9.0, 9.0), n_trials=12)
    inside = sum(-1.0 <= t.params["x"] <= 3.0 for t in theirs.trials)
    with caplog.at_level(logging.WARNING, "jaxhpo"):
        ours = import_study(theirs, space=hpo.Space(X))
    assert len(ours.trials) == inside
    assert f"{12 - inside} of 12 trials do not lie in `space`" in caplog.text


def test_a_curve_that_cannot_be_stored_is_an_error_of_the_import():
    theirs = optuna.create_study()
    values = {"value": 1.0, "intermediate_values": {2**60: 1.0}}
    distributions = {"x": optuna.distributions.FloatDistribution(-1.0, 3.0)}
    theirs.add_trial(optuna.create_trial(params={"x": 0.0}, distributions=distributions, **values))
    with pytest.raises(ValueError, match=r"^import_study: `curve_steps` must be .* integers"):
        import_study(theirs)


def several(trial):
    x, y = (trial.suggest_float(name, 0.0, 1.0) for name in "xy")
    if trial.number == 3:
        raise RuntimeError("no data")
    trial.set_constraint("sum", x + y - 1.2)
    return x, y


def test_a_study_of_several_objectives_is_taken_over_with_its_front():
    sampler = optuna.samplers.RandomSampler(seed=0)
    theirs = optuna.create_study(
        directions=["minimize", "maximize"], sampler=sampler, study_name="two"
    )
    theirs.optimize(several, n_trials=24, catch=(RuntimeError,))
    ours = import_study(theirs, "nsga2", seed=1)
    assert (ours.name, ours.directions) == ("two", ("minimize", "maximize"))
    assert ours.trials[3].status is Status.FAILED
    assert [t.values for t in ours.trials if t.values] == [
        pytest.approx(tuple(t.values)) for t in theirs.trials if t.values
    ]
    violated = [t.number for t in theirs.trials if t.values and t.params["x"] + t.params["y"] > 1.2]
    assert violated
    assert [t.number for t in ours.trials if t.status is Status.INFEASIBLE] == violated
    front = sorted(t.number for t in theirs.best_trials)
    assert [t.number for t in ours.best_trials] == front
    assert not set(front) & set(violated)
    # The sampler knows the trials as if it had asked for them: reading them anew changes nothing.
    (next_one,) = ours.ask()
    again = import_study(theirs, "nsga2", seed=1)
    again._sampler.refresh()
    assert again.ask()[0].params == next_one.params
    ours.tell(next_one, (0.0, 2.0))
    assert ours.best_trials == [ours.trials[-1]]


def test_violations_of_one_objective_are_taken_over():
    theirs = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    theirs.optimize(lambda t: several(t)[0], n_trials=3)
    ours = import_study(theirs)
    assert ours.best_value == theirs.best_value
    assert [t.violation for t in ours.trials] == [
        pytest.approx((t.params["x"] + t.params["y"] - 1.2,)) for t in theirs.trials
    ]


def test_wrong_studies_are_named():
    theirs = optuna.create_study(directions=["minimize"] * 2)
    theirs.optimize(lambda t: (t.suggest_float("x", 0.0, 1.0),) * 2, n_trials=1)
    with pytest.raises(ValueError, match="objectives"):
        import_study(theirs, "tpe")
    with pytest.raises(TypeError, match="`study` must be an Optuna study"):
        import_study(3)


def test_a_pruner_stops_bad_trials_and_the_sampler_hears_of_them():
    def objective(params):
        for step in range(5):
            yield params["x"] ** 2 + 1.0 / (step + 1)
        return params["x"] ** 2

    study = hpo.Study(X, "qmc", storage=None)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    study.optimize(objective, num_trials=20, scheduler=pruner, progress=False)
    pruned = [t for t in study.trials if t.status is Status.PRUNED]
    assert len(study.trials) == 20
    assert pruned
    assert all(1 <= len(t.curve) < 5 and t.value == list(t.curve.values())[-1] for t in pruned)
    assert all(t.value is not None for t in study.trials)
    again = hpo.Study(X, "qmc", storage=None)
    again.optimize(lambda p: p["x"] ** 2, num_trials=20, progress=False)
    assert [t.params for t in study.trials] == [t.params for t in again.trials]


QUALITIES = [0.5, 0.52, 0.51, 0.1, 0.53, 0.2, 0.49, 0.3]
FOLDS = 0.05 * np.random.default_rng(0).normal(size=(8, 4)) + [0.0, -0.2, 0.1, 0.3]


def folds_of(number):
    return (QUALITIES[number] + FOLDS[number]).tolist()


def pruned_by(pruner, sign, direction):
    def objective(trial):
        trial.suggest_float("x", 0.0, 1.0)
        scores = [sign * score for score in folds_of(trial.number)]
        for fold, score in enumerate(scores):
            trial.report(score, fold)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(scores))

    study = optuna.create_study(direction=direction, pruner=pruner)
    study.optimize(objective, n_trials=len(QUALITIES))
    states = {t.number: t.state.name for t in study.trials}
    seen = {t.number: len(t.intermediate_values) for t in study.trials}
    assert all(seen[n] == (2 if state == "PRUNED" else 4) for n, state in states.items())
    return [n for n, state in states.items() if state == "PRUNED"]


def stopped_by_search_cv():
    pytest.importorskip("sklearn")
    from sklearn.base import BaseEstimator
    from sklearn.model_selection import PredefinedSplit

    from jaxhpo.integrations.sklearn import SearchCV

    class Told(BaseEstimator):
        def __init__(self, number=0):
            self.number = number

        def fit(self, X, y=None):
            return self

        def score(self, X, y=None):
            return folds_of(self.number)[int(X[0][0])]

    search = SearchCV(
        Told(), {"number": list(range(8))}, n_iter=8, sampler="grid", cv=PredefinedSplit(range(4)),
        stop_after_folds=2, refit=False, random_state=0,
    )  # fmt: skip
    results = search.fit([[0], [1], [2], [3]]).cv_results_
    order = results["param_number"].tolist()
    return order, [n for n, k in zip(order, results["num_folds"], strict=True) if k == 2]


def test_our_rule_prunes_in_a_study_of_theirs_what_search_cv_stops(monkeypatch):
    order, stopped = stopped_by_search_cv()
    assert 0 < len(stopped) < 5
    monkeypatch.setitem(globals(), "FOLDS", FOLDS[order])
    monkeypatch.setitem(globals(), "QUALITIES", [QUALITIES[n] for n in order])
    pruned = pruned_by(FoldPruner(2), 1.0, "maximize")
    assert [order[n] for n in pruned] == stopped
    assert pruned_by(FoldPruner(2), -1.0, "minimize") == pruned
    assert pruned_by(optuna.pruners.NopPruner(), 1.0, "maximize") == []


def test_our_rule_is_a_pruner_of_our_studies_too():
    def objective(params):
        for difficulty in (0.1, 0.5, 0.3):
            yield params["x"] ** 2 + difficulty

    study = hpo.Study(X, "qmc", storage=None)
    study.optimize(objective, num_trials=12, scheduler=FoldPruner(1), progress=False)
    status = [t.status for t in study.trials]
    assert status[:3] == [Status.COMPLETE] * 3
    assert Status.PRUNED in status
    pruned = [t for t in study.trials if t.status is Status.PRUNED]
    assert all(t.params["x"] ** 2 > study.best_params["x"] ** 2 for t in pruned)


def test_the_pruner_judges_on_folds_that_others_saw_too():
    pruner = FoldPruner(1)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for scores in ({0: 1.0, 1: 1.1}, {0: 1.01, 1: 1.08}, {0: 0.99, 1: 1.12}):
        trial = study.ask()
        for fold, score in scores.items():
            trial.report(score, fold)
        study.tell(trial, 1.0)
    unseen, bad, fine = study.ask(), study.ask(), study.ask()
    unseen.report(-9.0, 5)
    bad.report(-9.0, 1)
    fine.report(1.1, 1)
    assert [t.should_prune() for t in (unseen, bad, fine)] == [False, True, False]
    broken = study.ask()
    broken.report(float("nan"), 0)
    assert broken.should_prune()
    with pytest.raises(ValueError, match="`stop_after_folds` must be at least 1, got 0"):
        FoldPruner(0)
