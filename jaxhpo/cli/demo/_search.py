"""The demo's first act: many random trials of one training run."""

from __future__ import annotations

import pathlib
from typing import Any

from jaxhpo.cli._inspect import print_trials
from jaxhpo.cli._tables import say


def random_search(stage: Any) -> pathlib.Path:
    """Adds trials to the study and tests the best configuration on digits nobody searched on."""
    study, trials, steps = stage.study, stage.trials, stage.steps
    say(f"Tuning a flax MLP on 1,797 handwritten digits: {trials} trials of {steps} steps.")
    if stored := len(study.trials):
        say(f"The study in {study.storage} has {stored} trials already; these are added to it.")
    summary = study.sweep(
        stage.problem.training, num_trials=trials, num_steps=steps, num_reports=20
    )
    _print_result(study, summary)
    accuracy = _retrain(stage.problem, study.best_params, steps, stage.seed)
    say(f"The best configuration, trained anew, reads {accuracy:.1%} of 347 unseen digits.")
    return _draw(study, stage.out)


def _print_result(study: Any, summary: Any) -> None:
    flat = study.space.flatten_params
    complete = [trial for trial in study.trials if trial.status.name == "COMPLETE"]
    rows = [(trial.number, trial.value, flat(trial.params)) for trial in complete]
    print_trials(study.name, study.direction, rows, 5)
    say(
        f"{summary.num_trials} trials in {summary.seconds:.1f} s, compile included; "
        f"{summary.num_failed} diverged."
    )


def _retrain(problem: Any, params: dict[str, Any], steps: int, seed: int) -> float:
    """Trains one configuration from a fresh key and tests it."""
    import jax

    from jaxhpo.training import train

    width = params["width"]
    numbers = {name: value for name, value in params.items() if name != "width"}

    @jax.jit
    def accuracy(key: jax.Array, numbers: dict[str, Any]) -> jax.Array:
        hparams = {**numbers, "width": width}
        state = train(problem.training, key, hparams, steps)
        result: jax.Array = problem.test_accuracy(hparams, state)
        return result

    return float(accuracy(jax.random.key(seed + 1), numbers))


def _draw(study: Any, out: pathlib.Path) -> pathlib.Path:
    """Learning curves beside parallel coordinates, from what the study holds."""
    import numpy as np
    from matplotlib.figure import Figure

    from jaxhpo import plots

    trials = [trial for trial in study.trials if trial.curve]
    steps = sorted({step for trial in trials for step in trial.curve})
    curves = [[trial.curve.get(step, np.nan) for step in steps] for trial in trials]
    figure = Figure(figsize=(13, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 2])
    plots.learning_curves(curves, steps, ax=left, ylabel="validation cross entropy")
    values = [np.nan if trial.value is None else trial.value for trial in trials]
    plots.parallel_coordinates(
        study.space, [trial.params for trial in trials], values, ax=right, label="cross entropy"
    )
    return plots.save(figure, out / "digits.png")
