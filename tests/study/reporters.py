"""Objectives that report as they go, for worker processes and scripts; what they must come to."""

import os
import pathlib
import signal
import sys

import jaxhpo as hpo
from jaxhpo.study import Study

X = {"x": hpo.uniform(0.0, 1.0)}
STEPS = 9


def loss(x, step):
    """A curve that falls with the step; curves of different trials cross."""
    return (x - 0.3) ** 2 + (0.2 + (x * 7.919) % 1.0) / step


def curve(x, steps=STEPS):
    """What a trial reports up to a step."""
    return {step: loss(x, step) for step in range(1, steps + 1)}


def reports(params):
    """A generator without a checkpoint."""
    for step in range(1, STEPS + 1):
        yield loss(params["x"], step)


def resumable(params, checkpoint=None):
    """One that goes on; its state matters, and is saved at every other step only."""
    state = checkpoint or {"step": 0, "w": params["x"]}
    step, w = int(state["step"]), float(state["w"])
    while step < STEPS:
        step += 1
        w = (3.9 * w * (1.0 - w)) % 1.0
        saved = {"step": step, "w": w} if step % 2 == 0 else None
        yield hpo.Report(loss(params["x"], step) + 1e-3 * w, saved)


def trace_of(params):
    """Leaves a file behind when it is closed."""
    try:
        yield 1.0
        os.kill(os.getppid(), signal.SIGTERM)
        while True:
            signal.pause()
    finally:
        pathlib.Path(os.environ["TRACE"]).write_text("closed")


class Killed:
    """Kills its process when it is about to make a certain report."""

    def __init__(self, at):
        self.left = at

    def __call__(self, params, checkpoint=None):
        for report in resumable(params, checkpoint):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            yield report


def facts(study):
    """What became of the trials, times apart."""
    return [(t.params, t.status.name, t.value, t.curve) for t in study.trials]


def main():
    url, name, sampler, scheduler, num_trials, size, at = sys.argv[1:]
    study = Study(X, sampler, storage=url, name=name)
    make = hpo.schedulers.get
    if scheduler != "none":
        ready = make(scheduler, int(size), STEPS)
    study.optimize(
        Killed(int(at)) if int(at) else resumable,
        num_trials=int(num_trials),
        scheduler=None if scheduler == "none" else ready,
        progress=False,
    )


if __name__ == "__main__":
    main()
