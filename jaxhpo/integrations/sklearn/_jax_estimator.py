"""Estimators that train under `vmap`: the protocol, and all folds of many candidates at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection._validation import _score
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params, _num_samples

from jaxhpo.integrations.sklearn._task import Params, Records, Task


class JaxEstimator(BaseEstimator):
    """Base of an estimator whose training is one pure function of arrays.

    Write three methods. `fit` follows from them, and `SearchCV` trains all folds of a whole batch
    of candidates as one program: a fold is a row of weights, 1 for a row that is trained on and 0
    for one that is not, so that all folds have the same shapes.

    - `jax_prepare(X, y) -> (X, y)`: checks and encodes the data on the host (sets `classes_`).
    - `jax_fit(key, hparams, X, y, weight) -> fitted`: pure and traceable; `hparams` holds the
      parameters named in `traced` as arrays, all others are read from `self`. A row of weight 0
      must not count.
    - `jax_install(fitted)`: takes up what `jax_fit` returned, after which `predict` works.

    Attributes:
        traced: names of the constructor's parameters that are traced: numbers that change no shape.
            Candidates that differ in others are different programs.
    """

    traced: ClassVar[tuple[str, ...]] = ()

    def jax_prepare(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Checks and encodes the data; see the class."""
        raise NotImplementedError(f"{type(self).__name__} must define jax_prepare(X, y)")

    def jax_fit(self, key: jax.Array, hparams: Any, X: Any, y: Any, weight: Any) -> Any:
        """Trains on rows `X`, `y` with `weight` `[n]`, by `key` and `hparams`; see the class."""
        raise NotImplementedError(f"{type(self).__name__} must define jax_fit(key, hparams, …)")

    def jax_install(self, fitted: Any) -> None:
        """Takes up a trained state; see the class."""
        raise NotImplementedError(f"{type(self).__name__} must define jax_install(fitted)")

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> JaxEstimator:
        """Trains on all rows.

        Args:
            X: `[n, p]` data.
            y: `[n]` targets.
            sample_weight: `[n]` weights, or None for ones.

        Returns:
            The estimator.
        """
        X, y = self.jax_prepare(X, y)
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
        fitted = jax.jit(self.jax_fit)(
            _key_of(self),
            _traced_values(self, [{}], 1),
            X,
            y,
            jnp.asarray(weight, jnp.result_type(float)),
        )
        self.jax_install(jax.tree.map(np.asarray, fitted))
        return self


def is_vmappable(estimator: Any, fit_params: Any) -> bool:
    """Whether folds and candidates can be one program; other fit parameters go the usual way."""
    return isinstance(estimator, JaxEstimator) and set(fit_params) <= {"sample_weight"}


class VmapFolds:
    """Trains folds × candidates in one program per group of equal static parameters."""

    def __init__(self, task: Task, batch_size: int) -> None:
        """Takes the data up; nothing is compiled yet.

        Args:
            task: what is fitted; its estimator is a `JaxEstimator`.
            batch_size: candidates that a program takes; fewer are filled up.
        """
        self._task, self._batch_size = task, batch_size
        sample_weight = task.fit_params.get("sample_weight")
        weight = np.zeros((task.num_folds, _num_samples(task.X)))
        for row, (train, _) in zip(weight, task.splits, strict=True):
            row[train] = 1.0 if sample_weight is None else np.asarray(sample_weight)[train]
        self._weight = jnp.asarray(weight, jnp.result_type(float))
        self._programs: dict[str, Callable[..., Any]] = {}

    def run(self, candidates: Sequence[Params]) -> list[Records]:
        """Evaluates candidates on all folds.

        Args:
            candidates: parameters of each.

        Returns:
            One list per candidate, of one record per fold, as scikit-learn's `_fit_and_score`
            gives it.
        """
        groups: dict[str, list[int]] = {}
        for i, params in enumerate(candidates):
            static = {
                k: v for k, v in sorted(params.items()) if k not in self._task.estimator.traced
            }
            groups.setdefault(repr(static), []).append(i)
        found: dict[int, Records] = {}
        for label, members in groups.items():
            for at in range(0, len(members), self._batch_size):
                part = members[at : at + self._batch_size]
                for i, records in zip(
                    part, self._run_group(label, [candidates[i] for i in part]), strict=True
                ):
                    found[i] = records
        return [found[i] for i in range(len(candidates))]

    def _run_group(self, label: str, candidates: Sequence[Params]) -> list[Records]:
        first = clone(self._task.estimator).set_params(**candidates[0])
        X, y = first.jax_prepare(self._task.X, self._task.y)
        hparams = _traced_values(first, candidates, self._batch_size)
        arguments = (_key_of(first), hparams, X, y, self._weight)
        if label not in self._programs:
            per_fold = jax.vmap(first.jax_fit, in_axes=(None, None, None, None, 0))
            program = jax.jit(jax.vmap(per_fold, in_axes=(None, 0, None, None, None)))
            self._programs[label] = program.lower(*arguments).compile()
        start = time.perf_counter()  # the time of fits is not that of compilations
        fitted = self._programs[label](*arguments)
        fitted = jax.tree.map(np.asarray, fitted)
        seconds = (time.perf_counter() - start) / (len(candidates) * self._task.num_folds)
        records = []
        for i, params in enumerate(candidates):
            row = []
            for k in range(self._task.num_folds):
                estimator = clone(self._task.estimator).set_params(**params)
                estimator.jax_prepare(self._task.X, self._task.y)
                estimator.jax_install(jax.tree.map(lambda leaf, i=i, k=k: leaf[i, k], fitted))
                row.append(self._record(estimator, k, seconds))
            records.append(row)
        return records

    def _record(self, estimator: JaxEstimator, fold: int, seconds: float) -> dict[str, Any]:
        train, test = self._task.splits[fold]
        start = time.perf_counter()
        record = {
            "test_scores": self._score(estimator, test, train),
            "n_test_samples": len(test),
            "fit_time": seconds,
            "score_time": time.perf_counter() - start,
            "fit_error": None,
        }
        if self._task.return_train_score:
            record["train_scores"] = self._score(estimator, train, None)
        return record

    def _score(self, estimator: JaxEstimator, rows: np.ndarray, train: Any) -> Any:
        X, y = _safe_split(estimator, self._task.X, self._task.y, rows, train)
        params = _check_method_params(self._task.X, params=self._task.score_params, indices=rows)
        return _score(estimator, X, y, self._task.scorer, params, self._task.error_score)


def _key_of(estimator: Any) -> jax.Array:
    seed = getattr(estimator, "random_state", None)
    return jax.random.key(0 if seed is None else int(seed))


def _traced_values(
    estimator: JaxEstimator, candidates: Sequence[Params], size: int
) -> dict[str, jax.Array]:
    """Traced parameters: scalars of the estimator itself, or a column of candidates."""
    dtype = jnp.result_type(float)
    values = {}
    for name in estimator.traced:
        if candidates == [{}]:
            values[name] = jnp.asarray(getattr(estimator, name), dtype)
            continue
        column = [params.get(name, getattr(estimator, name)) for params in candidates]
        column += column[:1] * (size - len(column))
        values[name] = jnp.asarray(column, dtype)
    return values
