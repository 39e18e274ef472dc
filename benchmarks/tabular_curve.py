"""How much there is to win on the tabular tasks: random search beside the best that is known.

    python benchmarks/tabular_curve.py

Prints, a task: dimensions, CPU milliseconds an evaluation, share of configurations that diverge,
the median loss, the median best of 20, 50 and 100 random trials, and the best of a long search
(all random trials, `tpe` and `cma_es` with five seeds of 300 trials each).
"""

import argparse
import time

import jax
import numpy as np

import jaxhpo as hpo
from jaxhpo.problems import tabular

COUNTS = (20, 50, 100)


def random_losses(task, num_trials):
    """Losses of random configurations, and CPU seconds for all."""

    @jax.jit
    def losses(key):
        params = task.space.sample(key, num_trials)
        return jax.lax.map(lambda p: task.objective(None, p), params, batch_size=20)

    program = losses.lower(jax.random.key(0)).compile()
    start = time.process_time()
    found = np.asarray(program(jax.random.key(0)), np.float64)
    return found, time.process_time() - start


def searched(task, name):
    """Best loss of five searches."""
    keys = jax.random.split(jax.random.key(1), 5)
    found = hpo.minimize_many(task.objective, task.space, name, keys=keys, num_trials=300)
    return float(np.min(found.best_value))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=tabular.NAMES)
    parser.add_argument("--trials", type=int, default=1000)
    arguments = parser.parse_args()
    heads = ["task", "dims", "ms", "diverged", "median", *(f"best of {n}" for n in COUNTS), "known"]
    print(" | ".join(heads), flush=True)
    rng = np.random.default_rng(0)
    for name in arguments.names:
        task = tabular.problem(name)
        losses, cpu_s = random_losses(task, arguments.trials)
        failed = ~np.isfinite(losses)
        losses = np.where(failed, np.inf, losses)
        best = [
            np.median([rng.choice(losses, n, replace=False).min() for _ in range(1000)])
            for n in COUNTS
        ]
        known = min(losses.min(), searched(task, "tpe"), searched(task, "cma_es"))
        numbers = [np.median(losses), *best, known]
        cells = [name, str(task.space.num_dims), f"{1e3 * cpu_s / losses.size:.2f}"]
        cells += [f"{failed.mean():.1%}", *(f"{number:.3f}" for number in numbers)]
        print(" | ".join(cells), flush=True)


if __name__ == "__main__":
    main()
