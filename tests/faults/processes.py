"""Rows of processes that end where they should not, and of clocks that go back."""

import functools
import random
import signal
import time

import optuna
import sqlalchemy

from tests.faults import harness, programs
from tests.faults.harness import Tally, killed_again_and_again, places, tally
from tests.faults.table import row
from tests.study import reporters, sweep_worker

NUM_TRIALS = 60


# -- SIGKILL at random moments


def kill_optimize(name, nursery, folder, times, *, sampler, kind, longest, num_trials):
    """Kills in asks, objectives, tells, and in the reading of what the killed ones have left."""
    total, given = Tally(name), {"sampler": sampler, "num_trials": num_trials}
    while total.injected < times:
        place = places(folder, kind)
        count = killed_again_and_again(
            nursery, "optimize", {**place, **given}, times=min(8, times - total.injected),
            longest=longest,
        )  # fmt: skip
        nursery.finish("optimize", **place, **given)
        study, expected = programs.study_of(place["storage"], sampler), harness.without_faults
        total.add(tally(name, study, place["ledger"], injected=count, expected=expected(sampler)))
    return total


for sampler, kind, longest, num_trials, few, many in (
    ("random", "sqlite", 0.5, 60, 6, 60),
    ("random", "journal", 0.6, 60, 4, 40),
    ("tpe", "sqlite", 1.5, 60, 0, 40),
    ("tpe", "journal", 1.5, 60, 0, 20),
    ("gp", "sqlite", 2.0, 30, 0, 30),
    ("gp", "journal", 2.0, 30, 0, 15),
):
    row(f"SIGKILL at random: optimize, {sampler}, {kind}", few=few, many=many)(
        functools.partial(
            kill_optimize, sampler=sampler, kind=kind, longest=longest, num_trials=num_trials
        )
    )


SWEEP = {"num_steps": 5, "batch_size": 6}
RUNGS = {
    "num_steps": 40, "num_reports": 8, "scheduler": "halving", "batch_size": 12, "checkpoint": True,
}  # fmt: skip


def kill_sweep(name, nursery, folder, times, *, num_trials, settings):
    """Kills in the writes of batches, in rungs, in checkpoints, and while they are read."""
    total, given = Tally(name), {"num_trials": num_trials, **settings}
    while total.injected < times:
        place = places(folder)
        left = min(5, times - total.injected)
        count = killed_again_and_again(
            nursery, "sweep", {**place, **given}, times=left, longest=1.5
        )
        nursery.finish("sweep", **place, **given)
        found = sweep_worker.study_of(place["storage"])
        expected = harness.swept_without_faults(num_trials, **settings)
        total.add(tally(name, found, place["ledger"], injected=count, expected=expected))
    return total


row("SIGKILL at random: sweep", few=2, many=20)(
    functools.partial(kill_sweep, num_trials=60, settings=SWEEP)
)
row("SIGKILL at random: rungs of a sweep with checkpoints", many=20)(
    functools.partial(kill_sweep, num_trials=24, settings=RUNGS)
)


@row("SIGKILL at random: generators under a scheduler", few=0, many=20)
def kill_judged(name, nursery, folder, times):
    """Kills between reports, in saved states, and while paused trials are taken up."""
    total, schedulers = Tally(name), ("asha", "halving", "hyperband")
    while total.injected < times:
        place = places(folder)
        given = {
            "scheduler": schedulers[total.injected % 3], "sampler": "qmc", "num_trials": 18,
        }  # fmt: skip
        left = min(4, times - total.injected)
        count = killed_again_and_again(
            nursery, "judge", {**place, **given}, times=left, longest=1.2
        )
        nursery.finish("judge", **place, **given)
        study = harness.Study(reporters.X, "qmc", storage=place["storage"], name="study")
        expected = harness.judged_without_faults(**given)
        total.add(tally(name, study, place["ledger"], injected=count, expected=expected))
    return total


# -- SIGKILL at the n-th write


