"""SearchCV beside RandomizedSearchCV, its own promises, and folds × candidates as one program."""

import pathlib
import runpy

import jax
import numpy as np
import pytest
from joblib import parallel_config
from scipy import stats
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import RandomizedSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import jaxhpo as hpo
from jaxhpo.integrations._extras import require
from jaxhpo.integrations.sklearn import SearchCV

X, Y = load_iris(return_X_y=True)
SPACE = {
    "max_depth": [1, 2, 3, None],
    "criterion": ["gini", "entropy"],
    "min_samples_leaf": hpo.integer(1, 5),
    "ccp_alpha": stats.loguniform(1e-4, 1e-1),
}
EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "search_cv.py"


def tree_search(**settings):
    tree = DecisionTreeClassifier(random_state=0)
    return SearchCV(tree, SPACE, **{"n_iter": 6, "cv": 3, "random_state": 0, **settings})


class Rated(ClassifierMixin, BaseEstimator):
    """Scores its parameter, less in later folds, or raises."""

    def __init__(self, quality=0.0):
        self.quality = quality

    def fit(self, X, y):
        if self.quality == 7:
            raise ValueError("cannot be fitted")
        self.classes_, self.offset_ = np.unique(y), float(np.mean(X) % 0.1)
        return self

    def score(self, X, y=None):
        return self.quality + self.offset_


def test_classical_program():
    """Their program with the import line and the class name changed."""
    grid = {
        "n_estimators": [2, 4, 8],
        "max_features": ["sqrt", "log2"],
        "max_depth": [2, 4, None],
        "criterion": ["gini", "entropy"],
    }
    given = dict(n_iter=5, cv=5, random_state=42, return_train_score=True)
    ours = SearchCV(
        estimator=RandomForestClassifier(random_state=0), param_distributions=grid, **given
    )
    theirs = RandomizedSearchCV(
        estimator=RandomForestClassifier(random_state=0), param_distributions=grid, **given
    )
    ours.fit(X, Y), theirs.fit(X, Y)
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for name, column in ours.cv_results_.items():
        assert type(column) is type(theirs.cv_results_[name])
        assert len(column) == 5
    assert ours.best_score_ == max(ours.cv_results_["mean_test_score"])
    assert ours.best_params_ == ours.cv_results_["params"][ours.best_index_]
    assert ours.score(X, Y) > 0.9
    # Without replacement, as in scikit-learn.
    assert len({str(params) for params in ours.cv_results_["params"]}) == 5
    # A candidate that both have tried has the same scores: these are the same folds.
    grids = [SearchCV, RandomizedSearchCV]
    one = [c(DecisionTreeClassifier(random_state=0), {"max_depth": [2]}, n_iter=1) for c in grids]
    assert one[0].fit(X, Y).best_score_ == one[1].fit(X, Y).best_score_


def test_small_grid_warns_and_runs_all_of_it():
    with pytest.warns(UserWarning, match="smaller than n_iter=10"):
        search = SearchCV(Rated(), {"quality": [0, 1, 2]}, cv=2).fit(X, Y)
    assert sorted(p["quality"] for p in search.cv_results_["params"]) == [0, 1, 2]


def test_list_of_dicts_pipeline_and_clone():
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    space = [
        {"logisticregression__C": stats.expon(scale=10), "standardscaler": ["passthrough"]},
        {"logisticregression__C": stats.loguniform(1e-2, 1e2)},
    ]
    search = clone(SearchCV(pipeline, space, n_iter=4, cv=2, random_state=3))
    both = make_pipeline(StandardScaler(), search).fit(X, Y)
    assert both.score(X, Y) > 0.8
    columns = search.fit(X, Y).cv_results_
    assert {"param_logisticregression__C", "param_standardscaler"} <= set(columns)
    assert columns["param_standardscaler"].mask.any()


def test_metrics_refit_and_failures():
    several = tree_search(scoring=["accuracy", "f1_macro"], refit="f1_macro", n_iter=3).fit(X, Y)
    assert several.best_score_ == max(several.cv_results_["mean_test_f1_macro"])
    worst = tree_search(refit=lambda results: int(np.argmin(results["mean_test_score"])), n_iter=3)
    assert worst.fit(X, Y).best_index_ == np.argmin(worst.cv_results_["mean_test_score"])
    with pytest.warns() as caught:
        search = SearchCV(Rated(), {"quality": [0, 7]}, n_iter=2, cv=2).fit(X, Y)
    assert any("fits failed" in str(w.message) for w in caught)
    scores = dict(
        zip(search.cv_results_["param_quality"], search.cv_results_["mean_test_score"], strict=True)
    )
    assert np.isnan(scores[7])
    assert search.best_params_ == {"quality": 0}
    with pytest.raises(ValueError, match="All the 2 fits failed"):
        SearchCV(Rated(), {"quality": [7]}, n_iter=1, cv=2).fit(X, Y)
    with pytest.raises(ValueError, match="cannot be fitted"):
        SearchCV(Rated(), {"quality": [7]}, n_iter=1, cv=2, error_score="raise").fit(X, Y)


