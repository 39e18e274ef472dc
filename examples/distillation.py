"""Learn ten images that teach a model to read digits, and look at them.

    python examples/distillation.py

A softmax regression trained for 20 steps on ten images only, one a digit. The images start blank;
every pixel is a hyperparameter, 640 in all. Writes `distilled_digits.png`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxhpo as hpo


def real_images(draw: int) -> jax.Array:
    """One real image a digit."""
    data = hpo.problems.corrupted_digits(corruption=0.0).validation
    labels = np.asarray(data["y"])
    return data["x"][np.array([np.flatnonzero(labels == digit)[draw] for digit in range(10)])]


def save(images: dict[str, jax.Array], path: str) -> None:
    """One row of ten digits an entry."""
    figure = Figure(figsize=(10, 1.15 * len(images)), layout="constrained")
    axes = figure.subplots(len(images), 10)
    for row, (title, pictures) in zip(axes, images.items(), strict=True):
        limit = float(jnp.max(jnp.abs(pictures)))
        for digit, axis in enumerate(row):
            picture = np.asarray(pictures[digit]).reshape(8, 8)
            axis.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(title, fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Descends on the pixels and compares with ten real images."""
    task = hpo.problems.distillation()
    estimator = hpo.hypergrad.unrolled(task.training, num_steps=task.num_steps)
    path = hpo.hypergrad.descend(
        estimator, task.hparams, optax.adam(task.outer_lr), key=jax.random.key(0), num_outer=100
    )

    @jax.jit
    def accuracy(images: jax.Array) -> jax.Array:
        hparams = {"images": images}
        state = hpo.training.train(task.training, jax.random.key(1), hparams, task.num_steps)
        return task.score(hparams, state)

    learned = path.best_hparams["images"]
    draws = np.array([float(accuracy(real_images(draw))) for draw in range(20)])
    best = real_images(int(draws.argmax()))
    held_out = path.held_out  # runs from keys that no step followed
    print("means of 8 fresh seeds, before -> after the descent")
    print(f"loss on 1,000 real images: {held_out.start.mean():.3f} -> {held_out.best.mean():.3f}")
    print(f"test accuracy from ten real images: mean {draws.mean():.1%}, best {draws.max():.1%}")
    print(f"test accuracy from ten learned ones: {accuracy(learned):.1%}")
    save({"learned": learned, "best real": best}, "distilled_digits.png")


if __name__ == "__main__":
    main()
