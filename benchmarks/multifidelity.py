"""Schedulers with and without a sampler inside, and the sampler alone, at many fidelities.

Run: python benchmarks/multifidelity.py [--seeds 10] [--first-seed 100] [--runs 16 32]

On Hartmann's functions of `hpo.problems.mf_hartmann`. A budget is as many steps as so many whole
training runs take; a rule gets the most trials that it expects to pay with it. The score is the
regret of the best trial that was trained to its end within the budget: median and quartiles over
seeds; whoever has none has that of the value 0. The settings were chosen on seeds 0 to 9, so take
others.
"""

import argparse
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np

import jaxhpo as hpo
from jaxhpo.schedulers import asha, halving, hyperband
from jaxhpo.schedulers._hyperband import bracket_sizes
from jaxhpo.schedulers._proposals import expected_steps, rung_counts

NUM_STEPS = 81
RULES = {
    "tpe alone": None,
    "asha": (asha, {}),
    "asha, tpe": (asha, {"sampler": "tpe"}),
    "halving": (halving, {}),
    "halving, tpe": (halving, {"sampler": "tpe"}),
    "hyperband": (hyperband, {}),
    "hyperband, tpe": (hyperband, {"sampler": "tpe"}),
}


def most_trials(name, runs, levels, eta=None):
    """The most trials of which a rule takes at most so many whole runs."""
    eta, num_trials = eta or (2 if name == "halving" else 3), 4
    while True:
        sizes = [num_trials + 1]
        if name == "hyperband":
            sizes = bracket_sizes(num_trials + 1, len(levels), eta)
        each = [rung_counts(size, len(levels), eta, b) for b, size in enumerate(sizes)]
        counts = np.sum(each, axis=0)
        if expected_steps(counts, levels) > runs * NUM_STEPS:
            return num_trials
        num_trials += 1


def regrets(problem, rule, runs, keys):
    """Regret `[s]` for each key."""
    if rule is None:

        def alone(key):
            how = {"key": key, "num_trials": runs}
            return hpo.minimize(problem.objective, problem.space, "tpe", **how).best_value

        return np.asarray(jax.vmap(alone)(keys)) - problem.minimum
    factory, settings = rule
    levels = factory(4, NUM_STEPS, **_points_of(problem, settings)).init(0).table.levels.tolist()
    num_trials = most_trials(factory.__name__, runs, levels)
    how = _points_of(problem, settings)
    scheduler = factory(num_trials, NUM_STEPS, batch_size=1, **how)
    run = functools.partial(_scheduled, problem, scheduler, num_trials, runs, "sampler" in settings)
    return np.asarray(jax.jit(jax.vmap(run))(keys)) - problem.minimum


def _points_of(problem, settings):
    return {**settings, "space": problem.space} if settings else {}


def _scheduled(problem, scheduler, num_trials, runs, proposes, key):
    key_unit, key_noise, key_init, key_run = jax.random.split(key, 4)
    points = jax.random.uniform(key_unit, (num_trials, problem.num_dims))

    def step(carry, key):
        state, spent, best = carry
        key_ask, key_tell = jax.random.split(key)
        before = state.table
        state, job = scheduler.ask(key_ask, state)
        trial, level = jnp.maximum(job.trial[0], 0), job.level[0]
        x = job.unit[0] if proposes else points[trial]
        stands = jnp.where(before.level[trial] > 0, before.levels[before.level[trial] - 1], 0)
        value = problem.evaluate(jax.random.fold_in(key_noise, trial), x, level)
        spent = spent + jnp.where(job.trial[0] >= 0, level - stands, 0)
        counts = (job.trial[0] >= 0) & (level == NUM_STEPS) & (spent <= runs * NUM_STEPS)
        best = jnp.where(counts, jnp.minimum(best, value), best)
        state, _ = scheduler.tell(key_tell, state, job, hpo.Outcome(value[None]))
        return (state, spent, best), None

    rounds = round(2.2 * num_trials) + 8
    start = (scheduler.init(key_init), jnp.zeros((), jnp.int32), jnp.zeros(()))
    (_, _, best), _ = jax.lax.scan(step, start, jax.random.split(key_run, rounds))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--runs", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--dims", type=int, nargs="+", default=[3, 6])
    parser.add_argument("--correlations", nargs="+", default=["good", "bad"])
    parser.add_argument("--rules", nargs="+", default=list(RULES))
    parser.add_argument("--out")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    found = []
    for dims in options.dims:
        for correlation in options.correlations:
            problem = hpo.problems.mf_hartmann(dims, correlation, num_steps=NUM_STEPS)
            for runs in options.runs:
                for name in options.rules:
                    regret = regrets(problem, RULES[name], runs, keys)
                    low, mid, high = np.quantile(regret, [0.25, 0.5, 0.75])
                    print(
                        f"{problem.name:20s} {runs:3d} runs  {name:15s} "
                        f"{mid:.3f} ({low:.3f} to {high:.3f})",
                        flush=True,
                    )
                    found.append([problem.name, runs, name, regret.round(4).tolist()])
    if options.out:
        with open(options.out, "w") as file:
            json.dump(found, file)


if __name__ == "__main__":
    main()
