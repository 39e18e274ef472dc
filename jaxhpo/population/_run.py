"""Runs a sweep: programs are compiled side by side, and each group's workers are listened to."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

import jax

from jaxhpo.population._compile import Program, Settings, compile_group, trace_group
from jaxhpo.population._groups import Group
from jaxhpo.population._layout import num_cores
from jaxhpo.population._program_cache import Programs
from jaxhpo.population._record import Sweep, SweepInterrupted, SweepRecorder
from jaxhpo.population._threads import Part, Report, Slopes, Workers
from jaxhpo.population._trace import TracedTraining, uses_x64

if TYPE_CHECKING:
    from concurrent.futures import Future

_WHERE = "sweep"


def run_groups(
    settings: Settings,
    groups: list[Group],
    recorder: SweepRecorder,
    timeout: float | None,
    programs: Programs,
) -> Sweep:
    """Runs each group as soon as its program is ready."""
    deadline = math.inf if timeout is None else recorder.started + timeout
    futures: list[Future[Program]] = []
    try:
        with recorder.waiting():
            found = trace_all(settings, groups, recorder, programs)
            futures = compile_all(settings, groups, found)
        for group, future in zip(groups, futures, strict=True):
            if time.perf_counter() >= deadline:
                break
            program = wait_for(settings, group, future, recorder, programs)
            workers = Workers(program, settings, group, recorder.keep_states)
            try:
                run_part(workers, recorder, deadline)
            finally:
                recorder.add_group(program, workers)
    except KeyboardInterrupt as interrupt:
        raise SweepInterrupted(recorder.finish()) from interrupt
    finally:
        for future in futures:
            future.cancel()
    return recorder.finish()


class Found(NamedTuple):
    """A group's training, and its program if that is known already."""

    traced: TracedTraining
    program: Program | None


def trace_all(
    settings: Settings, groups: list[Group], recorder: SweepRecorder, programs: Programs
) -> list[Found]:
    """Traces the training on each group whose program is not known yet."""
    known = [programs.find(settings, group) for group in groups]
    before = time.perf_counter()
    if not all(known):
        recorder.report_progress(is_compiling=True)
    found = [
        Found(trace_group(_WHERE, settings, group) if program is None else program.traced, program)
        for group, program in zip(groups, known, strict=True)
    ]
    recorder.compile_seconds += time.perf_counter() - before
    return found


def compile_all(
    settings: Settings, groups: list[Group], found: list[Found]
) -> list[Future[Program]]:
    """Starts to compile the programs that are not known yet, side by side."""
    from concurrent.futures import Future, ThreadPoolExecutor  # 5 ms that an import need not cost.

    x64 = uses_x64()

    def compile_one(group: Group, traced: TracedTraining) -> Program:
        with jax.enable_x64(x64):
            return compile_group(_WHERE, settings, group, traced)

    num_missing = sum(program is None for _, program in found)
    pool = ThreadPoolExecutor(max_workers=min(num_cores(), max(num_missing, 1)))
    futures: list[Future[Program]] = []
    for group, (traced, program) in zip(groups, found, strict=True):
        if program is None:
            futures.append(pool.submit(compile_one, group, traced))
        else:
            futures.append(Future())
            futures[-1].set_result(program)
    pool.shutdown(wait=False)
    return futures


def wait_for(
    settings: Settings,
    group: Group,
    future: Future[Program],
    recorder: SweepRecorder,
    programs: Programs,
) -> Program:
    """Waits for a group's program, and keeps it for the next sweep."""
    with recorder.waiting():
        if not future.done():
            recorder.report_progress(is_compiling=True)
        program = future.result()
    recorder.add_program(program, group.trials)
    programs.keep(settings, group, program)
    return program


def run_part(
    workers: Workers, recorder: SweepRecorder, deadline: float, part: Part | None = None
) -> bool:
    """Runs a part of a group's work; on any exception the workers end before it goes on.

    Returns:
        Whether it was run to its end, rather than until the deadline.
    """
    wait = None if math.isinf(deadline) else 0.05
    try:
        for message in workers.messages(wait, part):
            if time.perf_counter() >= deadline:
                workers.stop()
            if isinstance(message, Report | Slopes):
                recorder.add(message)
    except BaseException:
        workers.stop()
        raise
    finally:
        workers.join()
        for message in workers.leftovers():
            recorder.add(message, quiet=True)
    return not workers.is_stopped
