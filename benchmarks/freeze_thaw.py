"""Freeze-thaw: one Gaussian process over (point, log level) decides which trial goes on or begins.

Run: python benchmarks/freeze_thaw.py [--seeds 20] [--first-seed 100] [--curves FILE]

On the recorded curves of `multifidelity_digits.py`, in the same budgets and with the same score.
The model is exact: Matern 5/2 over the unit point and the logarithm of the level, fitted anew
before each decision to the logarithms of all losses seen at rungs. A decision takes the candidate
of largest expected improvement among the trials that wait and 256 that may begin: at the last level
("last"), at the candidate's own next one ("next"), or at the last one over the blocks that the next
rung takes ("per block"). Printed: median and upper quartile, and the median time of a decision
after compiling.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from halving import hyperparameters, space
from multifidelity_digits import NUM_BLOCKS, NUM_TRIALS, RULES, our_scores, recorded

from jaxhpo import acquisition, gp

CAPACITY, NUM_NEW = 256, 256
LEVELS = (1, 3, 9, 27, 81)


def height(level):
    return jnp.log(level) / np.log(NUM_BLOCKS)


@functools.partial(jax.jit, static_argnames="rule")
def decide(rule, unit, level, target, mask, candidate, next_level, blocks, is_open):
    """Index of the candidate `[c]` to run up to its next level."""
    features = jnp.column_stack([unit, height(level)])
    mean = jnp.mean(target, where=mask)
    sd = jnp.maximum(jnp.std(target, where=mask), 1e-3)
    scaled = jnp.where(mask, (target - mean) / sd, 0.0)
    data = gp.Data(features, scaled, jnp.zeros_like(scaled), mask)
    prior = gp.default_prior(features.shape[1], noise_floor=1e-4)
    kernel = gp.Kernel(tuple(range(features.shape[1])))
    found = gp.fit(kernel, data, prior, prior.mean[None], max_evals=30)
    posterior = gp.condition(kernel, found.hyper, data, prior.bias)
    at = next_level if rule == "next" else jnp.full_like(next_level, NUM_BLOCKS)
    seen = posterior.predict(jnp.column_stack([candidate, height(at)]))
    best = jnp.min(scaled, where=mask, initial=jnp.inf)
    score = acquisition.log_ei(seen.mean, seen.variance, best).value
    if rule == "per block":
        score -= jnp.log(blocks)
    return jnp.argmax(jnp.where(is_open, score, -jnp.inf))


def lowest_seen(rule, curves, units, budget):
    """The lowest loss after each block `[budget * 81]`, and seconds per decision."""
    rng = np.random.default_rng(0)
    unit, target = np.zeros((CAPACITY, units.shape[1]), np.float32), np.zeros(CAPACITY, np.float32)
    level, mask = np.ones(CAPACITY, np.float32), np.zeros(CAPACITY, bool)
    stands = np.zeros(len(curves), int)  # rungs that each trial has reached; -1: it has failed
    lowest, best, rows, seconds = [], np.inf, 0, []
    while len(lowest) < budget * NUM_BLOCKS and rows < CAPACITY:
        waiting = np.flatnonzero((stands > 0) & (stands < len(LEVELS)))
        new = rng.choice(np.flatnonzero(stands == 0), NUM_NEW, replace=False)
        chosen = np.concatenate([waiting, new])[: CAPACITY + NUM_NEW]
        padded = np.pad(chosen, (0, CAPACITY + NUM_NEW - len(chosen)))
        is_open = np.arange(len(padded)) < len(chosen)
        going = np.asarray(LEVELS, np.float32)[np.clip(stands[padded], 0, len(LEVELS) - 1)]
        blocks = going - np.asarray((0, *LEVELS))[stands[padded].clip(0, len(LEVELS) - 1)]
        began = time.perf_counter()
        if rows < 2:
            trial = new[0]
        else:
            told = (unit, level, target, mask)
            trial = padded[int(decide(rule, *told, units[padded], going, blocks, is_open))]
        seconds.append(time.perf_counter() - began)
        first = LEVELS[stands[trial] - 1] if stands[trial] else 0
        piece = curves[trial, first : LEVELS[stands[trial]]]
        for loss in piece:
            best = min(best, loss) if np.isfinite(loss) else best
            lowest.append(best)
        value = piece[-1]
        stands[trial] = stands[trial] + 1 if np.isfinite(value) else -1
        level[rows] = LEVELS[max(stands[trial], 1) - 1]
        unit[rows], mask[rows] = units[trial], True
        target[rows] = np.log(value) if np.isfinite(value) else np.log(10.0)
        rows += 1
    lowest += [best] * (budget * NUM_BLOCKS)
    return np.asarray(lowest), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--budgets", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--curves")
    options = parser.parse_args()
    curves = recorded(options.curves)
    units = np.asarray(space().to_unit(hyperparameters(NUM_TRIALS, 0)), np.float32)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    orders = np.stack([np.random.default_rng(seed).permutation(NUM_TRIALS) for seed in seeds])
    halving = RULES["halving, eta 3, from 1/81"]
    for budget, seen in our_scores(*halving, jnp.asarray(curves), orders, options.budgets).items():
        middle, upper = np.quantile(seen, [0.5, 0.75])
        print(f"halving: {budget} runs, {middle:.3f} / {upper:.3f}", flush=True)
    for rule in ("last", "next", "per block"):
        rows, seconds = [], []
        for order in orders:
            lowest, spent = lowest_seen(rule, curves[order], units[order], max(options.budgets))
            rows.append(lowest)
            seconds += spent[3:]
        for budget in options.budgets:
            seen = [row[budget * NUM_BLOCKS - 1] for row in rows]
            middle, upper = np.quantile(seen, [0.5, 0.75])
            print(f"{rule}: {budget} runs, {middle:.3f} / {upper:.3f}", flush=True)
        print(f"{rule}: {1e3 * np.median(seconds):.0f} ms a decision", flush=True)


if __name__ == "__main__":
    main()
