"""Studies a second: many seeds of one study as one program, beside a loop over Optuna.

python benchmarks/study_rate.py [--seeds 1000] [--trials 200] [--samplers random tpe cma_es]
    [--rounds 9]

Rosenbrock's function in 5 dimensions. CPU seconds a study, without the time to compile (which is
printed): medians of `--rounds`, each of which runs all of ours and one study of Optuna's, after one
that warms up.
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

NUM_DIMS = 5
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
    """A function that runs all studies, and the seconds to compile it."""
    space = hpo.Space({"x": hpo.uniform(-2.0, 2.0, shape=(NUM_DIMS,))})
    sampler = hpo.samplers.get(name, space)

    def study(key):
        return hpo.minimize(objective, space, sampler, key=key, num_trials=num_trials).best_value

    keys = jax.random.split(jax.random.key(0), seeds)
    start = time.process_time()
    run = jax.jit(jax.vmap(study)).lower(keys).compile()
    return lambda: jax.block_until_ready(run(keys)), time.process_time() - start


def optuna_study(name, seed, num_trials):
    study = optuna.create_study(sampler=PEERS[name](seed=seed))
    for _ in range(num_trials):
        trial = study.ask()
        x = np.asarray([trial.suggest_float(f"x{i}", -2.0, 2.0) for i in range(NUM_DIMS)])
        study.tell(trial, float(rosenbrock(x)))


def seconds(call, *args):
    start = time.process_time()
    call(*args)
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--samplers", nargs="+", default=list(PEERS))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("sampler    CPU ms a study: jaxhpo, optuna    ratio   s to compile   median best")
    for name in arguments.samplers:
        run, compile_s = ours(name, arguments.seeds, arguments.trials)
        best = float(jnp.median(run()))
        optuna_study(name, 0, arguments.trials)
        rounds = [
            (seconds(run) / arguments.seeds, seconds(optuna_study, name, r, arguments.trials))
            for r in range(arguments.rounds)
        ]
        mine, other = np.median(rounds, axis=0)
        print(
            f"{name:10s} {1e3 * mine:12.3f} {1e3 * other:10.1f} {other / mine:12.0f} "
            f"{compile_s:12.1f} {best:14.3g}",
            flush=True,
        )


if __name__ == "__main__":
    main()
