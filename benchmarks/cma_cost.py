"""Cost of a generation of `samplers.cma_es` beside evosax's CMA-ES, in one process, interleaved.

    pip install evosax
    python benchmarks/cma_cost.py [--dims 5 20 50 100] [--generations 200] [--repeats 15]

Both run the same generations of the same objective, ask to tell, as one scanned program with the
same population, from the centre of the cube with a step of 1/6. Ours is timed without restarts, as
evosax's has none, and with its default of growing restarts, whose buffers hold 16 populations. XLA
has one thread (`NPROC=1`), which is the better setting for evosax; set it to 2 to see two.
Printed, a dimension: microseconds of CPU a generation (median over repeats, in brackets the
quartiles) and seconds to compile.
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
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    keys = jax.random.split(jax.random.key(1), arguments.generations)
    for num_dims in arguments.dims:
        size = 4 + int(3 * np.log(num_dims))
        programs = {
            "jaxhpo": compiled(*ours(num_dims, size, "none"), keys),
            "jaxhpo ipop": compiled(*ours(num_dims, size, "ipop"), keys),
            "evosax": compiled(*evosaxs(num_dims, size), keys),
        }
        spent = {name: [] for name in programs}
        for _ in range(arguments.repeats):
            for name, (run, _, _) in programs.items():
                begin = time.process_time()
                run()
                spent[name].append(1e6 * (time.process_time() - begin) / arguments.generations)
        for name, (_, seconds, best) in programs.items():
            low, middle, high = np.quantile(spent[name], [0.25, 0.5, 0.75])
            print(
                f"{num_dims:4d} dimensions, {size:3d} points  {name:12s} {middle:9.1f} us "
                f"[{low:.1f} {high:.1f}]  compile {seconds:5.1f} s  best {best:.3g}",
                flush=True,
            )


if __name__ == "__main__":
    main()
