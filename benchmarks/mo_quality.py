"""Dominated volume of `samplers.nsga2` (and `nsga3`) beside Optuna's NSGA-II, paired by seed.

    python benchmarks/mo_quality.py run --seeds 20 --trials 500 --out mo.jsonl
    python benchmarks/mo_quality.py report --out mo.jsonl

`run` appends one line a study to the file and skips what is there, so it may be stopped and
continued. Both libraries evaluate the same traced function with their default settings. All seeds
of ours run as one program; infeasible trials count for neither. The reference point is the worst of
1,000 random points in each objective (feasible or not), the same for both.

`report` prints, a problem and number of trials: the median over seeds of the share of the volume
below the true front that is still missing, ours and Optuna's; the ratio of the dominated volumes
(of the studies in which Optuna has some);
seeds won by ours; the p value of Wilcoxon's signed-rank test (two-sided) on the volumes; and CPU
milliseconds a trial (ask and tell for Optuna, the whole program for ours).
"""

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np
import optuna
from scipy.stats import wilcoxon

import jaxhpo as hpo
from jaxhpo import pareto, problems

PROBLEMS = {
    "zdt1": problems.zdt1(),
    "zdt2": problems.zdt2(),
    "zdt3": problems.zdt3(),
    "zdt4": problems.zdt4(),
    "zdt6": problems.zdt6(),
    "dtlz1": problems.dtlz1(),
    "dtlz2": problems.dtlz2(),
    "dtlz7": problems.dtlz7(),
    "bnh": problems.bnh(),
    "osy": problems.osy(),
    "c2_dtlz2": problems.c2_dtlz2(),
}


def reference(problem):
    """The worst of random points, and no better than the nadir."""
    low, high = np.asarray(problem.low), np.asarray(problem.high)
    x = low + (high - low) * np.random.default_rng(0).random((1000, problem.num_dims))
    value = np.asarray(jax.vmap(problem.evaluate)(jnp.asarray(x, jnp.float32)), np.float64)
    return np.maximum(value.max(axis=0), problem.reference)


def volumes(problem, value, feasible, ends):
    """Volume dominated by the feasible ones among the first trials, for each number of trials."""
    value = np.where(feasible[:, None], value, np.nan)
    corner = jnp.asarray(reference(problem), jnp.float32)
    padded = [np.where(np.arange(len(value))[:, None] < end, value, np.nan) for end in ends]
    run = jax.jit(jax.vmap(pareto.hypervolume, in_axes=(0, None)))
    return np.asarray(run(jnp.asarray(padded, jnp.float32), corner), float).tolist()


def ours(problem, name, settings, seeds, num_trials):
    space = problem.space
    settings = {"num_objectives": problem.num_objectives, **settings}
    sampler = hpo.samplers.get(name, space, **settings)
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))

    def studies(sampler, keys):
        many = hpo.minimize_many(
            problem.objective, space, sampler, keys=keys, num_trials=num_trials, layout="map"
        )
        return many.trials.value, many.trials.status == int(hpo.Status.COMPLETE)

    run = jax.jit(studies).lower(sampler, keys).compile()
    start = time.process_time()
    value, feasible = jax.block_until_ready(run(sampler, keys))
    cpu = (time.process_time() - start) / len(seeds) / num_trials
    return np.asarray(value), np.asarray(feasible), cpu


def optunas(problem, seed, num_trials):
    evaluate = jax.jit(problem.evaluate)
    violation = None if problem.violation is None else jax.jit(problem.violation)
    distributions = {
        f"x{i:02d}": optuna.distributions.FloatDistribution(*bounds)
        for i, bounds in enumerate(zip(problem.low, problem.high, strict=True))
    }
    sampler = optuna.samplers.NSGAIISampler(seed=seed)
    study = optuna.create_study(directions=["minimize"] * problem.num_objectives, sampler=sampler)
    values, feasible, cpu = [], [], 0.0
    for _ in range(num_trials):
        start = time.process_time()
        trial = study.ask(distributions)
        cpu += time.process_time() - start
        x = jnp.asarray([trial.params[name] for name in distributions], jnp.float32)
        values.append([float(v) for v in evaluate(x)])
        broken = [] if violation is None else [float(v) for v in violation(x)]
        feasible.append(all(v <= 0 for v in broken))
        start = time.process_time()
        for number, one in enumerate(broken):
            trial.set_constraint(f"c{number}", one)
        study.tell(trial, values[-1])
        cpu += time.process_time() - start
    return np.asarray(values), np.asarray(feasible), cpu / num_trials


