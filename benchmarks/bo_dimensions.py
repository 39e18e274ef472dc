"""Regret of `turbo` beside `gp` in many dimensions, and what a proposal costs among many trials.

    python benchmarks/bo_dimensions.py regret --dims 20 --seeds 5
    python benchmarks/bo_dimensions.py growth

`regret` prints median simple regret after 50, 100 and 200 trials on two rugged functions whose
minimum lies off the centre. `growth` tells the sampler 500 to 20,000 points and prints the CPU
time of one ask and one tell after that, compilation apart: median of 9.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NPROC", "1")  # XLA's own threads: small programs only wait for them
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

import jaxhpo as hpo

TRIALS = (50, 100, 200)


def regret(args: argparse.Namespace) -> None:
    """Median regret by function and sampler."""
    space = hpo.Space({"x": hpo.uniform(-5.0, 10.0, shape=(args.dims,))})
    samplers = {
        "gp": hpo.samplers.gp(space),
        "turbo": hpo.samplers.turbo(space),
        "turbo, Thompson": hpo.samplers.turbo(space, acquisition_function="thompson"),
    }
    keys = jax.random.split(jax.random.key(0), args.seeds)
    print(f"median regret over {args.seeds} seeds after {', '.join(map(str, TRIALS))} trials")
    for function in (hpo.problems.ackley(args.dims), hpo.problems.levy(args.dims)):
        for name, sampler in samplers.items():
            results = hpo.minimize_many(
                lambda key, params, function=function: function.evaluate(params["x"] - 0.7),
                space, sampler, keys=keys, num_trials=TRIALS[-1],
            )  # fmt: skip
            middle = np.median(np.asarray(results.best_so_far), axis=0)
            figures = "  ".join(f"{middle[count - 1]:8.2f}" for count in TRIALS)
            print(f"{function.name:8s} {name:16s} {figures}", flush=True)


def growth(args: argparse.Namespace) -> None:
    """CPU time of a proposal among many trials."""
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(args.dims,))})
    print(f"{args.dims} dimensions: CPU ms of ask and tell")
    for count in (500, 2000, 5000, 20_000):
        sampler = hpo.samplers.gp(space, capacity=count + 16)
        ask, tell = jax.jit(sampler.ask, donate_argnums=1), jax.jit(sampler.tell, donate_argnums=1)
        unit = jax.random.uniform(jax.random.key(1), (count, args.dims))
        key, state = jax.random.key(2), jax.jit(sampler.init)(jax.random.key(0))
        state, _ = tell(key, state, unit, _outcome(unit))
        costs = []
        for i in range(10):
            start = time.process_time()
            state, unit = ask(jax.random.fold_in(key, i), state)
            unit = jax.block_until_ready(unit)
            middle = time.process_time()
            outcome = jax.block_until_ready(_outcome(unit))
            again = time.process_time()
            state, _ = jax.block_until_ready(tell(key, state, unit, outcome))
            costs.append((middle - start, time.process_time() - again))
        asked, told = 1e3 * np.median(np.asarray(costs[1:]), axis=0)
        print(f"{count:7d} trials: ask {asked:6.1f}, tell {told:5.2f}", flush=True)


def _outcome(unit: jax.Array) -> hpo.Outcome:
    weight = 1.0 + jnp.arange(unit.shape[1])
    ripple = 0.1 * jnp.sin(20 * unit[:, 0])
    return hpo.Outcome(jnp.sum(weight * (unit - 0.37) ** 2, axis=1) + ripple)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("regret", "growth"))
    parser.add_argument("--dims", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    {"regret": regret, "growth": growth}[args.action](args)


if __name__ == "__main__":
    main()
