"""A study on a Dask cluster, here of two worker processes on one machine.

Run: python examples/dask_cluster.py [number of trials]     (pip install distributed)
"""

import sys

from distributed import Client, LocalCluster
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

import jaxhpo as hpo

NUM_TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 40
SPACE = {"C": hpo.log_uniform(1e-2, 1e3), "gamma": hpo.log_uniform(1e-5, 1e-1)}


def score(params):
    """Accuracy of a support vector machine on the first 500 digits, by three folds."""
    images, labels = load_digits(return_X_y=True)
    return cross_val_score(SVC(**params), images[:500], labels[:500], cv=3).mean()


if __name__ == "__main__":
    study = hpo.Study(SPACE, "tpe", storage="sqlite:///dask.db", name="svc", direction="maximize")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        study.optimize(
            score,
            num_trials=NUM_TRIALS,
            executor=client.get_executor(retries=0),
            num_workers=2,
            max_retries=1,
        )
    print(f"best accuracy {study.best_value:.3f} with {study.best_params}")
