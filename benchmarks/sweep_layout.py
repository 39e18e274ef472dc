"""What the layout of a sweep costs on this CPU: trials side by side, and threads.

    python benchmarks/sweep_layout.py [--rounds 3]

Wall milliseconds a trial without compilation, the least of the rounds, on one CPU device: all the
trials from one thread, and from one thread a core. These figures are behind the constants of
`jaxhpo/population/_layout.py`.
"""

import argparse
import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxhpo import population, training
from jaxhpo.population import _layout

WIDTHS = (1, 4, 8, 16, 64, 256)
# Name -> (layer sizes, trials).
MODELS = {
    "linear 8-10": ((8, 10), 2048),
    "network 64-32-10": ((64, 32, 10), 256),
    "network 64-256-10": ((64, 256, 10), 64),
}


def build(sizes):
    """A ReLU network on made-up data."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, sizes[0])).astype(np.float32)
    y = np.abs(x).argmax(1).astype(np.int32) % 10

    def init(key, hparams):
        keys = jax.random.split(key, len(sizes) - 1)
        pairs = zip(keys, sizes[:-1], sizes[1:], strict=True)
        return [jax.random.normal(k, (a + 1, b)) / a**0.5 for k, a, b in pairs]

    def loss(hparams, params, batch):
        z = batch[0]
        for layer, w in enumerate(params):
            z = (jnp.maximum(z, 0) if layer else z) @ w[:-1] + w[-1]
        return optax.softmax_cross_entropy_with_integer_labels(z, batch[1]).mean()

    return training.from_optax(
        init,
        loss,
        lambda hparams: optax.sgd(hparams["lr"], 0.9),
        train=(x, y),
        validation=(x, y),
        batch_size=64,
    )


def measure(run, count, width, cores):
    """Milliseconds a trial with so many trials side by side, from so many threads."""
    original = _layout.num_cores
    _layout.num_cores = lambda: cores
    try:
        values = {"lr": np.geomspace(1e-3, 1e-1, count).astype(np.float32)}
        device = jax.local_devices()[:1]
        result = population.sweep(
            run, values, key=0, num_steps=100, num_reports=1, width=width, devices=device
        )
    finally:
        _layout.num_cores = original
    return 1e3 * (result.seconds - result.compile_seconds) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    cores = _layout.num_cores()
    print(f"ms a trial of 100 steps, 1 thread / {cores} threads, least of {rounds} rounds")
    print("| model | " + " | ".join(f"width {w}" for w in WIDTHS) + " | chosen |")
    print("|---" * (len(WIDTHS) + 2) + "|")
    for name, (sizes, count) in MODELS.items():
        run = build(sizes)
        best = {}
        for _ in range(rounds):
            for width in WIDTHS:
                for threads in (1, cores):
                    if width * threads <= count:
                        spent = measure(run, count, width, threads)
                        place = (width, threads)
                        best[place] = min(spent, best.get(place, spent))
        cells = [
            " / ".join(f"{best[w, t]:.3f}" if (w, t) in best else "-" for t in (1, cores))
            for w in WIDTHS
        ]
        values = {"lr": np.full(count, 0.01, np.float32)}
        chosen = population.sweep(run, values, key=0, num_steps=1).plan.width
        print(f"| {name} | " + " | ".join(cells) + f" | {chosen} |", flush=True)


if __name__ == "__main__":
    main()
