"""`jaxhpo demo`: the main job, end to end, on real data."""

from __future__ import annotations

import pathlib
from typing import Any

from jaxhpo.cli._errors import UserError
from jaxhpo.cli._inspect import print_trials

DEFAULT_STEPS = 200


def run_demo(
    trials: int, steps: int, sampler: str, seed: int, out: pathlib.Path, storage: str | None
) -> None:
    """Tunes a flax MLP on digits; the arguments are those of the command."""
    from jaxhpo import _checks, plots, problems
    from jaxhpo.study import Study

    _checks.check_int("demo", "num_trials", trials, 1)
    _checks.check_int("demo", "num_steps", steps, 1)
    _require_matplotlib()
    problem = problems.digits()
    out.mkdir(parents=True, exist_ok=True)
    url = storage or f"sqlite:///{out / 'study.db'}"
    # Losses after different numbers of steps do not compare: each number has its own study.
    name = "digits" if steps == DEFAULT_STEPS else f"digits-{steps}-steps"
    study = Study(problem.space, sampler, storage=url, name=name, seed=seed)
    url = study.storage  # without a password
    stored = len(study.trials)
    print(f"Tuning a flax MLP on 1,797 handwritten digits: {trials} trials of {steps} steps.")
    if stored:
        print(f"The study in {url} has {stored} trials already; these are added to it.")
    summary = study.sweep(problem.training, num_trials=trials, num_steps=steps, num_reports=20)
    _print_result(study, summary, trials)
    accuracy = _retrain(problem, study.best_params, steps, seed)
    print(f"The best configuration, trained anew, reads {accuracy:.1%} of 347 unseen digits.")
    plot = _draw(plots, study, out)
    print(f"\nplot:   {plot}")
    print(f"study:  {url} (name {study.name})")
    print(f"look:   jaxhpo best {study.name} --storage {url} --top 10")
    print(f"browse: optuna-dashboard {url}   (pip install optuna-dashboard)")


def _require_matplotlib() -> None:
    """Finds out that the plot cannot be drawn before anything is trained."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise UserError('demo: matplotlib is needed for the plot: pip install "jaxhpo[demo]".')


def _print_result(study: Any, summary: Any, trials: int) -> None:
    flat = study.space.flatten_params
    complete = [trial for trial in study.trials if trial.status.name == "COMPLETE"]
    rows = [(trial.number, trial.value, flat(trial.params)) for trial in complete]
    print_trials(study.name, study.direction, rows, 5)
    print(
        f"{summary.num_trials} trials in {summary.seconds:.1f} s, compile included; "
        f"{summary.num_failed} diverged."
    )


def _retrain(problem: Any, params: dict[str, Any], steps: int, seed: int) -> float:
    """Trains one configuration from a fresh key and tests it on digits that nobody searched on."""
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


def _draw(plots: Any, study: Any, out: pathlib.Path) -> pathlib.Path:
    """Learning curves beside parallel coordinates, from what the study holds."""
    import numpy as np
    from matplotlib.figure import Figure

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
    path: pathlib.Path = plots.save(figure, out / "digits.png")
    return path
