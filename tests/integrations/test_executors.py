"""Studies on real clusters of one machine: Dask, Ray with two nodes, and submitit's local jobs."""

import os
import pathlib
import threading
import time
import warnings

import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.integrations.executors import RayExecutor, SubmititExecutor
from jaxhpo.study import Study

pytestmark = [
    pytest.mark.slow,
    # The clusters' own: open sockets, deprecations.
    pytest.mark.filterwarnings("ignore"),
]

X = {"x": hpo.uniform(-1.0, 3.0)}


def loss(params):
    return (params["x"] - 1.0) ** 2


class Once:
    """Kills its worker in the call that finds the file; the next one finds it no more."""

    def __init__(self, path):
        self.path = str(path)

    def __call__(self, params):
        try:
            pathlib.Path(self.path).unlink()
        except FileNotFoundError:
            return loss(params)
        os._exit(9)


def check(study, num_trials, num_lost=None):
    """As many trials are complete as were asked for, among them those whose workers were lost."""
    done = [trial.params["x"] for trial in study.trials if trial.status is Status.COMPLETE]
    lost = [trial.params["x"] for trial in study.trials if trial.status is Status.FAILED]
    assert len(done) == len(set(done)) == num_trials
    assert set(lost) <= set(done)
    assert len(lost) >= 1 if num_lost is None else len(lost) == num_lost
    assert len(study.trials) == num_trials + len(lost)


def test_dask_with_two_worker_processes(tmp_path):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
    )
    with cluster, distributed.Client(cluster) as client:
        study = Study(X, "qmc", storage=f"sqlite:///{tmp_path / 's.db'}", name="s")
        executor = client.get_executor(retries=0)
        study.optimize(loss, num_trials=20, executor=executor, num_workers=2)
        check(study, 20, num_lost=0)


@pytest.fixture(scope="module")
def nodes():
    """Two nodes of two CPUs each; the second one may be killed."""
    pytest.importorskip("ray")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    second = cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    cluster.wait_for_nodes()
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()


def test_ray_with_two_nodes_of_which_one_is_killed(nodes, tmp_path):
    cluster, second = nodes
    study = Study(X, "qmc", storage=f"sqlite:///{tmp_path / 's.db'}", name="s")
    flag = tmp_path / "flag"

    def kill():
        flag.unlink()
        cluster.remove_node(second, allow_graceful=False)

    def last_long(study, trial):
        if trial.number == 8:  # while the next ones last, the node dies
            flag.touch()
            threading.Timer(4.0, kill).start()

    executor = RayExecutor(4, scheduling_strategy="SPREAD")
    study.optimize(
        Lasting(flag), num_trials=30, executor=executor, max_retries=3, callbacks=[last_long],
        max_first_failures=None,
    )  # fmt: skip
    check(study, 30)


class Lasting:
    """Takes long while a file is there."""

    def __init__(self, path):
        self.path = str(path)

    def __call__(self, params):
        time.sleep(8.0 if os.path.exists(self.path) else 0.2)
        return loss(params)


def test_ray_s_lost_worker_costs_one_trial(nodes, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    study = Study(X, "qmc", storage=None)
    with RayExecutor(2) as executor:
        study.optimize(Once(flag), num_trials=8, executor=executor, max_retries=1)
    check(study, 8, num_lost=1)
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(loss, {"x": 0.0})


def test_submitit_s_local_jobs(tmp_path):
    submitit = pytest.importorskip("submitit")
    flag = tmp_path / "flag"
    flag.touch()
    cluster = submitit.LocalExecutor(folder=tmp_path / "jobs")
    cluster.update_parameters(timeout_min=5)
    study = Study(X, "qmc", storage=None)
    with SubmititExecutor(cluster, 2) as executor:
        study.optimize(Once(flag), num_trials=4, executor=executor, max_retries=1)
    check(study, 4, num_lost=1)


def test_what_is_no_cluster_is_refused():
    with pytest.raises(TypeError, match="`executor` must be one of submitit's"):
        SubmititExecutor(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="`num_workers` must be at least 1"):
            SubmititExecutor(type("E", (), {"submit": 1, "update_parameters": 2})(), 0)
