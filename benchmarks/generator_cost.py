"""What a generator objective costs: a report in memory and in SQLite, and a rule over 400 trials.

Run: python benchmarks/generator_cost.py [--rounds 3] [--trials 400] [--storage memory SQLite]

The rounds of all rows are interleaved. The first round, in which programs compile, is left out. A
row is the median of the rounds, and their least and largest, in CPU time, which other programs on
the machine change less than wall time. "whole run" is that of the study, of which the objective
itself takes next to nothing; "rule" is what is spent in decisions.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np
import optuna

import jaxhpo as hpo
from jaxhpo.study.scheduling._rule import Rule
from jaxhpo.study.scheduling._schedule import Schedule

SPACE = {"x": hpo.uniform(0.0, 1.0)}
NUM_STEPS = 27
REPORTS = 2_000


def loss(x, step):
    return (x - 0.3) ** 2 + (0.2 + (x * 7.919) % 1.0) / step


def reports(params):
    for step in range(1, NUM_STEPS + 1):
        yield loss(params["x"], step)


def resumable(params, checkpoint=None):
    for step in range(checkpoint or 0, NUM_STEPS):
        yield hpo.Report(loss(params["x"], step + 1), step + 1)


def many(params):
    for step in range(1, REPORTS + 1):
        yield 1.0 / step


def cost_of_reports(storage):
    """Milliseconds per report of one long trial, and of Optuna's own `trial.report`."""
    study = hpo.Study(SPACE, "random", storage=storage)
    started = time.process_time()
    study.optimize(many, num_trials=1, progress=False)
    spent = time.process_time() - started
    theirs = study.to_optuna()
    trial, count = theirs.ask(), min(REPORTS, 500)
    began = time.process_time()
    for step in range(1, count + 1):
        trial.report(1.0 / step, step)
    return {
        "report": 1e3 * spent / REPORTS,
        "Optuna's report": 1e3 * (time.process_time() - began) / count,
    }


class Timed:
    """Adds up the time in a method, calls of itself counted once."""

    def __init__(self, kind, name):
        self.seconds, self.depth, inner = 0.0, 0, getattr(kind, name)

        def timed(*args, **kwargs):
            self.depth += 1
            began = time.process_time()
            try:
                return inner(*args, **kwargs)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.seconds += time.process_time() - began

        setattr(kind, name, timed)


def cost_of_rule(objective, scheduler, storage, num_trials, decide, judge):
    study = hpo.Study(SPACE, "random", storage=storage)
    decide.seconds = judge.seconds = 0.0
    began = time.process_time()
    study.optimize(
        objective, num_trials=num_trials, scheduler=scheduler, num_steps=NUM_STEPS, progress=False
    )
    whole = time.process_time() - began
    return {"whole run": whole, "rule": decide.seconds, "rule and its reading": judge.seconds}


def cost_of_optuna(storage, num_trials):
    """The same objective under Optuna's successive halving, random points."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    spent = [0.0]
    prune = pruner.prune

    def timed(*args):
        began = time.process_time()
        try:
            return prune(*args)
        finally:
            spent[0] += time.process_time() - began

    pruner.prune = timed

    def objective(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        for step in range(1, NUM_STEPS + 1):
            trial.report(loss(x, step), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss(x, NUM_STEPS)

    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, sampler=sampler, pruner=pruner)
    began = time.process_time()
    study.optimize(objective, n_trials=num_trials)
    return {"whole run": time.process_time() - began, "rule": spent[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=400)
    places = ["memory", "SQLite"]
    parser.add_argument("--storage", nargs="+", choices=places, default=places)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    decide, judge = Timed(Rule, "decide"), Timed(Schedule, "judge")
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds + 1):
            for where in options.storage:

                def file(name, number=number, where=where):
                    path = pathlib.Path(folder) / f"{name}{number}.db"
                    return f"sqlite:///{path}" if where == "SQLite" else None

                n = options.trials
                rows = {"one long trial": cost_of_reports(file("r"))}
                for objective, rule in (
                    (reports, "asha"),
                    (resumable, "asha"),
                    (resumable, "halving"),
                ):
                    name = f"{rule}, {objective.__name__}"
                    arguments = (objective, rule, file(f"{rule}{objective.__name__}"), n)
                    rows[name] = cost_of_rule(*arguments, decide, judge)
                rows["Optuna's SuccessiveHalvingPruner"] = cost_of_optuna(file("o"), n)
                for row, costs in rows.items():
                    for what, cost in costs.items():
                        if number:
                            found.setdefault((where, f"{row}: {what}"), []).append(cost)
    for (where, what), costs in found.items():
        unit = "ms" if "report" in what.partition(": ")[2] and "one" in what else "s"
        print(
            f"{where:6s}  {what:60s} {np.median(costs):8.3f} {unit} "
            f"({min(costs):.3f} to {max(costs):.3f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
