"""What a study offers for training runs: sweeps, the key of a trial, and its trained state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo._checks.suggest import named_arguments
from jaxhpo._tracing.owned import Handle
from jaxhpo.study._core import StudyCore
from jaxhpo.study.running._failures import with_failure_summary

if TYPE_CHECKING:
    import jax

    from jaxhpo import population
    from jaxhpo.study.running.sweeping._sweep_summary import SweepSummary
    from jaxhpo.training import Training


class SweepingStudy(StudyCore):
    """The part of `Study` that trains."""

    _programs: population.Programs | None = None
    # What it swept last, known weakly: the study does not keep a training's data alive.
    _training: tuple[Handle | None, ...] | None = None
    # The best state that this object's sweeps have seen: number of its trial, and the state.
    _state: tuple[int, Any] | None = None

    @named_arguments
    @with_failure_summary
    def sweep(
        self,
        training: Training,
        *,
        num_trials: int,
        num_steps: int,
        batch_size: int | None = None,
        num_reports: int = 10,
        scheduler: Any = None,
        timeout: float | None = None,
        progress: Any = True,
        memory_budget: int | None = None,
        share_data_order: bool = False,
        devices: Sequence[Any] | None = None,
        width: int | None = None,
        chunk: int | None = None,
        programs: population.Programs | None = None,
        checkpoint: bool = False,
    ) -> SweepSummary:
        """Trains many trials at once, by `population.sweep`, and records them batch by batch.

        A batch is written down as running before it trains, and ended in one transaction, so that
        any number of processes share one study and none trains what another does. What a batch
        does not end, because its process was killed or interrupted, its time was up or an error
        passed on, waits with its number and its point, and is trained first by whoever sweeps
        next: no configuration is lost, and nothing that was recorded is trained twice. After a
        kill the trials wait once the study is opened again on that machine (elsewhere:
        `fail_stale(everywhere=True)`). On Ctrl-C the trials of the batch that had ended are
        recorded, and `KeyboardInterrupt` passes on.

        A trial's keys follow from the seed and its number alone, so neither the batch size nor a
        stop changes how it trains, nor, with a sampler that ignores values (`random`, `qmc`,
        `grid`), what it draws. What a sampler that learns proposes depends on the values that were
        known, and so on the batches: the default ones end at fixed numbers, so that a study
        stopped at the end of one, or killed inside of one, continues with the same points.

        Args:
            training: the training run whose `loss` is minimised.
            num_trials: how many more trials to train; one that had ended before is none of them.
            num_steps: steps per trial; static.
            batch_size: trials asked, trained and written together. None takes what the sampler can
                use: up to 4,096 where it ignores values, a generation of a population, otherwise
                its start-up design and then a handful, since samplers learn between batches only.
            num_reports: points of a learning curve; at most 50 of them are stored.
            scheduler: which trials of a batch go on, as in `population.sweep`: a name, or a
                function `(num_trials, num_steps)` that makes a scheduler of a batch. A trial that
                ends early is PRUNED; its value is the last of its curve, and it is never the best.
                Each rung is written down in one transaction. After a kill the trials that had
                ended stay so, and the next sweep, if it has room for all the others, trains and
                judges the population as a whole.
                A ready-made one runs batches of its own size, and `num_trials` is a multiple of it.
                One that needs some trials ("pbt", "pb2": 4) gets no smaller batch: the last ones
                are cut another way, or are one.
            timeout: seconds after which training stops at the next report.
            progress: as in `optimize`.
            memory_budget: bytes that the running programs may hold, as in `population.sweep`.
            share_data_order: whether all trials see the same batches, as in `population.sweep`.
            devices: devices to use; all local ones if None.
            width: trials side by side under `vmap`; chosen if None.
            chunk: trials per call; chosen if None.
            programs: keeps what is compiled; the study's own if None.
            checkpoint: whether the states of the batch that trains are kept in a folder beside the
                study's file, as `checkpoint_dir` of `population.sweep` keeps them. A batch whose
                process was killed then goes on from there, to the same bits, if the next sweep
                takes up the same trials with the same arguments; else it begins anew, and a
                warning says why.

        Returns:
            What was done.

        Raises:
            TypeError: an argument of a wrong type.
            ValueError: a number out of range, a study that maximises, or `checkpoint` where the
                study is in memory or on a server.
        """
        from jaxhpo.study.running.sweeping._sweep import SweepRun

        options = {
            "memory_budget": memory_budget,
            "share_data_order": share_data_order,
            "devices": devices,
            "width": width,
            "chunk": chunk,
            "programs": self.programs if programs is None else programs,
        }
        return SweepRun(
            self,
            training,
            num_trials=num_trials,
            num_steps=num_steps,
            batch_size=batch_size,
            num_reports=num_reports,
            timeout=timeout,
            progress=progress,
            scheduler=scheduler,
            checkpoint=checkpoint,
            options=options,
        ).run()

    @property
    def programs(self) -> population.Programs:
        """What `sweep` has compiled; another study's `sweep` of the same training may take it."""
        if self._programs is None:
            from jaxhpo.population import Programs

            self._programs = Programs()
        return self._programs

    def trial_key(self, number: Any) -> jax.Array:
        """The key that `sweep` trains a trial with: a function of the study's seed and the number.

        With it any other way of training repeats the trial: `training.objective(training,
        num_steps)` gives its value and `training.train` its state (up to rounding, which the
        layout of the program decides; `retrain` takes the layout of the sweep as well), and a
        hypergradient estimator differentiates this very run. With `share_data_order=True` the
        steps had another key, which all trials share.

        Args:
            number: the trial's number, or an array `[k]` of numbers.

        Returns:
            The key, or `[k]` keys, which `population.sweep` takes as its `key`.

        Raises:
            ValueError: no number of at least 0.

        Example:
            >>> import jax, jaxhpo as hpo
            >>> training = hpo.Training(
            ...     init=lambda key, hparams: jax.random.normal(key),
            ...     step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
            ...     loss=lambda hparams, state: state**2,
            ... )
            >>> study = hpo.Study({"lr": hpo.uniform(0.0, 1.0)}, "random", storage=None)
            >>> _ = study.sweep(training, num_trials=8, num_steps=3, progress=False)
            >>> loss = hpo.training.objective(training, num_steps=3)
            >>> again = loss(study.trial_key(study.best.number), study.best_params)
            >>> abs(float(again) - study.best_value) <= 1e-6 * study.best_value
            True
        """
        from jaxhpo.study.running.sweeping._retrain import trial_key

        return trial_key(self, number)

    @property
    def best_state(self) -> Any:
        """The trained state of the best trial, if a `sweep` of this object trained it or can again.

        It is kept by the sweep, or trained again with the sweep's `training` where another process
        trained the best trial. A study that was opened again does not know the training:
        `retrain(training)` gives the state there.

        Raises:
            ValueError: no trial is complete yet, this object has not swept, or another process
                trained the best trial and the `training` swept last is gone.
        """
        number = self.best.number
        if self._state is None or self._state[0] != number:
            self._state = (number, self.retrain(self._last_training(), number))
        return self._state[1]

    def _last_training(self) -> Training:
        from jaxhpo.training import Training

        try:
            if self._training is not None:
                parts: Any = (part and part.get() for part in self._training)
                return Training(*parts)
        except ReferenceError:
            pass
        raise ValueError(
            "Study.best_state: the `training` of a sweep is no longer in memory, and states are "
            "not stored; `study.retrain(training)` trains the best trial again, to the same state."
        )

    def retrain(
        self,
        training: Training,
        number: int | None = None,
    ) -> Any:
        """Trains a trial of a sweep once more, from the same key, and returns its state.

        On the same machine and versions the state is that of the sweep bit for bit. Where the loss
        differs beyond rounding from what was recorded, a warning is logged: it is not the same
        training.

        The best of many noisy trials is lucky as well as good (the winner's curse): this repeats
        its luck. What the configuration is worth, fresh keys tell, such as `hpo.replicates`.

        Args:
            training: the training run, as it was given to `sweep`.
            number: the trial's number; None takes the best one.

        Returns:
            The state after the last step.

        Raises:
            TypeError: an argument of a wrong type.
            ValueError: a trial that no sweep has trained, or no trial is complete yet.
        """
        from jaxhpo.study.running.sweeping._retrain import retrain

        return retrain(self, training, number)

    def _keep_state(
        self,
        training: Training,
        numbers: list[int],
        result: population.Sweep,
    ) -> None:
        """Keeps the best state of a batch if its trial is the study's best so far."""
        self._training = tuple(None if part is None else Handle(part) for part in training)
        if result.best_index < 0:
            return
        best = self._best_value_or_none()
        if best is None or result.best_loss <= best:
            self._state = (numbers[result.best_index], result.best_state)
