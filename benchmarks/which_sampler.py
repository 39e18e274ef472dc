"""Which sampler for which problem: from runs of `jaxhpo bench` to `docs/choosing-a-sampler.md`.

    jaxhpo bench --out bench/short --trials 100 --seeds 10 \\
        --samplers random,qmc,pattern,de,cma_es,tpe,gp,turbo --problems standard,bbob
    jaxhpo bench --out bench/long --trials 1000 --seeds 10 \\
        --samplers random,qmc,pattern,de,cma_es,tpe --problems standard
    jaxhpo bench --out bench/wide --trials 200 --seeds 10 \\
        --samplers random,qmc,pattern,de,cma_es,tpe,gp,turbo --problems wide
    jaxhpo bench --out bench/tabular --trials 100 --seeds 10 \\
        --samplers random,qmc,pattern,de,cma_es,tpe,gp,turbo --problems tabular
    jaxhpo bench --out bench/tabular-long --trials 600 --seeds 5 \\
        --samplers random,qmc,pattern,de,cma_es,tpe --problems tabular
    jaxhpo bench --out bench/several --trials 100 --seeds 10 \\
        --samplers random,qmc,nsga2,nsga3,gp_multi --problems several
    jaxhpo bench --out bench/several-long --trials 500 --seeds 10 \\
        --samplers random,qmc,nsga2,nsga3 --problems several
    python benchmarks/which_sampler.py pack bench/*
    python benchmarks/which_sampler.py page
    python benchmarks/which_sampler.py check

Compiling is most of the time of these runs: with JAX_DISABLE_MOST_OPTIMIZATIONS=1 they take a third
of it, and say nothing about the time of a trial. `pack` writes `benchmarks/results/*.json`; with
`--update` it replaces only the samplers that the folders hold, which serves after a change of one.
`page` writes the tables and figures of the page from these files, and `check` ends with an error
unless "auto" is as good as the second-best single sampler in each of them.
"""

import argparse
import pathlib
import sys

import numpy as np
from PIL import Image

from jaxhpo import benchmarking
from jaxhpo.benchmarking import _draw as draw

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "choosing-a-sampler.md"
BEGIN, END = "<!-- made by benchmarks/which_sampler.py -->", "<!-- end -->"
SHARES = (1, 3, 5, 10)  # tenths of the trials
TITLES = {
    "short": "One objective, {num_trials} trials",
    "long": "One objective, {num_trials} trials, the cheap samplers",
    "wide": "One objective of 20 parameters, {num_trials} trials",
    "tabular": "Validation losses of models of tables, {num_trials} trials",
    "tabular-long": "Validation losses of models of tables, {num_trials} trials, cheap samplers",
    "several": "Two and three objectives, {num_trials} trials",
    "several-long": "Two and three objectives, {num_trials} trials, the cheap samplers",
}
SHOWN = {
    "short": (
        *("hartmann6", "rosenbrock5", "ackley10", "bbob10_5d"),
        *("bbob21_5d", "mixed", "categorical", "conditional"),
    ),
    "tabular": ("network_digits", "network_diabetes", "linear_wine", "kernel_diabetes"),
    "several": ("zdt1_8d", "zdt4_5d", "dtlz2_6d", "c2_dtlz2"),
}


def files():
    return {
        name: RESULTS / f"{name}.json" for name in TITLES if (RESULTS / f"{name}.json").exists()
    }


