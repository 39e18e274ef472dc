"""The public door of the hypergradient benchmark."""

from __future__ import annotations

from typing import Any

from jaxhpo._checks import check_count
from jaxhpo._checks.suggest import named_arguments
from jaxhpo._tracing import compilation_cache
from jaxhpo.benchmarking.leaderboard._entries import WHERE, cases_of, methods_of
from jaxhpo.benchmarking.leaderboard._file import folder_of
from jaxhpo.benchmarking.leaderboard._run import Plan, run_cells
from jaxhpo.benchmarking.leaderboard._table import Leaderboard, leaderboard_of
from jaxhpo.progress import Progress, make_reporter

ROWS = "hypergradients.jsonl"


@named_arguments
def hypergradients(
    estimators: Any = None,
    tasks: Any = None,
    *,
    budget: int = 200,
    num_seeds: int = 5,
    num_tuning_seeds: int = 2,
    out: Any = None,
    progress: Any = True,
) -> Leaderboard:
    """Compares hypergradient estimators on bilevel tasks, at one budget of training steps each.

    For every estimator and task: error and cosine against the exact gradient of the finite run in
    float64; bias and deviation of that error over keys; operations, time and memory beside the
    plain run, time to compile; the verdict of `hypergrad.diagnose`; and for every seed the loss
    and the score that a descent with Adam ends at. A descent may cost `budget` training runs: one
    whose outer step takes the operations of 3.5 runs (counted in the traced program, so that no
    clock decides) gets `budget / 3.5` outer steps. Each estimator has the best of four outer steps,
    0.1 to 3 times the task's own, chosen on seeds that are not reported. A seed has a start near
    the task's own and keys of its own.

    Args:
        estimators: names (`benchmarking.ESTIMATORS`, and `benchmarking.PEERS` for those of other
            libraries, each in a process of its own), functions `(training, *, num_steps) ->
            Estimator`, or a dict of labels to either; None: all of ESTIMATORS.
        tasks: names (`problems.TASKS`), functions that return a `problems.Task`, Task objects, or a
            dict of labels to these; None: all names. The arrays of a Task object stay in the
            precision that it was made in; a function is called again where float64 is on.
        budget: training runs that one descent may cost, at least 1.
        num_seeds: descents that are reported, at least 1; intervals need 2, and mean something
            from 5 on.
        num_tuning_seeds: descents for each of the four outer steps, at least 1.
        out: folder whose `hypergradients.jsonl` keeps every row as soon as it is there; a call that
            finds rows of the same labels and budget there runs only what is missing, and tries
            again what an estimator refused or failed at. None keeps nothing.
        progress: True for a bar, False, or a callable, as in `Study.optimize`.

    Returns:
        The `Leaderboard`. An estimator that raises has rows that say what.

    Raises:
        TypeError: an argument of a wrong type, or a function that returns no Estimator or Task.
        ValueError: an unknown name, a label given twice, a number out of range, a folder `out`
            that cannot be written to, or a file in it that holds something else, or rows of a
            label that stood for another function.

    Example:
        >>> import jaxhpo as hpo
        >>> found = hpo.benchmarking.hypergradients(
        ...     ["unrolled", "one_step"], ["valley"], budget=20, num_seeds=2, num_tuning_seeds=1,
        ...     progress=False,
        ... )
        >>> [cell["error"] < 0.1 for cell in found.cells]
        [True, False]
        >>> found.standings.estimators[0]  # a short budget: 19 cheap steps against 2 exact ones
        'one_step'

    References:
        Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006.
    """
    methods, cases = methods_of(estimators), cases_of(tasks)
    plan = Plan(
        check_count(WHERE, "budget", budget, 1),
        check_count(WHERE, "num_seeds", num_seeds, 1),
        check_count(WHERE, "num_tuning_seeds", num_tuning_seeds, 1),
    )
    path = None if out is None else folder_of(WHERE, out) / ROWS
    compilation_cache.enable_compilation_cache()
    total, note = len(methods) * len(cases), "each compiles its programs"
    with make_reporter(WHERE, progress, WHERE, total, unit="cells", note=note) as shown:

        def report(done: int, text: str) -> None:
            shown.update(Progress(done, total, None, 0, text))

        rows = run_cells(methods, cases, plan, path, report)
        shown.update(Progress(total, total, None, 0))
    return leaderboard_of(rows)
