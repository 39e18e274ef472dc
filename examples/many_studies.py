"""Sixty-four Bayesian studies as one compiled program, and quantiles of their regret as a picture.

Run: python examples/many_studies.py [number of studies]
"""

import sys
import time

import jax
import matplotlib
import numpy as np

import jaxhpo as hpo

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NUM_STUDIES = int(sys.argv[1]) if len(sys.argv) > 1 else 64
NUM_TRIALS = 40

space = hpo.Space({"x": hpo.uniform(-5.0, 10.0), "y": hpo.uniform(0.0, 15.0)})
MINIMUM = 0.397887


def branin(key, params):
    """Three minima of equal depth."""
    x, y = params["x"], params["y"]
    inner = y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6
    return inner**2 + 10 * (1 - 1 / (8 * np.pi)) * jax.numpy.cos(x) + 10


def regrets(sampler):
    """Simple regret `[NUM_STUDIES, NUM_TRIALS]`: one program, one key per study."""
    keys = jax.random.split(jax.random.key(0), NUM_STUDIES)
    results = hpo.minimize_many(branin, space, sampler, keys=keys, num_trials=NUM_TRIALS)
    return np.maximum(np.asarray(results.best_so_far) - MINIMUM, 1e-6)


if __name__ == "__main__":
    figure, axes = plt.subplots(figsize=(6, 4))
    trials = np.arange(1, NUM_TRIALS + 1)
    for name in ("random", "gp"):
        start = time.perf_counter()
        low, middle, high = np.quantile(regrets(name), (0.1, 0.5, 0.9), axis=0)
        seconds = time.perf_counter() - start
        axes.fill_between(trials, low, high, alpha=0.2)
        axes.plot(trials, middle, label=name)
        print(
            f"{name}: {NUM_STUDIES} studies in {seconds:.1f} s, compilation included; "
            f"median regret {middle[-1]:.1e}, best tenth {low[-1]:.1e}"
        )
    axes.set(yscale="log", xlabel="trials", ylabel="simple regret", title="Branin: 10, 50, 90 %")
    axes.legend()
    figure.savefig("many_studies.png", dpi=120, bbox_inches="tight")
