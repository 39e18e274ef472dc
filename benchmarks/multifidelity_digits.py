"""Schedulers on the recorded curves of real training runs, beside Optuna's pruners.

Run: python benchmarks/multifidelity_digits.py [--seeds 20] [--first-seed 100] [--curves FILE]

4,096 trials of the digits classifier of `halving.py`, with six hyperparameters, are trained once,
81 blocks of 5 steps each; every rule then sees the same curves. A seed draws the order in which
trials begin. A budget is as many blocks as so many whole runs take; a rule gets the most trials
that it expects to pay with it, and the score is the lowest validation loss seen within it. Printed:
median and upper quartile over seeds, and the whole runs that a rule takes to a median of 0.20.
`--curves` keeps the curves in a file for the next run. Settings were chosen on seeds 0 to 59.
"""

import argparse
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from halving import hyperparameters, training
from multifidelity import most_trials

import jaxhpo as hpo
from jaxhpo import schedulers

NUM_TRIALS, NUM_BLOCKS, BLOCK = 4096, 81, 5
GOAL = 0.20
RULES = {
    "halving": (schedulers.halving, {}),
    "halving, eta 3": (schedulers.halving, {"eta": 3}),
    "halving, eta 3, from 1/81": (schedulers.halving, {"eta": 3, "first_rung": 1}),
    "hyperband": (schedulers.hyperband, {}),
    "asha": (schedulers.asha, {}),
    "asha, from 1/81": (schedulers.asha, {"first_rung": 1}),
}


def recorded(path):
    """Curves `[n, 81]` of validation losses; NaN where training diverged."""
    if path and os.path.exists(path):
        return np.load(path)
    how = {"num_steps": NUM_BLOCKS * BLOCK, "num_reports": NUM_BLOCKS, "progress": False}
    found = hpo.population.sweep(training(), hyperparameters(NUM_TRIALS, 0), key=0, **how).curves
    if path:
        np.save(path, found)
    return found


def random_scores(curves, orders, budgets):
    """Every trial to its end, in order."""
    whole = np.nanmin(np.where(np.isnan(curves), np.inf, curves), axis=1)
    return {b: np.asarray([whole[order[:b]].min() for order in orders]) for b in budgets}


def scores(make, curves, orders, budget, num_trials):
    """The lowest loss `[s]` that each order of trials shows within the budget."""
    scheduler = make(num_trials, NUM_BLOCKS, batch_size=1)

    def run(key, order):
        def step(carry, key):
            state, spent, best = carry
            key_ask, key_tell = jax.random.split(key)
            before = state.table
            state, job = scheduler.ask(key_ask, state)
            trial, level = jnp.maximum(job.trial[0], 0), job.level[0]
            stands = jnp.where(before.level[trial] > 0, before.levels[before.level[trial] - 1], 0)
            curve = curves[order[trial]]
            spent = spent + jnp.where(job.trial[0] >= 0, level - stands, 0)
            left = level - jnp.maximum(spent - budget * NUM_BLOCKS, 0)
            seen = (jnp.arange(NUM_BLOCKS) < left) & ~jnp.isnan(curve) & (job.trial[0] >= 0)
            best = jnp.minimum(best, jnp.min(curve, where=seen, initial=jnp.inf))
            outcome = hpo.Outcome(curve[level - 1][None])
            state, _ = scheduler.tell(key_tell, state, job, outcome)
            return (state, spent, best), None

        key_init, key_run = jax.random.split(key)
        start = (scheduler.init(key_init), jnp.zeros((), jnp.int32), jnp.full((), jnp.inf))
        rounds = round(2.2 * num_trials) + 8
        (_, _, best), _ = jax.lax.scan(step, start, jax.random.split(key_run, rounds))
        return best

    keys = jax.random.split(jax.random.key(0), len(orders))
    return np.asarray(jax.jit(jax.vmap(run))(keys, orders[:, :num_trials]))


def optuna_scores(make, curves, orders, budgets):
    """The same by Optuna's loop: trial after trial, each asked after every block."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = {budget: [] for budget in budgets}
    for seed, order in enumerate(orders):
        sampler = optuna.samplers.RandomSampler(seed=seed)
        study = optuna.create_study(sampler=sampler, pruner=make(), study_name=f"study {seed}")
        best, spent, rows = np.inf, 0, iter(order)
        lowest = np.full(max(budgets) * NUM_BLOCKS, np.inf)
        while spent < len(lowest):
            trial, curve = study.ask(), curves[next(rows)]
            for block, loss in enumerate(curve[: len(lowest) - spent], 1):
                if np.isnan(loss):
                    break
                best = min(best, loss)
                lowest[spent] = best
                spent += 1
                trial.report(float(loss), block)
                if trial.should_prune():
                    break
            else:
                study.tell(trial, float(curve[-1]))
                continue
            lowest[spent : spent + 1] = best
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        for budget in budgets:
            found[budget].append(np.minimum.accumulate(lowest)[budget * NUM_BLOCKS - 1])
    return {budget: np.asarray(one) for budget, one in found.items()}


def peers():
    """Optuna's pruners at the better of their settings."""
    import optuna

    halving, hyperband = (
        optuna.pruners.SuccessiveHalvingPruner,
        optuna.pruners.HyperbandPruner,
    )
    return {
        "Optuna's SuccessiveHalvingPruner": lambda: halving(min_resource=1, reduction_factor=3),
        "Optuna's HyperbandPruner": lambda: hyperband(1, NUM_BLOCKS, 3),
        "Optuna's MedianPruner": optuna.pruners.MedianPruner,
    }


def our_scores(factory, settings, curves, orders, budgets):
    make = functools.partial(factory, **settings)
    levels = make(4, NUM_BLOCKS).init(0).table.levels.tolist()
    found = {}
    for budget in budgets:
        size = most_trials(factory.__name__, budget, levels, settings.get("eta"))
        found[budget] = scores(make, curves, orders, budget, size)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--budgets", type=int, nargs="+", default=[1, 2, 3, 4, 8, 16])
    parser.add_argument("--curves")
    options = parser.parse_args()
    curves = recorded(options.curves)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    orders = np.stack([np.random.default_rng(seed).permutation(NUM_TRIALS) for seed in seeds])
    table, budgets = jnp.asarray(curves), options.budgets
    rows = {name: our_scores(*rule, table, orders, budgets) for name, rule in RULES.items()}
    rows["every trial to its end"] = random_scores(curves, orders, budgets)
    for name, make in peers().items():
        rows[name] = optuna_scores(make, curves, orders, budgets)
    print(f"lowest loss, median / upper quartile of {options.seeds} seeds")
    print("| rule | " + " | ".join(f"{b} runs" for b in budgets) + f" | runs to {GOAL} |")
    print("|---" * (len(budgets) + 2) + "|")
    for name, row in rows.items():
        cells = [f"{np.median(row[b]):.3f} / {np.quantile(row[b], 0.75):.3f}" for b in budgets]
        first = next((str(b) for b in budgets if np.median(row[b]) <= GOAL), "more")
        print(f"| {name} | " + " | ".join(cells) + f" | {first} |", flush=True)


if __name__ == "__main__":
    main()
