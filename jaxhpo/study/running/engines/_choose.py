"""Which pool runs the trials of `Study.optimize`."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

from jaxhpo import _checks
from jaxhpo.study.reporting._tasks import Recorder
from jaxhpo.study.running._interrupts import DeferredInterrupts
from jaxhpo.study.running.engines._elsewhere import Address
from jaxhpo.study.running.engines._executor import ExecutorPool
from jaxhpo.study.running.engines._local_pool import Engine, LocalPool, Pool
from jaxhpo.study.running.engines._workers import WorkerPool


def engine_of(
    where: str,
    objective: Callable[..., Any],
    num_objectives: int,
    *,
    executor: Any,
    num_workers: int | None,
    is_judged: bool,
    address: Address | None,
) -> Engine:
    """Chooses what runs an objective.

    Args:
        where: the function to name in errors.
        objective: the user's function.
        num_objectives: values that it must return.
        executor: `Study.optimize`'s argument.
        num_workers: likewise.
        is_judged: whether reports decide which trials go on.
        address: where workers of other processes can record them; None: nowhere.

    Returns:
        What makes the pool.

    Raises:
        TypeError: no executor, or one that does not say how many workers it has.
        ValueError: a number out of range, or reports that would come too late.
    """
    if num_workers is not None:
        num_workers = _checks.check_int(where, "num_workers", num_workers, 1)
    if executor is None:
        return _local(objective, num_objectives, num_workers or 1)
    is_class = isinstance(executor, type)  # has the methods, and makes what is meant
    is_ready = hasattr(executor, "submit") and not is_class
    made = executor if is_ready or not callable(executor) else executor()
    if not hasattr(made, "submit"):
        expected = "a concurrent.futures.Executor, a function that makes one, or None"
        raise TypeError(f"{where}: `executor` must be {expected}, got {_checks.describe(made)}.")
    is_here = isinstance(made, concurrent.futures.ThreadPoolExecutor)
    if is_judged and not is_here and address is None:
        expected = (
            "None where `executor` runs trials outside of this process and the study's `storage` "
            "is no URL or path that its workers can open (`num_workers` without an executor, and "
            "threads, need none)"
        )
        raise _checks.fail(where, "scheduler", expected, f"one with {type(made).__name__}")
    num_workers = num_workers or getattr(made, "_max_workers", None)
    if num_workers is None:
        raise TypeError(
            f"{where}: `num_workers` must say how many trials {type(made).__name__} may run at a "
            "time, got None."
        )
    make = None if made is executor else executor
    count: int = num_workers

    def make_pool(recorder: Recorder, interrupts: DeferredInterrupts) -> Pool:
        shared = (count, recorder, interrupts, num_objectives)
        return ExecutorPool(made, objective, *shared, make=make, address=address)

    return make_pool


def _local(objective: Callable[..., Any], num_objectives: int, num_workers: int) -> Engine:
    def make_pool(recorder: Recorder, interrupts: DeferredInterrupts) -> Pool:
        if num_workers == 1:
            return LocalPool(objective, recorder, interrupts, num_objectives)
        return WorkerPool(objective, num_workers, recorder, interrupts, num_objectives)

    return make_pool
