"""The demo's act of Bayesian optimization: a model goes on from the random trials."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import numpy as np

_MIN_TRIALS, _MAX_TRIALS, _BATCH = 8, 48, 4
_NUM_ORDERS, _NUM_FRESH = 500, 32


def bayesian_optimization(stage: Any) -> pathlib.Path:
    """Adds a tenth as many trials to the study, by a model of those that it has."""
    from jaxhpo import inspection, samplers
    from jaxhpo.study import Study

    space, known = stage.problem.space, stage.study.trials
    trials = int(np.clip(stage.trials, _MIN_TRIALS, _MAX_TRIALS))
    # The loss of one run is noisy: among many runs the best was lucky. A low confidence bound of
    # the model goes where losses are low on the whole, and no minimum counts as reached.
    sampler = samplers.gp(
        space, batch_size=_BATCH, acquisition_function="ucb", beta=0.25, num_basins=0
    )
    study = Study(space, sampler, storage=stage.storage, name=stage.study.name, change_sampler=True)
    print(f"The study goes on with a Gaussian process: {trials} more trials, {_BATCH} at a time.")
    begin = time.perf_counter()
    study.sweep(
        stage.problem.training, num_trials=trials, num_steps=stage.steps, num_reports=20,
        batch_size=_BATCH, programs=stage.study.programs,
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    random, chosen = known[-stage.trials :], study.trials[len(known) :]
    typical = _typical_best(np.array([_loss(trial) for trial in random]))
    best = np.minimum.accumulate([_loss(trial) for trial in chosen])
    print(
        f"Best loss {best[-1]:.4f} in {seconds:.1f} s, compile included; the best of {len(random)} "
        f"random trials was {typical[-1]:.4f}."
    )
    surrogate = study.surrogate()
    before, after = (
        _mean_of_fresh_runs(stage, trial)
        for trial in (min(random, key=_loss), _likeliest(surrogate, study.trials))
    )
    print(
        f"Such losses are lucky draws. Over {_NUM_FRESH} fresh runs the best random configuration "
        f"has a mean loss\nof {before:.4f}, and the one that the model takes for the best "
        f"{after:.4f}."
    )
    shares = inspection.sensitivity(surrogate)
    print("What matters, by the model: " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items()))
    return _draw(stage, surrogate, typical, best)


def _likeliest(surrogate: Any, trials: list[Any]) -> Any:
    """The trial whose loss the model expects to be the lowest."""
    complete = [trial for trial in trials if trial.status.name == "COMPLETE"]
    expected = surrogate.predict(np.array([trial.unit for trial in complete])).median
    return complete[int(np.argmin(expected))]


def _mean_of_fresh_runs(stage: Any, trial: Any) -> float:
    """The mean loss of runs of one configuration, from keys that no trial had."""
    import jax
    import jax.numpy as jnp

    from jaxhpo.training import objective

    width = trial.params["width"]
    numbers = {name: value for name, value in trial.params.items() if name != "width"}
    loss = objective(stage.problem.training, stage.steps)

    @jax.jit
    def mean(keys: jax.Array, numbers: dict[str, Any]) -> jax.Array:
        full = {**numbers, "width": width}
        return jnp.mean(jax.lax.map(lambda key: loss(key, full), keys))

    return float(mean(jax.random.split(jax.random.key(stage.seed + 4), _NUM_FRESH), numbers))


def _loss(trial: Any) -> float:
    return trial.value if trial.status.name == "COMPLETE" else np.inf


def _typical_best(values: np.ndarray) -> np.ndarray:
    """Median over orders of the best of the first `k` values, for each `k`."""
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.repeat(values[None], _NUM_ORDERS, axis=0), axis=1)
    return np.median(np.minimum.accumulate(orders, axis=1), axis=0)


def _draw(stage: Any, surrogate: Any, typical: np.ndarray, best: np.ndarray) -> pathlib.Path:
    """The two searches side by side, and a cut through the model at its best trial."""
    from matplotlib.figure import Figure

    from jaxhpo import inspection, plots

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    n = len(typical)
    left.plot(np.arange(1, n + 1), typical, label="random, median order")
    best = np.minimum(best, typical[-1])
    left.plot(np.arange(n, n + len(best) + 1), [typical[-1], *best], label="Gaussian process")
    left.set(xlabel="trials", ylabel="best validation cross entropy", xscale="log", yscale="log")
    left.legend(frameon=False)
    cut = inspection.slice_of(surrogate, ["lr", "momentum"], num_points=40)
    plots.model_slice(cut, ax=right, label="predicted cross entropy")
    return plots.save(figure, stage.out / "bayesian.png")
