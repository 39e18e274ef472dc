"""What an accelerator brings: the same programs on each platform of this machine.

    python benchmarks/accelerator.py [--platforms cuda cpu] [--parts sweep samplers gp proposals]

One process a platform, one after another; wall seconds without compilation (which is apart), the
least of `--rounds`. `sweep`: 200 steps of a network on scikit-learn's digits, trials side by side.
`samplers`: complete 200-trial studies side by side. `gp`: complete 100-trial Bayesian studies of
Hartmann-6 in either layout of `minimize_many`. `botorch`: its peer, one study on this platform.
`proposals`: an ask and a tell of `gp` after n trials in 10 dimensions (median). `descent`: 20 outer
steps of exact hypergradients for one start and for 256 starts side by side. `torch`: the peer of
`sweep`, one training after another on the same platform. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SWEEP_COUNTS = (1, 64, 1024, 8192, 65536)
PROPOSAL_SIZES = (100, 1000, 5000, 20000)
PARTS = ("sweep", "torch", "descent", "samplers", "gp", "botorch", "proposals")


def least(call: Callable[[], Any], rounds: int) -> float:
    """Least wall seconds of a call that blocks."""
    import jax

    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def timed(function: Callable[..., Any], args: tuple[Any, ...], rounds: int) -> tuple[Any, ...]:
    """The result, run seconds and compile seconds of a function of arrays."""
    import jax

    start = time.perf_counter()
    program = jax.jit(function).lower(*args).compile()
    compiled = time.perf_counter() - start
    result = jax.block_until_ready(program(*args))
    return result, least(lambda: program(*args), rounds), compiled


def sweep(rounds: int) -> None:
    """Trials of the digits network side by side."""
    from sweep_digits import STEPS, jax_training, settings

    from jaxhpo import population

    for count in SWEEP_COUNTS:
        programs = population.Programs()
        found = [
            population.sweep(
                jax_training(), settings(count), key=0, num_steps=STEPS, num_reports=1,
                programs=programs,
            )
            for _ in range(rounds)
        ]  # fmt: skip
        seconds = min(one.seconds - one.compile_seconds for one in found)
        compiled = max(one.compile_seconds for one in found)
        print(
            f"sweep    {count:6d} trials {seconds:9.4f} s {count / seconds:10.0f} trials/s   "
            f"compilation {compiled:.1f} s, width {found[0].plans[0].width}",
            flush=True,
        )


def torch(rounds: int) -> None:
    """Trainings one after another in PyTorch: hand-written steps over `torch._foreach`."""
    try:
        import torch as library
    except ModuleNotFoundError:
        return print("torch    not installed")
    import sweep_digits as bench

    place = "cuda" if os.environ["JAX_PLATFORMS"] == "cuda" else "cpu"
    bench.torch_start()
    library.set_default_device(place)
    bench.torch_module.data = [(x.to(place), y.to(place)) for x, y in bench.torch_module.data]
    for trial in (bench.torch_functional, bench.torch_module):
        trial(0, 0.1, 0.9, 0.0)
        start = time.perf_counter()
        for seed in range(8):
            trial(seed, 0.1, 0.9, 0.0)
        seconds = (time.perf_counter() - start) / 8
        print(f"torch    {trial.__name__:17s} {seconds:9.4f} s {1 / seconds:10.1f} trials/s")


def samplers(rounds: int) -> None:
    """Complete studies of 200 trials side by side."""
    import jax

    import jaxhpo as hpo

    problem = hpo.problems.ackley(10)
    for name, studies in (("random", 10000), ("cma_es", 1000), ("de", 1000), ("tpe", 1000)):
        keys = jax.random.split(jax.random.key(0), studies)

        def many(keys: Any, name: str = name) -> Any:
            found = hpo.minimize_many(
                problem.objective, problem.space, name, keys=keys, num_trials=200
            )
            return found.best_value

        best, seconds, compiled = timed(many, (keys,), rounds)
        print(
            f"{name:8s} {studies:6d} studies {seconds:8.3f} s {studies / seconds:10.1f} studies/s  "
            f"compilation {compiled:.1f} s, median {float(jax.numpy.median(best)):.3g}",
            flush=True,
        )


def gp(rounds: int) -> None:
    """Complete Bayesian studies of 100 trials, one after another or side by side."""
    import jax

    import jaxhpo as hpo

    problem = hpo.problems.hartmann6()
    cases = [("map", 8), ("vmap", 64), ("vmap", 512), ("vmap", 4096)]
    if jax.default_backend() == "cpu":
        cases = [("map", 8), ("vmap", 8)]
    for layout, studies in cases:
        keys = jax.random.split(jax.random.key(0), studies)

        def many(keys: Any, layout: str = layout) -> Any:
            found = hpo.minimize_many(
                problem.objective, problem.space, "gp", keys=keys, num_trials=100, layout=layout
            )
            return found.best_value

        best, seconds, compiled = timed(many, (keys,), 1)
        solved = float(jax.numpy.mean(best - problem.minimum < 1e-2))
        print(
            f"gp       {studies:6d} studies {seconds:8.3f} s {studies / seconds:10.2f} studies/s  "
            f"{layout}, compilation {compiled:.1f} s, solved {solved:.2f}",
            flush=True,
        )


def botorch(rounds: int) -> None:
    """One Bayesian study of 100 trials by BoTorch's defaults, on this platform."""
    try:
        import botorch as library
        import torch
    except ModuleNotFoundError:
        return print("botorch  not installed")
    from _bo_peers import LIBRARIES, study
    from _bo_problems import PROBLEMS

    torch.set_default_device("cuda" if os.environ["JAX_PLATFORMS"] == "cuda" else "cpu")
    start = time.perf_counter()
    study(LIBRARIES["botorch"], PROBLEMS["hartmann6"](), 0, 100)
    seconds = time.perf_counter() - start
    print(f"botorch       1 study   {seconds:8.1f} s, BoTorch {library.__version__}", flush=True)