def kill_at_writes(name, nursery, folder, times, *, program, given, watched, kind, reopen, make):
    """Kills before the n-th write, or in its middle, for n all over the run."""
    counting = {"kind": "count", "path": watched}
    place = places(folder, kind)
    said = nursery.finish(program, fault=counting, **place, **given)
    writes = int(said.split()[-1])
    total, stride = Tally(name), max(1, writes // times)
    for i, at in enumerate(range(1, writes + 1, stride)):
        place = places(folder, kind)
        fault = {"kind": ("kill", "torn")[i % 2], "path": watched, "at": at}
        status, said = nursery.run(program, fault=fault, **place, **given)
        assert status in (0, harness.KILLED), said[-3000:]
        count = int(status == harness.KILLED)
        if count and i % 3 == 0:  # and once more while it is taken up again
            fault["at"] = 1 + at % 7
            status, said = nursery.run(program, fault=fault, **place, **given)
            assert status in (0, harness.KILLED), said[-3000:]
            count += status == harness.KILLED
        nursery.finish(program, **place, **given)
        found = reopen(place["storage"])
        found = tally(name, found, place["ledger"], injected=count, expected=make())
        if not found.is_clean:
            found.notes.append(f"write {at} of {writes}, {fault['kind']}")
        total.add(found)
    return total


OPTIMIZE = {
    "program": "optimize", "given": {"sampler": "random", "num_trials": 12},
    "reopen": lambda storage: programs.study_of(storage, "random"),
    "make": lambda: harness.without_faults("random"),
}  # fmt: skip
for kind, watched, few, many in (
    ("sqlite", "study.db", 6, 80),
    ("journal", "study.journal", 4, 60),
):
    row(f"SIGKILL at the n-th write: optimize, {kind}", few=few, many=many)(
        functools.partial(kill_at_writes, watched=watched, kind=kind, **OPTIMIZE)
    )
for label, num_trials, settings, watched in (
    ("the batches of a sweep", 18, SWEEP, "study.db"),
    ("the checkpoints of a sweep", 12, RUNGS, ".checkpoints"),
):
    row(f"SIGKILL at the n-th write: {label}", many=25)(
        functools.partial(
            kill_at_writes,
            program="sweep",
            given={"num_trials": num_trials, **settings},
            watched=watched,
            kind="sqlite",
            reopen=sweep_worker.study_of,
            make=functools.partial(harness.swept_without_faults, num_trials, **settings),
        )
    )


# -- other ends


@row("SIGTERM at random", few=3, many=20)
def terminate(name, nursery, folder, times):
    """A process that is told to end leaves no running trial, even before the next one comes."""
    total, given = Tally(name), {"sampler": "random", "num_trials": 100, "seconds": 0.01}
    while total.injected < times:
        place = places(folder)
        count = killed_again_and_again(
            nursery,
            "optimize",
            {**place, **given},
            times=min(4, times - total.injected),
            longest=1.2,
            number=signal.SIGTERM,
            check=functools.partial(none_runs, place["storage"]),
        )
        nursery.finish("optimize", **place, **given)
        study = programs.study_of(place["storage"], "random")
        expected = harness.without_faults("random")
        total.add(tally(name, study, place["ledger"], injected=count, expected=expected))
    return total


def none_runs(storage):
    """As the file has it, opened by no study of ours."""
    try:
        trials = optuna.load_study(study_name="study", storage=storage).trials
    except (KeyError, AssertionError, sqlalchemy.exc.SQLAlchemyError):
        return  # it had not been made
    assert "RUNNING" not in {trial.state.name for trial in trials}


@row("8 workers on one SQLite file, killed and replaced", many=24)
def kill_some_of_many(name, nursery, folder, times):
    """Every killed worker is replaced by one that comes late."""
    total, rng = Tally(name), random.Random(8)
    while total.injected < times:
        place, count = places(folder), 0
        given = {**place, "sampler": "random", "num_trials": 150, "seconds": 0.05}
        workers = [nursery.start("share", **given) for _ in range(8)]
        for _ in range(min(12, times - total.injected)):
            time.sleep(rng.uniform(0.0, 0.4))
            i = rng.randrange(8)
            workers[i].kill()
            count += workers[i].wait() == harness.KILLED
            workers[i] = nursery.start("share", **given)
        for worker in workers:
            assert worker.wait() == 0, worker.said()[-3000:]
        study = programs.study_of(place["storage"], "random")
        total.add(tally(name, study, place["ledger"], injected=count, expected=has_same_points))
    return total


def has_same_points(study):
    """Each trial has the params that it has in one process; which of them fail is chance."""
    alone = harness.without_faults("random")(study)
    return [trial.params for trial in study.trials] == [trial.params for trial in alone.trials]


@row("clock set back by a day while the study is away", few=1, many=4)
def set_clock_back(name, nursery, folder, times):
    """Kills, and goes on a day earlier."""
    total, given = Tally(name), {"sampler": "random", "num_trials": 40}
    for i in range(times):
        place, kind = places(folder, ("sqlite", "journal")[i % 2]), ("study.db", "study.journal")
        fault = {"kind": "kill", "path": kind[i % 2], "at": 250 if i % 2 == 0 else 120}
        status, _ = nursery.run("optimize", fault=fault, **place, **given)
        assert status == harness.KILLED
        nursery.finish("optimize", fault={"clock": -86400}, **place, **given)
        study = programs.study_of(place["storage"], "random")
        expected = harness.without_faults("random")
        total.add(tally(name, study, place["ledger"], injected=1, expected=expected))
    return total
