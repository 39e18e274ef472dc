"""The estimators of the package under the names of the leaderboard, with settings for a task."""

from __future__ import annotations

from collections.abc import Callable

from jaxhpo import hypergrad as hg
from jaxhpo.hypergrad import Estimator
from jaxhpo.problems import Task

_PAIRS, _SIGMA = 16, 0.01


def _unrolled(checkpoint: object) -> Callable[[Task], Estimator]:
    return lambda task: hg.unrolled(task.training, num_steps=task.num_steps, checkpoint=checkpoint)


def _implicit(solver: object) -> Callable[[Task], Estimator]:
    return lambda task: hg.implicit(task.training, num_steps=task.num_steps, solver=solver)


def _reversible(task: Task) -> Estimator:
    if task.reversible is None:
        raise ValueError("reversible: the task is not trained by SGD with momentum.")
    return hg.reversible(task.training, num_steps=task.num_steps, **task.reversible)


def _truncated(task: Task) -> Estimator:
    window = max(1, task.num_steps // 10)
    return hg.truncated(task.training, num_steps=task.num_steps, window=window)


def _pes(task: Task) -> Estimator:
    windows = next(w for w in (5, 4, 2, 1) if task.num_steps % w == 0)
    return hg.pes(
        task.training, num_steps=task.num_steps, window=task.num_steps // windows,
        num_pairs=_PAIRS, sigma=_SIGMA,
    )  # fmt: skip


ESTIMATORS: dict[str, Callable[[Task], Estimator]] = {
    "unrolled": _unrolled("sqrt"),
    "unrolled_step": _unrolled("step"),
    "unrolled_none": _unrolled("none"),
    "unrolled_nested": _unrolled(hg.nested(3)),
    "unrolled_binomial": _unrolled("binomial"),
    "forward": lambda task: hg.forward(task.training, num_steps=task.num_steps, batch_tangents=64),
    "reversible": _reversible,
    "finite_difference": lambda task: hg.finite_difference(task.training, num_steps=task.num_steps),
    "truncated": _truncated,
    "drmad": lambda task: hg.drmad(task.training, num_steps=task.num_steps),
    "hyperdistill": lambda task: hg.hyperdistill(task.training, num_steps=task.num_steps),
    "one_step": lambda task: hg.one_step(task.training, num_steps=task.num_steps),
    "greedy": lambda task: hg.greedy(task.training, num_steps=task.num_steps, decay=0.9),
    "implicit_cg": _implicit(hg.cg(30)),
    "implicit_neumann": _implicit(hg.neumann(30, 0.3)),
    "implicit_gmres": _implicit(hg.gmres(30)),
    "implicit_nystrom": _implicit(hg.nystrom(10)),
    "es": lambda task: hg.es(
        task.training, num_steps=task.num_steps, num_pairs=_PAIRS, sigma=_SIGMA
    ),
    "pes": _pes,
}
"""Name -> `build(task)`; an estimator that cannot do a task raises a ValueError or TypeError."""
