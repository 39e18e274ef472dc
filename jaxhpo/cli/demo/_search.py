"""The demo's first act: many random trials of one training run."""

from __future__ import annotations

import functools
from typing import Any

from jaxhpo.cli._inspect import print_trials
from jaxhpo.cli._tables import say
from jaxhpo.cli.demo._stage import ActResult, Stage
from jaxhpo.progress import say_if_slow


def random_search(stage: Stage) -> ActResult:
    """Adds trials to the study and tests the best configuration on digits nobody searched on."""
    study, trials, steps = stage.study, stage.trials, stage.steps
    say(
        f"A flax MLP learns to read 1,797 handwritten digits: {trials} configurations of learning "
        f"rate,\nmomentum, weight decay and width (sampler: {stage.sampler}), {steps} steps each."
    )
    if stored := len(study.trials):
        say(f"The study in {study.storage} has {stored} trials already; these are added to it.")
    summary = study.sweep(
        stage.problem.training, num_trials=trials, num_steps=steps, num_reports=20
    )
    _print_result(study, summary)
    _halve(stage, summary)
    with say_if_slow("demo: retraining the best configuration"):
        accuracy = _retrain(stage.problem, study.best_params, steps, stage.seed)
    say(f"The best configuration, trained anew, reads {accuracy:.1%} of 347 unseen digits.")
    with say_if_slow("demo: drawing the plot"):
        return _draw(study, stage.out)


def _print_result(study: Any, summary: Any) -> None:
    flat = study.space.flatten_params
    complete = [trial for trial in study.trials if trial.status.name == "COMPLETE"]
    rows = [(trial.number, trial.value, flat(trial.params)) for trial in complete]
    print_trials(study.name, study.direction, rows, 5)
    each = 1e3 * summary.seconds / summary.num_trials
    say(
        f"{summary.num_trials} trials in {summary.seconds:.1f} s, compile included: {each:.0f} ms "
        "per trial."
    )
    if summary.num_failed:
        say(f"{summary.num_failed} of them diverged, which changes no other trial.")


def _halve(stage: Stage, summary: Any) -> None:
    """Trains the same trials from the same keys again, but stops most of them early."""
    import numpy as np

    from jaxhpo import population

    study, steps = stage.study, stage.steps
    trials = study.trials[-summary.num_trials :]
    halved = population.sweep(
        stage.problem.training, study.space.encode([trial.params for trial in trials]),
        key=study.trial_key(np.array([trial.number for trial in trials])),
        num_steps=steps, num_reports=20, scheduler="halving",
    )  # fmt: skip
    found, share = trials[halved.best_index], halved.steps.sum() / (summary.num_trials * steps)
    best = min((t for t in trials if t.status.name == "COMPLETE"), key=lambda trial: trial.value)
    what = "the same best trial" if found is best else "as its best trial"
    say(
        f"The same {len(trials)} trials again, by successive halving: {share:.0%} of the steps, "
        f"{halved.seconds:.1f} s, and\n{what}, {found.number}, with a loss of "
        f"{halved.losses[halved.best_index]:.4f} (trained to the end: {best.value:.4f})."
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


def _draw(study: Any, out: Any) -> ActResult:
    """Learning curves beside parallel coordinates, from what the study holds."""
    import numpy as np
    from matplotlib.figure import Figure

    from jaxhpo import plots

    trials = [trial for trial in study.trials if trial.curve]
    values = [np.nan if trial.value is None else trial.value for trial in trials]
    panel = functools.partial(_draw_curves, [trial.curve for trial in trials], values)
    figure = Figure(figsize=(13, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 2])
    panel(left)
    plots.parallel_coordinates(
        study.space, [trial.params for trial in trials], values, ax=right, label="cross entropy"
    )
    return ActResult(plots.save(figure, out / "digits.png"), panel, study.best_params)


def _draw_curves(curves: list[dict[int, float]], values: list[float], axes: Any) -> None:
    """Every trial's learning curve, and the best one on top."""
    import numpy as np

    from jaxhpo.plots.internal import CROWD, GOOD

    for curve in curves:
        axes.plot(list(curve), list(curve.values()), color=CROWD, lw=0.25)
    best = curves[int(np.nanargmin(values))]
    axes.plot(list(best), list(best.values()), color=GOOD, lw=2.5, label="the best of them")
    axes.set(xlabel="training step", ylabel="validation loss", yscale="log")
    axes.set_title(
        f"{len(curves)} training runs, side by side\none program under vmap", fontsize=10
    )
    axes.set_ylim(0.7 * np.nanmin(values), 5.0)  # a guess costs log 10 = 2.3; far above diverged
    axes.legend(loc="lower left")
    axes.spines[["top", "right"]].set_visible(False)