def pack(arguments):
    RESULTS.mkdir(exist_ok=True)
    for folder in map(pathlib.Path, arguments.folders):
        path = RESULTS / f"{folder.name}.json"
        records = benchmarking.load(folder / "results.jsonl")
        kept = others(path, records) if arguments.update else []
        benchmarking.pack(records, path)
        if kept:
            benchmarking.pack(kept + benchmarking.unpack(path), path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def others(path, records):
    """What the file holds of samplers that were not run again."""
    if any(record["minimum"] is None for record in records):
        sys.exit(f"{path}: where the minimum is not known, all samplers must be run again.")
    again = {record["sampler"] for record in records}
    return [record for record in benchmarking.unpack(path) if record["sampler"] not in again]


def rank_lines(records):
    """The rank table in Markdown, `auto` among the single samplers."""
    table, auto = benchmarking.rank_table(records), benchmarking.standing(records)
    rows = [(name, curve) for name, curve in zip(table.samplers, table.rank_curves, strict=True)]
    rows.append(("auto", auto.auto))
    best = np.min([curve for _, curve in rows], axis=0)
    heads = [f"{10 * share} %" for share in SHARES]
    yield f"| sampler | {' | '.join(heads)} | anytime |"
    yield "|---" * (len(heads) + 2) + "|"
    for name, curve in sorted(rows, key=lambda row: (row[1][-1], row[0] != "auto")):
        cells = [
            f"**{curve[share - 1]:.2f}**" if curve[share - 1] <= best[share - 1] else
            f"{curve[share - 1]:.2f}"
            for share in SHARES
        ]  # fmt: skip
        yield f"| `{name}` | {' | '.join(cells)} | {curve.mean():.2f} |"


def problem_lines(records, table):
    """Median regret at the end, a row a problem, the best in bold."""
    found = {(row["problem"], row["sampler"]): row for row in benchmarking.summary(records)}
    yield f"| problem | {' | '.join(f'`{name}`' for name in table.samplers)} |"
    yield "|---" * (len(table.samplers) + 1) + "|"
    for problem in table.problems:
        medians = [found[problem, name]["regret_median"] for name in table.samplers]
        best = min(medians)
        cells = [f"**{number(m)}**" if m <= best else number(m) for m in medians]
        yield f"| {problem} | {' | '.join(cells)} |"


def number(value):
    """Two digits that count, without an exponent where there are few zeros."""
    return f"{float(f'{value:.2g}'):,.0f}" if 10 <= value < 1e6 else f"{value:.2g}"


def fill(page, lines):
    """Puts lines between the two marks of a page."""
    before, rest = page.read_text().split(BEGIN)
    page.write_text(before + "\n".join([BEGIN, "", *lines, END]) + rest.split(END)[1])


def page(arguments):
    del arguments
    lines = []
    for name, path in files().items():
        records = benchmarking.unpack(path)
        table = benchmarking.rank_table(records)
        facts = records[0]
        lines += [f"### {TITLES[name].format(**facts)}", ""]
        lines += [
            "Mean rank after a share of the trials (1 is best), over "
            f"{len(table.problems)} problems and {facts['num_seeds']} seeds:",
            "",
            *rank_lines(records),
            "",
            f"![Mean rank over the trials](which-{name}.png)",
            "",
        ]
        draw.draw_ranks(table, PAGE.parent / f"which-{name}.png", facts["num_trials"])
        if name in SHOWN:
            shown = [record for record in records if record["problem"] in SHOWN[name]]
            picture = PAGE.parent / f"curves-{name}.png"
            draw.draw_curves(shown, picture, facts["num_trials"])
            # A quarter as large; with fewer colours those of two lines become one.
            Image.open(picture).convert("RGB").quantize(256).save(picture)
            lines += [f"![Median regret with quartiles](curves-{name}.png)", ""]
        what = (
            "Median share of the volume that is missing"
            if name.startswith("several")
            else "Median regret"
        )
        lines += [f"{what} at the end:", "", *problem_lines(records, table), ""]
    fill(PAGE, lines)


def check(arguments):
    del arguments
    failed = False
    for name, path in files().items():
        found = benchmarking.standing(benchmarking.unpack(path))
        is_good = found.auto[-1] <= found.second[-1]
        failed |= not is_good
        print(
            f"{name:12s} auto {found.auto[-1]:.3f}, best {found.best[-1]:.3f}, second "
            f"{found.second[-1]:.3f}: {'good' if is_good else 'WORSE'}; it chose {found.chosen}"
        )
    sys.exit(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("folders", nargs="+")
    packing.add_argument("--update", action="store_true")
    packing.set_defaults(run=pack)
    for name, function in (("page", page), ("check", check)):
        commands.add_parser(name).set_defaults(run=function)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