def run(arguments):
    path = pathlib.Path(arguments.out)
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["problem"], row["library"], row["seed"]) for row in rows}
    ends = [n for n in (100, 250, 500, 1000, 2500) if n <= arguments.trials]

    def save(problem, library, seed, value, feasible, cpu):
        found = volumes(problem, value, feasible, ends)
        row = {
            "problem": problem.name,
            "library": library,
            "seed": seed,
            "ms": 1000 * cpu,
            "volume": dict(zip(map(str, ends), found, strict=True)),
        }
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    for name in arguments.problems or PROBLEMS:
        problem = PROBLEMS[name]
        for sampler in arguments.samplers:
            base, _, text = sampler.partition(":")
            settings = json.loads(text) if text else {}
            left = [s for s in range(arguments.seeds) if (name, sampler, s) not in done]
            if left:
                value, feasible, cpu = ours(problem, base, settings, left, arguments.trials)
                for row, seed in enumerate(left):
                    save(problem, sampler, seed, value[row], feasible[row], cpu)
        for seed in range(arguments.seeds):
            if not arguments.ours_only and (name, "optuna", seed) not in done:
                save(problem, "optuna", seed, *optunas(problem, seed, arguments.trials))


def report(arguments):
    rows = [json.loads(line) for line in pathlib.Path(arguments.out).read_text().splitlines()]
    found = {(row["problem"], row["library"], row["seed"]): row for row in rows}
    libraries = sorted({row["library"] for row in rows} - {"optuna"})
    header = (
        f"{'missing':>9} {'optuna':>9} {'ratio':>8} {'won':>6} {'p':>9} {'ms':>7} {'optuna':>7}"
    )
    print(f"{'sampler':<12} {'problem':<10} {'trials':>6} {header}")
    for library in libraries:
        for name in PROBLEMS:
            problem, corner = PROBLEMS[name], reference(PROBLEMS[name])
            front = problem.front(2000).astype(np.float32)
            whole = float(pareto.hypervolume(front, corner.astype(np.float32)))
            seeds = [
                s for s in range(1000) if {(name, k, s) for k in (library, "optuna")} <= {*found}
            ]
            if not seeds:
                continue
            for end in found[name, library, seeds[0]]["volume"]:
                own, other = (
                    np.asarray([found[name, k, s]["volume"][end] for s in seeds])
                    for k in (library, "optuna")
                )
                ratio = np.median(own[other > 0] / other[other > 0])
                p = wilcoxon(own, other).pvalue if (own != other).any() else 1.0
                cost = [
                    np.median([found[name, k, s]["ms"] for s in seeds]) for k in (library, "optuna")
                ]
                print(
                    f"{library:<12} {name:<10} {end:>6} {np.median(1 - own / whole):>9.5f} "
                    f"{np.median(1 - other / whole):>9.5f} {ratio:>8.4f} "
                    f"{int((own > other).sum()):>3}/{len(seeds):<2} {p:>9.1e} {cost[0]:>7.3f} "
                    f"{cost[1]:>7.3f}"
                )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--problems", nargs="*", choices=list(PROBLEMS))
    parser.add_argument(
        "--samplers",
        nargs="*",
        default=["nsga2"],
        help='such as nsga3 or nsga2:{"crossover":"sbx"}',
    )
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--out", default="mo_quality.jsonl")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    {"run": run, "report": report}[arguments.command](arguments)


if __name__ == "__main__":
    main()
