"""What a worker of another process does: it calls the objective, and records its reports itself.

It opens the study's storage, as a further driver would, and asks the same rule. Where it cannot,
the reports go back with the result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxhpo._direction import Direction, directions_of
from jaxhpo._status import Status
from jaxhpo.study._trial import unit_of
from jaxhpo.study.reporting._packed import Packed
from jaxhpo.study.reporting._tasks import Judge, Recorder, Task
from jaxhpo.study.running._evaluate import evaluate
from jaxhpo.study.running._results import ObjectiveResult, picklable
from jaxhpo.study.scheduling._populations import Populations
from jaxhpo.study.scheduling._pruner import PrunerJudge, is_pruner
from jaxhpo.study.storage._errors import StorageError
from jaxhpo.study.storage._secrets import redact_url
from jaxhpo.study.storage._store import Store
from jaxhpo.study.storage.files._checkpoints import Checkpoints
from jaxhpo.study.storage.files._read_store import file_of

_MOST_OPEN = 4
"""Runs whose storage a worker keeps open."""


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a worker finds the study, and what it has to know of the run.

    Attributes:
        run: tells this run from others.
        where: the function to name in errors.
        storage: a URL, or the path of a file.
        name: the study's name.
        direction: the study's.
        seed: the study's.
        space_hash: identifies its space.
        num_steps: reports of a whole trial; None for any number.
        scheduler: what ends trials early, or None.
        is_resumable: whether trials that do not go on can wait.
    """

    run: str
    where: str
    storage: str = dataclasses.field(repr=False)  # a URL may hold a password
    name: str
    direction: Direction
    seed: int
    space_hash: str
    num_steps: int | None
    scheduler: Any
    is_resumable: bool


class Reported(NamedTuple):
    """What a worker sends back.

    Attributes:
        result: what came of the call.
        reports: losses and checkpoints that it has not recorded, in order.
        step: reports of the trial that are recorded; None where the worker has recorded none.
        checkpoint: what the storage knows of the last checkpoint.
    """

    result: ObjectiveResult
    reports: list[tuple[float, str | Packed | None]]
    step: int | None = None
    checkpoint: dict[str, Any] | None = None


def call_elsewhere(
    objective: Callable[..., Any],
    task: Task,
    num_objectives: int,
    most: int | None,
    address: Address | None,
) -> Reported:
    """Runs a task in a worker. It is found by its name: an executor sends no code.

    Args:
        objective: the user's function.
        task: the trial.
        num_objectives: values that the objective must return.
        most: reports after which the trial ends, where they go back with the result.
        address: where to record them; None: nowhere.
    """
    teller = _Teller(task, most, address)
    what = (objective, task.trial.params, num_objectives)
    result = picklable(evaluate(*what, teller, task.named, task.last))
    if not teller.is_recording:
        return Reported(result, teller.reports)
    return Reported(result, [], task.step, task.checkpoint)


class _Teller:
    """Takes the reports of a task.

    Attributes:
        is_recording: whether they are recorded.
        reports: those that are not.
    """

    def __init__(self, task: Task, most: int | None, address: Address | None) -> None:
        self._task, self._most, self._address = task, most, address
        self._run: _OpenRun | None = None
        self._is_first, self.is_recording = True, False
        self.reports: list[tuple[float, str | Packed | None]] = []

    def __call__(self, loss: float, checkpoint: Any) -> Status | None:
        if self._is_first and self._address is not None:
            self._run = _opened(self._address, self._task)
            self.is_recording = self._run is not None
        self._is_first = False
        if self._run is not None:
            return self._run.tell(self._task, loss, checkpoint)
        if self._most is not None and len(self.reports) >= self._most:
            return Status.COMPLETE
        self.reports.append((loss, checkpoint))
        return None


class _OpenRun:
    """A run's storage, open in a worker, and its rule."""

    def __init__(self, address: Address) -> None:
        directions = directions_of(address.direction)
        store = self._store = Store(address.storage, address.name, directions)
        checkpoints = Checkpoints(store.location, address.name, address.space_hash)
        judge = _judge_of(address, store)
        steps = address.num_steps
        self._recorder = Recorder(store, checkpoints, contextlib.nullcontext, steps, judge)
        self._lock = threading.Lock()  # several threads of a worker may run trials

    def has(self, task: Task) -> bool:
        """Whether a trial is in this storage: another machine may have another file there."""
        try:
            found = unit_of(self._store.storage.get_trial(task.trial_id))
        except KeyError:
            return False
        return found is not None and np.array_equal(found, np.asarray(task.trial.unit))

    def tell(self, task: Task, loss: float, checkpoint: Any) -> Status | None:
        """Records a report of a task, and asks the rule."""
        with self._lock:
            return self._recorder.tell(task, loss, checkpoint)


def _judge_of(address: Address, store: Store) -> Judge | None:
    if address.scheduler is None:
        return None
    if is_pruner(address.scheduler):
        import optuna

        study = optuna.load_study(study_name=address.name, storage=store.storage)
        return PrunerJudge(study, address.scheduler)
    assert address.num_steps is not None
    return Populations(
        address.where,
        store,
        address.scheduler,
        num_steps=address.num_steps,
        seed=address.seed,
        direction=address.direction,
        is_resumable=address.is_resumable,
    ).judge


_OPEN: OrderedDict[tuple[int, str], _OpenRun] = OrderedDict()
_OPENING = threading.Lock()


def _opened(address: Address, task: Task) -> _OpenRun | None:
    """The run's storage; None where it is not here, and nobody judges by what is in it.

    Raises:
        StorageError: it is not here, or cannot be opened.
    """
    key = (os.getpid(), address.run)  # a forked process opens its own
    path = file_of(address.storage)
    with _OPENING:
        if key not in _OPEN and (path is None or path.exists()):
            _OPEN[key] = _OpenRun(address)
            while len(_OPEN) > _MOST_OPEN:
                _OPEN.popitem(last=False)
        found = _OPEN.get(key)
    if found is not None and found.has(task):
        return found
    if address.scheduler is None:
        return None
    raise StorageError(
        f"{address.where}: a worker on {socket.gethostname()!r} must see the study's storage, "
        f"since `scheduler` decides by what is in it, but trial {task.trial.number} is not in "
        f"{redact_url(address.storage)!r} there. Keep the study where all machines see it, or in a "
        "database."
    )
