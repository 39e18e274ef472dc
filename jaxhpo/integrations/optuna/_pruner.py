"""Our rule for hopeless candidates as a pruner of Optuna's."""

from __future__ import annotations

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from jaxhpo import _checks
from jaxhpo._direction import to_minimized
from jaxhpo.integrations._fold_stopper import Stopper

_WHERE = "FoldPruner"


class FoldPruner(BasePruner):
    """Prunes trials that are hopeless after their first folds: `SearchCV`'s rule for Optuna.

    For an objective that reports one score a fold of a cross-validation (or a seed, or an
    instance), every trial on the same ones. Folds differ in difficulty, so a trial is compared with
    the best complete one on the folds that it has seen: it is pruned if it is behind by more than
    two standard errors, which the spread of such differences over all complete trials gives. Until
    three trials are complete none is pruned.

    When to use it: cross-validation. Learning curves rise from report to report and mean something
    else; they are a matter for Optuna's median or halving pruners.

    It is also a `scheduler=` of `Study.optimize` and, as `PrunerScheduler(FoldPruner())`, one for
    Ray Tune.

    Args:
        stop_after_folds: reports after which a trial is judged, once; at least 1.

    Raises:
        TypeError: `stop_after_folds` is no integer.
        ValueError: it is below 1.

    Example:
        >>> import optuna
        >>> from jaxhpo.integrations.optuna import FoldPruner
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> def objective(trial):
        ...     x = trial.suggest_float("x", 0.0, 1.0)
        ...     scores = [x + difficulty for difficulty in (0.1, 0.5, 0.3, 0.2)]
        ...     for fold, score in enumerate(scores):
        ...         trial.report(score, fold)
        ...         if trial.should_prune():
        ...             raise optuna.TrialPruned
        ...     return sum(scores) / len(scores)
        >>> sampler = optuna.samplers.RandomSampler(seed=0)
        >>> study = optuna.create_study(pruner=FoldPruner(2), sampler=sampler)
        >>> study.optimize(objective, n_trials=12)
        >>> {trial.state.name for trial in study.trials} == {"COMPLETE", "PRUNED"}
        True
    """

    def __init__(self, stop_after_folds: int = 2) -> None:
        self._after = _checks.check_int(_WHERE, "stop_after_folds", stop_after_folds, 1)

    def __repr__(self) -> str:
        return f"{_WHERE}({self._after})"

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Judges a trial that has reported as many folds as it is judged after."""
        seen = list(trial.intermediate_values)
        if len(seen) != self._after:
            return False
        # The rule takes scores, which are better the larger they are.
        is_score = study.direction == StudyDirection.MAXIMIZE
        direction = "minimize" if is_score else "maximize"
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        curves = [other.intermediate_values for other in complete]
        curves = [curve for curve in curves if set(seen) < set(curve)]
        if not curves:
            return False
        # Trials that saw other folds than the last one did cannot be compared with it.
        folds = [*seen, *(fold for fold in sorted(curves[-1]) if fold not in seen)]
        stopper = Stopper(self._after)
        for curve in curves:
            if set(curve) == set(folds):
                stopper.add(to_minimized(np.asarray([curve[fold] for fold in folds]), direction))
        scores = to_minimized(
            np.asarray([trial.intermediate_values[fold] for fold in seen]), direction
        )
        return stopper.judge(scores) is not None
