"""The durable study: any Python objective, any sampler, killed and resumed at any time."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo import _checks
from jaxhpo._base import Sampler
from jaxhpo._checks.suggest import named_arguments
from jaxhpo._direction import check_direction
from jaxhpo.space import Space
from jaxhpo.study import _record
from jaxhpo.study._sweeping import SweepingStudy
from jaxhpo.study._trial import Trial
from jaxhpo.study.running._failures import with_failure_summary

if TYPE_CHECKING:
    pass


class Study(SweepingStudy):
    """A search that is written down as it goes.

    Every trial is a row in Optuna's storage: a SQLite file unless another URL is given, so that its
    dashboard, its plots and its command line work on the file as it is. The proposal for trial `i`
    depends on the seed, on `i` and on what has been told, so a study that was stopped and opened
    again by its name continues as if it had never stopped. Samplers that also remember what a point
    was asked for (`pattern`, `de`, `cma_es` in discrete spaces and at bounds, `gradient`, and
    mixtures of them) continue from all that was told, but not with the same points.

    When to use it: for objectives that are any Python program, for results that must outlive the
    process, and for several processes on one search. For a traceable objective that runs in
    seconds, `minimize` needs no file.

    Args:
        space: what is searched; a `Space`, or the tree of one.
        sampler: a name from `jaxhpo.samplers.names()`, or a ready `Sampler` over this space. "auto"
            takes that of the stored study; in a new one it chooses by the space and the number of
            directions (`samplers.choose` says what and why).
        storage: None keeps the study in memory; a URL (`sqlite:///file.db`, `postgresql://…`), a
            path ending in .db, .sqlite or .sqlite3 (SQLite) or in .log, .journal or .jsonl (an
            Optuna journal), or an Optuna storage. Files are created where there is none.
        name: the study's name in the storage. A study of this name is continued; None makes a new
            one with a name of its own.
        seed: fixes all proposals. None takes that of the stored study, 0 in a new one.
        direction: "minimize" or "maximize"; for several objectives a sequence with one for each.
            The sampler must then be one for several objectives, such as "nsga2".
        change_sampler: whether a stored study that was run with another sampler continues with
            this one. The study keeps a record of which was there from which trial on.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an unknown sampler or direction, a sampler for another number of objectives, or
            a storage that is no URL and no known path.
        StorageError: the storage is locked, damaged, unreachable or of another kind.
        StudyMismatchError: a study of this name exists with another space, seed, direction or
            sampler; the message shows the difference. Nothing in it has changed.

    Example:
        >>> import jaxhpo as hpo
        >>> study = hpo.Study({"x": hpo.uniform(-1.0, 3.0)}, "qmc", storage=None)
        >>> study.optimize(lambda params: (params["x"] - 1.0) ** 2, num_trials=32)
        >>> study.best_value < 0.01, len(study.trials)
        (True, 32)
    """

    @named_arguments
    def __init__(
        self,
        space: Space | Mapping[str, Any],
        sampler: str | Sampler = "auto",
        *,
        storage: Any = "sqlite:///jaxhpo.db",
        name: str | None = None,
        seed: int | None = None,
        direction: str | Sequence[str] = "minimize",
        change_sampler: bool = False,
    ) -> None:
        # Imported here, because Optuna and SQLAlchemy are not part of `import jaxhpo`.
        from jaxhpo.study.running._batch_sampler import BatchSampler
        from jaxhpo.study.storage._meta import (
            constrained_maker,
            describe_sampler,
            make_sampler,
            open_meta,
            stored_sampler,
        )
        from jaxhpo.study.storage._store import Store

        self._space = space if isinstance(space, Space) else _as_space(space)
        self._direction = check_direction("Study", direction)
        if name is not None and (not isinstance(name, str) or not name):
            raise TypeError(
                f"Study: `name` must be a string or None, got {_checks.describe(name)}."
            )
        if seed is not None:
            seed = _checks.check_seed("Study", "seed", seed)
        change_sampler = _checks.check_bool("Study", "change_sampler", change_sampler)
        chosen, proposal_shape = make_sampler(sampler, self._space, len(self.directions))
        self._store = Store(storage, name or _fresh_name(), self.directions)
        if not change_sampler and (own := stored_sampler(self._store, sampler)) is not sampler:
            sampler, (chosen, proposal_shape) = (
                own,
                make_sampler(own, self._space, len(self.directions)),
            )
        description = describe_sampler(sampler, chosen)
        meta = open_meta(self._store, self._space, description, seed, change_sampler)
        self._seed = int(meta["seed"])
        self._lost = [] if self._store.is_new else self.fail_stale()
        with_constraints = constrained_maker(sampler, self._space, len(self.directions))
        self._sampler = BatchSampler(
            self._store,
            self._space,
            chosen,
            self._seed,
            self._direction,
            proposal_shape,
            with_constraints,
        )
        self._cache = {}
        self._meta = meta
        self._best_is_known = self._store.is_new

    # -- running it --------------------------------------------------------------------------

    @named_arguments
    @with_failure_summary
    def optimize(
        self,
        objective: Callable[[Any], Any],
        *,
        num_trials: int,
        timeout: float | None = None,
        num_workers: int | None = None,
        executor: Any = None,
        synchronous: bool = False,
        max_retries: int = 0,
        heartbeat: float | None = None,
        callbacks: Sequence[Callable[[Study, Trial], Any]] = (),
        catch: tuple[type[Exception], ...] = (Exception,),
        max_first_failures: int | None = 10,
        progress: Any = True,
        scheduler: Any = None,
        num_steps: int | None = None,
    ) -> None:
        """Runs trials of a Python objective; each is recorded before the next one starts.

        An objective that raises, or returns NaN or an infinite value, has failed: its trial is kept
        with the reason and the traceback, never becomes best, and the study continues; at the end
        one line says how many failed and for which reason most did. Where the first trials all fail
        with the same error, that is the program's: the run stops and raises it. On Ctrl-C the trial
        that was running is recorded as failed ("interrupted") and `KeyboardInterrupt` passes on.
        Afterwards `stop_reason` says in words why the run ended.

        An objective may report as it goes: it is a generator, of which every `yield` of a loss or
        of a `Report` is recorded at once as the value of step 1, 2, …. If it is stopped it is
        closed, so that its `finally` runs. The trial's value is what it returns, or else its last
        report. A report that is no finite number ends the trial, which has failed.

        An objective that takes `objective(params, checkpoint=None)` can go on with a trial: it is
        called with the last checkpoint that the trial has reported, and its next report is that of
        the step after it. If the run is interrupted or killed, its trials wait where others fail,
        and the next run goes on with them first.

        Args:
            objective: `objective(params) -> float | Outcome`; params are Python objects, active
                branch only. With several objectives it returns a sequence of as many numbers. Or a
                generator of reports.
            num_trials: how many more trials to run. Those that an interrupted run has left are not
                counted again.
            timeout: seconds after which no further trial starts.
            num_workers: how many trials run at a time; more than 1 evaluates in that many spawned
                processes, and the objective must be picklable; each sees one of the CUDA devices
                that this process may use, if there are any. None: 1, or as many as `executor`
                has. A worker that is done gets the next trial at once, proposed in the light of
                those that still run.
            executor: runs the trials instead: any `concurrent.futures.Executor`, such as threads,
                loky's processes, or those of Dask, MPI or `jaxhpo.integrations.executors`; or a
                function or class that makes one, which is called again where the one before has
                broken. It stays yours: shut it down. Workers of other processes record the reports
                of an objective in the study's storage themselves; where they cannot open it (it is
                in memory, or a file that their machine does not see), reports arrive with the
                trial's end, and a `scheduler` is refused.
            synchronous: whether a round of trials begins when all of the last one have ended. Then
                the trials are the same in every run, whatever the timing, unless a scheduler
                decides by what has been reported so far.
            max_retries: how often the params of a trial are run again whose worker has vanished
                (killed, out of memory, a lost machine), or whose whole process has. The trial is
                recorded as failed with the reason; the new one has a number of its own and is no
                further one of `num_trials`. Optuna's
                `RetryFailedTrialCallback.retried_trial_number` links them.
            heartbeat: seconds between two signs of life of this process, for storages that several
                machines write to; None: it gives none. They lie where Optuna keeps its own. Whoever
                opens the study, or runs it with a heartbeat, takes a process of another machine for
                vanished that has missed three of them.
            callbacks: each is called as `callback(study, trial)` after a trial is recorded.
                `study.stop()` ends the run; an exception passes on, and the trial is kept.
            catch: exceptions of the objective that count as failed trials. Others are recorded as
                well, and then raised: `catch=()` raises all.
            max_first_failures: how many trials may fail from the first of this call on, all with
                the same error (of one class, raised by one line), before it is raised; None for any
                number. Values that are not finite do not count, nor does anything after a trial
                that ended otherwise.
            progress: True draws a bar on a terminal or in a notebook, and where the output is
                piped writes a line to standard error at the start and every minute; False is
                silent, a callable takes a `Progress` record after every round.
            scheduler: which trials go on, by their reports: "asha", "halving", "hyperband",
                "median", "patience", a function `(num_trials, num_steps)` that makes a scheduler, a
                `Scheduler`, or a pruner of Optuna's. The study's sampler proposes, and is told the
                values at the highest level that enough trials have. A trial that does not go on
                waits if the objective takes `checkpoint`, else it is PRUNED; so are those that
                still wait once all trials of their population have begun. Processes that run the
                study with the same scheduler share its trials. A ready-made one is run on
                populations of its own size, one after another. What a scheduler has paused is
                taken up by the same one alone, with the same settings; other runs say how many
                trials wait (see `prune_waiting`).
            num_steps: the most reports of a trial; needed with a scheduler that is not ready-made.
                A generator that reports once more is closed.

        Raises:
            TypeError: an argument of a wrong type, an objective that returns or yields no number
                (once it has given some, a trial of it has failed like others), or one that does not
                end when it is closed; the trial is kept.
            StorageError: a worker of `executor` does not see the storage that a `scheduler` decides
                by; or as in `Study`.
            ValueError: a number out of range, a heartbeat where the storage is no database, or a
                scheduler for other steps, with points of its
                own, that changes params ("pbt", "pb2"), for several objectives, or that waits for
                whole rungs ("halving", "hyperband") where trials cannot.
            Exception: what `catch` does not name, and what the first trials all failed with.
        """
        from jaxhpo.study.running._optimize import OptimizeLoop

        self.stop_reason = None
        self.stop_reason = OptimizeLoop(
            self,
            objective,
            num_trials=num_trials,
            timeout=timeout,
            num_workers=num_workers,
            executor=executor,
            synchronous=synchronous,
            max_retries=max_retries,
            heartbeat=heartbeat,
            callbacks=callbacks,
            catch=catch,
            max_first_failures=max_first_failures,
            progress=progress,
            scheduler=scheduler,
            num_steps=num_steps,
        ).run()

    def set_metric_names(self, names: str | Sequence[str]) -> None:
        """Says what the values are, for the axes of plots and reports; Optuna's own do the same.

        Args:
            names: one name per objective, such as "accuracy"; a string for one objective.

        Raises:
            TypeError: a name that is not a string.
            ValueError: another number of names.

        Example:
            >>> import jaxhpo as hpo
            >>> study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=None)
            >>> study.set_metric_names("accuracy")
            >>> study.metric_names
            ('accuracy',)
        """
        where, listed = "Study.set_metric_names", [names] if isinstance(names, str) else names
        if not isinstance(listed, list | tuple) or not all(isinstance(n, str) for n in listed):
            got = _checks.describe(names)
            raise TypeError(f"{where}: `names` must be a string or a list of strings, got {got}.")
        if len(listed) != len(self.directions):
            raise _checks.fail(where, "names", f"one per objective ({len(self.directions)})", names)
        self._store.set_metric_names(listed)

    def stop(self) -> None:
        """Ends the running `optimize` or `sweep` after the current trial or batch."""
        self.stop_reason = "stop() was called"

    record = named_arguments(_record.record)

    @named_arguments
    def ask(self, n: int = 1) -> list[Trial]:
        """Proposes trials, to be evaluated anywhere and told later, in any order.

        They are in the storage as running, and stay so until they are told by whichever process.

        Args:
            n: how many.

        Returns:
            The trials; fewer than `n` only where the space has no further point.
        """
        n = _checks.check_int("Study.ask", "n", n, 1)
        if n >= 2**31:
            raise _checks.fail("Study.ask", "n", "below 2**31", n)
        return self._sampler.ask(n)

    @named_arguments
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
        return self._sampler.enqueue(params)

    @named_arguments
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
        from jaxhpo.study._tell import tell

        ended = tell(self, trials, values)
        self._on_trials_ended(ended)
        return ended

    @named_arguments
    def fail_stale(self, *, everywhere: bool = False) -> list[int]:
        """Marks trials as failed whose process has ended without telling.

        Opening a study does this for processes of this machine that are certainly gone, and for
        those of others that have missed their signs of life (see `heartbeat`). Trials that
        a `sweep` had reserved do not fail: they wait, and the next sweep trains them. So do those
        whose objective takes `checkpoint`, and a run that waits for them goes on.

        Args:
            everywhere: every running trial, also those of other machines and those that `ask` gave
                out. Use it when you know that nobody works on the study.

        Returns:
            Numbers of the trials that failed.
        """
        from jaxhpo.study.storage._stale import fail_stale

        everywhere = _checks.check_bool("Study.fail_stale", "everywhere", everywhere)
        numbers = fail_stale(self._store, everywhere=everywhere)
        if hasattr(self, "_sampler"):
            self._sampler.refresh()
        return numbers

    @named_arguments
    def prune_waiting(self) -> list[int]:
        """Ends the trials that wait for a scheduler, as pruned; their checkpoints are removed.

        A trial that a scheduler has paused is taken up by that scheduler alone, with the same
        settings. Where it is not to be run again, this ends its trials: their values are their last
        losses. Those that an interrupted run without a scheduler has left do not end; the next run
        goes on with them.

        Returns:
            Numbers of the trials that have ended.

        Example:
            >>> import jaxhpo as hpo
            >>> def objective(params, checkpoint=None):
            ...     for step in range(checkpoint or 0, 4):
            ...         yield hpo.Report(params["x"] / (step + 1), checkpoint=step + 1)
            >>> study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=None)
            >>> half = hpo.schedulers.halving(8, 4)
            >>> study.optimize(objective, num_trials=3, scheduler=half, progress=False)
            >>> study.prune_waiting()
            [0, 1, 2]
        """
        from jaxhpo.study.reporting._source import Source
        from jaxhpo.study.scheduling._left_behind import waiting_for_rules

        ended = Source(self, is_resumable=True).prune(list(waiting_for_rules(self)))
        self._on_trials_ended(ended)
        return [trial.number for trial in ended]


def _as_space(tree: Any) -> Space:
    """The space of a tree, whose errors speak of the study's argument."""
    try:
        return Space(tree)
    except (TypeError, ValueError) as error:
        text = str(error).replace("Space: `tree`", "Study: `space`", 1)
        raise type(error)(text) from error


def _fresh_name() -> str:
    """A name that no other study has, and that sorts by time."""
    return f"study-{datetime.datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
