"""A sweep of 100,000 small trials inside a fixed memory budget: prints the peak resident memory.

    python benchmarks/sweep_memory.py [--trials 100000] [--budget-gib 2] [--state 3000]

Each trial fits a linear model with `--state` parameters by SGD with momentum, 20 steps of 16
examples. All states together would take `trials * state * 8` bytes; only the best one is kept.
"""

import argparse
import os
import resource
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--budget-gib", type=float, default=2.0)
    parser.add_argument("--state", type=int, default=3000, help="parameters of a trial")
    parser.add_argument("--chunk", type=int, help="trials a call; chosen if not given")
    arguments = parser.parse_args()

    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from jaxhpo import population, training

    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, arguments.state)).astype(np.float32)
    y = (x @ rng.normal(size=arguments.state) / arguments.state**0.5).astype(np.float32)

    def loss(hparams, w, batch):
        return jnp.mean((batch[0] @ w - batch[1]) ** 2)

    fit = training.from_optax(
        lambda key, hparams: 0.01 * jax.random.normal(key, (arguments.state,), jnp.float32),
        loss,
        lambda hparams: optax.sgd(hparams["lr"], hparams["momentum"]),
        train=(x, y),
        validation=(x, y),
        batch_size=16,
    )
    n = arguments.trials
    hparams = {
        "lr": (10 ** rng.uniform(-5, -1, n)).astype(np.float32),
        "momentum": rng.uniform(0, 0.9, n).astype(np.float32),
    }

    def peak():
        # Linux counts in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20

    before = peak()
    budget = int(arguments.budget_gib * 2**30)
    result = population.sweep(
        fit,
        hparams,
        key=0,
        num_steps=20,
        memory_budget=budget,
        num_reports=4,
        chunk=arguments.chunk,
    )
    states = n * arguments.state * 8 / 2**20
    print(
        f"{n} trials in {result.seconds:.1f} s, of which {result.compile_seconds:.1f} s compiling"
    )
    print(f"{result.num_failed} failed; best loss {result.best_loss:.4g}; {result.plan}")
    print(f"all states together: {states:.0f} MiB; budget: {budget / 2**20:.0f} MiB")
    print(f"peak resident memory: {peak():.0f} MiB, of which {before:.0f} MiB before the sweep")
    is_inside = peak() * 2**20 <= budget
    print(f"the whole process inside the budget: {'yes' if is_inside else 'no'}")
    return 0 if is_inside else 1


if __name__ == "__main__":
    sys.exit(main())
