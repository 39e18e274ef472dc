"""`SearchCV`: what RandomizedSearchCV does, with any of our samplers."""

from __future__ import annotations

import numbers
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_method_params, indexable

from jaxhpo._checks import fail
from jaxhpo.integrations.sklearn._folds import check_backend
from jaxhpo.integrations.sklearn._resource import Resource, resource_of
from jaxhpo.integrations.sklearn._results import tabulate
from jaxhpo.integrations.sklearn._rounds import run_rounds
from jaxhpo.integrations.sklearn._scheduled import run_scheduled
from jaxhpo.integrations.sklearn._store import open_candidate_store, space_of
from jaxhpo.integrations.sklearn._task import Candidate, Task
from jaxhpo.space import Space
from jaxhpo.study.internal import redact_url

_WHERE = "SearchCV"


class SearchCV(BaseSearchCV):
    """Searches an estimator's hyperparameters by cross-validation, with any of our samplers.

    A drop-in for `RandomizedSearchCV`: the same arguments, attributes and `cv_results_` columns.
    An estimator that is a `JaxEstimator` trains all folds of a batch of candidates as one program;
    any other is fitted by joblib's workers, which never import JAX.

    Args:
        estimator: any scikit-learn estimator, a pipeline too.
        param_distributions: a dict from parameter names to lists (arrays, ranges, Series; values
            that repeat are as much more likely), objects with `rvs` or our dimensions; a list of
            such dicts, one of which is chosen first; or a `Space`. A law that we do not have is
            taken at 256 equally likely quantiles.
        n_iter: candidates in all, those of a continued search included.
        sampler: a name from `jaxhpo.samplers.names()`, or a function of a space that returns a
            `Sampler`.
        scoring: as in scikit-learn; scores are maximised.
        n_jobs: joblib workers; None is 1, -1 all processors.
        refit: as in scikit-learn. With several metrics the sampler follows the one named here, the
            first one where none is.
        cv: as in scikit-learn. The folds are drawn once and are the same for all candidates.
        verbose: as in scikit-learn; 1 tells how far the search is as well. Whatever it is, one line
            on standard error says so if the sampler takes long to compile.
        pre_dispatch: as in scikit-learn.
        random_state: an integer, a `RandomState` or None.
        error_score: as in scikit-learn; a failed fit counts as a failed trial.
        return_train_score: whether `cv_results_` has training scores.
        batch_size: candidates proposed at a time. None: as many as keep the workers busy, and all
            of them where the sampler does not learn. Set it for results that do not depend on
            `n_jobs`.
        storage: where the search is written down batch by batch, as in `Study`; None keeps it in
            memory. Fitting again with the same storage and name goes on where it stopped.
        study_name: name of the search in the storage.
        stop_after_folds: decide after this many folds whether a candidate is hopeless: behind the
            best one by two standard errors on the same folds. Its other folds are then left out,
            its mean score is NaN and it ranks last; `cv_results_["num_folds"]` says how many it
            saw. None fits every fold.
        scheduler: ends candidates early, as in `Study.optimize`: "halving", "hyperband", "asha",
            "median", a function `(num_trials, num_steps)` that makes a scheduler, or a `Scheduler`.
            None gives every candidate everything. `cv_results_["n_resources"]` says what each got,
            its scores are those with that much, and whoever got less ranks behind.
        resource: what candidates get more of from rung to rung: "n_samples", training rows of every
            fold; "folds", which are added to those that were fitted; or an integer parameter of the
            estimator such as "n_estimators" or "max_iter", which is not searched over. But for
            folds, each rung fits anew.
        max_resources: what a candidate gets that is never stopped. None: all there are; needed
            where it is a parameter.
        min_resources: what the first rung gives, for a scheduler that is named. None: a 27th of
            all, and of rows at least two per fold and class. "median" judges at every fold, or each
            time that the resource has doubled.

    Attributes:
        study_: the search as a `Study` of ours, with its trials; `study_.to_optuna()` is Optuna's.
            It stays in this process: a pickled search has none.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> space = {"max_depth": [1, 2, None], "criterion": ["gini", "entropy"]}
        >>> search = SearchCV(DecisionTreeClassifier(random_state=0), space, n_iter=4, cv=2)
        >>> len(search.fit(X, y).cv_results_["params"])
        4
        >>> search.set_params(scheduler="halving", resource="folds", cv=5).fit(X, y)
        ... # doctest: +ELLIPSIS
        SearchCV(...)
        >>> int(search.cv_results_["n_resources"][search.best_index_])
        5

    References:
        Bergstra, Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012.
        Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
        optimization", 2016, https://arxiv.org/abs/1502.07943.
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **BaseSearchCV._parameter_constraints,
        "param_distributions": "no_validation",
        "n_iter": [Interval(numbers.Integral, 1, None, closed="left")],
        "sampler": [str, callable],
        "random_state": ["random_state"],
        "batch_size": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "storage": "no_validation",
        "study_name": [str],
        "stop_after_folds": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "scheduler": "no_validation",
        "resource": [str],
        "max_resources": "no_validation",
        "min_resources": "no_validation",
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter: int = 10,
        sampler: Any = "random",
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        batch_size: int | None = None,
        storage: Any = None,
        study_name: str = "SearchCV",
        stop_after_folds: int | None = None,
        scheduler: Any = None,
        resource: str = "n_samples",
        max_resources: int | None = None,
        min_resources: int | None = None,
    ) -> None:
        self.param_distributions = param_distributions
        self.n_iter = n_iter
        self.sampler = sampler
        self.random_state = random_state
        self.batch_size = batch_size
        self.storage = storage
        self.study_name = study_name
        self.stop_after_folds = stop_after_folds
        self.scheduler = scheduler
        self.resource = resource
        self.max_resources = max_resources
        self.min_resources = min_resources
        super().__init__(
            estimator=estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )

    def fit(self, X: Any, y: Any = None, **params: Any) -> SearchCV:
        """Searches, and trains the best candidate on all data.

        Args:
            X: `[n, p]` data.
            y: targets, or None.
            **params: for the estimator's `fit`, the splitter and the scorer, as in scikit-learn.

        Returns:
            The search itself.

        Raises:
            ValueError: an argument out of range, an unknown sampler, or all fits failed.
        """
        self._validate_params()
        check_backend(_WHERE)
        space = space_of(self)
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        data = {"X": X, "y": y, "metadata": _metadata(params)}
        task = self._task(X, y, params)
        context = self._init_callback_context(max_subtasks=1 + (self.refit is not False))
        context = context.call_on_fit_task_begin(estimator=self, **data)
        resource = _resource_of(self, space, task)
        store = open_candidate_store(self, space, task, resource)
        self.study_ = store.study
        if resource is None:
            found = run_rounds(self, store, task)
        else:
            found = run_scheduled(self, store, resource)
        if len(found) < self.n_iter:
            warnings.warn(
                f"The total space of parameters {len(found)} is smaller than "
                f"n_iter={self.n_iter}. Running {len(found)} iterations, all of it.",
                UserWarning,
                stacklevel=2,
            )
        results = self._summarise(found, task.metric)
        if self.refit:
            self._refit(task, context, data)
        has_several = isinstance(task.scorer, _MultimetricScorer)
        self.scorer_ = task.scorer._scorers if has_several else task.scorer
        self.cv_results_ = results
        context.call_on_fit_task_end(estimator=self, **data)
        return self

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        if not isinstance(self.storage, str):
            return str(super().__repr__(N_CHAR_MAX))
        # Shortened, a password would be found no more.
        whole = str(super().__repr__(10**9))
        return whole.replace(repr(self.storage), repr(redact_url(self.storage)))

    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        """What scikit-learn shows of the settings in a notebook, passwords hidden."""
        found = super()._get_params_html(*args, **kwargs)
        if isinstance(found.get("storage"), str):
            found["storage"] = redact_url(found["storage"])
        return found

    def __getstate__(self) -> dict[str, Any]:
        # A study holds compiled programs and an open storage, which stay in this process.
        state: dict[str, Any] = super().__getstate__()
        state.pop("study_", None)
        return state

    def _task(self, X: Any, y: Any, params: dict[str, Any]) -> Task:
        """What all fits share; sets `n_splits_`."""
        scorer, metric = self._get_scorers()
        routed = self._get_routed_params_for_fit(params)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, **routed.splitter.split))
        self.n_splits_ = cv.get_n_splits(X, y, **routed.splitter.split)
        if len(splits) != self.n_splits_:
            expected = f"{self.n_splits_} splits, as its get_n_splits says"
            raise fail(_WHERE, "cv", f"a splitter that gives {expected}", len(splits))
        return Task(
            estimator=clone(self.estimator),
            X=X,
            y=y,
            splits=splits,
            fit_params=routed.estimator.fit,
            scorer=scorer,
            score_params=routed.scorer.score,
            metric=metric,
            error_score=self.error_score,
            return_train_score=self.return_train_score,
        )

    def _summarise(self, found: Sequence[Candidate], metric: Any) -> dict[str, Any]:
        """Makes `cv_results_` and sets the `best_…_` attributes."""
        if not found:
            raise ValueError(f"{_WHERE}: no candidate was evaluated; the space has none.")
        results, first = tabulate(self, found)
        self.multimetric_ = isinstance(first, dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(first)
            metric = self.refit
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]
        return results

    def _refit(self, task: Task, context: Any, data: Any) -> None:
        """Trains the best candidate on all data."""
        estimator = clone(clone(self.estimator)).set_params(**clone(self.best_params_, safe=False))
        self.best_estimator_ = estimator
        refit = context.subcontext(task_name="refit-with-best-params")
        with refit.propagate_callback_context(estimator):
            refit.call_on_fit_task_begin(estimator=self, **data)
            start = time.perf_counter()
            targets = () if task.y is None else (task.y,)
            estimator.fit(task.X, *targets, **task.fit_params)
            self.refit_time_ = time.perf_counter() - start
        if hasattr(estimator, "feature_names_in_"):
            self.feature_names_in_ = estimator.feature_names_in_
        refit.call_on_fit_task_end(estimator=self, **data)


def _resource_of(search: SearchCV, space: Space, task: Task) -> Resource | None:
    """What a scheduler gives out; None where there is no scheduler."""
    if search.scheduler is not None:
        if search.stop_after_folds is not None:
            given = search.stop_after_folds
            raise fail(_WHERE, "stop_after_folds", "None where there is a `scheduler`", given)
        return resource_of(search, space, task)
    for name, default in (
        ("resource", "n_samples"),
        ("max_resources", None),
        ("min_resources", None),
    ):
        if (given := getattr(search, name)) != default:
            raise fail(_WHERE, name, f"{default!r} where there is no `scheduler`", given)
    return None


def _metadata(params: dict[str, Any]) -> dict[str, Any] | None:
    weight = params.get("sample_weight")
    return None if weight is None else {"sample_weight": weight}
