"""Ends a whole study once nothing better is to be expected."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jaxhpo import _checks
from jaxhpo._checks.suggest import named_arguments
from jaxhpo._status import Status

if TYPE_CHECKING:
    from jaxhpo.study._study import Study
    from jaxhpo.study._trial import Trial

logger = logging.getLogger("jaxhpo")

_WHERE = "Terminator"
_JUDGED = (Status.COMPLETE, Status.PRUNED, Status.INFEASIBLE)


class Terminator:
    """A callback of `Study.optimize` that ends the run after many trials without an improvement.

    An improvement is a complete trial whose value is better than the best before it by more than
    `min_delta`. Pruned and infeasible trials are no improvement and count; failed ones do not
    count. What the study held before counts in the order of the trials' numbers, so that a study
    that is opened again ends where an uninterrupted one would have; trials that other processes run
    meanwhile are not seen.

    Take `min_delta` of the size of the noise: a lower value that noise alone can give is no reason
    to go on. The rule knows nothing of the objective; a study that has long plateaus needs a large
    `patience`.

    Args:
        patience: trials without an improvement after which the study ends, at least 1.
        min_delta: what is no improvement, at least 0, in the objective's unit.
        min_trials: trials before which it never ends.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range.

    Example:
        >>> import jaxhpo as hpo
        >>> study = hpo.Study({"x": hpo.uniform(-1.0, 1.0)}, "tpe", storage=None)
        >>> study.optimize(
        ...     lambda params: params["x"] ** 2,
        ...     num_trials=1000,
        ...     callbacks=[hpo.study.Terminator(20, min_delta=1e-3)],
        ...     progress=False,
        ... )
        >>> study.stop_reason
        'no improvement by more than 0.001 in 20 trials'
        >>> len(study.trials) < 100
        True
    """

    @named_arguments
    def __init__(self, patience: int = 50, *, min_delta: float = 0.0, min_trials: int = 1) -> None:
        """Checks the settings."""
        self._patience = _checks.check_int(_WHERE, "patience", patience, 1)
        self._min_delta = float(_checks.check_not_negative(_WHERE, "min_delta", min_delta))
        self._min_trials = _checks.check_int(_WHERE, "min_trials", min_trials, 1)
        self._study: Study | None = None
        self._best: float | None = None
        self._count = self._since = 0
        self._seen: set[int] = set()

    def __call__(self, study: Study, trial: Trial) -> None:
        """Takes note of a trial that has ended, and ends the study if it is time.

        Raises:
            ValueError: a study of several objectives.
        """
        if len(study.directions) > 1:
            got = f"{len(study.directions)} objectives"
            raise _checks.fail(_WHERE, "study", "one of a single objective", got)
        if study is not self._study:
            self._study, self._best, self._count, self._since = study, None, 0, 0
            self._seen = set()
            for one in study.trials:
                self._add(one)
        else:
            self._add(trial)
        if self._since >= self._patience and self._count >= self._min_trials:
            reason = f"no improvement by more than {self._min_delta:g} in {self._patience} trials"
            logger.info("study %r ends: %s", study.name, reason)
            study.stop_reason = reason

    def _add(self, trial: Trial) -> None:
        # Of trials that end together, the first call finds all in the study.
        if trial.status not in _JUDGED or trial.number in self._seen:
            return
        self._seen.add(trial.number)
        self._count, self._since = self._count + 1, self._since + 1
        if trial.status is not Status.COMPLETE or not isinstance(trial.value, float):
            return
        assert self._study is not None
        value = -trial.value if self._study.direction == "maximize" else trial.value
        if self._best is None or value < self._best - self._min_delta:
            self._best, self._since = value, 0
