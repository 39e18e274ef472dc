"""A stored study of 100,000 trials, opened again: `python benchmarks/large_study.py [--trials N]`.

Prints seconds, seconds of CPU and peak memory of each step, in a fresh process for ours and one for
Optuna (`--optuna`, some minutes): the study is opened, asks for its next trial, finds the best one,
and reads all. The file (SQLite) holds five parameters and `--points` curve points of each trial.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import study_storage

from jaxhpo.study import Study

BLOCK = 10_000


def fill(url: str, num_trials: int, num_points: int) -> None:
    """Writes the study."""
    study = Study(study_storage.SPACE, "random", storage=url, name="large", seed=0)
    for start in range(0, num_trials, BLOCK):
        count = min(BLOCK, num_trials - start)
        study._store.append(study_storage.make_rows(study, count, num_points))


def step(name: str, function: Callable[[], Any]) -> Any:
    """Prints what a call takes, and returns what it returns."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = function()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{name:>24}{wall:>10.2f}{cpu:>10.2f}{megabytes:>14.0f}", flush=True)
    return found


def ours(url: str) -> None:
    """Opens and reads by jaxhpo."""
    space = study_storage.SPACE
    study = step("open", lambda: Study(space, "random", storage=url, name="large"))
    step("best", lambda: study.best)
    step("repr", lambda: repr(study))
    step("first ask", lambda: study.ask(1))
    step("trials", lambda: study.trials)
    step("trials again", lambda: study.trials)


def theirs(url: str) -> None:
    """Opens and reads by Optuna."""
    import optuna

    study = step("open", lambda: optuna.load_study(study_name="large", storage=url))
    step("best_trial", lambda: study.best_trial)
    step("trials", lambda: study.get_trials(deepcopy=False))
    step("trials again", lambda: study.get_trials(deepcopy=False))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=0, help="curve points a trial")
    parser.add_argument("--optuna", action="store_true", help="Optuna's own reading as well")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        {"jaxhpo": ours, "Optuna": theirs}[arguments.read[0]](arguments.read[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/study.db"
        fill(f"sqlite:///{path}", arguments.trials, arguments.points)
        size = os.path.getsize(path) / 1e6
        print(f"{arguments.trials} trials, {arguments.points} curve points each, {size:.0f} MB")
        for name in ("jaxhpo", "Optuna") if arguments.optuna else ("jaxhpo",):
            print(f"\n{name:>24}{'s':>10}{'CPU s':>10}{'peak MB':>14}", flush=True)
            command = [sys.executable, __file__, "--read", name, f"sqlite:///{path}"]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
