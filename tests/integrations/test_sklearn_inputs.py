"""What scikit-learn's users pass to a search, what they look at afterwards, and what it tells."""

import copy
import pathlib
import pickle
import runpy
import time

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from jaxhpo.integrations.sklearn import SearchCV, _store
from jaxhpo.plots import history, parallel_coordinates
from jaxhpo.progress import _reporter

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "search_cv.py"
X, Y = load_iris(return_X_y=True)


class Anything(ClassifierMixin, BaseEstimator):
    """Takes any value of its parameter."""

    def __init__(self, value=0, other=0):
        self.value, self.other = value, other

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def score(self, X, y=None):
        return 1.0


class Law:
    """Anything that can be drawn from."""

    def rvs(self, random_state=None):
        return float(random_state.normal(2.0, 1.0))


def searched(values, **settings):
    given = {"n_iter": 12, "cv": 2, "random_state": 0, "refit": False, **settings}
    return SearchCV(Anything(), values, **given).fit(X, Y)


VALUES = {
    "repeats": [1, 1, 1, 2, 3, 5],
    "nan": [np.nan, 1.0, float("inf")],
    "series": pd.Series([1.0, 2.0, np.nan]),
    "array": np.array(["a", "b", "b"]),
    "range": range(4),
    "none and objects": [None, StandardScaler(), MinMaxScaler(), np.mean, "passthrough"],
    "containers": [(1, 2), [1, 2], {"a": 1}, np.array([1, 2])],
    "rvs": Law(),
    "frozen": stats.gamma(2.0),
}


@pytest.mark.parametrize("kind", list(VALUES))
@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_what_their_search_takes_ours_takes(kind, sampler):
    values = {"value": VALUES[kind], "other": stats.uniform(0, 1)}
    if kind != "series":  # theirs takes a Series beside a law only in some versions
        RandomizedSearchCV(Anything(), values, n_iter=2, cv=2, refit=False).fit(X, Y)
    found = [one["value"] for one in searched(values, sampler=sampler).cv_results_["params"]]
    assert len(found) == 12
    if hasattr(VALUES[kind], "__len__"):
        options = VALUES[kind].tolist() if hasattr(VALUES[kind], "tolist") else list(VALUES[kind])
        assert {repr(value) for value in found} <= {repr(value) for value in options}


def test_a_prior_by_hand_is_followed():
    found = searched(
        {"value": [1, 1, 1, 2, 3, 5], "other": stats.uniform(0, 1)}, n_iter=240
    ).cv_results_["param_value"]
    assert np.mean(np.asarray(found, int) == 1) == pytest.approx(0.5, abs=0.1)


def test_a_list_of_dicts_is_one_search_over_branches():
    spaces = [
        {"model": [LogisticRegression(max_iter=50)], "model__C": stats.loguniform(1e-2, 1e2)},
        {"model": [DecisionTreeClassifier(random_state=0)], "model__max_depth": [1, 1, 2, None]},
        {"model": [DummyClassifier()]},
    ]
    pipe = Pipeline([("scale", StandardScaler()), ("model", DummyClassifier())])
    for sampler in ("random", "tpe"):
        search = SearchCV(pipe, spaces, n_iter=14, cv=2, sampler=sampler, random_state=1)
        search.fit(X, Y)
        kinds = {type(one["model"]).__name__ for one in search.cv_results_["params"]}
        assert {"LogisticRegression", "DecisionTreeClassifier"} <= kinds
        assert search.best_score_ > 0.8
        assert set(search.best_params_) in ({"model", "model__C"}, {"model", "model__max_depth"})


def test_nan_goes_on_where_a_stored_search_stopped(tmp_path):
    values = {"value": [np.nan, None, 2.0, float("inf")], "other": [StandardScaler(), None]}
    storage = f"sqlite:///{tmp_path / 's.db'}"
    few = searched(values, n_iter=3, sampler="qmc", storage=storage)
    many = searched(values, n_iter=8, sampler="qmc", storage=storage)
    shown = [repr(one) for one in many.cv_results_["params"]]
    assert shown[:3] == [repr(one) for one in few.cv_results_["params"]]
    assert len(set(shown)) == 8


def test_the_search_has_a_study():
    tree = DecisionTreeClassifier(random_state=0)
    search = SearchCV(
        tree, {"max_depth": [1, 2, 3, None]}, n_iter=4, cv=2, scoring="balanced_accuracy"
    ).fit(X, Y)
    study = search.study_
    assert len(study.trials) == 4
    assert study.best_value == pytest.approx(search.best_score_)
    assert study.best_params == search.best_params_
    assert study.to_optuna().best_value == pytest.approx(search.best_score_)
    for copied in (pickle.loads(pickle.dumps(search)), copy.deepcopy(search)):
        assert not hasattr(copied, "study_")
        assert copied.best_params_ == search.best_params_