def test_metadata_is_routed():
    weight = np.where(Y == 2, 0.0, 1.0)
    tree = DecisionTreeClassifier(random_state=0)
    with config_context(enable_metadata_routing=True):
        scorer = get_scorer("accuracy").set_score_request(sample_weight=False)
        search = SearchCV(
            tree.set_fit_request(sample_weight=True), {"max_depth": [3]}, n_iter=1, scoring=scorer
        ).fit(X, Y, sample_weight=weight)
    assert 2 not in search.predict(X)


@pytest.mark.parametrize(
    ("sampler", "storage"),
    [("qmc", "s.log"), pytest.param("tpe", "s.db", marks=pytest.mark.slow)],
)
def test_resumed_search_is_the_uninterrupted_one(tmp_path, sampler, storage):
    given = dict(sampler=sampler, storage=str(tmp_path / storage), scoring="accuracy")
    whole = tree_search(study_name="whole", **given).fit(X, Y)
    first = tree_search(n_iter=4, **given).fit(X, Y)
    rest = tree_search(**given).fit(X, Y)
    assert rest.cv_results_["params"] == whole.cv_results_["params"]
    assert rest.cv_results_["params"][:4] == first.cv_results_["params"]
    same = "split2_test_score"
    np.testing.assert_array_equal(rest.cv_results_[same], whole.cv_results_[same])
    np.testing.assert_array_equal(
        rest.cv_results_["mean_fit_time"][:4], first.cv_results_["mean_fit_time"]
    )
    with pytest.raises(ValueError, match="another data, folds was used"):
        tree_search(**given).fit(X[::2], Y[::2])
    with pytest.raises(ValueError, match="another folds was used"):
        tree_search(cv=StratifiedKFold(3, shuffle=True, random_state=1), **given).fit(X, Y)


def test_two_searches_of_one_study_evaluate_no_candidate_twice(tmp_path):
    values, started = [v / 10 for v in range(1, 10)], []

    class Second(Rated):
        """Starts another search while the first one's batch is being evaluated."""

        def fit(self, x, y):
            if not started:
                started.append(SearchCV(Second(), **given))
                started[0].fit(X, Y)
            return super().fit(x, y)

    given = dict(
        param_distributions={"quality": values}, n_iter=4, cv=3, sampler="random", random_state=0,
        storage=str(tmp_path / "s.db"), study_name="s",
    )  # fmt: skip
    first = SearchCV(Second(), **given).fit(X, Y)
    both = [p["quality"] for s in (first, *started) for p in s.cv_results_["params"]]
    assert len(both) == len(set(both)) == 8


def test_candidates_of_an_interrupted_batch_are_evaluated_by_the_next_search(tmp_path):
    class Interrupted(Rated):
        def fit(self, X, y):
            if self.quality == broken:
                raise KeyboardInterrupt
            return super().fit(X, y)

    given = dict(
        param_distributions={"quality": [v / 10 for v in range(1, 10)]}, n_iter=6, cv=3,
        sampler="random", random_state=0, batch_size=3, study_name="s",
    )  # fmt: skip
    broken = None
    whole = SearchCV(Interrupted(), storage=str(tmp_path / "whole.db"), **given).fit(X, Y)
    order = [p["quality"] for p in whole.cv_results_["params"]]
    broken = order[4]
    with pytest.raises(KeyboardInterrupt):
        SearchCV(Interrupted(), storage=str(tmp_path / "s.db"), **given).fit(X, Y)
    study = hpo.load_study("s", str(tmp_path / "s.db"))
    assert [t.status.name for t in study.trials] == ["COMPLETE"] * 3 + ["WAITING"] * 3
    broken = None
    rest = SearchCV(Interrupted(), storage=str(tmp_path / "s.db"), **given).fit(X, Y)
    assert [p["quality"] for p in rest.cv_results_["params"]] == order


def test_a_batch_too_large_to_learn_from_is_named(caplog):
    values = {"quality": hpo.uniform(0.0, 1.0)}
    for sampler, size in (("random", 24), ("tpe", 8), ("tpe", 24)):
        SearchCV(
            Rated(), values, n_iter=24, cv=2, sampler=sampler, batch_size=size, random_state=0
        ).fit(X, Y)
    [line] = [r.message for r in caplog.records if "before it learns" in r.message]
    assert line.startswith("SearchCV: batch_size=24 lets tpe propose 24 trials")


