"""64 complete 100-trial studies of Hartmann-6 as one compiled program, beside loops of the peers.

    python benchmarks/bo_studies.py [--studies 64] [--peer-studies 1] [--layout auto|map|vmap]

`hpo.minimize_many` chooses between one study after another ("map", on CPU) and side by side
("vmap"); `--layout` overrules it. Prints CPU seconds a study
without compilation, compilation apart, studies per CPU second, and the share solved (regret under
1e-2); then the same for Optuna's GPSampler and BoTorch, measured on `--peer-studies` whole studies
each, one after another, without their imports.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NPROC", "1")  # XLA's own threads: small programs only wait for them

import jax
import numpy as np
from _bo_peers import LIBRARIES, one_thread, study
from _bo_problems import PROBLEMS

import jaxhpo as hpo

SOLVED = 1e-2


def ours(studies: int, trials: int, layout: str, settings: dict[str, Any]) -> tuple[float, float]:
    """CPU seconds of all the studies after compilation; prints them with the rest."""
    problem = PROBLEMS["hartmann6"]()
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(6,))})
    sampler = hpo.samplers.gp(space, **settings)

    def objective(key: Any, params: Any) -> Any:
        del key
        return problem.traced(params["x"])

    def many(keys: Any) -> Any:
        found = hpo.minimize_many(
            objective, space, sampler, keys=keys, num_trials=trials, layout=layout
        )
        return found.best_so_far

    keys = jax.random.split(jax.random.key(0), studies)
    start = time.process_time()
    program = jax.jit(many).lower(keys).compile()
    compiled = time.process_time() - start
    start, wall = time.process_time(), time.perf_counter()
    best = np.asarray(program(keys))
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    _print(f"jaxhpo, {layout}", seconds / studies, best[:, -1] - problem.minimum)
    print(
        f"  compilation {compiled:.1f} CPU s; {studies} studies {seconds:.1f} CPU s, {wall:.1f} s"
    )
    return seconds / studies, compiled


def theirs(library: str, studies: int, trials: int) -> float:
    """CPU seconds a study of a peer."""
    problem = PROBLEMS["hartmann6"]()
    problem.function({f"x{i}": 0.5 for i in range(6)})
    found = [study(LIBRARIES[library], problem, seed, trials) for seed in range(studies)]
    seconds = float(np.mean([one.cpu_s for one in found]))
    _print(library, seconds, np.asarray([min(one.values) for one in found]) - problem.minimum)
    return seconds


def _print(name: str, seconds: float, regret: Any) -> None:
    print(
        f"{name:12s} {seconds:8.3f} CPU s a study, {1 / seconds:8.4f} studies a CPU s, "
        f"median regret {np.median(regret):.1e}, solved {np.sum(regret < SOLVED)} of {len(regret)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=64)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--peer-studies", type=int, default=1)
    parser.add_argument("--peers", nargs="*", default=["optuna", "botorch"])
    parser.add_argument("--layout", choices=("auto", "map", "vmap"), default="auto")
    args = parser.parse_args()
    one_thread()
    seconds, compiled = ours(args.studies, args.trials, args.layout, {})
    whole = seconds + compiled / args.studies
    for peer in args.peers:
        other = theirs(peer, args.peer_studies, args.trials)
        print(f"  {other / seconds:.0f} times as long; {other / whole:.0f} with our compilation")


if __name__ == "__main__":
    main()
