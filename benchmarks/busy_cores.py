"""Proposals of a model while other processes keep the cores busy: threads of LAPACK that spin.

python benchmarks/busy_cores.py [--sampler gp] [--told 100] [--trials 40] [--busy 2] [--rounds 3]

"one" is what the host driver does: one thread while the sampler proposes. "all" leaves LAPACK's
threads alone, as they are in `minimize`. Wall and CPU seconds of the proposals, compilation not
counted; smallest and median of interleaved rounds.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time

os.environ.pop("OPENBLAS_NUM_THREADS", None)

import numpy as np

import jaxhpo as hpo
from jaxhpo._tracing import lapack_threads

NUM_DIMS = 6


@contextlib.contextmanager
def busy_processes(count):
    """Other processes that never wait."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in others:
            one.kill()
            one.wait()


def objective(params):
    return sum((x - 0.3) ** 2 for x in params.values())


def study_of(sampler, told, seed):
    """A study that knows random trials, and has proposed two: what it needs is compiled."""
    space = hpo.Space({f"x{i}": hpo.uniform(0.0, 1.0) for i in range(NUM_DIMS)})
    study = hpo.Study(space, sampler, storage=None, seed=seed)
    points = np.random.default_rng(seed).uniform(size=(told, NUM_DIMS))
    known = [{f"x{i}": float(x) for i, x in enumerate(point)} for point in points]
    study.record(known, [objective(params) for params in known])
    study.optimize(objective, num_trials=2, progress=False)
    return study


def seconds(study, trials):
    """Wall and CPU seconds of further trials."""
    wall, cpu = time.perf_counter(), time.process_time()
    study.optimize(objective, num_trials=trials, progress=False)
    return time.perf_counter() - wall, time.process_time() - cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sampler", default="gp")
    parser.add_argument("--told", type=int, default=100)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--busy", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows = {"one": [], "all": []}
    one_thread = lapack_threads.one_thread
    for seed in range(arguments.rounds):
        for label, limit in (("one", one_thread), ("all", contextlib.nullcontext)):
            lapack_threads.one_thread = limit
            study = study_of(arguments.sampler, arguments.told, seed)
            with busy_processes(arguments.busy):
                rows[label].append(seconds(study, arguments.trials))
    print(f"{arguments.trials} trials of {arguments.sampler}; seconds (min / median)")
    print("| threads | wall | CPU |")
    print("|---|---|---|")
    for label, values in rows.items():
        wall, cpu = zip(*values, strict=True)
        cells = [f"{min(v):.2f} / {statistics.median(v):.2f}" for v in (wall, cpu)]
        print("| " + " | ".join([label, *cells]) + " |")


if __name__ == "__main__":
    main()
