"""SearchCV under a scheduler: who gets more, what it costs, and that a kill changes nothing."""

import numpy as np
import optuna
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold

import jaxhpo as hpo
from jaxhpo.integrations.sklearn import SearchCV

X, Y = load_iris(return_X_y=True)
SPACE = {"value": hpo.uniform(0.0, 1.0)}
FITS = []


class Learner(ClassifierMixin, BaseEstimator):
    """Its score says what it is worth and how many rows it has seen; its fits are counted."""

    def __init__(self, value=0.0, rounds=1, stop_at=None):
        self.value, self.rounds, self.stop_at = value, rounds, stop_at

    def fit(self, X, y):
        if self.stop_at is not None and len(FITS) >= self.stop_at:
            raise KeyboardInterrupt
        if self.value > 0.98:
            raise ValueError("too much")
        FITS.append((self.value, len(X), self.rounds, tuple(np.unique(y, return_counts=True)[1])))
        self.classes_, self.seen_ = np.unique(y), len(X)
        return self

    def score(self, X, y=None):
        return -((self.value - 0.3) ** 2) - 1.0 / self.seen_ - 1.0 / self.rounds - X[0, 0] / 100


@pytest.fixture(autouse=True)
def counted():
    FITS.clear()


def search(estimator=None, space=None, **settings):
    given = {"n_iter": 16, "cv": 4, "random_state": 0, "refit": True, "scheduler": "halving"}
    estimator = Learner() if estimator is None else estimator
    return SearchCV(estimator, SPACE if space is None else space, **{**given, **settings})


def worth(results):
    return -((np.array([params["value"] for params in results["params"]]) - 0.3) ** 2)


def test_halving_gives_rows_to_the_best_half():
    found = search().fit(X, Y)
    results = found.cv_results_
    # 112 rows a fold, of which the first rung must have two per fold and class.
    order = np.argsort(-worth(results))
    levels, counts = np.unique(results["n_resources"], return_counts=True)
    np.testing.assert_array_equal(levels, [24, 48, 96, 112])
    np.testing.assert_array_equal(counts, [8, 4, 2, 2])
    np.testing.assert_array_equal(
        np.sort(results["n_resources"][order])[::-1], results["n_resources"][order]
    )
    assert found.best_index_ == order[0]
    assert results["rank_test_score"][found.best_index_] == 1
    assert found.best_params_ == results["params"][order[0]]
    # Who got less ranks behind, whatever its score.
    ranks = results["rank_test_score"][np.argsort(-results["n_resources"], kind="stable")]
    assert sorted(ranks) == list(range(1, 17))
    assert set(ranks[:2]) == {1, 2}
    assert len(FITS) == 4 * (16 + 8 + 4 + 2) + 1


def test_rows_are_nested_and_hold_all_classes_in_their_shares():
    search(cv=StratifiedKFold(4)).fit(X, Y)
    for _, rows, _, classes in FITS[:-1]:
        assert len(classes) == 3
        assert max(classes) - min(classes) <= 2
        assert sum(classes) == rows


def test_folds_are_added_to_those_that_were_fitted():
    found = search(resource="folds", cv=8, refit=False).fit(X, Y)
    results = found.cv_results_
    assert sorted(set(results["n_resources"])) == [1, 2, 4, 8]
    assert len(FITS) == results["n_resources"].sum()
    whole = search(scheduler=None, cv=8, refit=False).fit(X, Y)
    assert found.best_score_ == whole.best_score_
    assert found.best_params_ == whole.best_params_
    assert np.isnan(results["mean_test_score"][results["n_resources"] < 8]).all()
    some = np.argmin(results["n_resources"])
    scores = [results[f"split{i}_test_score"][some] for i in range(8)]
    assert np.isfinite(scores[0])
    assert np.isnan(scores[1:]).all()


def test_a_parameter_grows_and_stands_with_the_best():
    given = {"resource": "rounds", "max_resources": 8, "min_resources": 2}
    found = search(**given).fit(X, Y)
    assert sorted({rounds for _, _, rounds, _ in FITS}) == [2, 4, 8]
    assert found.best_params_["rounds"] == found.best_estimator_.rounds == 8
    assert {params["rounds"] for params in found.cv_results_["params"]} == {8}


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", hpo.schedulers.asha])
def test_every_rule_finds_the_best(scheduler):
    found = search(scheduler=scheduler, n_iter=27, cv=KFold(3), sampler="qmc").fit(X, Y)
    results = found.cv_results_
    assert found.best_index_ == np.argmax(
        np.where(results["n_resources"] == 100, worth(results), -9)
    )
    assert len(set(results["n_resources"])) > 1
    assert len(results["params"]) == 27


@pytest.mark.parametrize("resource", ["folds", "n_samples"])
def test_an_interrupted_search_goes_on_where_it_stopped(resource, tmp_path, caplog):
    given = {"resource": resource, "refit": False, "batch_size": 3}
    whole = search(**given).fit(X, Y).cv_results_
    num_fits = len(FITS)
    given["storage"] = f"sqlite:///{tmp_path / 's.db'}"
    stops = [5, 30, num_fits - 2]
    FITS.clear()
    for stop_at in stops:
        with pytest.raises(KeyboardInterrupt):
            search(Learner(stop_at=stop_at), **given).fit(X, Y)
        assert caplog.messages[-1].endswith("Fit again with the same settings to go on.")
    again = search(**given).fit(X, Y).cv_results_
    for name in ("param_value", "n_resources", "mean_test_score", "rank_test_score"):
        np.testing.assert_array_equal(np.asarray(again[name]), np.asarray(whole[name]))
    before = len(FITS)
    search(**given).fit(X, Y)
    assert len(FITS) == before


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [30, 60, 120]),  # no fewer rows than any other rule gives
        ({"min_resources": 50}, [50, 100, 120]),
        ({"resource": "rounds", "max_resources": 54}, [2, 4, 8, 16, 32, 54]),
        ({"resource": "rounds", "max_resources": 9, "min_resources": 9}, [9]),
    ],
)
def test_median_judges_each_time_that_what_is_fitted_anew_has_doubled(settings, expected):
    given = {"scheduler": "median", "n_iter": 24, "refit": False, "cv": 5, **settings}
    results = search(**given).fit(X, Y).cv_results_
    at = 2 if "resource" in settings else 1
    assert sorted({fit[at] for fit in FITS}) == expected
    assert set(results["n_resources"]) <= set(expected)
    worst = np.argmin(worth(results))
    assert len(expected) == 1 or results["n_resources"][worst] < max(expected)


