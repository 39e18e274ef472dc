"""CPU milliseconds of an ask and a tell of `samplers.gp_multi` at n observations.

    python benchmarks/mo_cost.py

Two objectives (ZDT1 in 8 dimensions) and three (DTLZ2 in 12). Prints the median of the rounds, and
the greatest, which is that of a round with a fit; and the CPU seconds of the first, with compiling.
"""

import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NPROC", "1")  # XLA's own threads: small programs only wait for them
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np

import jaxhpo as hpo

SIZES, ROUNDS = (100, 250, 500), 6


def rounds(problem, n):
    """CPU seconds of each round; the first compiles."""
    space, key = problem.space, jax.random.key(0)
    sampler = hpo.samplers.gp_multi(
        space, num_objectives=problem.num_objectives, capacity=n + ROUNDS
    )
    unit = jax.random.uniform(key, (n, space.num_dims))
    outcomes = jax.vmap(lambda params: problem.objective(key, params))(space.from_unit(unit))
    ask = jax.jit(sampler.ask)
    tell = jax.jit(lambda *args: sampler.tell(*args)[0])
    state = tell(key, sampler.init(key), unit, outcomes)
    again = jax.tree.map(lambda leaf: leaf[:1], outcomes)
    for number in range(ROUNDS):
        start = time.process_time()
        state, asked = ask(jax.random.fold_in(key, number), state)
        state = jax.block_until_ready(tell(key, state, asked, again))
        yield time.process_time() - start


def main():
    for problem in (hpo.problems.zdt1(8), hpo.problems.dtlz2()):
        for n in SIZES:
            first, *later = rounds(problem, n)
            middle, most = 1e3 * np.median(later), 1e3 * max(later)
            text = f"{problem.num_objectives} objectives, n = {n}: {middle:.0f} ms"
            print(f"{text} (at most {most:.0f}); first {first:.1f} s", flush=True)


if __name__ == "__main__":
    main()
