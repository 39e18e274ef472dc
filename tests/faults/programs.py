"""What the processes run in which faults are injected, and the ledger of what they were told.

The ledger is a file beside the study: a line for each trial that `Study` has said to have ended.
What stands there must be in the study, whatever happens to the process afterwards.
"""

import json
import os
import time

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from jaxhpo.study.storage import _open
from tests.study import reporters, sweep_worker

SPACE = {"x": hpo.uniform(-1.0, 3.0), "lr": hpo.log_uniform(1e-4, 1.0)}
SEED = 5


def score(params):
    """A smooth function, different for any two points."""
    return (params["x"] - 0.5) ** 2 + (params["lr"] - 0.1) ** 2


def note(path, *entry):
    """Adds a line to a ledger, by one call of the system."""
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(file, (json.dumps(entry) + "\n").encode())
    os.close(file)


class Slow:
    """The same, which takes a while, and writes down what it has computed; picklable."""

    def __init__(self, seconds, ledger):
        self.seconds, self.ledger = seconds, ledger

    def __call__(self, params):
        time.sleep(self.seconds)
        value = score(params)
        note(f"{self.ledger}-computed", None, value, params)
        return value


class Told:
    """A callback that writes down which trials the study has reported as ended."""

    def __init__(self, path):
        self.path = path

    def __call__(self, study, trial):
        if trial.status is Status.COMPLETE:
            note(self.path, trial.number, trial.value, trial.flat)


def study_of(storage, sampler):
    return Study(SPACE, sampler, storage=storage, name="study", seed=SEED)


def optimize(storage, ledger, sampler, num_trials, seconds=0.0, busy=None, settings=None):
    """Goes on with a study until it has so many trials, failed ones included."""
    if busy is not None:
        _open.BUSY_SECONDS = busy
    study = study_of(storage, sampler)
    left = num_trials - len(study.trials)
    study.optimize(
        Slow(seconds, ledger), num_trials=max(left, 0), callbacks=[Told(ledger)], progress=False,
        max_first_failures=None, **(settings or {}),
    )  # fmt: skip


def share(storage, ledger, sampler, num_trials, seconds=0.0):
    """One of many: works as long as fewer trials than that are complete."""
    study = study_of(storage, sampler)

    def stop(study, trial):
        if sum(one.status is Status.COMPLETE for one in study.trials) >= num_trials:
            study.stop()

    if sum(one.status is Status.COMPLETE for one in study.trials) < num_trials:
        study.optimize(
            Slow(seconds, ledger),
            num_trials=num_trials,
            callbacks=[Told(ledger), stop],
            progress=False,
        )


def sweep(storage, ledger, num_trials, **settings):
    """Goes on with a sweep until it has so many trials."""
    study = sweep_worker.study_of(storage)
    ended = (Status.COMPLETE, Status.PRUNED, Status.FAILED)
    left = num_trials - sum(trial.status in ended for trial in study.trials)
    if left:
        study.sweep(sweep_worker.TRAINING, num_trials=left, progress=False, **settings)
    told = Told(ledger)
    for trial in study.trials:
        told(study, trial)


def judge(storage, ledger, scheduler, num_trials, sampler):
    """Goes on with generators that a scheduler judges, until so many have begun."""
    study = Study(reporters.X, sampler, storage=storage, name="study")
    study.optimize(
        reporters.resumable, num_trials=num_trials - len(study.trials),
        callbacks=[Told(ledger)], progress=False,
        scheduler=hpo.schedulers.get(scheduler, num_trials, reporters.STEPS),
    )  # fmt: skip


def run(name, settings):
    """Runs one of these by name."""
    {"optimize": optimize, "share": share, "sweep": sweep, "judge": judge}[name](**settings)
