"""A cell of a peer, in a process of its own: a request on standard input, rows on standard output.

Called by `benchmarking.hypergradients`, not by people.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxhpo.benchmarking.leaderboard._entries import Case, Method
from jaxhpo.benchmarking.leaderboard._methods import ESTIMATORS
from jaxhpo.benchmarking.leaderboard._run import Plan, rows_of
from jaxhpo.benchmarking.leaderboard._setting import Setting
from jaxhpo.benchmarking.leaderboard.peers import _jax, _torch
from jaxhpo.benchmarking.leaderboard.peers._registry import PEERS
from jaxhpo.hypergrad import Estimator
from jaxhpo.problems import TASKS, Task


def _build(name: str, task_name: str) -> Callable[[Task], Estimator]:
    if name in _jax.VALUES:
        return lambda task: _jax.estimator_of(name, task, _jax.VALUES[name](task, task_name))

    def build(task: Task) -> Estimator:
        (leaf,) = jax.tree.leaves(task.hparams)
        run = _torch.RUNS[name](_torch.problem_of(task, task_name, leaf.dtype))
        treedef = jax.tree.structure(task.hparams)

        def call(values: Any) -> Any:
            value, grad = run(np.array(values))
            return np.asarray(value, leaf.dtype), np.asarray(grad, leaf.dtype)

        def value(key: Any, hparams: Any) -> Any:
            (given,) = jax.tree.leaves(hparams)
            like = (
                jax.ShapeDtypeStruct((), given.dtype),
                jax.ShapeDtypeStruct(given.shape, given.dtype),
            )
            found, grad = jax.pure_callback(call, like, given)
            return found, jax.tree.unflatten(treedef, [grad])

        return _jax.estimator_of(name, task, value)

    return build


def _peak_growth(name: str, task_name: str, task: Task) -> float:
    """What one gradient adds to the largest resident set of this process, MB (Linux; else NaN)."""
    (leaf,) = jax.tree.leaves(task.hparams)
    problem = _torch.problem_of(task, task_name, leaf.dtype)
    before = _peak_megabytes()
    _torch.RUNS[name](problem)(np.array(leaf))
    return _peak_megabytes() - before


def _peak_megabytes() -> float:
    path = pathlib.Path("/proc/self/status")
    if not path.exists():
        return float("nan")
    line = next(line for line in path.read_text().splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) / 1e3


def main() -> None:
    """Answers one request."""
    request = json.load(sys.stdin)
    name, task_name = request["peer"], request["task"]
    plan, known = Plan(**request["plan"]), request["known"]
    setting = Setting(Case(task_name, TASKS[task_name], task_name))
    method = Method(name, _build(name, task_name), name, like=ESTIMATORS[PEERS[name].like])
    grown = _peak_growth(name, task_name, setting.task) if name in _torch.RUNS else None
    for row in rows_of(setting, method, plan, known):
        if grown is not None and "memory_mb" in row and not known:
            row["memory_mb"] = grown  # XLA does not see torch
        print("row " + json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
