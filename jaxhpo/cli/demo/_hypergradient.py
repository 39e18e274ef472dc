"""The demo's act of hypergradients: one weight per training example, learned to find false labels.

A quarter of the training labels is made false. 1,100 weights are 1,100 hyperparameters: no search
by trials comes near them, and an exact hypergradient costs as much for 1,100 as for one.
"""

from __future__ import annotations

import functools
import time
from typing import Any, NamedTuple

from jaxhpo.cli._tables import say
from jaxhpo.cli.demo._stage import ActResult, Stage
from jaxhpo.progress import say_if_slow

_NUM_SEEDS, _NUM_OUTER = 3, 80
_OUTER_RATE = 0.2
# Weights start where an example is kept until much speaks against it: σ(2) = 0.88.
_START = 2.0
_NUM_RUNS = 2  # side by side in each hypergradient: what is good for one seed alone is luck
_NUM_TESTS = 8  # fresh runs that every accuracy is the mean of
_NUM_SHOWN = 12


class Cleaned(NamedTuple):
    """What was learned of one set of false labels, and what that bought.

    Attributes:
        labels: `[1100]` the labels as given.
        is_false: `[1100]` bool, which of them are false.
        weights: `[1100]` learned weights; at most 0 says that the label is false.
        accuracies: `[3]` on unseen digits: of models trained on all examples, with the learned
            weights, and on the true labels alone.
    """

    labels: Any
    is_false: Any
    weights: Any
    accuracies: Any


def hypergradient_descent(stage: Stage) -> ActResult:
    """Learns the weights for three sets of false labels, and tests models before and after."""
    import jax
    import numpy as np

    from jaxhpo.progress import Progress, make_reporter

    known = stage.best
    count = 1_100
    say(
        f"A quarter of the {count:,} training labels is made false. Which ones? Every training "
        "example gets\na weight in the training loss: a hyperparameter each. The gradient of the "
        f"validation loss by\nall {count:,} of them, exact and through all {stage.steps} training "
        f"steps, says which examples to trust;\n{_NUM_OUTER} such hypergradients are followed. "
        f"The network is the one that act 2 takes for\nthe best. {_NUM_SEEDS} times, with other "
        "false labels."
    )
    # One program for all of them: the seed, and with it the labels, is an argument. So is all of
    # the configuration that is no shape: another run's best finds the program in the cache.
    numbers = {name: value for name, value in known.items() if name != "width"}
    clean = jax.jit(
        lambda numbers, seed: _clean({**numbers, "width": known["width"]}, stage.steps, seed)
    )
    begin = time.perf_counter()
    found = []
    note = "the hypergradient's program compiles first"
    with make_reporter("demo", True, "descend", _NUM_SEEDS, unit="descents", note=note) as shown:
        for i in range(_NUM_SEEDS):
            seed = np.uint32(stage.seed * _NUM_SEEDS + i)
            found.append(jax.tree.map(np.asarray, clean(numbers, seed)))
            shown.update(Progress(i + 1, _NUM_SEEDS, None, 0))
    seconds = time.perf_counter() - begin
    _print_table(found)
    each = 1e3 * seconds / (_NUM_SEEDS * _NUM_OUTER)
    say(
        f"{_NUM_SEEDS * _NUM_OUTER} hypergradients in {seconds:.1f} s, compile included: "
        f"{each:.0f} ms per hypergradient."
    )
    with say_if_slow("demo: drawing the plot"):
        return _draw(stage, known, found)


