"""The leaderboard of hypergradient estimators, docs/leaderboard.md: runs what is missing, writes.

    python benchmarks/leaderboard.py
    python benchmarks/leaderboard.py --peers      # in an environment that has the peers
    pip install torch torchopt higher betty-ml jaxopt optimistix gradhpo

The rows are kept in benchmarks/results/hypergradients.jsonl. What is there is not run again: to
measure anew, take the lines out.
"""

from __future__ import annotations

import argparse
import pathlib

from jaxhpo import benchmarking
from jaxhpo.benchmarking.internal import draw_pareto, markdown_of

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parent / "docs" / "leaderboard.md"
BEGIN, END = "<!-- made by benchmarks/leaderboard.py{} -->", "<!-- end{} -->"
ESTIMATORS = (
    "unrolled", "forward", "truncated", "one_step", "implicit_cg", "hyperdistill", "es", "pes",
)  # fmt: skip
TASKS = ("logistic", "ridge", "valley", "penalties", "distillation", "proximal")
PEER_TASKS = ("logistic",)
SETTINGS = {"budget": 100, "num_seeds": 5, "num_tuning_seeds": 1, "out": HERE / "results"}


def put(text: str, which: str) -> None:
    """Between the marks of the page."""
    begin, end = BEGIN.format(which), END.format(which)
    before, rest = PAGE.read_text().split(begin)
    _, after = rest.split(end)
    PAGE.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")


def main() -> None:
    """Runs and writes one of the two parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true")
    if parser.parse_args().peers:
        names = ["unrolled", "implicit_cg", *benchmarking.PEERS]
        board = benchmarking.hypergradients(names, PEER_TASKS, **SETTINGS)
        put(markdown_of(board, level=3), ", peers")
        return
    board = benchmarking.hypergradients(ESTIMATORS, TASKS, **SETTINGS)
    put(markdown_of(board, level=3), "")
    draw_pareto(board.cells, PAGE.with_suffix(".png"))


if __name__ == "__main__":
    main()
