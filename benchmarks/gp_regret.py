"""Regret of `samplers.gp` over many seeds, as it is or with other priors and rules.

    python benchmarks/gp_regret.py [--problems hartmann6 levy10] [--seeds 128] [--trials 100]
        [--kernel rbf] [--lengthscale-mean -1.4] [--lengthscale-sd 1] [--noise-mean -7]
        [--num-startup 10] [--num-basins 4] [--trust-region off] [--num-candidates 128]
        [--num-lanes 6] [--num-reference 20] [--fresh-fits] [--failures chance] [--failed-noise 0]

All studies of a problem are one program of `minimize_many`: seconds on a GPU, minutes on a CPU. Two
runs with the same `--seeds` begin with the same points, so their studies are pairs. Prints the
median regret halfway and at the end, its geometric mean, and the share solved (under 1e-2).
`--num-reference` takes so many of the first trials for the median and the unit of the compression,
in place of those of the start. `--fresh-fits` fits hyperparameters from the prior every time, as
before fits went on from the last.
`--failures` lets trials fail: "chance" a fifth of them wherever they are, "region" those that go
more than a twentieth of the box beyond a minimum along the first coordinate.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np
from _bo_problems import FUNCTIONS

import jaxhpo as hpo
from jaxhpo.gp import _model
from jaxhpo.problems import Function
from jaxhpo.samplers.bayesian import _fits, _targets

SOLVED, FLOOR = 1e-2, 1e-6


Objective = Callable[[jax.Array, Any], jax.Array]


def failing(problem: Function, failures: str) -> Objective:
    """The problem as an objective whose trials may fail."""
    [low, *_], [high, *_], [[minimizer, *_], *_] = problem.low, problem.high, problem.minimizers
    border = (minimizer - low) / (high - low) + 0.05

    def objective(key: jax.Array, params: Any) -> jax.Array:
        by_chance = jax.random.uniform(key) < 0.2
        beyond = problem.space.to_unit(params)[..., 0] > border
        is_failed = by_chance if failures == "chance" else beyond
        return jnp.where(is_failed, jnp.nan, problem.objective(key, params))

    return objective


def regrets(name: str, args: argparse.Namespace) -> np.ndarray:
    """Simple regret `[seeds, trials]`."""
    problem = FUNCTIONS[name]()
    objective = failing(problem, args.failures) if args.failures else problem.objective
    settings = ("kernel", "num_startup", "num_basins", "num_candidates", "num_lanes")
    given = {name: getattr(args, name) for name in settings}
    sampler = hpo.samplers.gp(problem.space, trust_region=args.trust_region == "on", **given)
    keys = jax.random.split(jax.random.key(7), args.seeds)
    found = hpo.minimize_many(objective, problem.space, sampler, keys=keys, num_trials=args.trials)
    return np.maximum(np.asarray(found.best_so_far, np.float64) - problem.minimum, FLOOR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", default=list(FUNCTIONS), choices=list(FUNCTIONS))
    parser.add_argument("--seeds", type=int, default=128)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--kernel", choices=["matern52", "rbf"], default="matern52")
    parser.add_argument("--lengthscale-mean", type=float, default=_model.LENGTHSCALE_MEAN)
    parser.add_argument("--lengthscale-sd", type=float, default=_model.LENGTHSCALE_SD)
    parser.add_argument("--noise-mean", type=float, default=_model.NOISE_MEAN)
    parser.add_argument("--num-startup", type=int)
    parser.add_argument("--num-basins", type=int, default=4)
    parser.add_argument("--trust-region", choices=["on", "off"], default="on")
    parser.add_argument("--num-candidates", type=int, default=128)
    parser.add_argument("--num-lanes", type=int, default=6)
    parser.add_argument("--fresh-fits", action="store_true")
    parser.add_argument("--num-reference", type=int)
    parser.add_argument("--failures", choices=["chance", "region"])
    parser.add_argument("--failed-noise", type=float, default=_targets.FAILED_NOISE)
    args = parser.parse_args()
    _targets.FAILED_NOISE = args.failed_noise
    _model.LENGTHSCALE_MEAN, _model.LENGTHSCALE_SD = args.lengthscale_mean, args.lengthscale_sd
    _model.NOISE_MEAN = args.noise_mean
    if args.num_reference:
        first = _targets._first
        _targets._first = lambda mask, count: first(mask, args.num_reference)
    if args.fresh_fits:
        _fits.Schedule.is_fresh = lambda self, before, count: before >= 0  # type: ignore[method-assign]
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
