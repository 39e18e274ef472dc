"""Runs a sweep level by level: a job is run, the rule judges, and those that go on move up.

Between two jobs everything is known, so that is where checkpoints are written.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxhpo.population._compile import Program, Settings
from jaxhpo.population._everyone import Everyone
from jaxhpo.population._groups import Group
from jaxhpo.population._layout import Plan
from jaxhpo.population._program_cache import Programs
from jaxhpo.population._record import Sweep, SweepInterrupted, SweepRecorder
from jaxhpo.population._rule import Pieces, Rule
from jaxhpo.population._run import compile_all, run_part, trace_all, wait_for
from jaxhpo.population._states import DeviceStates, HostStates, fit_twice
from jaxhpo.population._threads import Part, Report, Slopes, Workers
from jaxhpo.population._trace import TracedTraining
from jaxhpo.population.checkpoints._arrays import Arrays, inside, listed, numbered, within
from jaxhpo.population.checkpoints._fingerprint import check_fingerprint, fingerprint
from jaxhpo.population.checkpoints._folder import CheckpointFolder
from jaxhpo.population.distributed._homes import Homes
from jaxhpo.population.distributed._processes import Processes
from jaxhpo.population.lineage._lineage import LineageRecorder

if TYPE_CHECKING:
    from concurrent.futures import Future


def run_scheduled(
    settings: Settings,
    groups: list[Group],
    recorder: SweepRecorder,
    timeout: float | None,
    programs: Programs,
    rule: Rule | None,
    folder: CheckpointFolder | None = None,
    processes: Processes | None = None,
) -> Sweep:
    """Runs job after job; the rule sees the trials of all groups together.

    Args:
        settings: of the sweep.
        groups: its trials.
        recorder: takes in what comes.
        timeout: seconds, or None.
        programs: that are known, and where new ones are kept.
        rule: what to run; None: all trials to their end.
        folder: where checkpoints are, and go; None keeps none.
        processes: that share the sweep; None: it is this one's alone.

    Returns:
        The result.

    Raises:
        CheckpointMismatchError: the folder has those of another sweep.
        SweepInterrupted: Ctrl-C.
    """
    run = _Run(settings, groups, recorder, programs, rule, folder, processes or Processes())
    deadline = math.inf if timeout is None else recorder.started + timeout
    try:
        with recorder.waiting():
            run.begin()
        while not run.is_finished and not run.is_late(deadline):
            pieces = run.rule.pieces()
            if len(pieces.trial) and not run.run_job(pieces, deadline):
                break
            run.checkpoint(is_last=not len(pieces.trial))
    except KeyboardInterrupt as interrupt:
        run.close(is_interrupted=True)
        raise SweepInterrupted(recorder.finish()) from interrupt
    finally:
        for future in run.futures:
            future.cancel()
    run.close()
    return recorder.finish()


class _Run:
    """One sweep whose trials stop at levels: the groups' workers, which begin in turn.

    Attributes:
        rule: what to run.
        futures: the groups' programs.
        is_finished: whether nothing is left to do.
    """

    def __init__(
        self,
        settings: Settings,
        groups: list[Group],
        recorder: SweepRecorder,
        programs: Programs,
        rule: Rule | None,
        folder: CheckpointFolder | None,
        processes: Processes,
    ) -> None:
        self.settings, self.groups, self.recorder = settings, groups, recorder
        self.programs, self._folder, self._processes = programs, folder, processes
        self.rule = Everyone(groups, settings.steps, self._block) if rule is None else rule
        self.futures: list[Future[Program]] = []
        self.is_finished = False
        self._workers: list[Workers] = []
        self._homes: list[Homes] = []
        self._report = {step: report for report, step in enumerate(settings.steps)}
        self._traced: list[TracedTraining] = []
        self._fingerprint: dict[str, str] = {}
        # What a checkpoint has of groups that have not gone on since.
        self._stored: dict[int, tuple[Plan, Arrays]] = {}
        recorder.planned_steps = self.rule.num_steps
        if self.rule.points is not None:
            recorder.lineage = LineageRecorder(recorder.hparams, self.rule.levels)
        recorder.compile_seconds += self.rule.seconds
        recorder.wait_seconds += self.rule.seconds

    def begin(self) -> None:
        """Traces, takes up the last checkpoint, and starts to compile what is still needed."""
        about = None if self._folder is None else self._folder.about
        if about is not None:
            # A trial is rounded as its width says, whatever this machine would choose.
            widths = [plan and plan["width"] for plan in about["plans"]]
            widths += [None] * len(self.groups)
            self.groups = [
                dataclasses.replace(group, width=width)
                for group, width in zip(self.groups, widths, strict=False)
            ]
        found = trace_all(self.settings, self.groups, self.recorder, self.programs)
        self._traced = [one.traced for one in found]
        if self._folder is not None:
            self._fingerprint = fingerprint(
                self.settings,
                self.groups,
                self._traced,
                self.rule.scheduler,
                self.recorder.keep_states,
            )
        if about is not None:
            self._restore(about)
        if not self.is_finished:
            self.futures = compile_all(self.settings, self.groups, found)

    def checkpoint(self, is_last: bool) -> None:
        """Begins to write down where the sweep stands, unless the disk is still at the last one."""
        self.is_finished = is_last
        if self._folder is None or (self._folder.is_busy and not is_last):
            return
        live = [
            (self.recorder.plan_of(one), self._states_of(g)) for g, one in enumerate(self._workers)
        ]
        known = self._stored | dict(enumerate(live))
        arrays = {
            **within("rule", self.rule.snapshot()),
            **within("sweep", self.recorder.snapshot(self._workers)),
        }
        for g, (_, states) in known.items():
            arrays |= within(f"states.{g}", states)
            if self.rule.points is not None:
                arrays |= numbered(f"hparams.{g}", self.groups[g].leaves)
        plans = [dataclasses.asdict(known[g][0]) for g in sorted(known)]
        about = {"fingerprint": self._fingerprint, "plans": plans, "is_finished": is_last}
        self._folder.save(arrays, about)

    def _states_of(self, g: int) -> Arrays:
        """The states of a group that are needed again: of trials that have begun and not ended."""
        recorder, trials = self.recorder, self.groups[g].trials
        is_needed = recorder.has_begun & (recorder.keep_states | ~recorder.is_done)
        return self._workers[g].pick(np.flatnonzero(is_needed[trials]))

    def _restore(self, about: dict[str, Any]) -> None:
        """Takes up a checkpoint, if it is one of this sweep."""
        assert self._folder is not None
        stored = about["fingerprint"]
        check_fingerprint("sweep", self._folder.path, stored, self._fingerprint)
        arrays = self._folder.arrays

        self.rule.restore(inside("rule", arrays))
        self.recorder.restore(inside("sweep", arrays), self._traced_of)
        for g, plan in enumerate(about["plans"]):
            self._stored[g] = Plan(**plan), inside(f"states.{g}", arrays)
            for leaf, value in zip(
                self.groups[g].leaves, listed(f"hparams.{g}", arrays), strict=False
            ):
                leaf[:] = value
        self.is_finished = about["is_finished"]

    def _traced_of(self, trial: int) -> TracedTraining:
        """The training of a trial."""
        return next(
            traced
            for group, traced in zip(self.groups, self._traced, strict=True)
            if trial in group.trials
        )

    def _block(self, g: int) -> int:
        """Trials of a group that are trained at a time where no scheduler says which."""
        plan = self._workers_of(g).program.plan
        return self._processes.count * self._processes.least(plan.chunk * plan.num_workers)

    def is_late(self, deadline: float) -> bool:
        """Whether the time is up, in one of the processes."""
        is_up = time.perf_counter() >= deadline
        return is_up if math.isinf(deadline) else self._processes.any(is_up)

    def run_job(self, pieces: Pieces, deadline: float) -> bool:
        """Runs a job and tells its losses; False if its time was up before."""
        self._prepare(pieces)
        for start, stop in np.unique(np.stack([pieces.start, pieces.stop]), axis=1).T.tolist():
            trials = pieces.trial[(pieces.start == start) & (pieces.stop == stop)]
            first = self._report[start] + 1 if start else 0
            self._name_stage(len(trials), start, stop)
            for g, group in enumerate(self.groups):
                rows = np.flatnonzero(np.isin(group.trials, trials))
                if not len(rows):
                    continue
                workers = self._workers_of(g)
                if not _is_rung_of(
                    workers.states, rows, start, self.recorder.is_done[group.trials]
                ):
                    workers.spill()
                directions = self._directions(g, pieces) if stop < self.settings.steps[-1] else None
                part = Part(rows, range(first, self._report[stop] + 1), directions)
                if self._processes.count > 1:
                    self._run_shared(g, part)
                elif not run_part(workers, self.recorder, deadline, part):
                    return False
        report = np.asarray([self._report[stop] for stop in pieces.stop.tolist()])
        losses = self.recorder.losses_at(pieces.trial, report)
        slopes, self.recorder.slopes = self.recorder.slopes, None
        self._stop(self.rule.tell(pieces, losses, None if slopes is None else slopes[pieces.trial]))
        return True

    def _name_stage(self, count: int, start: int, stop: int) -> None:
        """Says how many trials go on up to where, and the lowest loss of where they stand."""
        total = len(self.recorder.is_done)
        if count < total or start:
            self.recorder.stage = f"{count} of {total} trials go on to step {stop}"
            lowest = self.recorder.lowest_at(self._report[start]) if start else math.nan
            if math.isfinite(lowest):
                self.recorder.stage += f", lowest loss {lowest:.4g}"

    def _run_shared(self, g: int, part: Part) -> None:
        """Runs this process's share of a part, and takes in what the others say of theirs.

        A part is not cut short: all processes have to come to its end.
        """
        workers, recorder, processes = self._workers[g], self.recorder, self._processes
        assert isinstance(workers.states, HostStates)
        owner = self._homes[g].bring(workers.states, part.rows, part.reports.start > 0)
        mine = part.rows[owner == processes.index]
        if len(mine):
            run_part(workers, recorder, math.inf, part._replace(rows=mine))
        trials = workers.group.trials[part.rows]
        losses = recorder.losses_at(trials[:, None], np.asarray(part.reports)[None])
        slopes = np.zeros((len(trials), self.rule.slopes))
        if part.directions is not None and len(mine):
            assert recorder.slopes is not None
            slopes = recorder.slopes[trials]
        for process, (theirs, along) in enumerate(processes.gather([losses, slopes])):
            rows = owner == process
            if process == processes.index or not rows.any():
                continue
            if part.directions is not None:
                recorder.add(Slopes(trials[rows], along[rows]))
            for column, report in enumerate(part.reports):
                recorder.add(Report(trials[rows], theirs[rows, column], report, None), quiet=True)

    def _directions(self, g: int, pieces: Pieces) -> list[np.ndarray] | None:
        """How the hyperparameters of a group change with the coordinates, if that is wanted."""
        if not self.rule.slopes:
            return None
        assert self.rule.points is not None
        trials = self.groups[g].trials
        unit = np.full((len(trials), pieces.unit.shape[1]), 0.5, pieces.unit.dtype)
        is_here = np.isin(pieces.trial, trials)
        unit[np.searchsorted(trials, pieces.trial[is_here])] = pieces.unit[is_here]
        return self.rule.points.directions(unit)

    def _prepare(self, pieces: Pieces) -> None:
        """Copies states and changes points, before any trial of the job takes a step."""
        is_copy = pieces.parent != pieces.trial
        for g, group in enumerate(self.groups):
            is_here = np.isin(pieces.trial, group.trials)
            if (is_here & is_copy).any():
                some = is_here & is_copy
                rows, source = (
                    np.searchsorted(group.trials, trials[some])
                    for trials in (pieces.trial, pieces.parent)
                )
                states = self._workers_of(g).states
                assert states is not None
                states.copy(rows, source)
                self._homes[g].copy(rows, source)
            if (is_here & pieces.is_moved).any():
                assert self.rule.points is not None
                trials = pieces.trial[is_here & pieces.is_moved]
                values = self.rule.points.values(pieces.unit[is_here & pieces.is_moved])
                self.rule.points.move(group, np.searchsorted(group.trials, trials), values)
                self.recorder.move(trials, values)
        self.recorder.begin(pieces.trial, pieces.parent, pieces.start, pieces.stop)

    def _stop(self, has_ended: np.ndarray) -> None:
        """Counts the trials that have ended before their last step, each once."""
        self.recorder.stop_trials(np.flatnonzero(has_ended & ~self.recorder.is_done))
        if self.recorder.is_done.all():
            self.recorder.planned_steps = self.recorder.num_steps_taken
        self.recorder.report_progress()

    def _workers_of(self, g: int) -> Workers:
        """The workers of a group; the groups begin in their order."""
        while len(self._workers) <= g:
            number = len(self._workers)
            group, future = self.groups[number], self.futures[number]
            program = wait_for(self.settings, group, future, self.recorder, self.programs)
            size = len(group.trials)
            is_shared = self._processes.count > 1
            is_kept = is_shared or self.recorder.keep_states or not fit_twice(program, size)
            expected = "given where the processes would choose different ones"
            self._processes.check_same("sweep", "width", expected, program.plan.width)
            self._homes.append(Homes(self._processes, size))
            states = HostStates(program, size) if is_kept else DeviceStates(program, size)
            self._workers.append(Workers(program, self.settings, group, False, states))
            if number in self._stored:
                self._workers[number].put(self._stored.pop(number)[1])
        return self._workers[g]

    def close(self, is_interrupted: bool = False) -> None:
        """Hands over what the workers have: the best trials, and states if they are kept."""
        keeps, is_done = self.recorder.keep_states, self.recorder.is_done
        for workers, homes in zip(self._workers, self._homes, strict=True):
            if keeps and isinstance(workers.states, HostStates):
                rows = np.flatnonzero(is_done[workers.group.trials])
                if not is_interrupted:  # else the other processes are elsewhere
                    homes.collect(workers.states, rows)
                leaves = [leaf[rows] for leaf in workers.states.leaves]
                if len(rows):
                    self.recorder.add_states(workers.group.trials[rows], leaves)
            self.recorder.add_group(workers.program, workers)
        for g, (plan, states) in self._stored.items():
            trials = self.groups[g].trials[states["rows"]]
            ended = is_done[trials]
            if keeps and ended.any():
                leaves = [leaf[ended] for leaf in listed("leaf", states)]
                self.recorder.add_states(trials[ended], leaves)
            self.recorder.add_finished(plan, self._traced[g].packing)
        if not is_interrupted:
            self.recorder.agree(self._processes, self._traced_of)


def _is_rung_of(
    states: HostStates | DeviceStates | None, rows: np.ndarray, start: int, has_ended: np.ndarray
) -> bool:
    """Whether what is on the device is all that is needed, now and later."""
    if not isinstance(states, DeviceStates) or not len(states.rows):
        return True
    left = np.setdiff1d(states.rows, rows)
    return start > 0 and bool(np.isin(rows, states.rows).all() and has_ended[left].all())
