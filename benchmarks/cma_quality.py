"""Regret and cost of `samplers.cma_es` beside the `cmaes` library, paired by seed.

JAX_ENABLE_X64=1 python benchmarks/cma_quality.py [--seeds 20] [--trials 1000]

Both start at the centre of the cube with a step of 1/6 and the default population, without
restarts. All seeds of ours run as one program. Printed, a problem: medians of the best value, seeds
won by ours, the p value of Wilcoxon's signed-rank test (two-sided), CPU microseconds a trial.
"""

import argparse
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cmaes
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import wilcoxon

import jaxhpo as hpo


def sphere(x, xp):
    return xp.sum((x - 0.3) ** 2)


def ellipsoid(x, xp):
    scale = 10.0 ** (6.0 * np.arange(len(x)) / (len(x) - 1))
    return xp.sum(xp.asarray(scale, x.dtype) * (x - 0.3) ** 2)


def rosenbrock(x, xp):
    x = 4.0 * x - 2.0
    return xp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def rastrigin(x, xp):
    x = 8.0 * (x - 0.3)
    return xp.sum(x**2 - 10.0 * xp.cos(2.0 * np.pi * x) + 10.0)


def ours(function, num_dims, seeds, num_trials):
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(num_dims,))})
    sampler = hpo.samplers.cma_es(space, restarts="none")

    def objective(key, params):
        return function(params["x"], jnp)

    def study(key):
        return hpo.minimize(objective, space, sampler, key=key, num_trials=num_trials).best_value

    keys = jax.random.split(jax.random.key(0), seeds)
    run = jax.jit(jax.vmap(study)).lower(keys).compile()
    start = time.process_time()
    best = np.asarray(jax.block_until_ready(run(keys)), float)
    return best, time.process_time() - start


def theirs(function, num_dims, seeds, num_trials):
    bounds = np.stack([np.zeros(num_dims), np.ones(num_dims)], axis=1)
    best, start = [], time.process_time()
    for seed in range(seeds):
        optimizer = cmaes.CMA(np.full(num_dims, 0.5), 1 / 6, bounds, seed=seed)
        values = []
        while len(values) < num_trials:
            points = [optimizer.ask() for _ in range(optimizer.population_size)]
            told = [(point, float(function(point, np))) for point in points]
            values += [value for _, value in told]
            optimizer.tell(told)
        best.append(min(values[:num_trials]))
    return np.asarray(best), time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--dims", type=int, nargs="+", default=[5, 10])
    arguments = parser.parse_args()
    print("problem       median best: jaxhpo, cmaes      won      p   us a trial: jaxhpo, cmaes")
    for num_dims in arguments.dims:
        for function in (sphere, ellipsoid, rosenbrock, rastrigin):
            size = (function, num_dims, arguments.seeds, arguments.trials)
            (mine, cost), (other, other_cost) = ours(*size), theirs(*size)
            micro = 1e6 / (arguments.seeds * arguments.trials)
            print(
                f"{function.__name__:10s} {num_dims:3d} {np.median(mine):12.3g} "
                f"{np.median(other):12.3g} {np.sum(mine < other):6d}/{arguments.seeds} "
                f"{wilcoxon(np.log(mine) - np.log(other)).pvalue:7.3f} {cost * micro:9.1f} "
                f"{other_cost * micro:9.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
