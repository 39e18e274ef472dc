"""Regret of the `gp` sampler beside Optuna's GPSampler, BoTorch and random search, seed by seed.

    python benchmarks/bo_quality.py run hartmann6 levy10 --seeds 20 --out results.jsonl
    python benchmarks/bo_quality.py report results.jsonl

`run` appends one line a study to the file and skips what is there, so it may be stopped and
continued at any time; seeds are in the outer loop, so that every library always has the same ones.
Each line holds the best value so far after 10, 20, … trials, and the library's CPU seconds.

What has been run is in `benchmarks/results/bo_*.jsonl`; its CPU seconds come from a busy machine.

`report` prints, a problem: medians of simple regret at 50 and at all trials, the share of seeds
solved (regret under 1e-2), seeds won against each peer with the p value of Wilcoxon's signed-rank
test; and the mean rank over all problems. Where nobody knows the optimum, regret is to the best
value of the whole file. Needs `pip install jaxhpo[bench]`.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import warnings
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NPROC", "1")  # XLA's own threads: small programs only wait for them
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
from _bo_peers import LIBRARIES, one_thread, study
from _bo_problems import PROBLEMS

SOLVED = 1e-2
FLOOR = 1e-9
"""Regret below it is rounding."""


def run(args: argparse.Namespace) -> None:
    """Runs the studies that the file lacks."""
    one_thread()
    path = pathlib.Path(args.out)
    lines = path.read_text().splitlines() if path.exists() else []
    done = {_key(json.loads(line)) for line in lines}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.names or PROBLEMS:
            problem = PROBLEMS[name]()
            for library in args.libraries:
                if (name, library, seed, args.trials) in done:
                    continue
                found = study(LIBRARIES[library], problem, seed, args.trials)
                best = np.minimum.accumulate(found.values)
                row = {
                    "problem": name,
                    "library": library,
                    "seed": seed,
                    "trials": args.trials,
                    "best": [float(b) for b in best[9::10]],
                    "minimum": problem.minimum,
                    "cpu_s": round(found.cpu_s, 3),
                }
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["problem"], row["library"], row["seed"], row["trials"]


def report(args: argparse.Namespace) -> None:
    """Prints the tables of one or several files; a later line of the same study wins."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name in args.names:
        for line in pathlib.Path(name).read_text().splitlines():
            row = json.loads(line)
            rows[_key(row)] = row
    problems = [name for name in PROBLEMS if any(row["problem"] == name for row in rows.values())]
    ranks: list[dict[str, float]] = []
    print("problem          library  seeds  median regret at 50    at end  solved  CPU s   jaxhpo")
    for name in problems:
        regrets, seconds = _regrets([row for row in rows.values() if row["problem"] == name])
        for library in regrets:
            _print_row(name, library, regrets, seconds)
        ranks.append(_mean_ranks(regrets))
    print("\nmean rank at the end over the problems that have all of them")
    everyone = {library for rank in ranks for library in rank}
    full = [rank for rank in ranks if set(rank) == everyone]
    for library in everyone if full else ():
        print(f"  {library:8s} {np.mean([rank[library] for rank in full]):.2f}")


def _regrets(rows: list[dict[str, Any]]) -> tuple[dict[str, dict[int, Any]], dict[str, float]]:
    """Regret `[trials / 10]` by library and seed, and mean CPU seconds by library."""
    lowest = min(min(row["best"]) for row in rows)
    minimum = rows[0]["minimum"]
    minimum = lowest if minimum is None else minimum
    regrets: dict[str, dict[int, Any]] = {}
    seconds: dict[str, list[float]] = {}
    for library in LIBRARIES:
        for row in (row for row in rows if row["library"] == library):
            regret = np.maximum(np.asarray(row["best"]) - minimum, FLOOR)
            regrets.setdefault(library, {})[row["seed"]] = regret
            seconds.setdefault(library, []).append(row["cpu_s"])
    return regrets, {library: float(np.mean(values)) for library, values in seconds.items()}


def _print_row(
    name: str, library: str, regrets: dict[str, dict[int, Any]], seconds: dict[str, float]
) -> None:
    mine = np.asarray(list(regrets[library].values()))
    middle, end = np.median(mine[:, mine.shape[1] // 2 - 1]), np.median(mine[:, -1])
    duel = ""
    if library != "jaxhpo" and "jaxhpo" in regrets:
        shared = sorted(regrets["jaxhpo"].keys() & regrets[library].keys())
        ours = np.asarray([regrets["jaxhpo"][seed][-1] for seed in shared])
        theirs = np.asarray([regrets[library][seed][-1] for seed in shared])
        duel = f"won {np.sum(ours < theirs)} of {len(shared)}, p = {_paired(ours, theirs):.2g}"
    print(
        f"{name:16s} {library:8s} {len(mine):5d} {middle:20.2e} {end:9.1e} "
        f"{np.mean(mine[:, -1] < SOLVED):7.2f} {seconds[library]:6.1f}   {duel}",
        flush=True,
    )


def _paired(ours: Any, theirs: Any) -> float:
    """Two-sided p of Wilcoxon's signed-rank test on log regret."""
    from scipy.stats import wilcoxon

    gap = np.log(ours) - np.log(theirs)
    if not np.any(gap):
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few seeds
        return float(wilcoxon(gap).pvalue)


def _mean_ranks(regrets: dict[str, dict[int, Any]]) -> dict[str, float]:
    """Mean rank of each library at the end, over the seeds that all have; 1 is best."""
    from scipy.stats import rankdata

    shared = set.intersection(*(set(one) for one in regrets.values()))
    table = [[one[seed][-1] for one in regrets.values()] for seed in sorted(shared)]
    if not table:
        return {}
    return dict(zip(regrets, np.mean([rankdata(row) for row in table], axis=0), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("run", "report"))
    parser.add_argument("names", nargs="*", help="problems to run, or files to report")
    parser.add_argument("--libraries", nargs="*", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--out", default="bo_quality.jsonl")
    args = parser.parse_args()
    run(args) if args.action == "run" else report(args)


if __name__ == "__main__":
    main()
