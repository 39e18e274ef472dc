"""200 trials on a Ray cluster of two nodes, of which one is killed in the middle: nothing is lost.

Run: python examples/ray_cluster.py [number of trials]     (pip install "jaxhpo[ray]")

The nodes are processes of this machine. On a cluster of yours leave out `start` and call
`ray.init(address="auto")`.
"""

import sys
import threading
import time

import ray
from ray.cluster_utils import Cluster

import jaxhpo as hpo
from jaxhpo.integrations.executors import RayExecutor

NUM_TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
SPACE = {"lr": hpo.log_uniform(1e-4, 1.0), "depth": hpo.integer(1, 8)}


def train_and_score(params):
    """Stands for a training run: it takes a while."""
    time.sleep(1.0 + params["depth"] / 2)
    return (params["lr"] - 0.03) ** 2 + (params["depth"] - 5) ** 2 / 100


def start():
    """Two nodes of two CPUs each; the second one can be killed."""
    head = {"num_cpus": 2, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    cluster.wait_for_nodes()
    return cluster, second


if __name__ == "__main__":
    cluster, second = start()
    study = hpo.Study(SPACE, "tpe", storage="sqlite:///ray.db", name="ray")
    killer = threading.Timer(5.0, cluster.remove_node, [second], {"allow_graceful": False})
    killer.start()
    study.optimize(
        train_and_score,
        num_trials=NUM_TRIALS,
        executor=RayExecutor(4, scheduling_strategy="SPREAD"),
        max_retries=3,
    )
    killer.cancel()
    names = [trial.status.name for trial in study.trials]
    print({name: names.count(name) for name in sorted(set(names))})
    print(f"best {study.best_value:.4f} with {study.best_params}")
    ray.shutdown()
    cluster.shutdown()
