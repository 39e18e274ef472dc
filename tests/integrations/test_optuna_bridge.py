"""Their trials in our studies, and their pruners on our trials."""

import logging

import optuna
import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.integrations.optuna import import_study, optimize_with_pruner

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
    assert f"{12 - inside} trials do not lie in `space`" in caplog.text


def test_wrong_studies_are_named():
    with pytest.raises(ValueError, match="`study` must be a study of one objective"):
        import_study(optuna.create_study(directions=["minimize"] * 2))
    with pytest.raises(TypeError, match="`study` must be an Optuna study"):
        import_study(3)


def test_a_pruner_stops_bad_trials_and_the_sampler_hears_of_them():
    def objective(params, trial):
        for step in range(5):
            trial.report(params["x"] ** 2 + 1.0 / (step + 1), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return params["x"] ** 2

    study = hpo.Study(X, "qmc", storage=None)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    optimize_with_pruner(study, objective, pruner=pruner, num_trials=20)
    pruned = [t for t in study.trials if t.status is Status.PRUNED]
    assert len(study.trials) == 20
    assert pruned
    assert all(1 <= len(t.curve) < 5 and t.value == list(t.curve.values())[-1] for t in pruned)
    assert all(t.value is not None for t in study.trials)
    again = hpo.Study(X, "qmc", storage=None)
    again.optimize(lambda p: p["x"] ** 2, num_trials=20, progress=False)
    assert [t.params for t in study.trials] == [t.params for t in again.trials]


def test_failures_are_kept_and_raised_where_asked():
    def broken(params, trial):
        raise LookupError("gone")

    study = hpo.Study(X, "qmc", storage=None)
    pruner = optuna.pruners.NopPruner()
    optimize_with_pruner(study, broken, pruner=pruner, num_trials=2)
    assert [t.reason for t in study.trials] == ["LookupError: gone"] * 2
    with pytest.raises(LookupError):
        optimize_with_pruner(study, broken, pruner=pruner, num_trials=2, catch=())
    with pytest.raises(TypeError, match="must return a real number"):
        optimize_with_pruner(study, lambda p, t: None, pruner=pruner, num_trials=1)
    assert len(study.trials) == 4
    with pytest.raises(TypeError, match="`pruner` must be an Optuna pruner"):
        optimize_with_pruner(study, broken, pruner="median", num_trials=1)
