"""The demo's act of Bayesian optimization: a few trials, chosen one batch after the other."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import numpy as np

_MIN_TRIALS, _MAX_TRIALS, _BATCH = 8, 48, 4
_NUM_ORDERS = 500


def bayesian_optimization(stage: Any) -> pathlib.Path:
    """Searches the same space with a tenth of the trials, and shows what the model has learned."""
    from jaxhpo import inspection
    from jaxhpo.study import Study

    trials = int(np.clip(stage.trials, _MIN_TRIALS, _MAX_TRIALS))
    study = Study(
        stage.problem.space, "gp", storage=stage.study.storage, name=f"{stage.study.name}-gp",
        seed=stage.seed,
    )  # fmt: skip
    print(f"{trials} trials by a Gaussian process, {_BATCH} at a time, in the same space.")
    begin = time.perf_counter()
    study.sweep(
        stage.problem.training, num_trials=trials, num_steps=stage.steps, num_reports=20,
        batch_size=_BATCH, programs=stage.study.programs,
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    random = np.array([_loss(trial) for trial in stage.study.trials])
    chosen = np.array([_loss(trial) for trial in study.trials])
    typical = _typical_best(random)
    print(f"Best loss {np.min(chosen):.4f} in {seconds:.1f} s, compile included.")
    count = min(len(random), len(chosen))
    print(
        f"As many random trials reach {typical[count - 1]:.4f} as a rule, "
        f"{_reached(typical, chosen)}."
    )
    surrogate = study.surrogate()
    shares = inspection.sensitivity(surrogate)
    print("What matters, by the model: " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items()))
    return _draw(stage, surrogate, typical, np.minimum.accumulate(chosen))


def _loss(trial: Any) -> float:
    return trial.value if trial.status.name == "COMPLETE" else np.inf


def _typical_best(values: np.ndarray) -> np.ndarray:
    """Median over orders of the best of the first `k` values, for each `k`."""
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.repeat(values[None], _NUM_ORDERS, axis=0), axis=1)
    return np.median(np.minimum.accumulate(orders, axis=1), axis=0)


def _reached(typical: np.ndarray, chosen: np.ndarray) -> str:
    """In how many random trials the model's best is reached."""
    where = np.flatnonzero(typical <= np.min(chosen))
    if where.size == 0:
        return f"and all {len(typical)} of them {typical[-1]:.4f}"
    return f"and {where[0] + 1} of them as much as the model"


def _draw(stage: Any, surrogate: Any, typical: np.ndarray, best: np.ndarray) -> pathlib.Path:
    """The two searches side by side, and a cut through the model at its best trial."""
    from matplotlib.figure import Figure

    from jaxhpo import inspection, plots

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for losses, label in ((typical, "random, median order"), (best, "Gaussian process")):
        left.plot(np.arange(1, len(losses) + 1), losses, label=label)
    left.set(xlabel="trials", ylabel="best validation cross entropy", xscale="log", yscale="log")
    left.legend(frameon=False)
    cut = inspection.slice_of(surrogate, ["lr", "momentum"], num_points=40)
    plots.model_slice(cut, ax=right, label="predicted cross entropy")
    return plots.save(figure, stage.out / "bayesian.png")
