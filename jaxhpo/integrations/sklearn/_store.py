"""Where candidates come from and where they are written down: a `Study`, resumable by its name."""

from __future__ import annotations

import contextlib
import datetime
import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import joblib
import numpy as np
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import check_random_state

from jaxhpo import samplers
from jaxhpo._checks import fail
from jaxhpo._status import Status
from jaxhpo.ask_tell import padded_size
from jaxhpo.integrations.sklearn._progress import metric_name
from jaxhpo.integrations.sklearn._resource import Resource
from jaxhpo.integrations.sklearn._task import Candidate, Records, Task
from jaxhpo.samplers.internal import warn_of_large_batch
from jaxhpo.space import Space
from jaxhpo.space.readers import from_sklearn
from jaxhpo.study import Study
from jaxhpo.study.internal import (
    Batch,
    Ending,
    params_of,
    set_user_attr,
    status_of,
    this_process,
)

_ATTR = "search_cv"
# Equally likely values that stand for a law of scipy.stats which no dimension has.
_NUM_QUANTILES = 256


def space_of(search: BaseSearchCV) -> Space:
    """Makes the space of a `SearchCV`'s `param_distributions`; a `Space` is taken as it is.

    Raises:
        TypeError: a space of something else than parameters by name.
        ValueError: no sampler of ours is called so.
    """
    sampler, param_distributions = search.sampler, search.param_distributions
    if isinstance(sampler, str) and sampler not in samplers.names():
        raise fail("SearchCV", "sampler", f"one of {', '.join(samplers.names())}", sampler)
    if not isinstance(param_distributions, Space):
        return from_sklearn(param_distributions, num_quantiles=_NUM_QUANTILES)
    try:
        params = param_distributions.decode(
            param_distributions.from_unit(jnp.full(param_distributions.num_dims, 0.5))
        )
    except (TypeError, ValueError):
        params = None
    if not isinstance(params, Mapping):
        raise TypeError(
            f"SearchCV: `param_distributions` must be a space over a dict from parameter names, "
            f"got {param_distributions!r}."
        )
    return param_distributions


def open_candidate_store(
    search: BaseSearchCV, space: Space, task: Task, resource: Resource | None
) -> CandidateStore:
    """Opens the store of a `SearchCV`'s candidates, a new one or one to continue."""
    is_stored, scoring = search.storage is not None, search.scoring
    told: dict[str, Any] = {
        "estimator": type(search.estimator).__qualname__,
        "data": (task.X, task.y) if is_stored else None,
        "folds": task.splits if is_stored else None,
        "scoring": repr(type(scoring).__name__ if callable(scoring) else scoring),
        "training scores": search.return_train_score,
    }
    if resource is not None:
        told["resource"] = (resource.name, resource.most)
    return CandidateStore(
        space,
        search.sampler,
        storage=search.storage,
        name=search.study_name if is_stored else None,
        seed=_seed_of(search.random_state, is_stored),
        task=told,
        metric=metric_name(scoring, task.metric),
    )


def _seed_of(random_state: Any, is_stored: bool) -> int | None:
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    if random_state is None and is_stored:
        return None  # that of the stored search
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


