"""Ray and submitit as `concurrent.futures.Executor`s, for `Study.optimize(executor=…)`.

Dask (`client.get_executor()`), MPI (`mpi4py.futures.MPIPoolExecutor`), loky and the standard library
bring their own. Those here run any function that can be pickled, and know nothing of studies.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

from jaxhpo import _checks

_POLL_SECONDS = 0.5


class RayExecutor(concurrent.futures.Executor):
    """Ray tasks: each call is one, on whichever machine of the cluster has what it needs.

    A task whose worker or node is lost fails (`ray.exceptions.WorkerCrashedError`, …) unless Ray is
    told to run it again: `max_retries=` of Ray's, or that of `Study.optimize`, which records the
    loss as a failed trial.

    Args:
        num_workers: calls at a time; None: as many as the cluster's CPUs (or GPUs) are enough for.
        **options: of `ray.remote`, such as `num_cpus=1`, `num_gpus=1`, `resources=`,
            `max_retries=` (0 if not given).

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: `num_workers` is missing and the cluster has nothing of what a call needs.

    Example:
        >>> import jaxhpo as hpo
        >>> study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "tpe", storage=None)
        >>> executor = RayExecutor(num_gpus=1)                  # doctest: +SKIP
        >>> study.optimize(train, num_trials=64, executor=executor, max_retries=1)  # doctest: +SKIP
    """

    def __init__(self, num_workers: int | None = None, **options: Any) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                'RayExecutor needs Ray: pip install "jaxhpo[ray]".'
            ) from error
        if not ray.is_initialized():
            ray.init(log_to_driver=False)
        options = {"max_retries": 0, **options}
        self._remote = ray.remote(_call).options(**options)
        self._references: dict[concurrent.futures.Future[Any], Any] = {}
        self._lock = threading.Lock()
        self._is_shut_down = False
        if num_workers is None:
            num_workers = _fitting(ray.cluster_resources(), options)
        self._max_workers = _checks.check_int("RayExecutor", "num_workers", num_workers, 1)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Starts a task; see `concurrent.futures.Executor.submit`."""
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("RayExecutor: cannot submit after shutdown().")
            reference = self._remote.remote(fn, args, kwargs)
            future: concurrent.futures.Future[Any] = reference.future()
            self._references[future] = reference
        future.add_done_callback(self._forget)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls; the connection to the cluster stays."""
        import ray

        with self._lock:
            self._is_shut_down = True
            left = dict(self._references)
        if cancel_futures:
            for reference in left.values():
                ray.cancel(reference)
        if wait:
            concurrent.futures.wait(left)

    def _forget(self, future: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            self._references.pop(future, None)


class SubmititExecutor(concurrent.futures.Executor):
    """SLURM jobs by submitit: each call is one.

    Args:
        executor: submitit's own, with its parameters set, such as `submitit.AutoExecutor(folder)`
            after `update_parameters(slurm_partition=…, gpus_per_node=1, timeout_min=60)`.
        num_workers: jobs at a time.

    Raises:
        TypeError: not an executor of submitit's.
        ValueError: `num_workers` below 1.

    Example:
        >>> import submitit                                               # doctest: +SKIP
        >>> cluster = submitit.AutoExecutor("jobs")                       # doctest: +SKIP
        >>> study.optimize(train, num_trials=64, executor=SubmititExecutor(cluster, 8))
        ... # doctest: +SKIP
    """

    def __init__(self, executor: Any, num_workers: int) -> None:
        if not (hasattr(executor, "submit") and hasattr(executor, "update_parameters")):
            expected = "one of submitit's, such as submitit.AutoExecutor(folder)"
            got = _checks.describe(executor)
            raise TypeError(f"SubmititExecutor: `executor` must be {expected}, got {got}.")
        self._executor = executor
        self._max_workers = _checks.check_int("SubmititExecutor", "num_workers", num_workers, 1)
        self._jobs: dict[concurrent.futures.Future[Any], Any] = {}
        self._lock = threading.Lock()
        self._is_shut_down = False
        self._thread: threading.Thread | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Submits a job; see `concurrent.futures.Executor.submit`."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("SubmititExecutor: cannot submit after shutdown().")
            job = self._executor.submit(fn, *args, **kwargs)
            future.set_running_or_notify_cancel()
            self._jobs[future] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls; with `cancel_futures` the jobs that run are cancelled."""
        with self._lock:
            self._is_shut_down = True
            left = dict(self._jobs)
        if cancel_futures:
            for job in left.values():
                job.cancel()
        if wait:
            concurrent.futures.wait(left)

    def _watch(self) -> None:
        """Polls the jobs, as submitit has to, until none is left."""
        pause = threading.Event()
        while True:
            for future, job in list(self._jobs.items()):
                if job.done():
                    self._end(future, job)
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return
            pause.wait(_POLL_SECONDS)

    def _end(self, future: concurrent.futures.Future[Any], job: Any) -> None:
        with self._lock:
            del self._jobs[future]
        try:
            result = job.result()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)


def _fitting(has: dict[str, float], options: dict[str, Any]) -> int:
    """How many calls with these options a cluster has room for."""
    needs = {"CPU": options.get("num_cpus", 1), "GPU": options.get("num_gpus", 0)}
    needs |= options.get("resources") or {}
    return int(min(has.get(name, 0.0) // count for name, count in needs.items() if count))
