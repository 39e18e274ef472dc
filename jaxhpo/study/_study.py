"""The durable study: any Python objective, any sampler, killed and resumed at any time."""

from __future__ import annotations

import datetime
import pathlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Sampler
from jaxhpo._status import Status
from jaxhpo.space import Space
from jaxhpo.study._best import best_of, front_of, values_of
from jaxhpo.study._cache import enable_compilation_cache
from jaxhpo.study._trial import (
    Direction,
    Trial,
    check_direction,
    directions_of,
    is_better,
    outline_of,
    read_trials,
)

if TYPE_CHECKING:
    import optuna
    import pandas

    from jaxhpo import population
    from jaxhpo.inspection import Surrogate
    from jaxhpo.study._rows import Row
    from jaxhpo.study._sweep import SweepSummary
    from jaxhpo.training import Training


class Study:
    """A search that is written down as it goes.

    Every trial is a row in Optuna's storage: a SQLite file unless another URL is given, so that its
    dashboard, its plots and its command line work on the file as it is. The proposal for trial `i`
    depends on the seed, on `i` and on what has been told, so a study that was stopped and opened
    again by its name goes on as if it had never stopped. Samplers that also remember what a point
    was asked for (`pattern`, `de`, `cma_es` in discrete spaces and at bounds, `gradient`, and
    mixtures of them) go on from all that was told, but not with the same points.

    When to use it: for objectives that are any Python program, for results that must outlive the
    process, and for several processes on one search. For a traceable objective that runs in
    seconds, `minimize` needs no file.

    Args:
        space: what is searched; a `Space`, or the tree of one.
        sampler: a name from `jaxhpo.samplers.names()`, or a ready `Sampler` over this space. "auto"
            chooses by the space and the number of directions (`samplers.choose` says what and why).
        storage: None keeps the study in memory; a URL (`sqlite:///file.db`, `postgresql://…`), a
            path ending in .db, .sqlite or .sqlite3 (SQLite) or in .log, .journal or .jsonl (an
            Optuna journal), or an Optuna storage. Files are created where there is none.
        name: the study's name in the storage. A study of this name is continued; None makes a new
            one with a name of its own.
        seed: fixes all proposals. None takes that of the stored study, 0 in a new one.
        direction: "minimize" or "maximize"; for several objectives a sequence with one for each.
            The sampler must then be one for several objectives, such as "nsga2".

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an unknown sampler or direction, a sampler for another number of objectives, or
            a storage that is no URL and no known path.
        StorageError: the storage is locked, damaged, unreachable or of another kind.
        StudyMismatchError: a study of this name exists with another space, seed or direction; the
            message shows the difference.

    Example:
        >>> import jaxhpo as hpo
        >>> study = hpo.Study({"x": hpo.uniform(-1.0, 3.0)}, "qmc", storage=None)
        >>> study.optimize(lambda params: (params["x"] - 1.0) ** 2, num_trials=32)
        >>> study.best_value < 0.01, len(study.trials)
        (True, 32)
    """

    def __init__(
        self,
        space: Space | Mapping[str, Any],
        sampler: str | Sampler = "auto",
        *,
        storage: Any = "sqlite:///jaxhpo.db",
        name: str | None = None,
        seed: int | None = None,
        direction: str | Sequence[str] = "minimize",
    ) -> None:
        # Imported here, because Optuna and SQLAlchemy are not part of `import jaxhpo`.
        from jaxhpo.study._asker import Asker
        from jaxhpo.study._meta import (
            constrained_maker,
            describe_sampler,
            make_sampler,
            open_meta,
        )
        from jaxhpo.study._store import Store

        enable_compilation_cache()
        self._space = space if isinstance(space, Space) else Space(space)
        self._direction = check_direction(direction)
        if name is not None and (not isinstance(name, str) or not name):
            raise TypeError(f"Study: `name` must be a text or None, got {_checks.describe(name)}.")
        if seed is not None:
            seed = _checks.check_int("Study", "seed", seed, 0)
        chosen, asked = make_sampler(sampler, self._space, len(self.directions))
        self._store = Store(storage, name or _fresh_name(), self.directions)
        meta = open_meta(self._store, self._space, describe_sampler(sampler, chosen), seed)
        self._seed = int(meta["seed"])
        self.fail_stale()
        with_constraints = constrained_maker(sampler, self._space, len(self.directions))
        self._asker = Asker(
            self._store, self._space, chosen, self._seed, self._direction, asked, with_constraints
        )
        self._cache: dict[int, Trial] = {}
        self._programs: population.Programs | None = None
        # Best value for the progress display; None until it has been looked up or there is one.
        self._best_value: float | None = None
        self._best_is_known = self._store.is_new
        self.stop_reason: str | None = None

    # -- what it is --------------------------------------------------------------------------

    @property
    def space(self) -> Space:
        """What is searched."""
        return self._space

    @property
    def name(self) -> str:
        """The study's name in its storage."""
        return self._store.name

    @property
    def storage(self) -> str:
        """The storage's URL or path, passwords hidden."""
        return self._store.shown

    @property
    def direction(self) -> Direction:
        """What counts as better: "minimize" or "maximize", or a tuple with one an objective."""
        return self._direction

    @property
    def directions(self) -> tuple[str, ...]:
        """What counts as better, for each objective."""
        return directions_of(self._direction)

    @property
    def seed(self) -> int:
        """The seed of all proposals."""
        return self._seed

    def resume_hint(self) -> str:
        """One line that says how to go on with this study later."""
        if self._store.shown == "memory":
            return "The study lives in memory and ends with this process."
        return (
            f"Study(space, storage={self._store.shown!r}, name={self.name!r}) goes on from there."
        )

    def __repr__(self) -> str:
        return f"Study(name={self.name!r}, storage={self.storage!r}, trials={len(self.trials)})"

    # -- running it --------------------------------------------------------------------------

    def optimize(
        self,
        objective: Callable[[Any], Any],
        *,
        num_trials: int,
        timeout: float | None = None,
        num_workers: int = 1,
        callbacks: Sequence[Callable[[Study, Trial], Any]] = (),
        catch: tuple[type[Exception], ...] = (Exception,),
        progress: Any = True,
    ) -> None:
        """Runs trials of a Python objective; each is recorded before the next one starts.

        An objective that raises, or returns NaN or an infinite value, has failed: its trial is kept
        with the reason and the traceback, never becomes best, and the study goes on. On Ctrl-C the
        trial that was running is recorded as failed ("interrupted") and `KeyboardInterrupt` passes
        on. Afterwards `stop_reason` says in words why the run ended.

        Args:
            objective: `objective(params) -> float | Outcome`; params are Python objects, active
                branch only. With several objectives it returns a sequence of as many numbers.
            num_trials: how many more trials to run.
            timeout: seconds after which no further trial starts.
            num_workers: more than 1 evaluates in that many spawned processes, as many trials at a
                time; the objective must be picklable. The result is the same in every run.
            callbacks: each is called as `callback(study, trial)` after a trial is recorded.
                `study.stop()` ends the run; an exception passes on, and the trial is kept.
            catch: exceptions of the objective that count as failed trials. Others are recorded as
                well, and then raised: `catch=()` raises all.
            progress: True draws a bar on a terminal or in a notebook, False is silent, a
                callable takes a `Progress` record after every round.

        Raises:
            TypeError: an argument of a wrong type, or an objective that returns no number; the
                trial is kept as failed.
            ValueError: a number out of range.
        """
        from jaxhpo.study._optimize import Loop

        self.stop_reason = None
        self.stop_reason = Loop(
            self,
            objective,
            num_trials=num_trials,
            timeout=timeout,
            num_workers=num_workers,
            callbacks=callbacks,
            catch=catch,
            progress=progress,
        ).run()

    def stop(self) -> None:
        """Ends the running `optimize` or `sweep` after the current trial or batch."""
        self.stop_reason = "stop() was called"

    def sweep(self, training: Training, *, num_trials: int, **settings: Any) -> SweepSummary:
        """Trains many trials at once and records them batch by batch; see `study._sweep.sweep`."""
        from jaxhpo.study._sweep import sweep

        return sweep(self, training, num_trials=num_trials, **settings)

    def ask(self, n: int = 1) -> list[Trial]:
        """Proposes trials, to be evaluated anywhere and told later, in any order.

        They are in the storage as running, and stay so until they are told by whichever process.

        Args:
            n: how many.

        Returns:
            The trials; fewer than `n` only where the space has no further point.
        """
        return self._asker.ask(_checks.check_int("Study.ask", "n", n, 1))

    def enqueue(self, params: Any) -> list[int]:
        """Lets trials wait that are evaluated before any that the sampler proposes.

        They are what Optuna's `enqueue_trial` writes, so either may fill the queue that the other
        empties. `optimize` and `ask` take from it, in this process or another; `sweep` does not.

        Args:
            params: params as the objective receives them, or a list of such. A trial that Optuna
                has enqueued may leave some open: they are drawn at random.

        Returns:
            The trials' numbers.

        Raises:
            TypeError: a parameter that is no number where one is expected.
            ValueError: params that do not lie in the space, or that its constraints do not allow;
                none is then enqueued.

        Example:
            >>> import jaxhpo as hpo
            >>> study = hpo.Study({"lr": hpo.log_uniform(1e-5, 1.0)}, "qmc", storage=None)
            >>> study.enqueue([{"lr": 1e-3}, {"lr": 1e-2}])
            [0, 1]
            >>> study.optimize(lambda params: params["lr"], num_trials=3, progress=False)
            >>> [round(trial.params["lr"], 4) for trial in study.trials[:2]]
            [0.001, 0.01]
        """
        return self._asker.enqueue(params)

    def tell(self, trials: Any, values: Any) -> list[Trial]:
        """Says what became of asked trials.

        Args:
            trials: a trial or its number, or a sequence of them.
            values: a number or an `Outcome`, or a sequence of as many. NaN or an infinite value
                records a failed trial.

        Returns:
            The ended trials.

        Raises:
            TypeError: a value that is no number.
            ValueError: a trial that was never asked or has ended, or another number of values.
        """
        from jaxhpo.study._telling import tell

        ended = tell(self, trials, values)
        self._note(ended)
        return ended

    def record(self, params: Any, values: Any, **details: Any) -> list[int]:
        """Writes ended trials of the user's own in one transaction; see `study._record.record`."""
        from jaxhpo.study._record import record

        return record(self, params, values, **details)

    def fail_stale(self, *, everywhere: bool = False) -> list[int]:
        """Marks trials as failed whose process has ended without telling.

        Opening a study does this for processes of this machine that are certainly gone.

        Args:
            everywhere: every running trial, also those of other machines and those that `ask` gave
                out. Use it when you know that nobody works on the study.

        Returns:
            Numbers of the trials.
        """
        from jaxhpo.study._stale import fail_stale

        numbers = fail_stale(self._store, everywhere=everywhere)
        if numbers and hasattr(self, "_asker"):
            self._asker.refresh()
        return numbers

    # -- what came of it ---------------------------------------------------------------------

    @property
    def trials(self) -> list[Trial]:
        """All trials in order of their numbers, those of other processes included."""
        return read_trials(self._store.trials(), self._space, self._cache)

    @property
    def values(self) -> np.ndarray:
        """`[num_trials]` (or `[num_trials, m]`) values in order; NaN where a trial has none."""
        rows = values_of(self.trials, self._direction)
        return rows if isinstance(self._direction, tuple) else rows[:, 0]

    @property
    def best(self) -> Trial:
        """The complete trial with the best value; infeasible and failed ones do not count.

        Raises:
            ValueError: no trial is complete yet, or the study has several objectives.
        """
        return best_of(self.trials, self._direction, self.name)

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

    def to_dataframe(self) -> pandas.DataFrame:
        """The trials as a pandas data frame: number, state, value, `params_…`, seconds, reason.

        Raises:
            ImportError: pandas is not installed.
        """
        from jaxhpo.study._tables import to_dataframe

        return to_dataframe(self.trials)

    def to_optuna(self) -> optuna.Study:
        """The same study for Optuna's plots, importances and samplers; nothing is copied."""
        import optuna

        return optuna.load_study(study_name=self.name, storage=self._store.storage)

    def report(self, path: str | pathlib.Path, *, model: bool = True) -> pathlib.Path:
        """Writes one HTML file about the study; it opens without a network.

        Args:
            path: file to write; its folder is made.
            model: whether to fit a Gaussian process, which takes seconds: sensitivities, contours
                and the estimate of random search come from it.

        Returns:
            The path.

        Raises:
            ValueError: the study has no trial yet.
            ModuleNotFoundError: plotly is not installed.
        """
        from jaxhpo.report import write_report

        return write_report(self.to_optuna(), path, space=self.space, model=model)

    @property
    def programs(self) -> population.Programs:
        """What `sweep` has compiled; another study's `sweep` of the same training may take it."""
        if self._programs is None:
            from jaxhpo.population import Programs

            self._programs = Programs()
        return self._programs

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

        return surrogate_of(self, kernel)

    # -- parts -------------------------------------------------------------------------------

    def _note(self, ended: Sequence[Trial | Row]) -> None:
        """Takes note of ended trials for the progress display."""
        for trial in ended:
            if isinstance(trial.value, tuple) or isinstance(self._direction, tuple):
                return  # several objectives have no best value
            is_best = is_better(trial.value, self._best_value, self._direction)
            if trial.status is Status.COMPLETE and is_best:
                self._best_value = trial.value

    def _best_value_or_none(self) -> float | None:
        if not self._best_is_known:
            self._note([outline_of(stored) for stored in self._store.history()])
            self._best_is_known = True
        return self._best_value


def _fresh_name() -> str:
    """A name that no other study has, and that sorts by time."""
    return f"study-{datetime.datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