class CandidateStore:
    """The candidates of one search.

    Attributes:
        study: where they are.
        known: those of a search that is continued.
    """

    def __init__(
        self,
        space: Space,
        sampler: Any,
        *,
        storage: Any,
        name: str | None,
        seed: int | None,
        task: Mapping[str, Any],
        metric: str,
    ) -> None:
        """Opens the search, a new one or one to continue.

        Args:
            space: what is searched.
            sampler: a name, or a function of the space.
            storage: a `Study`'s storage.
            name: the study's name, or None for a search that is not continued.
            seed: of the proposals.
            task: what makes scores comparable: data, folds, scoring.
            metric: what the sampler follows.

        Raises:
            ValueError: the stored search of this name is about something else.
        """
        self._space = space
        made = sampler if isinstance(sampler, str) else sampler(space)
        self.study = Study(space, made, storage=storage, name=name, seed=seed, direction="maximize")
        self.study._sampler.clock.where = "SearchCV"
        if self.study.metric_names is None:
            self.study.set_metric_names(metric)
        self.known: list[Candidate] = []
        if storage is None:
            return
        task = {key: joblib.hash(value) for key, value in task.items()}
        stored = self.study._store.attrs().get(_ATTR)
        if stored is None:
            self.study._store.set_attr(_ATTR, task)
        elif stored != task:
            keys = {**task, **stored}
            differing = ", ".join(key for key in keys if stored.get(key) != task.get(key))
            raise ValueError(
                f"SearchCV: `study_name` must be that of a search of the same task, but in "
                f"{self.study.name!r} another {differing} was used. Give `cv` a fixed "
                "random_state if it shuffles, or choose another `study_name`."
            )
        self.known = self.candidates()

    def candidates(self) -> list[Candidate]:
        """All candidates of which there are records, those that have failed with NaN."""
        found = []
        for frozen in self.study._store.trials():
            records = frozen.user_attrs.get(_ATTR)
            params = params_of(self._space, frozen.params)
            if records is not None and params is not None:
                value = frozen.value if status_of(frozen) is not Status.FAILED else None
                found.append(Candidate(params, records, math.nan if value is None else value))
        return found

    def records_of(self, number: int) -> Records:
        """The records of a candidate's fits so far."""
        found = self.study._store.trial(number).user_attrs.get(_ATTR)
        return [] if found is None else list(found)

    def keep(self, trial_id: int, records: Records) -> bool:
        """Writes down the fits of a running candidate; False if another process has ended it."""
        plain = [_plain(record) for record in records]
        return set_user_attr(self.study._store, trial_id, _ATTR, plain)

    def warn_of_large_batch(self, batch_size: int, num_candidates: int) -> None:
        """Says what is lost where the sampler proposes many candidates before it learns."""
        warn_of_large_batch("SearchCV", self.study._sampler.sampler, batch_size, num_candidates)

    @contextlib.contextmanager
    def batch(self, count: int, block: int) -> Iterator[Batch]:
        """Reserves candidates; those that the block does not record wait for the next search.

        Args:
            count: how many; fewer only where the space has no more.
            block: the most that any call will ask for, so that one program is compiled.

        Yields:
            The batch; its `params` are the candidates' parameters.
        """
        batch = self.study._sampler.reserve(count, block, this_process())
        self._begun = datetime.datetime.now()
        try:
            yield batch
        except BaseException:
            self.study._sampler.release(batch)
            raise

    def record(
        self, batch: Batch, candidates: Sequence[Candidate], num_splits: int, block: int
    ) -> None:
        """Ends evaluated candidates in one transaction and tells the sampler."""
        endings = []
        for trial_id, candidate in zip(batch.trial_ids, candidates, strict=True):
            is_finite = math.isfinite(candidate.value)
            status = Status.COMPLETE if is_finite else Status.FAILED
            if is_finite and len(candidate.records) < num_splits:
                status = Status.PRUNED
            value = candidate.value if is_finite else None
            user = {_ATTR: [_plain(record) for record in candidate.records]}
            # Of a batch, a trial has the time of its own fits.
            seconds = sum(r["fit_time"] + r["score_time"] for r in candidate.records)
            end = min(self._begun + datetime.timedelta(seconds=seconds), datetime.datetime.now())
            user |= {"seconds": seconds}
            endings.append(Ending(trial_id, status, value, user, end=end))
        kept = self.study._sampler.end(batch, endings, 1 if block == 1 else padded_size(block))
        self.study._on_trials_ended(kept)


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A fold's record as JSON can hold it."""

    def number(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: number(item) for key, item in value.items()}
        return value.item() if isinstance(value, np.generic) else value

    return {key: number(value) for key, value in record.items() if key != "fit_error"} | {
        "fit_error": None if record.get("fit_error") is None else str(record["fit_error"])
    }
