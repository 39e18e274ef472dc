"""A search round by round: propose, evaluate, write down."""

from __future__ import annotations

import math

from joblib import effective_n_jobs
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils.parallel import Parallel

from jaxhpo._checks import check_int, fail
from jaxhpo.integrations._fold_stopper import Stopper
from jaxhpo.integrations.sklearn._folds import JobFolds
from jaxhpo.integrations.sklearn._jax_estimator import is_vmappable
from jaxhpo.integrations.sklearn._progress import progress_of, reporter_of
from jaxhpo.integrations.sklearn._runner import JobRunner, ProgramRunner, Runner, update_stopper
from jaxhpo.integrations.sklearn._store import CandidateStore
from jaxhpo.integrations.sklearn._task import Candidate, Task
from jaxhpo.samplers.internal import traits_of

# Candidates that a program of folds × candidates takes, where the sampler learns in between.
_VMAP_BATCH = 8


def run_rounds(search: BaseSearchCV, store: CandidateStore, task: Task) -> list[Candidate]:
    """Evaluates what is missing of `n_iter` candidates.

    Args:
        search: the `SearchCV`, for its settings.
        store: where candidates come from and go to.
        task: what is fitted.

    Returns:
        All candidates, the known ones first; fewer than `n_iter` if the space has no more.
    """
    found = store.known[: search.n_iter]
    known, missing = len(found), search.n_iter - len(found)
    stopper = _stopper_of(search, task, found)
    block = _block_of(search, task, missing)
    if search.batch_size is not None:
        store.warn_of_large_batch(block, missing)
    if search.verbose > 0:
        print(
            f"Fitting {task.num_folds} folds for each of {missing} candidates, "
            f"totalling {missing * task.num_folds} fits"
        )
    with (
        Parallel(n_jobs=search.n_jobs, pre_dispatch=search.pre_dispatch) as parallel,
        reporter_of(search.sampler, search.verbose, missing) as reporter,
    ):
        jobs = JobFolds(task, parallel, search.n_iter, search.verbose)
        runner = _runner_of(task, block, jobs, stopper)
        while len(found) < search.n_iter:
            with store.batch(min(block, search.n_iter - len(found)), block) as batch:
                if not batch.params:
                    break
                candidates = runner.run(batch.params, len(found))
                store.record(batch, candidates, task.num_folds, block)
            found.extend(candidates)
            reporter.update(progress_of(found, known, search.n_iter))
    return found


def _stopper_of(search: BaseSearchCV, task: Task, known: list[Candidate]) -> Stopper | None:
    """What ends candidates early, in the light of those that are known; None if nothing does."""
    after = search.stop_after_folds
    if after is None:
        return None
    if after >= task.num_folds:
        expected = f"below the number of folds, {task.num_folds}"
        raise fail("SearchCV", "stop_after_folds", expected, after)
    stopper = Stopper(check_int("SearchCV", "stop_after_folds", after, 1))
    update_stopper(stopper, task, known)
    return stopper


def _block_of(search: BaseSearchCV, task: Task, missing: int) -> int:
    """Candidates per round."""
    if search.batch_size is not None:
        return int(search.batch_size)
    is_blind = traits_of(search.sampler).ignores_values
    if is_blind and search.storage is None and search.stop_after_folds is None:
        return max(missing, 1)
    if is_vmappable(task.estimator, task.fit_params):
        return _VMAP_BATCH
    jobs = effective_n_jobs(search.n_jobs)
    return max(1, math.ceil((2 if is_blind else 1) * jobs / task.num_folds))


def _runner_of(task: Task, block: int, jobs: JobFolds, stopper: Stopper | None) -> Runner:
    """One program for estimators that can be one, and their folds are all fitted; else jobs."""
    if is_vmappable(task.estimator, task.fit_params):
        return ProgramRunner(task, block)
    return JobRunner(task, jobs, stopper)
