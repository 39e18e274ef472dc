"""What can be read of a study: its description, its trials, the best of them, tables, a report."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo._checks.suggest import did_you_mean, named_arguments
from jaxhpo._direction import Direction, directions_of
from jaxhpo.space import Space
from jaxhpo.study._best import best_of, front_of, values_of
from jaxhpo.study._trial import Trial, from_frozen, read_trials

if TYPE_CHECKING:
    import optuna
    import pandas

    from jaxhpo.inspection import Surrogate
    from jaxhpo.study.storage._store import Store


class BaseStudy:
    """A study to look at: what `Study` and `StoredStudy` share."""

    _store: Store
    _space: Space | None
    _direction: Direction
    _cache: dict[int, Trial]
    _meta: dict[str, Any]

    # -- what it is --------------------------------------------------------------------------

    @property
    def space(self) -> Space:
        """What is searched."""
        assert self._space is not None  # a study that was loaded may have none, and says so
        return self._space

    @property
    def name(self) -> str:
        """The study's name in its storage."""
        return self._store.name

    @property
    def storage(self) -> str:
        """The storage's URL or path, passwords hidden."""
        return self._store.display_name

    @property
    def direction(self) -> Direction:
        """What counts as better: "minimize" or "maximize", or a tuple with one per objective."""
        return self._direction

    @property
    def directions(self) -> tuple[str, ...]:
        """What counts as better, for each objective."""
        return directions_of(self._direction)

    @property
    def metric_names(self) -> tuple[str, ...] | None:
        """What the values are called, one name per objective, or None where nobody has said so."""
        return self._store.metric_names()

    @property
    def seed(self) -> int:
        """The seed of all proposals; 0 where another program made the study."""
        return int(self._meta.get("seed", 0))

    @property
    def sampler(self) -> str:
        """What proposes the trials: name and settings; empty where another program does."""
        return str(self._meta.get("sampler", ""))

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"{kind}(name={self.name!r}, storage={self.storage!r}, trials={self._store.count()})"

    def __getattr__(self, name: str) -> Any:
        kind = type(self)
        if hasattr(kind, name):  # a property that raised AttributeError: let it speak for itself
            return object.__getattribute__(self, name)
        raise AttributeError(
            f"{kind.__name__!r} object has no attribute {name!r}{self._attribute_hint(name)}",
            name=name,
            obj=self,
        )

    def _attribute_hint(self, name: str) -> str:
        """The end of an AttributeError's message: what to use instead."""
        return did_you_mean(name, dir(type(self)))

    # -- what came of it ---------------------------------------------------------------------

    @property
    def trials(self) -> list[Trial]:
        """All trials in order of their numbers, those of other processes included."""
        stored = self._store.trials(known=self._cache)
        found = {trial.number: trial for trial in read_trials(stored, self._space, self._cache)}
        return [trial for _, trial in sorted({**self._cache, **found}.items())]

    @property
    def values(self) -> np.ndarray:
        """`[num_trials]` (or `[num_trials, m]`) values in order; NaN where a trial has none."""
        rows = values_of(self.trials, self._direction)
        return rows if isinstance(self._direction, tuple) else rows[:, 0]

    @property
    def best(self) -> Trial:
        """The complete trial with the best value; infeasible and failed ones do not count.

        Raises:
            ValueError: no trial is complete yet (the message says why most failed), or the study
                has several objectives.
        """
        if isinstance(self._direction, str):
            best = self._store.best(is_maximized=self._direction == "maximize")
            if best is not None:
                return self._cache.get(best[0]) or self._read(best[0])
        return best_of(self.trials, self._direction, self.name)

    def _read(self, number: int) -> Trial:
        """One trial."""
        return from_frozen(self._space, self._store.trial(number))

    @property
    def best_params(self) -> Any:
        """Params of the best trial, as the objective received them."""
        return self.best.params

    @property
    def best_value(self) -> float:
        """Value of the best trial."""
        value = self.best.value
        assert isinstance(value, float)  # a complete trial has one
        return value

    @property
    def best_trials(self) -> list[Trial]:
        """The complete trials that no complete one dominates, in order of numbers.

        Infeasible and failed ones do not count. With one objective, all that share the best value.
        """
        return front_of(self.trials, self._direction)

    def pareto_front(self) -> np.ndarray:
        """Values `[k, m]` of `best_trials` in the user's sign, rising in the first objective."""
        front = values_of(self.best_trials, self._direction)
        return front[np.lexsort(front.T[::-1])]

    @property
    def compile_seconds(self) -> float:
        """Seconds that the study has waited for the compiler; no trial's `seconds` have them."""
        return sum(trial.compile_seconds for trial in self.trials)

    def to_dataframe(self) -> pandas.DataFrame:
        """The trials as a pandas data frame: number, state, value, `params_…`, times, reason.

        Raises:
            ImportError: pandas is not installed.
        """
        from jaxhpo.study._tables import to_dataframe

        return to_dataframe(self.trials)

    def to_optuna(self) -> optuna.Study:
        """The same study for Optuna's plots, importances and samplers; nothing is copied."""
        import optuna

        return optuna.load_study(study_name=self.name, storage=self._store.storage)

    @named_arguments
    def report(
        self, path: str | pathlib.Path, *, model: bool = True, progress: Any = True
    ) -> pathlib.Path:
        """Writes one HTML file about the study; it opens without a network.

        Args:
            path: file to write; its folder is made.
            model: whether to fit a Gaussian process, which takes seconds: sensitivities, contours
                and the estimate of random search come from it.
            progress: as in `Study.optimize`, over the report's parts.

        Returns:
            The path.

        Raises:
            TypeError: an argument of a wrong type.
            ValueError: the study has no trial yet.
            ModuleNotFoundError: plotly is not installed.
        """
        from jaxhpo.report import write_report

        return write_report(
            self.to_optuna(), path, space=self._space, model=model, progress=progress
        )

    @named_arguments
    def surrogate(self, *, kernel: str = "matern52") -> Surrogate:
        """Fits a Gaussian process to the study's trials, to look at.

        Args:
            kernel: "matern52" or "rbf".

        Returns:
            The `inspection.Surrogate`; its values are negated where the study maximises. Trials
            that failed, are running or were pruned are left out. Infeasible ones teach the model
            like others, and are never its best. Known standard errors count as known noise.

        Raises:
            ValueError: fewer than two trials with a value, or several objectives.
        """
        from jaxhpo.study._model import surrogate_of

        return surrogate_of(self.space, self.trials, self._direction, kernel)