@pytest.mark.parametrize("least", [None, 3])
def test_median_judges_at_every_fold(least):
    given = {"scheduler": "median", "resource": "folds", "cv": 8, "min_resources": least}
    results = search(**given, n_iter=24, refit=False).fit(X, Y).cv_results_
    assert min(results["n_resources"]) == (least or 1)
    assert max(results["n_resources"]) == 8


def test_a_search_without_the_scheduler_says_what_differs(tmp_path):
    given = {"storage": f"sqlite:///{tmp_path / 's.db'}", "n_iter": 2, "refit": False}
    search(**given).fit(X, Y)
    with pytest.raises(ValueError, match="another resource was used"):
        search(**given, scheduler=None).fit(X, Y)


def test_workers_change_nothing():
    forest = RandomForestClassifier(random_state=0)
    space = {"max_depth": [1, 2, 4, 8], "max_features": hpo.uniform(0.1, 1.0)}
    given = {"resource": "n_estimators", "max_resources": 9, "batch_size": 4, "n_iter": 8, "cv": 2}
    one, two = (search(forest, space, **given, n_jobs=n).fit(X, Y) for n in (1, 2))
    for name in ("params", "n_resources", "mean_test_score"):
        assert list(one.cv_results_[name]) == list(two.cv_results_[name])


def test_a_small_space_is_searched_whole():
    with pytest.warns(UserWarning, match="smaller than n_iter=16"):
        found = search(space={"value": [0.1, 0.3, 0.9]}).fit(X, Y)
    assert found.best_params_ == {"value": 0.3}
    statuses = [trial.status.name for trial in found.study_.trials]
    assert sorted(statuses) == ["COMPLETE", "PRUNED", "PRUNED"]


def test_a_failing_candidate_goes_no_further():
    space = {"value": [0.1, 0.3, 0.9, 0.99]}
    with (
        pytest.warns(FitFailedWarning, match="2 fits failed"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        found = search(space=space, n_iter=4, cv=2).fit(X, Y)
    results = found.cv_results_
    worst = [params["value"] for params in results["params"]].index(0.99)
    assert np.isnan(results["mean_test_score"][worst])
    assert results["n_resources"][worst] == min(results["n_resources"])
    assert found.best_params_ == {"value": 0.3}
    assert "too much" in found.study_.trials[worst].reason


def test_several_metrics_and_training_scores():
    forest = RandomForestClassifier(random_state=0, n_estimators=3)
    found = search(
        forest, {"max_depth": hpo.integer(1, 8)}, scoring=["accuracy", "f1_macro"], n_iter=6,
        refit="f1_macro", return_train_score=True,
    ).fit(X, Y)  # fmt: skip
    results = found.cv_results_
    assert results["rank_test_f1_macro"][found.best_index_] == 1
    best = results["n_resources"] == results["n_resources"].max()
    assert found.best_score_ == results["mean_test_f1_macro"][best].max()
    assert np.isfinite(results["mean_train_accuracy"]).all()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"scheduler": "halvin"}, ValueError, "SearchCV: `scheduler` must be one of"),
        ({"scheduler": "pbt"}, ValueError, "SearchCV: `scheduler`"),
        ({"scheduler": 3}, TypeError, "SearchCV: `scheduler` must be a name"),
        ({"scheduler": optuna.pruners.NopPruner()}, TypeError, "a pruner of Optuna's, wh"),
        ({"scheduler": "patience"}, ValueError, "`scheduler` must be a rule that comp"),
        ({"resource": "trees"}, ValueError, "`resource` must be 'folds', 'n_samples' or a param"),
        ({"resource": "value"}, ValueError, "`resource` must be a parameter that is not searched"),
        (
            {"resource": "folds", "cv": ShuffleSplit(1)}, ValueError,
            "`resource` must be another than 'folds' where `cv` has but one",
        ),
        (
            {"estimator": RandomForestClassifier(), "resource": "criterion", "max_resources": 5},
            ValueError, "`resource` must be a parameter that counts something, not 'gini'",
        ),
        ({"resource": "rounds"}, TypeError, "`max_resources` must be the value of 'rounds'"),
        ({"max_resources": 10**6}, ValueError, "`max_resources` must be at most 112"),
        ({"max_resources": 0}, ValueError, "`max_resources` must be at least 1"),
        ({"min_resources": 113}, ValueError, "`min_resources` must be at most 112"),
        (
            {"scheduler": hpo.schedulers.asha, "min_resources": 2}, TypeError,
            "`min_resources` must be None unless `scheduler` is a name",
        ),
        ({"stop_after_folds": 1}, ValueError, "`stop_after_folds` must be None where"),
        ({"scheduler": None, "resource": "folds"}, ValueError, "`resource` must be 'n_samples'"),
    ],
)  # fmt: skip
def test_bad_settings_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        search(**settings).fit(X, Y)
    assert not FITS
