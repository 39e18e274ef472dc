"""The figures of the documentation: real runs of the library, with fixed seeds.

    python docs/figures.py                    # all of them, some minutes on two cores
    python docs/figures.py spaces populations

Each function below is named after its figure, `docs/<name>.png`, and returns it.
"""

from __future__ import annotations

import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

import jaxhpo as hpo

matplotlib.use("Agg")
from matplotlib.figure import Figure
from PIL import Image

HERE = pathlib.Path(__file__).parent
LARGEST = 120_000  # bytes


def new_figure(columns: int = 2) -> tuple[Figure, np.ndarray]:
    """A row of axes, as wide as the page."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def spaces() -> Figure:
    """A thousand draws of eight dimensions."""
    dimensions = {
        "uniform(0, 1)": hpo.uniform(0.0, 1.0),
        "log_uniform(1e-4, 1)": hpo.log_uniform(1e-4, 1.0),
        "quantized(0, 1, 0.1)": hpo.quantized(0.0, 1.0, 0.1),
        "normal(0, 1)": hpo.normal(0.0, 1.0),
        "integer(1, 8)": hpo.integer(1, 8),
        "integer(1, 8, log=True)": hpo.integer(1, 8, log=True),
        'choice(["a", "b", "c"],\nweights=[1, 2, 3])': hpo.choice(
            ["a", "b", "c"], weights=[1, 2, 3]
        ),
        "ordinal([8, 32, 128])": hpo.ordinal([8, 32, 128]),
    }
    space = hpo.Space(dimensions)
    draws = space.decode(space.sample(jax.random.key(0), 1000))
    figure = Figure(figsize=(9.0, 4.4), layout="constrained")
    for axes, (name, dimension) in zip(
        figure.subplots(2, 4).ravel(), dimensions.items(), strict=True
    ):
        values = [draw[name] for draw in draws]
        if "log_uniform" in name:
            axes.hist(values, np.logspace(-4, 0, 21), color="C0")
            axes.set_xscale("log")
        elif dimension.is_discrete:
            kinds = sorted(set(values))
            counts = [values.count(kind) for kind in kinds]
            axes.bar(range(len(kinds)), counts, color="C0", width=0.7)
            every = 1 if len(kinds) < 9 else 5
            axes.set_xticks(range(0, len(kinds), every), [str(kind) for kind in kinds[::every]])
        else:
            axes.hist(values, 20, color="C0")
        axes.set_title(name, fontsize="small", family="monospace")
        axes.set_ylim(bottom=0)
    figure.supylabel("number of draws, of 1,000", fontsize="medium")
    return figure


def populations() -> Figure:
    """Every trial of a sweep over a digits classifier: its curve, and where it ended."""
    problem = hpo.problems.digits()
    hparams = problem.space.sample(jax.random.key(0), 256)
    sweep = hpo.population.sweep(
        problem.training, hparams, key=1, num_steps=200, num_reports=20, progress=False
    )
    curves, ends = np.asarray(sweep.curves), np.asarray(sweep.losses)
    rates = np.asarray(hparams["lr"])
    figure, (left, right) = new_figure()
    steps = np.asarray(sweep.curve_steps)
    left.plot(steps, curves.T, color="C0", lw=0.6, alpha=0.25)
    best = int(np.nanargmin(ends))
    left.plot(steps, curves[best], color="C3", lw=2, label="the best trial")
    limits = (0.05, 30)  # trials that diverge leave the picture at its top
    left.set(xlabel="training step", ylabel="validation cross-entropy", yscale="log", ylim=limits)
    left.legend(loc="upper right", framealpha=1.0)
    right.scatter(rates, ends, s=10, color="C0", alpha=0.6, label="a trial")
    right.scatter(rates[best], ends[best], s=50, color="C3", label="the best trial")
    right.set(
        xlabel="learning rate", ylabel="cross-entropy after 200 steps", xscale="log", yscale="log",
        ylim=limits,
    )  # fmt: skip
    right.legend(frameon=False, loc="upper left")
    return figure


def pbt() -> Figure:
    """Learning rates of a population on a noisy quadratic, and the schedule of its best trial."""
    problem = hpo.problems.noisy_quadratic()
    swept = hpo.population.sweep(
        problem.training,
        problem.space.sample(jax.random.key(0), 20),
        key=1,
        num_steps=problem.num_steps,
        scheduler="pbt",
        space=problem.space,
    )
    rates = swept.lineage.hparams["lr"]
    return hpo.plots.lineage(swept.lineage, rates, swept.best_index, ylabel="learning rate")


def bayesian_optimization() -> Figure:
    """What the model believes after some trials, and how fast it gets there."""
    figure, (left, right) = new_figure()
    function = hpo.problems.branin()
    keys = jax.random.split(jax.random.key(0), 16)
    numbers = np.arange(1, 51)
    for colour, (name, label) in zip(
        ("C7", "C1", "C0"),
        (("random", "random"), ("tpe", "tpe"), ("gp", "gp: Gaussian process")),
        strict=True,
    ):
        found = hpo.minimize_many(
            function.objective, function.space, name, keys=keys, num_trials=len(numbers)
        )
        regret = np.maximum(np.asarray(found.best_so_far) - function.minimum, 1e-6)
        low, middle, high = np.quantile(regret, (0.25, 0.5, 0.75), axis=0)
        right.fill_between(numbers, low, high, color=colour, alpha=0.2, lw=0)
        right.plot(numbers, middle, color=colour, label=label)
    right.set(xlabel="trial", ylabel="regret on Branin's function", yscale="log")
    right.set_title("median and quartiles of 16 studies", fontsize="medium")
    right.legend(frameon=False, loc="lower left")

    def wavy(params):
        return np.sin(3 * params["x"]) + 0.3 * params["x"]

    study = hpo.Study({"x": hpo.uniform(-3.0, 3.0)}, "gp", storage=None, seed=1)
    study.optimize(wavy, num_trials=8, progress=False)
    cut = hpo.inspection.slice_of(study.surrogate(), ["x"], num_points=200)
    hpo.plots.model_slice(cut, ax=left)
    grid = np.linspace(-3, 3, 200)
    left.plot(grid, wavy({"x": grid}), color="black", ls=":", label="the objective")
    left.plot(
        [trial.params["x"] for trial in study.trials], study.values, "o", color="C3", label="trials"
    )
    left.lines[0].set_label("median of the model")
    left.collections[0].set_label("90 % band")
    left.set(xlabel="x", ylabel="value", ylim=(-2.3, 4.6))
    left.legend(frameon=False, loc="upper left", ncols=2)
    left.set_title("the model after 8 trials", fontsize="medium")
    return figure


def hypergradients() -> Figure:
    """A hundred learning rates, one per step, learned at once; losses on runs that nothing saw."""
    task = hpo.problems.schedule()
    estimator = hpo.hypergrad.unrolled(
        hpo.training.averaged(task.training, 4), num_steps=task.num_steps
    )
    path = hpo.hypergrad.descend(
        estimator, task.hparams, optax.adam(task.outer_lr), key=0, num_outer=60, space=task.space
    )
    mean = jax.jit(hpo.training.objective(hpo.training.averaged(task.training, 32), task.num_steps))
    constants = np.logspace(-2.5, 0, 16)
    ends = [
        float(mean(jax.random.key(9), {"lr": jnp.full(task.num_steps, rate, jnp.float32)}))
        for rate in constants
    ]
    learned = float(mean(jax.random.key(9), path.best_hparams))
    figure, (left, right) = new_figure()
    left.plot(np.asarray(task.hparams["lr"]), color="C7", label="start: 0.05 at every step")
    left.plot(np.asarray(path.best_hparams["lr"]), color="C0", label="after 60 hypergradients")
    left.set(xlabel="training step", ylabel="learning rate", ylim=(0, 0.95))
    left.legend(frameon=False, loc="upper left")
    right.plot(constants, ends, "o-", color="C7", label="one rate for all steps")
    right.axhline(learned, color="C0", label="the learned schedule")
    right.set(xlabel="learning rate", ylabel="validation cross-entropy", xscale="log", yscale="log")
    right.set_title("means of 32 runs from fresh keys", fontsize="medium")
    right.legend(frameon=False, loc="upper center")
    return figure


def several_objectives() -> Figure:
    """The trials of three samplers in the plane of two objectives, and the true front."""
    problem = hpo.problems.zdt1(8)
    figure, axes = new_figure(3)
    front = problem.front(200)
    for place, name in zip(axes, ("random", "nsga2", "gp_multi"), strict=True):
        result = hpo.minimize(problem.objective, problem.space, name, key=0, num_trials=100)
        values, mask = np.asarray(result.trials.value), np.asarray(result.front)
        place.plot(*values[~mask].T, "o", ms=3, color="C7", alpha=0.6, label="dominated trials")
        place.plot(*values[mask].T, "o", ms=5, color="C0", label="front found")
        place.plot(*front.T, color="black", lw=1, label="true front")
        place.set(xlabel="objective 1", xlim=(-0.03, 1.03), ylim=(-0.2, 7))
        place.set_title(f"{name}, 100 trials", fontsize="medium")
    axes[0].set_ylabel("objective 2")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


FIGURES = (spaces, populations, pbt, bayesian_optimization, hypergradients, several_objectives)


def main() -> None:
    """Draws the figures that are named, or all."""
    known = {function.__name__.replace("_", "-"): function for function in FIGURES}
    for name in sys.argv[1:] or known:
        start = time.perf_counter()
        path = HERE / f"{name}.png"
        known[name]().savefig(path, dpi=100)
        Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)
        size = path.stat().st_size
        print(f"{path.name}: {size / 1000:.0f} kB in {time.perf_counter() - start:.0f} s")
        if size > LARGEST:
            sys.exit(f"{path.name} is larger than {LARGEST / 1000:.0f} kB.")


if __name__ == "__main__":
    main()
