"""A pruner of Optuna's as what ends trials early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxhpo._status import Status

if TYPE_CHECKING:
    import optuna

    from jaxhpo.study.reporting._tasks import Task


def is_pruner(scheduler: Any) -> bool:
    """Whether an object is a pruner of Optuna's."""
    from optuna.pruners import BasePruner

    return isinstance(scheduler, BasePruner)


class PrunerJudge:
    """Asks a pruner after every report, as `optuna.Trial.should_prune` does."""

    def __init__(self, study: optuna.Study, pruner: Any) -> None:
        """Takes a pruner, and the study as Optuna sees it."""
        self._study, self._pruner = study, pruner
        study.pruner = pruner

    def __call__(self, task: Task) -> Status | None:
        """Whether a trial is to end."""
        trial = self._study._storage.get_trial(task.trial_id)
        return Status.PRUNED if self._pruner.prune(self._study, trial) else None