def _clean(known: dict[str, Any], steps: int, seed: Any) -> Cleaned:
    """Descends on the weights, and trains and tests models from keys that no descent used."""
    import jax
    import jax.numpy as jnp
    import optax

    from jaxhpo import hypergrad, problems
    from jaxhpo.training import averaged, train

    problem = problems.mislabelled_digits(known, seed=seed)
    key_descent, key_test = jax.random.split(jax.random.key(seed + 1))
    path = hypergrad.descend(
        hypergrad.unrolled(
            averaged(problem.training, _NUM_RUNS), num_steps=steps, checkpoint="step"
        ),
        {"weights": jnp.full(problem.labels.shape, _START)},
        optax.adam(_OUTER_RATE),
        key=key_descent,
        num_outer=_NUM_OUTER,
        num_held_out=2,
    )
    weights = path.best_hparams["weights"]
    far = jnp.full_like(weights, 20.0)  # as good as 1 behind a sigmoid, and -20 as 0

    def accuracy(weights: Any) -> Any:
        def one(key: Any) -> Any:
            state = train(problem.training, key, {"weights": weights}, steps)
            return problem.test_accuracy(state)

        return jnp.mean(jax.lax.map(one, jax.random.split(key_test, _NUM_TESTS)))

    tried = jnp.stack([far, weights, jnp.where(problem.is_false, -far, far)])
    return Cleaned(problem.labels, problem.is_false, weights, jax.lax.map(accuracy, tried))


def _f1(found: Any, is_false: Any) -> float:
    return float(2 * (found & is_false).sum() / (found.sum() + is_false.sum()))


def _print_table(found: list[Cleaned]) -> None:
    from jaxhpo.cli._tables import print_table

    columns = ("false labels", "found", "wrongly suspected", "F1", "accuracy before", "after",
               "with true labels only")  # fmt: skip
    rows = [
        (
            int(each.is_false.sum()),
            int((each.is_false & (each.weights <= 0)).sum()),
            int((~each.is_false & (each.weights <= 0)).sum()),
            f"{_f1(each.weights <= 0, each.is_false):.2f}",
            *(f"{accuracy:.1%}" for accuracy in each.accuracies),
        )
        for each in found
    ]
    title = (
        f"False labels found, and accuracy on 347 unseen digits (means of {_NUM_TESTS} fresh runs)"
    )
    print_table(title, columns, rows)


def _draw(stage: Stage, known: dict[str, Any], found: list[Cleaned]) -> ActResult:
    """The learned weights of true and of false labels, beside the digits suspected most."""
    import numpy as np
    from matplotlib.figure import Figure

    from jaxhpo import plots, problems

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    halves: Any = figure.subfigures(1, 2)
    left, right = halves
    first = found[0]
    panel = functools.partial(_draw_weights, first)
    panel(left.subplots())
    images = np.asarray(problems.mislabelled_digits(known).images)
    order = np.argsort(first.weights)[:_NUM_SHOWN]
    for cell, i in zip(right.subplots(3, _NUM_SHOWN // 3).ravel(), order, strict=True):
        cell.imshow(images[i], cmap="gray_r")
        colour = "C3" if first.is_false[i] else "C0"
        cell.set_title(f"labelled {first.labels[i]}", fontsize="medium", color=colour)
        cell.set_axis_off()
    right.suptitle("lowest weights (red: the label is false)", fontsize="large")
    return ActResult(plots.save(figure, stage.out / "hypergradient.png"), panel, known)


def _draw_weights(cleaned: Cleaned, axes: Any) -> None:
    """How far the learned weights set false labels apart from true ones."""
    import numpy as np

    weights, is_false = cleaned.weights, cleaned.is_false
    bins = np.linspace(weights.min(), weights.max(), 45)
    for chosen, name, colour in ((~is_false, "true", "C0"), (is_false, "false", "C3")):
        label = f"{chosen.sum()} {name} labels"
        axes.hist(weights[chosen], bins, label=label, color=colour, alpha=0.7)
    axes.axvline(0.0, color="black", lw=0.8, ls=":")
    axes.set(xlabel="learned weight (below 0: distrusted)", ylabel="training examples")
    axes.set_title(
        "1,100 hyperparameters at once\na weight per label, by hypergradients", fontsize=10
    )
    axes.legend(loc="upper left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