def proposals(rounds: int) -> None:
    """An ask and a tell of `gp` after n trials; the median."""
    import statistics

    from bo_latency import jaxhpo_loop

    for n in PROPOSAL_SIZES:
        propose, learn = jaxhpo_loop(10, n)
        learn(propose())
        seconds = []
        for _ in range(4 * rounds):
            start = time.perf_counter()
            learn(propose())
            seconds.append(time.perf_counter() - start)
        print(
            f"proposal after {n:5d} trials {1e3 * statistics.median(seconds):8.1f} ms", flush=True
        )


def descent(rounds: int) -> None:
    """Hypergradient descent from one start, and from many side by side."""
    import jax
    import jax.numpy as jnp
    import optax
    from sweep_digits import jax_training

    from jaxhpo import hypergrad

    estimator = hypergrad.unrolled(jax_training(), num_steps=200)
    firsts = {"lr": 0.05, "momentum": 0.5, "decay": 1e-4}

    def one(key: Any, scale: Any) -> Any:
        hparams = {name: value * scale for name, value in firsts.items()}
        return hypergrad.descend(estimator, hparams, optax.adam(1e-3), key=key, num_outer=20).values

    alone = 0.0
    for count in (1, 16, 256):
        keys = jax.random.split(jax.random.key(0), count)
        _, seconds, compiled = timed(jax.vmap(one), (keys, jnp.linspace(0.5, 1.5, count)), rounds)
        alone = alone or seconds
        print(
            f"descent  {count:6d} starts  {seconds:8.3f} s, {seconds / alone:.2f} times one start  "
            f"compilation {compiled:.1f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--platforms", nargs="+", default=["cuda", "cpu"])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        import jax

        print(f"== {jax.devices()[0].device_kind}, JAX {jax.__version__}", flush=True)
        for part in args.parts:
            globals()[part](args.rounds)
        return
    for platform in args.platforms:
        environment = {**os.environ, "JAX_PLATFORMS": platform}
        rest = ["--here", "--rounds", str(args.rounds), "--parts", *args.parts]
        subprocess.run([sys.executable, __file__, *rest], env=environment, check=True)


if __name__ == "__main__":
    main()
