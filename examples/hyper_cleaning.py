"""Find the false labels in a data set: one weight an example, learned by hypergradients.

    python examples/hyper_cleaning.py

Half of the labels of 600 digits are drawn anew. A weight an example is trained so that a model
fitted to the weighted examples does well on 400 clean ones: 600 numbers at the price of one.
"""

from __future__ import annotations

import jax
import numpy as np
import optax

import jaxhpo as hpo


def main() -> None:
    """Prints which labels are suspected, how many of them are false, and what that buys."""
    task = hpo.problems.cleaning(seed=0, corruption=0.5)
    data = hpo.problems.corrupted_digits(seed=0, corruption=0.5)
    estimator = hpo.hypergrad.unrolled(task.training, num_steps=task.num_steps)
    path = hpo.hypergrad.descend(
        estimator, task.hparams, optax.adam(task.outer_lr), key=jax.random.key(0), num_outer=40
    )
    weights = np.asarray(path.best_hparams["weights"])
    found, is_false = weights <= 0, np.asarray(data.is_false)
    hits = int(np.sum(found & is_false))
    held_out = path.held_out  # runs from keys that no step followed
    print("means of 8 fresh seeds, before -> after the descent")
    print(f"loss on clean examples: {held_out.start.mean():.3f} -> {held_out.best.mean():.3f}")
    print(f"{is_false.sum()} of 600 labels are false, {found.sum()} are suspected: {hits} rightly")
    print(f"precision {hits / found.sum():.1%}, recall {hits / is_false.sum():.1%}")
    print(f"F1 {float(task.score(path.best_hparams, None)):.3f}")

    print("the five most suspected:")
    clean = hpo.problems.corrupted_digits(seed=0, corruption=0.0)
    for i in np.argsort(weights)[:5]:
        label, truth = int(data.train["y"][i]), int(clean.train["y"][i])
        print(f"  example {i}: weight {weights[i]:+.1f}, labelled {label}, in truth {truth}")
    accuracy = hpo.problems.clean_accuracy(task, path.best_hparams, seed=0, corruption=0.5)
    print("test accuracy of a model trained on")
    print(f"  all examples, clean ones included: {accuracy['all']:.1%}")
    print(f"  the clean ones alone:              {accuracy['validation']:.1%}")
    print(f"  the clean ones and those kept:     {accuracy['kept']:.1%}")
    print(f"  the clean ones and all true ones:  {accuracy['oracle']:.1%} (the best there is)")


if __name__ == "__main__":
    main()