def test_hopeless_candidates_are_stopped():
    values = [0.5, 0.52, 0.51, 0.1, 0.53, 0.2]
    given = dict(n_iter=6, cv=4, sampler="grid", random_state=0)
    ended = SearchCV(Rated(), {"quality": values}, stop_after_folds=2, **given).fit(X, Y)
    full = SearchCV(Rated(), {"quality": values}, **given).fit(X, Y)
    folds = dict(
        zip(ended.cv_results_["param_quality"], ended.cv_results_["num_folds"], strict=True)
    )
    order = [p["quality"] for p in ended.cv_results_["params"]]
    assert all(folds[q] == 4 for q in order[:3])
    hopeless = [q for q in order[3:] if q < 0.3]
    assert hopeless, "the order of the grid leaves none for the end"
    assert all(folds[q] == 2 for q in hopeless)
    assert ended.best_params_ == full.best_params_
    means = dict(zip(order, ended.cv_results_["mean_test_score"], strict=True))
    assert all(np.isnan(means[q]) for q in hopeless)
    ranks = dict(zip(order, ended.cv_results_["rank_test_score"], strict=True))
    assert min(ranks[q] for q in hopeless) > max(r for q, r in ranks.items() if q not in hopeless)


@pytest.fixture
def mlp():
    """The example's estimator; optax multiplies a float by an integer."""
    with jax.numpy_dtype_promotion("standard"):
        yield runpy.run_path(str(EXAMPLE), run_name="example")["MLPClassifier"]


def test_folds_and_candidates_are_one_program(mlp):
    traced = []

    class Counted(mlp):
        def jax_fit(self, *args):
            traced.append(args[2].shape)
            return super().jax_fit(*args)

    space = {"lr": stats.loguniform(1e-3, 1.0), "alpha": stats.loguniform(1e-6, 1e-2)}
    given = dict(n_iter=6, cv=3, sampler="qmc", random_state=0, batch_size=4, refit=False)
    estimator = Counted(width=4, num_steps=30)
    together = SearchCV(estimator, space, return_train_score=True, **given).fit(X, Y)
    assert len(traced) == 1, "two batches of three folds each: one trace"
    assert together.best_score_ > 0.8

    # The same folds one by one, by the estimator's own fit on the rows of each fold.
    best = together.cv_results_["params"][together.best_index_]
    for k, (train, test) in enumerate(StratifiedKFold(3).split(X, Y)):
        weight = np.isin(np.arange(len(X)), train).astype(float)
        alone = clone(estimator).set_params(**best).fit(X, Y, sample_weight=weight)
        expected = together.cv_results_[f"split{k}_test_score"][together.best_index_]
        assert alone.score(X[test], Y[test]) == pytest.approx(expected, abs=0.03)


def test_static_parameters_are_programs_of_their_own(mlp):
    traced = []

    class Counted(mlp):
        def jax_fit(self, *args):
            traced.append(self.width)
            return super().jax_fit(*args)

    space = {"lr": [0.03, 0.1], "width": [2, 3]}
    search = SearchCV(
        Counted(num_steps=5), space, n_iter=4, cv=2, sampler="grid", scoring="accuracy",
        refit=False,
    ).fit(X, Y, sample_weight=np.ones(len(X)))  # fmt: skip
    assert sorted(traced) == [2, 3]
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


def test_bad_input():
    with pytest.raises(ValueError, match="SearchCV: `sampler` must be one of auto"):
        tree_search(sampler="bayes").fit(X, Y)
    with pytest.raises(ValueError, match="`stop_after_folds` must be below the number of folds, 3"):
        tree_search(stop_after_folds=3).fit(X, Y)
    with pytest.raises(ValueError, match="'n_iter' parameter of SearchCV must be an int"):
        tree_search(n_iter=0).fit(X, Y)
    with pytest.raises(TypeError, match="`param_distributions\\['a'\\]` must be a list"):
        SearchCV(Rated(), {"a": 3}).fit(X, Y)
    with pytest.raises(TypeError, match="a space over a dict from parameter names"):
        SearchCV(Rated(), hpo.Space(hpo.uniform(0.0, 1.0))).fit(X, Y)
    with (
        parallel_config("multiprocessing"),
        pytest.raises(ValueError, match="must be one that does not fork"),
    ):
        tree_search(n_jobs=2).fit(X, Y)
    with pytest.raises(ImportError, match='pip install "jaxhpo\\[sklearn\\]"'):
        require("no_such_library", "sklearn")


@pytest.mark.slow
def test_workers_do_not_import_jax():
    class Spy(ClassifierMixin, BaseEstimator):  # pickled by value: it belongs to no module
        def __init__(self, quality=0):
            self.quality = quality

        def fit(self, X, y):
            self.classes_ = [0, 1]
            return self

        def score(self, X, y=None):
            import sys

            return float("jax" in sys.modules)

    search = SearchCV(Spy(), {"quality": [0, 1]}, n_iter=2, cv=2, n_jobs=2).fit(X, Y)
    assert search.best_score_ == 0.0


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [SearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, n_iter=2, cv=2, sampler="qmc")]
)
def test_estimator_checks(estimator, check):
    check(estimator)
