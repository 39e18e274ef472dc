"""Runs a sweep under a scheduler: a job is run, the rule judges, and those that go on move up."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from jaxhpo.population._compile import Program, Settings
from jaxhpo.population._groups import Group
from jaxhpo.population._program_cache import Programs
from jaxhpo.population._record import Sweep, SweepInterrupted, SweepRecorder
from jaxhpo.population._rule import Pieces, Rule
from jaxhpo.population._run import compile_all, run_part, wait_for
from jaxhpo.population._states import DeviceStates, HostStates, fit_twice
from jaxhpo.population._threads import Part, Workers
from jaxhpo.population.lineage._lineage import LineageRecorder

if TYPE_CHECKING:
    from concurrent.futures import Future


def run_scheduled(
    settings: Settings,
    groups: list[Group],
    recorder: SweepRecorder,
    timeout: float | None,
    programs: Programs,
    rule: Rule,
) -> Sweep:
    """Runs job after job; the rule sees the trials of all groups together."""
    run = _Run(settings, groups, recorder, programs, rule)
    recorder.planned_steps = rule.num_steps
    if rule.points is not None:
        recorder.lineage = LineageRecorder(recorder.hparams, rule.levels)
    recorder.compile_seconds += rule.seconds
    recorder.wait_seconds += rule.seconds
    deadline = math.inf if timeout is None else recorder.started + timeout
    try:
        with recorder.waiting():
            run.futures = compile_all(settings, groups, recorder, programs)
        while time.perf_counter() < deadline and len((pieces := rule.pieces()).trial):
            if not run.run_job(pieces, deadline):
                break
    except KeyboardInterrupt as interrupt:
        run.close()
        raise SweepInterrupted(recorder.finish()) from interrupt
    finally:
        for future in run.futures:
            future.cancel()
    run.close()
    return recorder.finish()


class _Run:
    """One sweep under a scheduler: the groups' workers, which begin in turn."""

    def __init__(
        self,
        settings: Settings,
        groups: list[Group],
        recorder: SweepRecorder,
        programs: Programs,
        rule: Rule,
    ) -> None:
        self.settings, self.groups, self.recorder = settings, groups, recorder
        self.programs, self.rule = programs, rule
        self.futures: list[Future[Program]] = []
        self._workers: list[Workers] = []
        self._report = {step: report for report, step in enumerate(settings.steps)}

    def run_job(self, pieces: Pieces, deadline: float) -> bool:
        """Runs a job and tells its losses; False if its time was up before."""
        self._prepare(pieces)
        for start, stop in np.unique(np.stack([pieces.start, pieces.stop]), axis=1).T.tolist():
            trials = pieces.trial[(pieces.start == start) & (pieces.stop == stop)]
            first = self._report[start] + 1 if start else 0
            for g, group in enumerate(self.groups):
                rows = np.flatnonzero(np.isin(group.trials, trials))
                if not len(rows):
                    continue
                workers = self._workers_of(g)
                if not _is_rung_of(
                    workers.states, rows, start, self.recorder.is_done[group.trials]
                ):
                    workers.spill()
                part = Part(rows, range(first, self._report[stop] + 1))
                if not run_part(workers, self.recorder, deadline, part):
                    return False
        report = np.asarray([self._report[stop] for stop in pieces.stop.tolist()])
        losses = self.recorder.losses_at(pieces.trial, report)
        self._stop(self.rule.tell(pieces, losses))
        return True

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
            group, future = self.groups[len(self._workers)], self.futures[len(self._workers)]
            program = wait_for(self.settings, group, future, self.recorder, self.programs)
            size = len(group.trials)
            is_kept = self.recorder.keep_states or not fit_twice(program, size)
            states = HostStates(program, size) if is_kept else DeviceStates(program, size)
            self._workers.append(Workers(program, self.settings, group, False, states))
        return self._workers[g]

    def close(self) -> None:
        """Hands over what the workers have: the best trials, and states if they are kept."""
        for workers in self._workers:
            if self.recorder.keep_states and isinstance(workers.states, HostStates):
                rows = np.flatnonzero(self.recorder.is_done[workers.group.trials])
                leaves = [leaf[rows] for leaf in workers.states.leaves]
                if len(rows):
                    self.recorder.add_states(workers.group.trials[rows], leaves)
            self.recorder.add_group(workers.program, workers)


def _is_rung_of(
    states: HostStates | DeviceStates | None, rows: np.ndarray, start: int, has_ended: np.ndarray
) -> bool:
    """Whether what is on the device is all that is needed, now and later."""
    if not isinstance(states, DeviceStates) or not len(states.rows):
        return True
    left = np.setdiff1d(states.rows, rows)
    return start > 0 and bool(np.isin(rows, states.rows).all() and has_ended[left].all())
