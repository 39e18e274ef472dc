"""Injects faults into studies, and counts what became of their trials."""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from tests.faults import programs
from tests.study import reporters, sweep_worker

ROOT = pathlib.Path(__file__).parent.parent.parent
KILLED = -signal.SIGKILL


@dataclasses.dataclass
class Tally:
    """A row of the table.

    Attributes:
        fault: what happened.
        injected: how many times.
        lost: trials that a study had said to have ended, or whose value is kept in a file, and
            that are not in the study at the end.
        duplicated: trials with the params of another complete one, and missing numbers.
        stuck: trials that run or wait for ever.
        is_equal: whether the study is what it is without the fault; None where the timing decides.
        notes: what went wrong, for the reader of a failed test.
    """

    fault: str
    injected: int = 0
    lost: int = 0
    duplicated: int = 0
    stuck: int = 0
    is_equal: bool | None = True
    notes: list = dataclasses.field(default_factory=list)

    def add(self, other):
        """Counts what happened to another study of the same row."""
        for name in ("injected", "lost", "duplicated", "stuck"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.is_equal = other.is_equal if self.is_equal in (True, None) else False
        self.notes += other.notes

    @property
    def is_clean(self):
        """Whether nothing was lost, duplicated or stuck, and the result is the same."""
        return not (self.lost or self.duplicated or self.stuck or self.is_equal is False)


@functools.cache
def compiled_shim():
    """`shim.c` as a library; None where there is no compiler or no LD_PRELOAD."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    made = pathlib.Path(tempfile.mkdtemp(prefix="jaxhpo-shim-")) / "shim.so"
    source = str(pathlib.Path(__file__).with_name("shim.c"))
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), source], check=True)
    return str(made)


class Child:
    """A process in which a program runs."""

    def __init__(self, pid, log):
        self.pid, self.log, self.status = pid, log, queue.Queue()

    def kill(self, number=signal.SIGKILL):
        """Sends a signal, if the process still lives."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def said(self):
        """What it has printed."""
        return pathlib.Path(self.log).read_text()

    def wait(self, seconds=280.0):
        """The exit status; that of a signal is negative."""
        try:
            return self.status.get(timeout=seconds)
        except queue.Empty:
            self.kill()
            said = self.said()[-3000:]
            raise AssertionError(f"a process hangs, it is ended: {said}") from None


class Nursery:
    """Forks processes from one that has imported everything."""

    def __init__(self, folder):
        """`folder` gets the logs, and what compiles."""
        self.folder = pathlib.Path(folder)
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu",
            "XDG_STATE_HOME": str(self.folder / "state"), "JAXHPO_CACHE": "1",
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(self.folder / "cache")),
        }  # fmt: skip
        if shim := compiled_shim():
            environment["LD_PRELOAD"] = shim
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._children, self._born = {}, queue.Queue()
        self._count, self._lock = 0, threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._process.stdout:
            pid, *status = json.loads(line)
            if not status:
                self._children[pid] = child = Child(pid, self._log)
                self._born.put(child)
            else:
                self._children.pop(pid).status.put(status[0])

    def start(self, program, *, fault=None, environment=None, **settings):
        """A child that runs a program of `programs`."""
        with self._lock:
            self._count += 1
            self._log = str(self.folder / f"child-{self._count}.log")
            command = {
                "program": program, "settings": settings, "fault": fault or {}, "log": self._log,
                "environment": environment or {},
            }  # fmt: skip
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            return self._born.get(timeout=60)

    def run(self, program, **settings):
        """Its exit status and what it printed."""
        child = self.start(program, **settings)
        status = child.wait()
        return status, child.said()

    def finish(self, program, **settings):
        """Runs without a fault, to a good end."""
        status, said = self.run(program, **settings)
        assert status == 0, said[-3000:]
        return said

    def close(self):
        """Ends the process that forks, and with it those that are left."""
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def places(folder, kind="sqlite"):
    """The storage of a study in a folder of its own, and the ledger beside it."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
    names = {"sqlite": f"sqlite:///{folder}/study.db", "journal": str(folder / "study.journal")}
    return {"storage": names[kind], "ledger": str(folder / "told")}


def told(ledger):
    """`(number, value, flat)` of each line of a ledger."""
    path = pathlib.Path(ledger)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def tally(fault, study, ledger, *, injected, expected=None, lives=False):
    """What became of the trials of a study, after the last process has ended well.

    Args:
        fault: the row's name.
        study: the study, opened once more.
        ledger: the path of the ledger.
        injected: how many faults there were.
        expected: a function of the study that returns the one without faults, or whether it is
            equal to that; None where the timing decides which trials there are.
        lives: whether the process that computes survived, so that no computed value may be lost.
    """
    trials = study.trials
    found = Tally(fault, injected, is_equal=None)
    complete = [trial for trial in trials if trial.status is Status.COMPLETE]
    values = {json.dumps([trial.value, trial.flat], sort_keys=True) for trial in complete}
    computed = told(f"{ledger}-computed") if lives else []
    for number, value, flat in [*told(ledger), *computed]:
        if json.dumps([value, flat], sort_keys=True) not in values:
            found.lost += 1
            found.notes.append(f"trial {number} with {value} is lost")
    kept = list(pathlib.Path(ledger).parent.glob("*.unsaved-*"))
    found.lost += len(kept)
    found.duplicated = len(complete) - len(values)
    found.duplicated += len(trials) - len({trial.number for trial in trials})
    found.duplicated += [trial.number for trial in trials] != list(range(len(trials)))
    running = [t.number for t in trials if t.status in (Status.RUNNING, Status.WAITING)]
    found.stuck = len(running)
    found.notes += [f"kept: {path}" for path in kept] + [f"stuck: {running}"] * bool(running)
    if expected is not None:
        alone = expected(study)
        found.is_equal = alone if isinstance(alone, bool) else facts(study) == facts(alone)
        if not isinstance(alone, bool):
            pairs = zip(facts(study), facts(alone), strict=False)
            found.notes += [f"{a} != {b}" for a, b in pairs if a != b][:5]
    return found


def facts(study):
    """What a study says of its trials, times and reasons apart."""
    return [(t.number, t.status.name, t.params, t.value, t.curve) for t in study.trials]


def without_faults(sampler):
    """What `programs.optimize` gives in one process in which the same trials fail."""

    def make(study):
        lost = {trial.number for trial in study.trials if trial.status is not Status.COMPLETE}
        alone = Study(programs.SPACE, sampler, storage=None, seed=programs.SEED)
        numbers = iter(range(len(study.trials)))

        def objective(params):
            if next(numbers) in lost:
                raise RuntimeError("as in the other one")
            return programs.score(params)

        alone.optimize(
            objective, num_trials=len(study.trials), progress=False, max_first_failures=None
        )
        return alone

    return make


def swept_without_faults(num_trials, **settings):
    """What `programs.sweep` gives in one process, in memory, which has no checkpoints."""
    settings = {**settings, "checkpoint": False}

    def make(study):
        alone = sweep_worker.study_of(None)
        alone.sweep(sweep_worker.TRAINING, num_trials=num_trials, progress=False, **settings)
        return alone

    return make


def judged_without_faults(scheduler, num_trials, sampler):
    """What `programs.judge` gives in one process."""

    def make(study):
        alone = Study(reporters.X, sampler, storage=None)
        alone.optimize(
            reporters.resumable, num_trials=num_trials, progress=False,
            scheduler=hpo.schedulers.get(scheduler, num_trials, reporters.STEPS),
        )  # fmt: skip
        return alone

    return make


def killed_again_and_again(
    nursery, program, given, *, times, longest, number=signal.SIGKILL, check=None
):
    """Ends a program at random moments and starts it anew, until it has ended so many times.

    Args:
        nursery: where processes come from.
        program: its name.
        given: its settings.
        times: how many kills at most; fewer if the program comes to its end.
        longest: seconds after which it is ended at the latest.
        number: the signal.
        check: called after each end.

    Returns:
        How many kills there were.
    """
    rng, count = random.Random(str(given["storage"])[-12:] + program), 0
    for _ in range(times):
        child = nursery.start(program, **given)
        time.sleep(rng.uniform(0.0, longest))
        child.kill(number)
        status = child.wait()
        if status == 0:
            break
        said = child.said()
        assert status in (-number, 128 + number), f"{status}: {said[-3000:]}"
        if check is not None:
            check()
        count += 1
    return count
