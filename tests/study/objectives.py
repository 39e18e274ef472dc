"""Spaces and objectives that tests and the processes they start share."""

import math
import os
import signal
import sys
import time

import jaxhpo as hpo
from jaxhpo import Outcome
from jaxhpo.study import Study

SPACES = {
    "continuous": lambda: hpo.Space(
        {"x": hpo.uniform(-1.0, 3.0), "lr": hpo.log_uniform(1e-4, 1.0)}
    ),
    "discrete": lambda: hpo.Space(
        {
            "n": hpo.integer(1, 32, log=True),
            "q": hpo.quantized(0.0, 1.0, 0.1),
            "act": ["relu", None],
        }
    ),
    "conditional": lambda: hpo.Space(
        {
            "model": hpo.choice(
                {"svm": {"C": hpo.log_uniform(0.1, 10.0)}, "knn": {"k": hpo.integer(1, 9)}}
            ),
            "w": hpo.uniform(0.0, 1.0, shape=2),
        }
    ),
}


def score(params):
    """A smooth function of whatever is there."""
    total = 0.0
    stack = [params]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += list(item.values())
        elif isinstance(item, list):
            stack += item
        elif isinstance(item, str):
            total += len(item) / 10
        elif item is not None:
            total += (item - 0.5) ** 2
    return total


def slow_score(params):
    time.sleep(0.05)
    return score(params)


def sleeps(params):
    time.sleep(60)
    return score(params)


def constrained(params):
    return Outcome(params["x"], violation=0.5 - params["x"])


def raises(params):
    raise LookupError(f"no luck with {sorted(params)}")


def dies(params):
    if params["x"] > 1.0:
        os._exit(7)
    return score(params)


def returns_none(params):
    return None


def sometimes_nan(params):
    return math.nan if params["x"] > 1.0 else params["x"]


class KillAt:
    """Kills its own process in the middle of a trial, as the system does when memory is short."""

    def __init__(self, number):
        self.number = number
        self.calls = 0

    def __call__(self, params):
        if self.calls == self.number:
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls += 1
        return score(params)


def main(url, space, sampler, num_trials, kill_at, seed):
    """Runs part of a study; a process that tests start and see killed."""
    objective = KillAt(int(kill_at)) if int(kill_at) >= 0 else slow_score
    study = Study(SPACES[space](), sampler, storage=url, name="study", seed=int(seed))
    print("ready", flush=True)
    study.optimize(objective, num_trials=int(num_trials))


if __name__ == "__main__":
    main(*sys.argv[1:])
