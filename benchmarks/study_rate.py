"""Studies a second: many seeds of one study as one program, beside a loop over Optuna.

python benchmarks/study_rate.py [--seeds 1000] [--trials 200] [--samplers random tpe cma_es]

Rosenbrock's function in 5 dimensions. CPU seconds a study, without the time to compile (which is
printed); Optuna's samplers run three studies each. Both are timed after a run that warms up.
"""

import argparse
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NPROC", "1")  # XLA's own threads: small programs only wait for them

import jax
import jax.numpy as jnp
import numpy as np
import optuna

import jaxhpo as hpo

NUM_DIMS, OPTUNA_STUDIES = 5, 3
PEERS = {
    "random": optuna.samplers.RandomSampler,
    "tpe": optuna.samplers.TPESampler,
    "cma_es": optuna.samplers.CmaEsSampler,
}


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def objective(key, params):
    return rosenbrock(params["x"])


def ours(name, seeds, num_trials):
    space = hpo.Space({"x": hpo.uniform(-2.0, 2.0, shape=(NUM_DIMS,))})
    sampler = hpo.samplers.get(name, space)

    def study(key):
        return hpo.minimize(objective, space, sampler, key=key, num_trials=num_trials).best_value

    keys = jax.random.split(jax.random.key(0), seeds)
    start = time.process_time()
    run = jax.jit(jax.vmap(study)).lower(keys).compile()
    compiled = time.process_time()
    best = jax.block_until_ready(run(keys))
    warm = time.process_time()
    jax.block_until_ready(run(keys))
    return (time.process_time() - warm) / seeds, compiled - start, float(jnp.median(best))


def optunas(name, num_trials):
    for seed in range(1 + OPTUNA_STUDIES):
        if seed == 1:
            start = time.process_time()
        study = optuna.create_study(sampler=PEERS[name](seed=seed))
        for _ in range(num_trials):
            trial = study.ask()
            x = np.asarray([trial.suggest_float(f"x{i}", -2.0, 2.0) for i in range(NUM_DIMS)])
            study.tell(trial, float(rosenbrock(x)))
    return (time.process_time() - start) / OPTUNA_STUDIES


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--samplers", nargs="+", default=list(PEERS))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("sampler    CPU ms a study: jaxhpo, optuna    ratio   s to compile   median best")
    for name in arguments.samplers:
        mine, compile_s, best = ours(name, arguments.seeds, arguments.trials)
        other = optunas(name, arguments.trials)
        print(
            f"{name:10s} {1e3 * mine:12.3f} {1e3 * other:10.1f} {other / mine:12.0f} "
            f"{compile_s:12.1f} {best:14.3g}",
            flush=True,
        )


if __name__ == "__main__":
    main()
