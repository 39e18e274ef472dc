"""A search under a scheduler: candidates get more of a resource as long as they are worth it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils.parallel import Parallel

from jaxhpo._status import Status
from jaxhpo.integrations.sklearn._folds import FoldFit, JobFolds
from jaxhpo.integrations.sklearn._resource import Resource, scheduler_of
from jaxhpo.integrations.sklearn._store import CandidateStore
from jaxhpo.integrations.sklearn._task import Candidate, Records
from jaxhpo.study import Study
from jaxhpo.study.internal import (
    DeferredInterrupts,
    ObjectiveResult,
    OptimizeLoop,
    Recorder,
)
from jaxhpo.study.internal import Task as RunningTask

_WHERE = "SearchCV"
# What a candidate goes on from stands among its trial's attributes, not in a file.
_CHECKPOINT = "user_attrs"


def run_scheduled(
    search: BaseSearchCV, store: CandidateStore, resource: Resource
) -> list[Candidate]:
    """Evaluates what is missing of `n_iter` candidates, as far as the scheduler lets them go.

    Args:
        search: the `SearchCV`, for its settings.
        store: where candidates come from and go to.
        resource: what they get more of.

    Returns:
        All candidates that have begun; fewer than `n_iter` if the space has no more.
    """
    task, known = resource.task, len(store.study.trials)
    missing = max(search.n_iter - known, 0)
    if search.verbose > 0:
        print(
            f"Fitting {task.num_folds} folds for each of {missing} candidates, with up to "
            f"{resource.most} {resource.name}, stopped early by {search.scheduler!r}"
        )
    workers = effective_n_jobs(search.n_jobs)
    size = search.batch_size or max(1, math.ceil(workers / task.num_folds))
    with Parallel(n_jobs=search.n_jobs, pre_dispatch=search.pre_dispatch) as parallel:
        jobs = JobFolds(task, parallel, search.n_iter, search.verbose)

        def engine(recorder: Recorder, interrupts: DeferredInterrupts) -> FitPool:
            return FitPool(jobs, resource, store, size, recorder, interrupts)

        _run(search, store.study, resource, missing, engine)
    return [
        dataclasses.replace(one, params=resource.params(one.params)) for one in store.candidates()
    ]


def _run(search: BaseSearchCV, study: Study, resource: Resource, missing: int, engine: Any) -> None:
    def resumable(params: Any, checkpoint: Any = None) -> None:
        """Stands for the fits: the engine makes them."""

    hint = None if search.storage is None else "Fit again with the same settings to go on."
    study.stop_reason = None
    study.stop_reason = OptimizeLoop(
        study,
        resumable,
        num_trials=missing,
        timeout=None,
        num_workers=1,
        callbacks=(),
        catch=(Exception,),
        max_first_failures=None,  # `error_score` says what a failed fit means
        progress=search.verbose == 1,
        scheduler=scheduler_of(search, resource),
        num_steps=resource.most,
        engine=engine,
        where=_WHERE,
        resume_hint=hint,
    ).run()


class FitPool:
    """Takes several candidates to their next rungs side by side: all their fits are one queue."""

    def __init__(
        self,
        jobs: JobFolds,
        resource: Resource,
        store: CandidateStore,
        size: int,
        recorder: Recorder,
        interrupts: DeferredInterrupts,
    ) -> None:
        """Takes up what fits.

        Args:
            jobs: the workers.
            resource: what candidates get more of.
            store: keeps the records of their fits.
            size: candidates at a time.
            recorder: takes their scores.
            interrupts: may come while they are fitted.
        """
        self._jobs, self._resource, self._store, self._size = jobs, resource, store, size
        self._recorder, self._interrupts = recorder, interrupts
        self._tasks: list[RunningTask] = []

    def __len__(self) -> int:
        return self._size

    @property
    def num_busy(self) -> int:
        """How many candidates have begun and not ended or paused."""
        return len(self._tasks)

    def start(self, task: RunningTask) -> None:
        """Takes a candidate."""
        self._tasks.append(task)

    def wait(self) -> list[tuple[RunningTask, ObjectiveResult]]:
        """Takes every candidate to its next rung, and gives those that stop there."""
        tasks, self._tasks = self._tasks, []
        fits = [self._fits(task) for task in tasks]
        with self._interrupts.allow():
            flat = self._jobs.fit([one for each in fits for one in each])
        ended = []
        for task, each in zip(tasks, fits, strict=True):
            records, flat = flat[: len(each)], flat[len(each) :]
            result = self._take(task, records)
            if result is None:
                self._tasks.append(task)
            else:
                ended.append((task, result))
        return ended

    def close(self) -> None:
        """Nothing runs between two calls."""

    def _fits(self, task: RunningTask) -> list[FoldFit]:
        trial = task.trial
        return self._resource.fits(trial.number, trial.params, task.step, task.level)

    def _take(self, task: RunningTask, records: Records) -> ObjectiveResult | None:
        """Writes down a candidate's fits, and says what becomes of it; None: it goes on."""
        seconds = sum(record["fit_time"] + record["score_time"] for record in records)
        if self._resource.is_folds:
            records = self._store.records_of(task.trial.number) + records
        records = [{**record, "n_resources": task.level} for record in records]
        if not self._store.keep(task.trial_id, records):
            return ObjectiveResult(Status.FAILED, reason="another process has ended the trial")
        value = float(np.mean(self._resource.task.scores(records)))
        if not math.isfinite(value):
            errors = [str(record["fit_error"]) for record in records if record.get("fit_error")]
            last = errors[0].strip().splitlines()[-1] if errors else f"the score was {value}"
            return ObjectiveResult(Status.FAILED, reason=last, seconds=seconds)
        status = self._recorder.tell(task, value, _CHECKPOINT, task.level)
        if status is None and task.step >= self._resource.most:
            status = Status.COMPLETE
        if status is not None:
            return ObjectiveResult(status, value, seconds=seconds)
        task.seconds += seconds
        return None
