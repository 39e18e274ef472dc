"""The demo's act of hypergradients: one weight per training example, learned to find false labels.

A quarter of the training labels is made false. 600 weights are 600 hyperparameters: no search by
trials comes near them, and an exact hypergradient costs as much for 600 as for one.
"""

from __future__ import annotations

import pathlib
import time
from typing import Any, NamedTuple

_NUM_SEEDS, _NUM_OUTER = 3, 40
# Labels are drawn anew from all ten digits, so a tenth of them comes out true: 25 % are false.
_CORRUPTION = 0.25 / 0.9
_NUM_SHOWN = 12


class Cleaned(NamedTuple):
    """One split of the data: its examples, what was learned of them, and what that bought.

    Attributes:
        data: the corrupted digits.
        weights: `[600]` learned weights; at most 0 says that the label is false.
        f1: of the false labels found.
        accuracy: on unseen digits, of a model trained on "all" examples, on those "kept", and on
            the "oracle"'s: all whose labels are true.
    """

    data: Any
    weights: Any
    f1: float
    accuracy: dict[str, float]


def hypergradient_descent(stage: Any) -> pathlib.Path:
    """Learns the weights on three splits of the digits and tests models before and after."""
    begin = time.perf_counter()
    found = [_clean(stage.seed * _NUM_SEEDS + i) for i in range(_NUM_SEEDS)]
    seconds = time.perf_counter() - begin
    count = found[0].weights.size
    print(
        f"A quarter of {count} training labels is false. One weight per example, {count} "
        f"hyperparameters,\nby {_NUM_OUTER} exact hypergradients through all steps of a training "
        "run, for each of three splits."
    )
    _print_table(found)
    print(f"{_NUM_SEEDS * _NUM_OUTER} hypergradients in {seconds:.1f} s, compile included.")
    return _draw(stage, found)


def _clean(seed: int) -> Cleaned:
    """Descends on the weights of one split."""
    import jax
    import numpy as np
    import optax

    from jaxhpo import hypergrad, problems

    task = problems.cleaning(seed=seed, corruption=_CORRUPTION)
    estimator = hypergrad.unrolled(task.training, num_steps=task.num_steps)
    path = hypergrad.descend(
        estimator,
        task.hparams,
        optax.adam(task.outer_lr),
        key=jax.random.key(seed),
        num_outer=_NUM_OUTER,
        progress=False,
    )
    hparams = path.best_hparams
    accuracy = problems.clean_accuracy(task, hparams, seed=seed, corruption=_CORRUPTION)
    return Cleaned(
        problems.corrupted_digits(seed, _CORRUPTION),
        np.asarray(hparams["weights"]),
        float(task.score(hparams, None)),
        {name: float(value) for name, value in accuracy.items()},
    )


def _print_table(found: list[Cleaned]) -> None:
    from jaxhpo.cli._tables import print_table

    columns = (
        "split", "false labels", "suspected", "F1", "unseen digits", "after", "at best",
    )  # fmt: skip
    rows = [
        (
            number,
            int(each.data.is_false.sum()),
            int((each.weights <= 0).sum()),
            f"{each.f1:.3f}",
            *(f"{each.accuracy[name]:.1%}" for name in ("all", "kept", "oracle")),
        )
        for number, each in enumerate(found, start=1)
    ]
    print_table("False labels found, and accuracy without those that are suspected", columns, rows)


def _draw(stage: Any, found: list[Cleaned]) -> pathlib.Path:
    """The learned weights of true and of false labels, beside the digits suspected most."""
    import numpy as np
    from matplotlib.figure import Figure

    from jaxhpo import plots

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subfigures(1, 2)
    weights = np.concatenate([each.weights for each in found])
    is_false = np.concatenate([np.asarray(each.data.is_false) for each in found])
    axes = left.subplots()
    bins = np.linspace(weights.min(), weights.max(), 50)
    axes.hist(weights[~is_false], bins, label="true label", color="C0", alpha=0.7)
    axes.hist(weights[is_false], bins, label="false label", color="C3", alpha=0.7)
    axes.axvline(0.0, color="black", lw=0.8, ls=":")
    axes.set(xlabel="learned weight (at most 0: suspected)", ylabel="training examples")
    axes.legend(frameon=False)
    first = found[0]
    order = np.argsort(first.weights)[:_NUM_SHOWN]
    for cell, i in zip(right.subplots(2, _NUM_SHOWN // 2).ravel(), order, strict=True):
        image = np.asarray(first.data.train["x"][i])
        cell.imshow(image[:64].reshape(8, 8), cmap="gray_r")
        is_right = bool(first.data.is_false[i])
        label = int(first.data.train["y"][i])
        cell.set_title(f"labelled {label}", fontsize="small", color="C3" if is_right else "C0")
        cell.set_axis_off()
    right.suptitle("suspected most (red: the label is false)", fontsize="medium")
    return plots.save(figure, stage.out / "hypergradient.png")
