"""Regret of `samplers.gp` over many seeds, as it is or with other priors and rules.

    python benchmarks/gp_regret.py [--problems hartmann6 levy10] [--seeds 128] [--trials 100]
        [--lengthscale-mean -1.4] [--noise-mean -7] [--num-basins 4] [--num-candidates 128]
        [--fresh-fits]

All studies of a problem are one program of `minimize_many`: seconds on a GPU, minutes on a CPU. Two
runs with the same `--seeds` begin with the same points, so their studies are pairs. Prints the
median regret halfway and at the end, its geometric mean, and the share solved (under 1e-2).
`--fresh-fits` fits hyperparameters from the prior every time, as before fits went on from the last.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import numpy as np
from _bo_problems import FUNCTIONS

import jaxhpo as hpo
from jaxhpo.gp import _model
from jaxhpo.samplers import _gp_fits

SOLVED, FLOOR = 1e-2, 1e-6


def regrets(name: str, args: argparse.Namespace) -> np.ndarray:
    """Simple regret `[seeds, trials]`."""
    problem = FUNCTIONS[name]()
    sampler = hpo.samplers.gp(
        problem.space, num_basins=args.num_basins, num_candidates=args.num_candidates
    )
    keys = jax.random.split(jax.random.key(7), args.seeds)
    found = hpo.minimize_many(
        problem.objective, problem.space, sampler, keys=keys, num_trials=args.trials
    )
    return np.maximum(np.asarray(found.best_so_far, np.float64) - problem.minimum, FLOOR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", default=list(FUNCTIONS), choices=list(FUNCTIONS))
    parser.add_argument("--seeds", type=int, default=128)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--lengthscale-mean", type=float, default=_model.LENGTHSCALE_MEAN)
    parser.add_argument("--noise-mean", type=float, default=_model.NOISE_MEAN)
    parser.add_argument("--num-basins", type=int, default=4)
    parser.add_argument("--num-candidates", type=int, default=128)
    parser.add_argument("--fresh-fits", action="store_true")
    args = parser.parse_args()
    _model.LENGTHSCALE_MEAN, _model.NOISE_MEAN = args.lengthscale_mean, args.noise_mean
    if args.fresh_fits:
        _gp_fits.Schedule.is_fresh = lambda self, before, count: before >= 0  # type: ignore[method-assign]
    for name in args.problems:
        regret = regrets(name, args)
        last = regret[:, -1]
        print(
            f"{name:12s} median {np.median(regret[:, args.trials // 2 - 1]):9.3g}, at the end "
            f"{np.median(last):9.3g}, geometric mean {np.exp(np.log(last).mean()):9.3g}, solved "
            f"{np.mean(last < SOLVED):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
