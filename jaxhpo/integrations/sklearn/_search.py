"""`SearchCV`: what RandomizedSearchCV does, with any of our samplers."""

from __future__ import annotations

import math
import numbers
import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _warn_or_raise_about_fit_failures,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.parallel import Parallel
from sklearn.utils.validation import _check_method_params, indexable

from jaxhpo import samplers
from jaxhpo._checks import check_int, fail
from jaxhpo.integrations.sklearn._fold_stopper import Stopper
from jaxhpo.integrations.sklearn._folds import JobFolds, Records, check_backend, fill
from jaxhpo.integrations.sklearn._jax_estimator import VmapFolds, is_vmappable
from jaxhpo.integrations.sklearn._progress import metric_name, progress_of, reporter_of
from jaxhpo.integrations.sklearn._store import Candidate, Ledger, read_space
from jaxhpo.samplers.internal import traits_of
from jaxhpo.study.internal import shown_url

_WHERE = "SearchCV"
# Candidates that a program of folds × candidates takes, where the sampler learns in between.
_VMAP_BATCH = 8


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

    References:
        Bergstra, Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012.
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
    ) -> None:
        self.param_distributions = param_distributions
        self.n_iter = n_iter
        self.sampler = sampler
        self.random_state = random_state
        self.batch_size = batch_size
        self.storage = storage
        self.study_name = study_name
        self.stop_after_folds = stop_after_folds
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
        space = self._checked_space()
        scorers, metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        data = {"X": X, "y": y, "metadata": _metadata(params)}
        context = self._init_callback_context(max_subtasks=1 + (self.refit is not False))
        context = context.call_on_fit_task_begin(estimator=self, **data)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, **routed.splitter.split))
        self.n_splits_ = cv.get_n_splits(X, y, **routed.splitter.split)
        if len(splits) != self.n_splits_:
            expected = f"{self.n_splits_} splits, as its get_n_splits says"
            raise fail(_WHERE, "cv", f"a splitter that gives {expected}", len(splits))
        ledger = self._open(space, X, y, splits, metric)
        self.study_ = ledger.study
        found = self._search(ledger, X, y, splits, scorers, metric, routed)
        results = self._summarise(found, scorers, metric)
        if self.refit:
            self._refit(X, y, routed.estimator.fit, context, data)
        has_several = isinstance(scorers, _MultimetricScorer)
        self.scorer_ = scorers._scorers if has_several else scorers
        self.cv_results_ = results
        context.call_on_fit_task_end(estimator=self, **data)
        return self

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        if not isinstance(self.storage, str):
            return str(super().__repr__(N_CHAR_MAX))
        # Shortened, a password would be found no more.
        whole = str(super().__repr__(10**9))
        return whole.replace(repr(self.storage), repr(shown_url(self.storage)))

    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        """What scikit-learn shows of the settings in a notebook, passwords hidden."""
        found = super()._get_params_html(*args, **kwargs)
        if isinstance(found.get("storage"), str):
            found["storage"] = shown_url(found["storage"])
        return found

    def _checked_space(self) -> Any:
        if isinstance(self.sampler, str) and self.sampler not in samplers.names():
            raise fail(_WHERE, "sampler", f"one of {', '.join(samplers.names())}", self.sampler)
        return read_space(_WHERE, self.param_distributions)

    def __getstate__(self) -> dict[str, Any]:
        # A study holds compiled programs and an open storage, which stay in this process.
        state: dict[str, Any] = super().__getstate__()
        state.pop("study_", None)
        return state

    def _open(self, space: Any, X: Any, y: Any, splits: Any, metric: str) -> Ledger:
        scoring = self.scoring if not callable(self.scoring) else self.scoring.__class__.__name__
        task = {
            "estimator": type(self.estimator).__qualname__,
            "data": (X, y) if self.storage is not None else None,
            "folds": splits if self.storage is not None else None,
            "scoring": repr(scoring),
            "training scores": self.return_train_score,
        }
        return Ledger(
            space,
            self.sampler,
            storage=self.storage,
            name=None if self.storage is None else self.study_name,
            seed=self._seed(),
            task=task,
            metric=metric_name(self.scoring, metric),
        )

    def _seed(self) -> int | None:
        if isinstance(self.random_state, numbers.Integral):
            return int(self.random_state)
        if self.random_state is None and self.storage is not None:
            return None  # that of the stored search
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _search(
        self, ledger: Ledger, X: Any, y: Any, splits: Any, scorers: Any, metric: str, routed: Any
    ) -> list[Candidate]:
        """Round by round: propose, evaluate, write down."""
        num_splits = len(splits)
        stopper = self._stopper(num_splits)
        found = ledger.known[: self.n_iter]
        for candidate in found:
            self._note(stopper, candidate.records, num_splits, metric)
        is_vmapped = is_vmappable(self.estimator, routed.estimator.fit)
        block = self._block(num_splits, is_vmapped, self.n_iter - len(found))
        if self.batch_size is not None:
            ledger.warn_of_large_batch(block, self.n_iter - len(found))
        if self.verbose > 0:
            print(
                f"Fitting {num_splits} folds for each of {self.n_iter - len(found)} candidates, "
                f"totalling {(self.n_iter - len(found)) * num_splits} fits"
            )
        with (
            Parallel(n_jobs=self.n_jobs, pre_dispatch=self.pre_dispatch) as parallel,
            reporter_of(self.sampler, self.verbose, self.n_iter - len(found)) as reporter,
        ):
            known = len(found)
            run = self._runner(
                is_vmapped, X, y, splits, scorers, metric, routed, parallel, block, stopper
            )
            while len(found) < self.n_iter:
                with ledger.batch(min(block, self.n_iter - len(found)), block) as batch:
                    if not batch.params:
                        break
                    candidates = run(batch.params, len(found))
                    ledger.record(batch, candidates, num_splits, block)
                found.extend(candidates)
                reporter.update(progress_of(found, known, self.n_iter))
        if len(found) < self.n_iter:
            warnings.warn(
                f"The total space of parameters {len(found)} is smaller than "
                f"n_iter={self.n_iter}. Running {len(found)} iterations, all of it.",
                UserWarning,
                stacklevel=3,
            )
        return found

    def _stopper(self, num_splits: int) -> Stopper | None:
        if self.stop_after_folds is None:
            return None
        if self.stop_after_folds >= num_splits:
            expected = f"below the number of folds, {num_splits}"
            raise fail(_WHERE, "stop_after_folds", expected, self.stop_after_folds)
        return Stopper(check_int(_WHERE, "stop_after_folds", self.stop_after_folds, 1))

    def _block(self, num_splits: int, is_vmapped: bool, missing: int) -> int:
        """Candidates a round."""
        if self.batch_size is not None:
            return int(self.batch_size)
        is_blind = traits_of(self.sampler).ignores_values
        if is_blind and self.storage is None and self.stop_after_folds is None:
            return max(missing, 1)
        if is_vmapped:
            return _VMAP_BATCH
        jobs = effective_n_jobs(self.n_jobs)
        return max(1, math.ceil((2 if is_blind else 1) * jobs / num_splits))

    def _runner(
        self,
        is_vmapped: bool,
        X: Any,
        y: Any,
        splits: Any,
        scorers: Any,
        metric: str,
        routed: Any,
        parallel: Parallel,
        block: int,
        stopper: Stopper | None,
    ) -> Any:
        """Returns `run(params of candidates, number of the first) -> candidates`."""
        shared: dict[str, Any] = dict(scorer=scorers, score_params=routed.scorer.score)
        shared |= dict(return_train_score=self.return_train_score, error_score=self.error_score)
        base, num_splits = clone(self.estimator), len(splits)
        if is_vmapped:
            weight = routed.estimator.fit.get("sample_weight")
            together = VmapFolds(
                base, X, y, splits, sample_weight=weight, batch_size=block, **shared
            )

            def run_together(proposed: list[Any], first: int) -> list[Candidate]:
                return [
                    Candidate(params, records, self._value(records, metric))
                    for params, records in zip(proposed, together.run(proposed), strict=True)
                ]

            return run_together
        shared |= dict(fit_params=routed.estimator.fit, verbose=self.verbose)
        shared |= dict(return_n_test_samples=True, return_times=True)
        jobs = JobFolds(base, X, y, splits, parallel, self.n_iter, shared)

        def run(proposed: list[Any], first: int) -> list[Candidate]:
            after = stopper.after if stopper else num_splits
            numbers = range(first, first + len(proposed))
            seen = jobs.run(proposed, range(after), numbers)
            stopped = {}
            for i, records in enumerate(seen):
                value = stopper.judge(self._scores(records, metric)) if stopper else None
                if value is not None:
                    stopped[i] = value
            going = [i for i in range(len(seen)) if i not in stopped]
            if after < num_splits and going:
                rest = jobs.run(
                    [proposed[i] for i in going],
                    range(after, num_splits),
                    [numbers[i] for i in going],
                )
                for i, records in zip(going, rest, strict=True):
                    seen[i] += records
            candidates = []
            for i, (params, records) in enumerate(zip(proposed, seen, strict=True)):
                value = stopped.get(i, self._value(records, metric))
                candidates.append(Candidate(params, records, value))
                self._note(stopper, records, num_splits, metric)
            return candidates

        return run

    def _note(
        self, stopper: Stopper | None, records: Records, num_splits: int, metric: str
    ) -> None:
        if stopper is not None and len(records) == num_splits:
            stopper.add(self._scores(records, metric))

    def _scores(self, records: Records, metric: str) -> np.ndarray:
        """`[folds]` what the sampler follows."""
        scores = []
        for record in records:
            score = record["test_scores"]
            if isinstance(score, Mapping):
                score = score.get(metric, next(iter(score.values())))
            scores.append(np.nan if record.get("fit_error") else score)
        return np.asarray(scores, np.float64)

    def _value(self, records: Records, metric: str) -> float:
        return float(np.mean(self._scores(records, metric)))

    def _summarise(self, found: list[Candidate], scorers: Any, metric: str) -> dict[str, Any]:
        """Fills in `cv_results_` and the `best_…_` attributes."""
        if not found:
            raise ValueError(f"{_WHERE}: no candidate was evaluated; the space has none.")
        out = [r for c in found for r in fill(c.records, self.n_splits_)]
        _warn_or_raise_about_fit_failures(out, self.error_score)
        if callable(self.scoring):
            _insert_error_scores(out, self.error_score)
        more = {}
        if self.stop_after_folds is not None:
            more["num_folds"] = [len(candidate.records) for candidate in found]
        is_stopped = any(len(c.records) < self.n_splits_ for c in found)
        with warnings.catch_warnings():
            if is_stopped:
                warnings.filterwarnings("ignore", "One or more of the (test|train) scores")
            params = [candidate.params for candidate in found]
            results = self._format_results(params, self.n_splits_, out, more)
        first = out[0]["test_scores"]
        self.multimetric_ = isinstance(first, dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(first)
            metric = self.refit
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]
        return dict(results)

    def _refit(self, X: Any, y: Any, fit_params: Any, context: Any, data: Any) -> None:
        """Trains the best candidate on all data."""
        estimator = clone(clone(self.estimator)).set_params(**clone(self.best_params_, safe=False))
        self.best_estimator_ = estimator
        refit = context.subcontext(task_name="refit-with-best-params")
        with refit.propagate_callback_context(estimator):
            refit.call_on_fit_task_begin(estimator=self, **data)
            start = time.perf_counter()
            targets = () if y is None else (y,)
            estimator.fit(X, *targets, **fit_params)
            self.refit_time_ = time.perf_counter() - start
        if hasattr(estimator, "feature_names_in_"):
            self.feature_names_in_ = estimator.feature_names_in_
        refit.call_on_fit_task_end(estimator=self, **data)


def _metadata(params: dict[str, Any]) -> dict[str, Any] | None:
    weight = params.get("sample_weight")
    return None if weight is None else {"sample_weight": weight}
