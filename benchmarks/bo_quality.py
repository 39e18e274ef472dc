"""Regret of the `gp` sampler beside Optuna's GPSampler, BoTorch and random search, seed by seed.

    python benchmarks/bo_quality.py run hartmann6 levy10 --seeds 20 --out results.jsonl
    python benchmarks/bo_quality.py report results.jsonl

`run` appends one line a study to the file and skips what is there, so it may be stopped and
continued at any time; seeds are in the outer loop, so that every library always has the same ones.
Each line holds the best value so far after 10, 20, … trials, and the library's CPU seconds.

What has been run is in `benchmarks/results/bo_*.jsonl`; its CPU seconds come from a busy machine.

`report` prints, a problem: medians of simple regret at 50 and at all trials, the share of seeds
solved (regret under 1e-2), seeds won against each peer, half-way and at the end, with the p value
of Wilcoxon's signed-rank test; and the mean ranks, over the problems of which each peer has all
seeds. Where nobody knows the optimum, regret is to the best value of all files. Needs
`pip install jaxhpo[bench]`.
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

HALF, END = 0.5, 1.0
"""Shares of the trials."""

BASE = ("jaxhpo", "random")
"""Libraries that stand beside each peer."""


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
    found = {}
    print("problem          library  seeds  median half-way    at end  solved  CPU s   jaxhpo won")
    for name in problems:
        regrets, seconds = _regrets([row for row in rows.values() if row["problem"] == name])
        for library in regrets:
            _print_row(name, library, regrets, seconds)
        found[name] = regrets
    peers = sorted({library for regrets in found.values() for library in regrets} - {*BASE})
    for peer in peers:
        trio = (*BASE, peer)
        shared = [
            one
            for one in found.values()
            if _seeds(one, trio) and _seeds(one, trio) == _seeds(one, BASE)
        ]
        if not shared:
            continue
        for when, place in (("half-way", HALF), ("at the end", END)):
            ranks = np.mean([_mean_ranks(one, trio, place) for one in shared], axis=0)
            text = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(trio, ranks, strict=True))
            print(f"mean rank {when} over {len(shared)} problems: {text}")


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
    middle, end = np.median(mine[:, _place(mine, HALF)]), np.median(mine[:, -1])
    duel = ""
    if library != "jaxhpo" and "jaxhpo" in regrets:
        duel = "; ".join(_duel(regrets["jaxhpo"], regrets[library], place) for place in (HALF, END))
    print(
        f"{name:16s} {library:8s} {len(mine):5d} {middle:16.2e} {end:9.1e} "
        f"{np.mean(mine[:, -1] < SOLVED):7.2f} {seconds[library]:6.1f}   {duel}",
        flush=True,
    )


def _place(regret: Any, place: float) -> int:
    """Index of a share of the trials along the last axis."""
    return int(place * regret.shape[-1]) - 1


def _duel(ours: dict[int, Any], theirs: dict[int, Any], place: float) -> str:
    """Seeds won, and the p value."""
    shared = sorted(ours.keys() & theirs.keys())
    left, right = (
        np.asarray([one[seed][_place(one[seed], place)] for seed in shared])
        for one in (ours, theirs)
    )
    return f"{np.sum(left < right)} of {len(shared)}, p = {_paired(left, right):.2g}"


def _paired(ours: Any, theirs: Any) -> float:
    """Two-sided p of Wilcoxon's signed-rank test on log regret."""
    from scipy.stats import wilcoxon

    gap = np.log(ours) - np.log(theirs)
    if not np.any(gap):
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few seeds
        return float(wilcoxon(gap).pvalue)


def _seeds(regrets: dict[str, dict[int, Any]], names: tuple[str, ...]) -> list[int]:
    """Seeds that all of these libraries have."""
    return sorted(set.intersection(*(set(regrets.get(name, ())) for name in names)))


def _mean_ranks(regrets: dict[str, dict[int, Any]], names: tuple[str, ...], place: float) -> Any:
    """Mean rank of each library, over the seeds that all of them have; 1 is best."""
    from scipy.stats import rankdata

    shared = _seeds(regrets, names)
    rows = [
        [regrets[name][seed][_place(regrets[name][seed], place)] for name in names]
        for seed in shared
    ]
    return np.mean([rankdata(row) for row in rows], axis=0)


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
