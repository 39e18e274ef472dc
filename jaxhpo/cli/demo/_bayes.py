"""The demo's act of Bayesian optimization: a model goes on from the random trials."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np

from jaxhpo.cli._tables import say
from jaxhpo.cli.demo._stage import ActResult, Stage
from jaxhpo.progress import say_if_slow

_MIN_TRIALS, _MAX_TRIALS, _BATCH = 8, 96, 8
# Of one run the lowest losses are partly luck: who goes through to the comparison has been trained
# again. Chosen on seeds up to 14.
_NUM_LIKELY, _NUM_LOWEST, _NUM_REPLICATES = 12, 5, 16
_NUM_BEST, _NUM_FRESH = 5, 32


def bayesian_optimization(stage: Stage) -> ActResult:
    """Adds trials to the study where a model of those that it has expects low losses."""
    from jaxhpo import samplers
    from jaxhpo.study import Study

    space, known = stage.problem.space, stage.study.trials
    trials = int(np.clip(stage.trials, _MIN_TRIALS, _MAX_TRIALS))
    # The loss of one run is noisy: among many runs the best was lucky. A low confidence bound of
    # the model goes where losses are low on the whole, and no minimum counts as reached.
    sampler = samplers.gp(
        space, batch_size=_BATCH, acquisition_function="ucb", beta=0.25, num_basins=0
    )
    study = Study(space, sampler, storage=stage.storage, name=stage.study.name, change_sampler=True)
    say(
        f"The same study goes on with a Gaussian process: {trials} more trials, {_BATCH} at a "
        "time,\nwhere a model of all trials so far expects low losses."
    )
    begin = time.perf_counter()
    study.sweep(
        stage.problem.training, num_trials=trials, num_steps=stage.steps, num_reports=20,
        batch_size=_BATCH, programs=stage.study.programs,
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    first, chosen = known[-stage.trials :], study.trials[len(known) :]
    say(
        f"{trials} trials in {seconds:.1f} s, compile included: {1e3 * seconds / trials:.0f} ms "
        "per trial."
    )
    say(f"Median loss of these trials: {_median(chosen):.3f} (act 1: {_median(first):.3f}).")
    with say_if_slow("demo: training the best of each act anew"):
        lowest = sorted(first, key=_loss)
        tried = [*_likeliest(space, chosen), *lowest[:_NUM_LOWEST]]
        order = np.argsort(_means_of_fresh_runs(stage, tried, slice(_NUM_REPLICATES)))
        best = [tried[i] for i in order[:_NUM_BEST]]
        _print_fresh(stage, lowest[:_NUM_BEST], chosen, best)
    with say_if_slow("demo: drawing the plot"):
        return _draw(stage, first, chosen, best[0].params)


def _likeliest(space: Any, trials: list[Any]) -> list[Any]:
    """The trials of an act whose loss a model of them expects to be the lowest.

    Not a model of all acts' trials: its fit would take minutes.
    """
    from jaxhpo import inspection

    complete = [trial for trial in trials if trial.status.name == "COMPLETE"]
    unit = np.array([trial.unit for trial in complete])
    surrogate = inspection.fit_surrogate(space, unit, [trial.value for trial in complete])
    expected = surrogate.predict(unit).median
    return [complete[i] for i in np.argsort(expected)[:_NUM_LIKELY]]


def _print_fresh(stage: Stage, lowest: list[Any], chosen: list[Any], best: list[Any]) -> None:
    """Compares the best of both acts by runs that none of them was chosen for."""
    fresh = _means_of_fresh_runs(stage, [*lowest, *best], slice(_NUM_REPLICATES, None))
    # The median: an unstable configuration among the best has a mean beyond all others.
    act1, act2 = np.median(fresh[: len(lowest)]), np.median(fresh[len(lowest) :])
    say(
        f"Lowest loss of a trial: {min(map(_loss, chosen)):.4f} (act 1: {_loss(lowest[0]):.4f}). "
        "But one run is noisy, and the lowest of\nmany is partly luck. So the "
        f"{_NUM_LIKELY} that the model takes for the best, and act 1's {_NUM_LOWEST} lowest, are "
        f"trained\n{_NUM_REPLICATES} times more, and the {_NUM_BEST} lowest means of those meet "
        f"act 1's {_NUM_BEST} lowest in {_NUM_FRESH} runs each, all\nfrom other keys. Median of "
        f"their mean losses: {act2:.4f} (act 1: {act1:.4f})."
    )


def _means_of_fresh_runs(stage: Stage, trials: list[Any], which: slice) -> list[float]:
    """The mean loss of each configuration over some runs from keys that no trial had."""
    import jax
    import jax.numpy as jnp

    from jaxhpo.training import objective

    keys = jax.random.split(jax.random.key(stage.seed + 4), _NUM_REPLICATES + _NUM_FRESH)[which]
    loss = objective(stage.problem.training, stage.steps)

    @functools.partial(jax.jit, static_argnums=0)  # a width is a shape
    def mean(width: int, numbers: dict[str, Any]) -> jax.Array:
        return jnp.mean(jax.lax.map(lambda key: loss(key, {**numbers, "width": width}), keys))

    return [
        float(mean(each.params["width"], {k: v for k, v in each.params.items() if k != "width"}))
        for each in trials
    ]


def _loss(trial: Any) -> float:
    return trial.value if trial.status.name == "COMPLETE" else np.inf


def _median(trials: list[Any]) -> float:
    return float(np.median([_loss(trial) for trial in trials]))


def _draw(stage: Stage, first: list[Any], chosen: list[Any], best: Any) -> ActResult:
    """All trials in their order, and where in the space they are."""
    from matplotlib.figure import Figure

    from jaxhpo import plots

    before, after = ([_loss(trial) for trial in trials] for trials in (first, chosen))
    panel = functools.partial(_draw_trials, stage.sampler, before, after)
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    panel(left)
    _draw_places(first, chosen, right)
    return ActResult(plots.save(figure, stage.out / "bayesian.png"), panel, best)


def _draw_places(first: list[Any], chosen: list[Any], axes: Any) -> None:
    """Where the trials of both acts lie in learning rate and momentum."""
    from jaxhpo.plots.internal import CROWD, GOOD

    for trials, colour in ((first, CROWD), (chosen, GOOD)):
        at = [[trial.params[name] for trial in trials] for name in ("lr", "momentum")]
        axes.plot(*at, ".", color=colour, ms=4)
    axes.set(xlabel="learning rate", ylabel="momentum", xscale="log")
    axes.set_title("Where the trials are", fontsize=10)


def _draw_trials(name: str, before: list[float], after: list[float], axes: Any) -> None:
    """The loss of every trial of both acts, in their order, and the best so far."""
    from jaxhpo.plots.internal import CROWD, GOOD, TEXT

    n, losses = len(before), np.array([*before, *after])
    at = np.arange(1, len(losses) + 1)
    axes.plot(at[:n], losses[:n], ".", color=CROWD, ms=3, label=f"{n} {name} trials")
    axes.plot(at[n:], losses[n:], ".", color=GOOD, ms=3, label=f"{len(after)} by the model")
    axes.step(at, np.minimum.accumulate(losses), color=TEXT, lw=1.5, label="best so far")
    axes.set(xlabel="trial", ylabel="validation loss", yscale="log")
    axes.set_title("A model goes on from there\na Gaussian process of all trials", fontsize=10)
    axes.set_ylim(0.2 * losses.min(), 5.0)  # room for the legend, below all
    axes.legend(loc="lower left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
