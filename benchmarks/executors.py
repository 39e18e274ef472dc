"""What a trial costs beside its objective, on each engine: proposing, sending and recording it.

python benchmarks/executors.py [--trials 200] [--rounds 3] [--engines here workers threads …]

`random` in one dimension, two workers, a SQLite file, an objective that returns at once. Wall
milliseconds per trial, smallest and median of interleaved rounds, without the start of workers and
clusters. Those that are not installed are left out.
"""

import argparse
import concurrent.futures
import contextlib
import importlib.util
import multiprocessing
import pathlib
import statistics
import tempfile
import time

import jaxhpo as hpo

SPACE = {"x": hpo.uniform(0.0, 1.0)}


def objective(params):
    """Nothing to speak of."""
    return params["x"]


def here(stack):
    """This process."""
    return {}


def threads(stack):
    """Two threads."""
    return {"executor": stack.enter_context(concurrent.futures.ThreadPoolExecutor(2))}


def processes(stack):
    """Two spawned processes of Python's."""
    context = multiprocessing.get_context("spawn")
    return {"executor": stack.enter_context(concurrent.futures.ProcessPoolExecutor(2, context))}


def loky(stack):
    """Two processes of loky's."""
    from loky import get_reusable_executor

    return {"executor": stack.enter_context(get_reusable_executor(2))}


def dask(stack):
    """Two worker processes of Dask's."""
    import distributed

    cluster = stack.enter_context(
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    )
    client = stack.enter_context(distributed.Client(cluster))
    return {"executor": client.get_executor(retries=0), "num_workers": 2}


def ray(stack):
    """Ray tasks on two CPUs."""
    import ray

    from jaxhpo.integrations.executors import RayExecutor

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    stack.callback(ray.shutdown)
    return {"executor": RayExecutor(2)}


ENGINES = {
    "here": here,
    "threads": threads,
    "processes": processes,
    "loky": loky,
    "dask": dask,
    "ray": ray,
}
MODULES = {"loky": "loky", "dask": "distributed", "ray": "ray"}


def main():
    """Prints a line for each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    args = parser.parse_args()
    there = [e for e in args.engines if importlib.util.find_spec(MODULES.get(e, "jaxhpo"))]
    found = {name: [] for name in there}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        settings = {name: ENGINES[name](stack) for name in there}
        for number in range(args.rounds + 1):
            for name in there:
                url = f"sqlite:///{pathlib.Path(folder) / f'{name}-{number}.db'}"
                study = hpo.Study(SPACE, "random", storage=url, name="s")
                begin = time.perf_counter()
                study.optimize(objective, num_trials=args.trials, progress=False, **settings[name])
                seconds = time.perf_counter() - begin
                if number:  # the first round starts processes and compiles
                    found[name].append(1e3 * seconds / args.trials)
    for name, costs in found.items():
        low, middle = min(costs), statistics.median(costs)
        print(f"{name:10s} smallest {low:6.2f}, median {middle:6.2f} ms per trial")


if __name__ == "__main__":
    main()
