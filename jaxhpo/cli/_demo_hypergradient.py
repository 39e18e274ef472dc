"""The demo's act of hypergradients: the best trials, improved by descent on all they hold constant.

A trial has one learning rate; the descent gives every step its own, beside momentum and weight
decay, and moves them all by exact hypergradients through the whole training run.
"""

from __future__ import annotations

import pathlib
import time
from typing import Any

_NUM_STARTS, _NUM_OUTER = 3, 25
_OUTER_RATE = 0.015
_NUM_RUNS = 4  # side by side: what is good for one seed alone is luck


def hypergradient_descent(stage: Any) -> pathlib.Path:
    """Descends from the study's best trials and tests before and after on unseen digits."""
    import jax
    import numpy as np
    import optax

    from jaxhpo import hypergrad
    from jaxhpo._progress import Progress, make_reporter

    starts = _best_trials(stage.study)
    width = starts[0].params["width"]
    training, space = _continuous(stage.problem, width, stage.steps)
    hparams = _stacked(starts, stage.steps)
    count = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(hparams)) // len(starts)
    print(
        f"From the {len(starts)} best trials of width {width}: {count} hyperparameters each, a "
        f"learning rate a step\namong them; {_NUM_OUTER} exact hypergradients through all "
        f"{stage.steps} steps of {_NUM_RUNS} training runs."
    )
    estimator = hypergrad.unrolled(training, num_steps=stage.steps, checkpoint="step")
    begin = time.perf_counter()

    @jax.jit
    def descend(key: jax.Array, hparams: Any) -> Any:
        return hypergrad.descend(
            estimator, hparams, optax.adam(_OUTER_RATE), key=key, num_outer=_NUM_OUTER, space=space
        )

    # Starts one after another, through one compiled program: on a CPU as fast as side by side.
    key = jax.random.key(stage.seed + 2)
    paths = []
    note = "the hypergradient's program compiles first"
    with make_reporter("demo", True, "descend", len(starts), unit="descents", note=note) as shown:
        for i in range(len(starts)):
            paths.append(jax.block_until_ready(descend(key, _row(hparams, i))))
            shown.update(Progress(i + 1, len(starts), None, 0))
    ends = jax.tree.map(lambda *rows: np.stack(rows), *[path.best_hparams for path in paths])
    before, after = (_tested(stage, training, width, each) for each in (hparams, ends))
    seconds = time.perf_counter() - begin
    _print_table(starts, before, after)
    print(f"{len(starts) * _NUM_OUTER} hypergradients in {seconds:.1f} s, compile included.")
    return _draw(stage, hparams, ends, [np.asarray(path.values) for path in paths])


def _best_trials(study: Any) -> list[Any]:
    """The best complete trials of the best one's width, so that they share a program."""
    complete = [trial for trial in study.trials if trial.status.name == "COMPLETE"]
    complete.sort(key=lambda trial: trial.value)
    width = complete[0].params["width"]
    return [trial for trial in complete if trial.params["width"] == width][:_NUM_STARTS]


def _continuous(problem: Any, width: int, steps: int) -> tuple[Any, Any]:
    """Runs at one width, and the space of what is left, with a learning rate a step."""
    from jaxhpo import Space, Training, log_uniform, uniform
    from jaxhpo.training import averaged

    whole = problem.training

    def full(hparams: Any) -> Any:
        return {**hparams, "width": width}

    one = Training(
        init=lambda key, hparams: whole.init(key, full(hparams)),
        step=lambda key, hparams, state, t: whole.step(key, full(hparams), state, t),
        loss=lambda hparams, state: whole.loss(full(hparams), state),
    )
    space = Space(
        {
            "lr": log_uniform(1e-4, 10.0, shape=steps),
            "momentum": uniform(0.0, 0.99),
            "decay": log_uniform(1e-6, 1e-1),
        }
    )
    return averaged(one, _NUM_RUNS), space


def _stacked(trials: list[Any], steps: int) -> Any:
    """Their hyperparameters with a leading axis; the learning rate repeated for every step."""
    import jax.numpy as jnp
    import numpy as np

    dtype = jnp.result_type(float)
    columns = {
        name: np.array([trial.params[name] for trial in trials])
        for name in ("lr", "momentum", "decay")
    }
    columns["lr"] = np.repeat(columns["lr"][:, None], steps, axis=1)
    return {name: jnp.asarray(column, dtype) for name, column in columns.items()}


def _row(hparams: Any, i: int) -> Any:
    import jax

    return jax.tree.map(lambda a: a[i], hparams)


def _tested(stage: Any, training: Any, width: int, hparams: Any) -> Any:
    """Mean loss and test accuracy `[starts, 2]` of runs from keys that no descent used."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxhpo.training import train

    @jax.jit
    def outcome(hparams: Any) -> jax.Array:
        state = train(training, jax.random.key(stage.seed + 3), hparams, stage.steps)
        full = {**hparams, "width": width}
        accuracy = jax.vmap(lambda run: stage.problem.test_accuracy(full, run))(state["params"])
        return jnp.stack([training.loss(hparams, state), jnp.mean(accuracy)])

    count = len(hparams["momentum"])
    return np.array([outcome(_row(hparams, i)) for i in range(count)])


def _print_table(starts: list[Any], before: Any, after: Any) -> None:
    from jaxhpo.cli._tables import print_table

    columns = ("trial", "validation loss", "after", "unseen digits", "after")
    rows = [
        (trial.number, *(f"{loss:.4f}" for loss in (old[0], new[0])),
         *(f"{accuracy:.1%}" for accuracy in (old[1], new[1])))
        for trial, old, new in zip(starts, before, after, strict=True)
    ]  # fmt: skip
    print_table(f"Before and after, means of {_NUM_RUNS} fresh runs", columns, rows)


def _draw(stage: Any, before: Any, after: Any, values: list[Any]) -> pathlib.Path:
    """The descents' losses beside the learning rates before and after."""
    import numpy as np
    from matplotlib.figure import Figure

    from jaxhpo import plots

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, path in enumerate(values):
        left.plot(path, color=f"C{i}")
        right.plot(before["lr"][i], color=f"C{i}", linestyle=":", linewidth=1)
        right.plot(np.asarray(after["lr"][i]), color=f"C{i}")
    left.set(xlabel="hypergradient step", ylabel="validation cross entropy", yscale="log")
    right.set(xlabel="training step", ylabel="learning rate (dotted: before)", yscale="log")
    return plots.save(figure, stage.out / "hypergradient.png")
