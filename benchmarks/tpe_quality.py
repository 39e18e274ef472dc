"""Regret of `samplers.tpe` beside Optuna's TPE, paired by seed, and studies a second.

    python benchmarks/tpe_quality.py run --seeds 20 --trials 200 --out tpe.jsonl
    python benchmarks/tpe_quality.py report --out tpe.jsonl

`run` appends one line a study to the file and skips what is there, so it may be stopped and
continued. Both libraries evaluate the same traced function. All seeds of ours run as one program.
`report` prints, a problem: medians of the best value at half and at all of the trials, seeds won by
ours at the end, the p value of Wilcoxon's signed-rank test (two-sided), and CPU seconds a study.
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


def branin(p):
    x, y = p["x"], p["y"]
    inner = y - 5.1 / (4 * jnp.pi**2) * x**2 + 5 / jnp.pi * x - 6
    return inner**2 + 10 * (1 - 1 / (8 * jnp.pi)) * jnp.cos(x) + 10


def vector(p):
    return jnp.stack([p[name] for name in sorted(p)])


def rosenbrock(p):
    x = vector(p)
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def ackley(p):
    x = vector(p) - 0.7
    waves = jnp.exp(jnp.mean(jnp.cos(2 * jnp.pi * x)))
    return 20 - 20 * jnp.exp(-0.2 * jnp.sqrt(jnp.mean(x**2))) + jnp.e - waves


def sphere(p):
    return jnp.sum((vector(p) - 0.7) ** 2)


def mixed(p):
    """Learning rate, width, batch, optimizer, activation: each option has its own best rate."""
    shift = jnp.asarray([0.0, 0.7, -0.5, 1.0])[p["optimizer"]]
    extra = jnp.asarray([0.3, 0.0, 0.5, 0.8])[p["optimizer"]]
    extra = extra + jnp.asarray([0.2, 0.0, 0.4])[p["activation"]]
    rate = jnp.log10(p["rate"]) + 2.5 + shift
    width = jnp.log2(p["width"]) - 6.3
    return rate**2 + 0.2 * width**2 + 0.05 * (p["depth"] - 5) ** 2 + (p["drop"] - 0.3) ** 2 + extra


LEVY = hpo.problems.mixed().objective


def mixed_levy(p):
    """Reals, integers and choices of `problems.mixed`: an option moves the reals' minimum."""
    x = vector({name: p[name] for name in p if name.startswith("x")})
    return LEVY(None, {"x": x, **{name: p[name] for name in ("n", "k", "kind", "mode")}})


FLOAT, INT = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution
OPTION = optuna.distributions.CategoricalDistribution


def box(num_dims, low, high):
    return {f"x{i:02d}": FLOAT(low, high) for i in range(num_dims)}


PROBLEMS = {
    "branin": (branin, {"x": FLOAT(-5.0, 10.0), "y": FLOAT(0.0, 15.0)}),
    "rosenbrock4": (rosenbrock, box(4, -2.0, 2.0)),
    "ackley8": (ackley, box(8, -5.0, 4.0)),
    "sphere20": (sphere, box(20, -5.0, 5.0)),
    "mixed6": (
        mixed,
        {
            "rate": FLOAT(1e-5, 1.0, log=True),
            "width": INT(8, 512, log=True),
            "depth": INT(1, 12),
            "drop": FLOAT(0.0, 0.9, step=0.05),
            "optimizer": OPTION((0, 1, 2, 3)),
            "activation": OPTION((0, 1, 2)),
        },
    ),
    "mixed8": (
        mixed_levy,
        {
            **box(4, -6.0, 6.0),
            "n": INT(0, 20),
            "k": INT(1, 1024, log=True),
            "kind": OPTION((0, 1, 2, 3)),
            "mode": OPTION((0, 1, 2)),
        },
    ),
}


def ours(name, seeds, num_trials):
    function, distributions = PROBLEMS[name]
    space = hpo.space.from_optuna(distributions)
    sampler = hpo.samplers.tpe(space)

    def objective(key, params):
        return function(params)

    def study(key):
        return hpo.minimize(objective, space, sampler, key=key, num_trials=num_trials).best_so_far

    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    run = jax.jit(jax.vmap(study)).lower(keys).compile()
    start = time.process_time()
    curves = np.asarray(jax.block_until_ready(run(keys)), float)
    return curves, (time.process_time() - start) / len(seeds)


def optunas(name, seed, num_trials):
    function, distributions = PROBLEMS[name]
    function = jax.jit(function)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    start = time.process_time()
    values = []
    for _ in range(num_trials):
        trial = study.ask(distributions)
        values.append(float(function(trial.params)))
        study.tell(trial, values[-1])
    return np.minimum.accumulate(values), time.process_time() - start


def run(arguments):
    path = pathlib.Path(arguments.out)
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["problem"], row["library"], row["seed"]) for row in rows}

    def save(name, library, seed, curve, cpu_s):
        best = [float(value) for value in curve[9::10]]
        row = {"problem": name, "library": library, "seed": seed, "cpu_s": cpu_s, "best": best}
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    for name in arguments.problems or PROBLEMS:
        left = [s for s in range(arguments.seeds) if (name, "jaxhpo", s) not in done]
        if left:
            curves, cpu_s = ours(name, left, arguments.trials)
            for seed, curve in zip(left, curves, strict=True):
                save(name, "jaxhpo", seed, curve, cpu_s)
        for seed in range(arguments.seeds):
            if (name, "optuna", seed) not in done:
                save(name, "optuna", seed, *optunas(name, seed, arguments.trials))
        print(f"{name} done", flush=True)


def report(arguments):
    rows = [json.loads(line) for line in pathlib.Path(arguments.out).read_text().splitlines()]
    print("problem        median best, half   median best, end    won    p      CPU s a study")
    print("               jaxhpo    optuna    jaxhpo    optuna                  jaxhpo  optuna")
    for name in dict.fromkeys(row["problem"] for row in rows):
        pairs = [
            {row["seed"]: row for row in rows if (row["problem"], row["library"]) == (name, who)}
            for who in ("jaxhpo", "optuna")
        ]
        seeds = sorted(pairs[0].keys() & pairs[1].keys())
        best = np.asarray([[part[seed]["best"] for seed in seeds] for part in pairs])
        half, end = (np.median(best[:, :, at], axis=1) for at in (best.shape[2] // 2 - 1, -1))
        difference = best[0, :, -1] - best[1, :, -1]
        won, p = np.sum(difference < 0), wilcoxon(difference).pvalue
        cpu = [np.mean([part[seed]["cpu_s"] for seed in seeds]) for part in pairs]
        print(
            f"{name:12s} {half[0]:9.4g} {half[1]:9.4g} {end[0]:9.4g} {end[1]:9.4g} "
            f"{won:4d}/{len(seeds)} {p:7.3f} {cpu[0]:7.3f} {cpu[1]:7.3f}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("problems", nargs="*")
    parser.add_argument("--out", default="tpe.jsonl")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=200)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    {"run": run, "report": report}[arguments.command](arguments)


if __name__ == "__main__":
    main()
