"""What hypergradients are good for: three tasks over seeds, each beside the plain alternative.

    python benchmarks/hypergrad_useful.py
    python benchmarks/hypergrad_useful.py --part schedule --seeds 20

*schedule*: for every seed a learning rate a step, learned on the validation loss of eight runs from
the best of 30 constants on the same, against that constant: test loss in these runs and in eight
fresh ones, paired; and once more with eight new runs at every outer step, so that nothing can be
fitted to one run, in 64 fresh ones.
*cleaning*: F1 of the false labels found among 600, and the test accuracy of a model trained on
those kept, against all, the clean ones alone, and an oracle. *distillation*: test accuracy from ten
learned images against ten real ones. *penalties*: how far as many penalties as weights overfit.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

NUM_RUNS = 8  # training runs a schedule is learned on: it must not fit one of them


def paired(name: str, gain: np.ndarray) -> None:
    """Mean, standard error and t of paired differences."""
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    print(
        f"{name}: {gain.mean():+.4f} +- {error:.4f} (t = {gain.mean() / error:.1f}), "
        f"better on {(gain > 0).sum()} of {len(gain)} seeds"
    )


def make_descend(task: Any, num_outer: int, *, seeds: str = "fixed") -> Any:
    """One compiled descent, for any key and start."""
    estimator = hg.unrolled(task.training, num_steps=task.num_steps)

    @jax.jit
    def descend(key: jax.Array, hparams: Any) -> Any:
        return hg.descend(
            estimator, hparams, optax.adam(task.outer_lr), key=key, num_outer=num_outer,
            space=task.space, seeds=seeds, test_loss=task.test_loss,
        )  # fmt: skip

    return descend


def schedules(num_seeds: int) -> None:
    """A learned schedule against the best of 30 constants, both chosen on the same runs."""
    task = hpo.problems.schedule()
    runs = hpo.training.averaged(task.training, NUM_RUNS)
    grid = jnp.logspace(-3.0, 0.5, 30)
    constants = {"lr": jnp.repeat(grid[:, None], task.num_steps, axis=1)}
    values = jax.jit(hpo.training.objective(runs, task.num_steps))

    def test_loss(hparams: Any, state: Any) -> jax.Array:
        return jnp.mean(jax.vmap(lambda run: task.test_loss(hparams, run))(state["params"]))

    averaged = task._replace(training=runs, test_loss=test_loss, outer_lr=0.05)
    descend = make_descend(averaged, 60)
    descend_fresh = make_descend(averaged._replace(outer_lr=task.outer_lr), 60, seeds="fresh")

    @jax.jit
    def outcome(key: jax.Array, hparams: Any) -> jax.Array:
        state = hpo.training.train(runs, key, hparams, task.num_steps)
        scores = jax.vmap(lambda run: task.score(hparams, run))(state["params"])
        return jnp.stack([test_loss(hparams, state), jnp.mean(scores)])

    rows = []
    for seed in range(num_seeds):
        key, fresh = jax.random.key(seed), jax.random.key(10_000 + seed)
        found = [float(values(key, {"lr": lr})) for lr in constants["lr"]]
        best = int(np.nanargmin(found))
        constant = {"lr": constants["lr"][best]}
        path = descend(key, constant)
        pair = constant, path.best_hparams
        many = jax.random.split(jax.random.key(20_000 + seed), 8)
        general = descend_fresh(key, constant)
        # The mean of the last steps' logarithms: single ones wander with the runs they saw.
        last = {"lr": jnp.exp(jnp.mean(jnp.log(general.hparams["lr"][-20:]), axis=0))}
        far = [jnp.mean(jnp.stack([outcome(k, h) for k in many]), axis=0) for h in (constant, last)]
        rows.append([*(outcome(k, h) for k in (key, fresh) for h in pair), *far])
        lr = np.asarray(path.best_hparams["lr"])
        tests = " -> ".join(f"{row[0]:.4f}" for row in rows[-1][:2])
        others, general_tests = (
            " -> ".join(f"{row[0]:.4f}" for row in pair) for pair in (rows[-1][2:4], rows[-1][4:])
        )
        print(
            f"seed {seed}: constant {grid[best]:.3f}; validation {path.values[0]:.4f} -> "
            f"{path.best_value:.4f}; test {tests}, fresh {others}, learned on fresh runs "
            f"{general_tests}; rates of the first, middle and "
            f"last tenth {lr[:10].mean():.3f} {lr[45:55].mean():.3f} {lr[-10:].mean():.3f}",
            flush=True,
        )
    data = np.array(rows, np.float64)  # [seeds, (same, fresh, general) x (constant, learned), 2]
    paired("test loss gained, same runs", data[:, 0, 0] - data[:, 1, 0])
    paired("test loss gained, fresh runs", data[:, 2, 0] - data[:, 3, 0])
    paired("test loss gained, learned on fresh runs", data[:, 4, 0] - data[:, 5, 0])
    paired("test accuracy gained, same runs", data[:, 1, 1] - data[:, 0, 1])
    paired("test accuracy gained, fresh runs", data[:, 3, 1] - data[:, 2, 1])
    paired("test accuracy gained, learned on fresh runs", data[:, 5, 1] - data[:, 4, 1])


def cleaning(num_seeds: int) -> None:
    """F1 and accuracies."""
    scores, rows = [], []
    for seed in range(num_seeds):
        task = hpo.problems.cleaning(seed=seed)
        begin = time.process_time()
        path = make_descend(task, task.num_outer)(jax.random.key(0), task.hparams)
        scores.append(float(task.score(path.best_hparams, None)))
        spent = time.process_time() - begin
        found = hpo.problems.clean_accuracy(task, path.best_hparams, seed=seed)
        rows.append([float(found[name]) for name in ("all", "validation", "kept", "oracle")])
        names = " ".join(f"{value:.4f}" for value in rows[-1])
        print(
            f"seed {seed}: F1 {scores[-1]:.3f}, accuracies {names}, CPU {spent:.1f} s", flush=True
        )
    data = np.array(rows)
    print(f"mean F1 {np.mean(scores):.3f} (least {min(scores):.3f})")
    print("mean accuracy: all, clean only, kept, oracle:", data.mean(0).round(4))
    paired("accuracy gained over all", data[:, 2] - data[:, 0])
    paired("accuracy gained over clean only", data[:, 2] - data[:, 1])


def distillation(num_seeds: int) -> None:
    """Ten learned images against draws of ten real ones."""
    task = hpo.problems.distillation()
    path = make_descend(task, task.num_outer)(jax.random.key(0), task.hparams)

    @jax.jit
    def score(images: jax.Array) -> jax.Array:
        hparams = {"images": images}
        state = hpo.training.train(task.training, jax.random.key(0), hparams, task.num_steps)
        return task.score(hparams, state)

    data = hpo.problems.corrupted_digits(corruption=0.0).validation
    labels, rng = np.asarray(data["y"]), np.random.default_rng(0)
    draws = []
    for _ in range(5 * num_seeds):
        rows = [rng.choice(np.flatnonzero(labels == digit)) for digit in range(10)]
        draws.append(float(score(data["x"][np.array(rows)])))
    print(
        f"accuracy from ten learned images {float(score(path.best_hparams['images'])):.4f}; from "
        f"{len(draws)} draws of ten real ones mean {np.mean(draws):.4f}, best {max(draws):.4f}"
    )


def penalties(num_seeds: int) -> None:
    """Validation and test loss along the descent."""
    for name in ("penalties", "ridge"):
        task = hpo.problems.TASKS[name]()
        path = make_descend(task, 10 * num_seeds)(jax.random.key(0), task.hparams)
        tests = np.asarray(path.test_values)
        print(
            f"{name}: validation {path.values[0]:.4f} -> {path.values[-1]:.4f}, falling at "
            f"{np.mean(np.diff(path.values) < 0):.0%} of steps; test {tests[0]:.4f} -> "
            f"{tests[-1]:.4f}, least {tests.min():.4f} at step {tests.argmin()}"
        )


PARTS = {
    "schedule": schedules, "cleaning": cleaning, "distillation": distillation,
    "penalties": penalties,
}  # fmt: skip


def main() -> None:
    """Prints the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--seeds", type=int, help="default: 20, for cleaning 10")
    args = parser.parse_args()
    print(f"jax {jax.__version__}")
    for name in PARTS if args.part == "all" else [args.part]:
        begin = time.process_time()
        print(f"\n### {name}\n")
        PARTS[name](args.seeds or (10 if name == "cleaning" else 20))
        print(f"{time.process_time() - begin:.0f} s CPU")


if __name__ == "__main__":
    main()