@pytest.mark.parametrize(
    ("scoring", "refit", "name"),
    [
        (None, True, "score"),
        ("accuracy", True, "accuracy"),
        (make_scorer(f1_score, average="macro"), True, "f1_score"),
        ({"ba": "balanced_accuracy", "acc": "accuracy"}, "acc", "acc"),
        (["accuracy", "balanced_accuracy"], "accuracy", "accuracy"),
    ],
)
def test_the_axes_say_what_the_metric_is(scoring, refit, name, tmp_path):
    tree = DecisionTreeClassifier(random_state=0)
    search = SearchCV(tree, {"max_depth": [1, 2, 3, None]}, n_iter=4, cv=2, scoring=scoring,
                      refit=refit).fit(X, Y)  # fmt: skip
    assert search.study_.metric_names == (name,)
    assert history(search.study_).axes[0].get_ylabel() == f"best {name}"
    labels = [ax.get_ylabel() for ax in parallel_coordinates(search.study_).axes]
    assert f"{name}, by rank" in labels
    page = search.study_.report(tmp_path / "r.html", model=False).read_text(encoding="utf-8")
    assert f'"text": "{name}"' in page or f'"text":"{name}"' in page


def test_a_trial_s_time_is_that_of_its_fits(monkeypatch):
    """A sampler that takes long to compile, or a batch, is not on the trials' account."""
    reserve = _store.CandidateStore.batch

    def slow(store, count, block):
        time.sleep(0.5)
        return reserve(store, count, block)

    monkeypatch.setattr(_store.CandidateStore, "batch", slow)
    tree = DecisionTreeClassifier(random_state=0)
    space = {"max_depth": [1, 2, 3, 4, 5, None]}
    for settings in ({"sampler": "tpe"}, {"batch_size": 6}, {}):
        search = SearchCV(tree, space, n_iter=6, cv=2, **settings).fit(X, Y)
        spent = np.asarray([trial.seconds for trial in search.study_.trials])
        results = search.cv_results_
        fits = 2 * (results["mean_fit_time"] + results["mean_score_time"])
        np.testing.assert_allclose(spent, fits, rtol=1e-6)
        theirs = [trial.duration.total_seconds() for trial in search.study_.to_optuna().trials]
        assert max(theirs) < 0.4


def test_a_program_s_compilation_is_not_on_the_fits_account():

    with jax.numpy_dtype_promotion("standard"):  # optax multiplies a float by an integer
        mlp = runpy.run_path(str(EXAMPLE), run_name="example")["MLPClassifier"]
        space = {"lr": stats.loguniform(1e-3, 1.0)}
        search = SearchCV(
            mlp(width=4, num_steps=30), space, n_iter=16, cv=2, sampler="qmc", batch_size=8,
            refit=False,
        ).fit(X, Y)  # fmt: skip
    fit_time = search.cv_results_["mean_fit_time"]
    assert fit_time[:8].mean() < 5 * fit_time[8:].mean() + 0.01


def test_it_says_what_takes_long(monkeypatch, capfd):
    tree = DecisionTreeClassifier(random_state=0)
    space = {"max_depth": [1, 2, 3, None]}
    monkeypatch.setattr(_reporter, "SLOW_SECONDS", 3600.0)
    SearchCV(tree, space, n_iter=2, cv=2).fit(X, Y)
    quiet = capfd.readouterr()
    assert (quiet.out, quiet.err) == ("", "")
    monkeypatch.setattr(_reporter, "SLOW_SECONDS", 0.0)
    SearchCV(tree, space, n_iter=4, cv=2, batch_size=1, sampler="tpe").fit(X, Y)
    slow = capfd.readouterr()
    assert slow.out == ""
    assert slow.err.count("SearchCV: compiling tpe for 256 trials, ") >= 1
    SearchCV(tree, space, n_iter=2, cv=2, verbose=1, sampler="tpe").fit(X, Y)
    told = capfd.readouterr()
    assert told.out.startswith("Fitting 2 folds for each of 2 candidates, totalling 4 fits")
    assert "SearchCV('tpe'): 2 candidates; the sampler is compiled first" in told.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_iter": 0}, "n_iter"),
        ({"n_iter": "ten"}, "n_iter"),
        ({"n_iter": 2.5}, "n_iter"),
        ({"estimator": None}, "estimator"),
        ({"estimator": "tree"}, "estimator"),
        ({"param_distributions": None}, "param_distributions"),
        ({"param_distributions": "max_depth"}, "param_distributions"),
        ({"param_distributions": {"max_depth": 3}}, "param_distributions"),
        ({"param_distributions": {"max_depth": {1, 2}}}, "param_distributions"),
        ({"param_distributions": {"no_such": [1, 2]}}, "no_such"),
        ({"sampler": 3}, "sampler"),
        ({"sampler": "tpee"}, "sampler"),
        ({"sampler": None}, "sampler"),
        ({"sampler": lambda space: 3}, "sampler"),
        ({"batch_size": 0}, "batch_size"),
        ({"stop_after_folds": 9}, "stop_after_folds"),
        ({"storage": 3}, "storage"),
        ({"study_name": 3, "storage": "x.db"}, "study_name"),
        ({"random_state": "seed"}, "random_state"),
        ({"random_state": -1}, "random_state"),
        ({"scoring": "no_such"}, "scoring"),
        ({"cv": "five"}, "cv"),
        ({"n_jobs": "two"}, "n_jobs"),
    ],
)
def test_a_malformed_search_names_the_argument(settings, message):
    given = {
        "estimator": DecisionTreeClassifier(),
        "param_distributions": {"max_depth": [1, 2]},
        "n_iter": 2,
        "cv": 2,
        **settings,
    }
    with pytest.raises((TypeError, ValueError), match=message):
        SearchCV(**given).fit(X, Y)
