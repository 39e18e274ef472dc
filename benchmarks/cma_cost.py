"""Cost of a generation of `samplers.cma_es` beside evosax's and Optuna's, in one process.

    pip install evosax
    python benchmarks/cma_cost.py [--dims 5 20 50 100] [--generations 200] [--repeats 15]

All run generations of the same objective, ask to tell, with the same population, from the centre of
the cube with a step of 1/6; ours and evosax's as one scanned program. Ours is timed without
restarts, as evosax's has none, and with its default of growing restarts, whose buffers hold 16
populations. XLA has one thread (`NPROC=1`), which is the better setting for evosax; set it to 2 to
see two. Optuna's `CmaEsSampler` is asked and told in a Python loop, in memory, for the first few
generations of a study. Printed, a dimension: microseconds of CPU a generation (median over
interleaved repeats, in brackets the quartiles), how many of them go into one of evosax's (median of
the repeats' own ratios) and seconds to compile.
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
from evosax.algorithms import CMA_ES

import jaxhpo as hpo


def objective(x):
    """A rotated valley `[d]`: cheap, and no coordinate by itself."""
    x = 4.0 * x - 2.0
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def ours(num_dims, size, restarts):
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(num_dims,))})
    sampler = hpo.samplers.cma_es(
        space, batch_size=size, population_size=size, sigma=1 / 6, restarts=restarts
    )

    def generation(state, key):
        key_ask, key_tell = jax.random.split(key)
        state, unit = sampler.ask(key_ask, state)
        value = jax.vmap(objective)(unit)
        state, _ = sampler.tell(key_tell, state, unit, hpo.Outcome(value))
        return state, jnp.min(value)

    return sampler.init(jax.random.key(0)), generation


def evosaxs(num_dims, size):
    strategy = CMA_ES(population_size=size, solution=jnp.zeros(num_dims))
    params = strategy.default_params.replace(std_init=jnp.asarray(1 / 6))

    def generation(state, key):
        key_ask, key_tell = jax.random.split(key)
        population, state = strategy.ask(key_ask, state, params)
        value = jax.vmap(objective)(population)
        state, _ = strategy.tell(key_tell, population, value, state, params)
        return state, jnp.min(value)

    start = jnp.full(num_dims, 0.5)
    return strategy.init(jax.random.key(0), start, params), generation


def optunas(num_dims, size, generations):
    """A function that runs some generations of a new study."""

    def run():
        sampler = optuna.samplers.CmaEsSampler(popsize=size, seed=0)
        study = optuna.create_study(sampler=sampler)
        for _ in range(generations * size):
            trial = study.ask()
            x = np.asarray([trial.suggest_float(f"x{i}", 0.0, 1.0) for i in range(num_dims)])
            x = 4.0 * x - 2.0
            value = np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
            study.tell(trial, float(value))
        return study.best_value

    return run


def compiled(start, generation, keys):
    """One program of all generations, the seconds it took to compile, and its first result."""
    begin = time.perf_counter()
    run = jax.jit(lambda state, keys: jax.lax.scan(generation, state, keys)[1])
    run = run.lower(start, keys).compile()
    seconds = time.perf_counter() - begin
    best = float(jnp.min(run(start, keys)))
    return lambda: jax.block_until_ready(run(start, keys)), seconds, best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", type=int, nargs="+", default=[5, 20, 50, 100])
    parser.add_argument("--generations", type=int, default=200)
    parser.add_argument("--optuna-generations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    keys = jax.random.split(jax.random.key(1), arguments.generations)
    for num_dims in arguments.dims:
        size = 4 + int(3 * np.log(num_dims))
        programs = {
            "jaxhpo": compiled(*ours(num_dims, size, "none"), keys),
            "jaxhpo ipop": compiled(*ours(num_dims, size, "ipop"), keys),
            "evosax": compiled(*evosaxs(num_dims, size), keys),
        }
        few = arguments.optuna_generations
        loop = optunas(num_dims, size, few)
        programs["optuna"] = (loop, 0.0, loop())
        spent = {name: [] for name in programs}
        for _ in range(arguments.repeats):
            for name, (run, _, _) in programs.items():
                begin = time.process_time()
                run()
                count = few if name == "optuna" else arguments.generations
                spent[name].append(1e6 * (time.process_time() - begin) / count)
        for name, (_, seconds, best) in programs.items():
            low, middle, high = np.quantile(spent[name], [0.25, 0.5, 0.75])
            ratio = np.median(np.divide(spent["evosax"], spent[name]))
            print(
                f"{num_dims:4d} dimensions, {size:3d} points  {name:12s} {middle:9.1f} us "
                f"[{low:.1f} {high:.1f}]  {ratio:6.3f}  compile {seconds:5.1f} s  best {best:.3g}",
                flush=True,
            )


if __name__ == "__main__":
    main()
