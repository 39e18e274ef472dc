"""Rows of workers and nodes that vanish, on every engine that runs on one machine."""

import contextlib
import os
import pathlib
import signal
import tempfile
import threading
import time

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from tests.faults import programs
from tests.faults.harness import Tally, tally
from tests.faults.table import row

NUM_TRIALS = 24


@contextlib.contextmanager
def ray_nodes():
    """A cluster of two nodes with two CPUs each, and the second node, which may be killed."""
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    cluster.wait_for_nodes()
    try:
        yield cluster, second
    finally:
        ray.shutdown()
        cluster.shutdown()


class Dying:
    """Kills its worker in each call that finds one more file of a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __call__(self, params):
        for path in pathlib.Path(self.folder).glob("die-*"):
            try:
                path.unlink()
            except FileNotFoundError:  # another worker took it
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return programs.score(params)


def all_ran(study):
    """Each trial has the params of its number, or runs those of a lost one again; all are there."""
    alone = Study(programs.SPACE, "qmc", storage=None, seed=programs.SEED)
    points = [trial.params for trial in alone.ask(len(study.trials))]
    lost = [trial.params for trial in study.trials if trial.status is Status.FAILED]
    done = [trial.params for trial in study.trials if trial.status is Status.COMPLETE]
    own = [t.params in (points[t.number], *lost) for t in study.trials]
    return all(own) and len(done) == NUM_TRIALS and all(params in done for params in lost)


def lose_workers(name, folder, times, **engine):
    """Loses workers in a study on some engine, which runs their trials again."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
    spread = [4 * i + 2 for i in range(times)]

    def more(study, trial):  # one death at a time, so that no trial meets two
        if len(study.trials) in spread:
            (folder / f"die-{spread.pop(spread.index(len(study.trials)))}").touch()

    ledger = str(folder / "told")
    study = Study(
        programs.SPACE, "qmc", storage=f"sqlite:///{folder}/study.db", name="study",
        seed=programs.SEED,
    )  # fmt: skip
    (folder / "die-first").touch()
    study.optimize(
        Dying(folder), num_trials=NUM_TRIALS, max_retries=3, max_first_failures=None,
        callbacks=[programs.Told(ledger), more], progress=False, **engine,
    )  # fmt: skip
    injected = sum(trial.status is Status.FAILED for trial in study.trials)
    again = hpo.load_study("study", f"sqlite:///{folder}/study.db")
    return tally(name, again, ledger, injected=injected, expected=all_ran)


@row("worker lost: num_workers", many=4)
def lose_local(name, nursery, folder, times):
    return lose_workers(name, folder, times, num_workers=2)


@row("worker lost: loky", many=4)
def lose_loky(name, nursery, folder, times):
    import loky

    def make():
        return loky.get_reusable_executor(2)

    try:
        return lose_workers(name, folder, times, executor=make)
    finally:
        loky.get_reusable_executor(2).shutdown(wait=True, kill_workers=True)


@row("worker lost: concurrent.futures processes", many=4)
def lose_processes(name, nursery, folder, times):
    import concurrent.futures
    import multiprocessing

    made, spawn = [], multiprocessing.get_context("spawn")

    def make():
        made.append(concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn))
        return made[-1]

    try:
        return lose_workers(name, folder, times, executor=make)
    finally:
        for one in made:
            one.shutdown(wait=True)


@row("worker lost: Dask, two worker processes", many=3)
def lose_dask(name, nursery, folder, times):
    import dask
    import distributed

    local = tempfile.mkdtemp(dir=folder)
    # Dask runs what a lost worker had itself again, so often, before it says so. Its scheduler
    # reads this number as it starts.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=local
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = client.get_executor(retries=0)
        return lose_workers(name, folder, times, executor=executor, num_workers=2)


@row("worker lost: Ray", many=3)
def lose_ray(name, nursery, folder, times):
    from jaxhpo.integrations.executors import RayExecutor

    with ray_nodes() as (_, _), RayExecutor(2) as executor:
        return lose_workers(name, folder, times, executor=executor)


class Waiting:
    """Takes long while a file is there."""

    def __init__(self, path):
        self.path = str(path)

    def __call__(self, params):
        time.sleep(8.0 if os.path.exists(self.path) else 0.1)
        return programs.score(params)


@row("node lost: Ray, two nodes", many=1)
def lose_node(name, nursery, folder, times):
    """The second node is killed while trials run on it."""
    from jaxhpo.integrations.executors import RayExecutor

    total = Tally(name)
    for _ in range(times):
        home = pathlib.Path(tempfile.mkdtemp(dir=folder))
        flag, ledger = home / "flag", str(home / "told")
        study = Study(
            programs.SPACE, "qmc", storage=f"sqlite:///{home}/study.db", name="study",
            seed=programs.SEED,
        )  # fmt: skip
        with ray_nodes() as (cluster, second):

            def kill(flag=flag, cluster=cluster, second=second):
                flag.unlink()
                cluster.remove_node(second, allow_graceful=False)

            def last_long(study, trial, flag=flag, kill=kill):
                if trial.number == 8:  # while the next ones last, the node dies
                    flag.touch()
                    threading.Timer(4.0, kill).start()

            study.optimize(
                Waiting(flag), num_trials=NUM_TRIALS, max_retries=3, max_first_failures=None,
                executor=RayExecutor(4, scheduling_strategy="SPREAD"),
                callbacks=[programs.Told(ledger), last_long], progress=False,
            )  # fmt: skip
        lost = sum(trial.status is Status.FAILED for trial in study.trials)
        assert lost, "the node ran no trial when it was killed"
        again = hpo.load_study("study", f"sqlite:///{home}/study.db")
        total.add(tally(name, again, ledger, injected=1, expected=all_ran))
    return total
