"""A thousand trials of a digits classifier, of which halving trains only the best to the end.

Run: python examples/early_stopping.py [number of trials]
"""

import sys

import jax
import numpy as np

import jaxhpo as hpo

NUM_TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
NUM_STEPS = 405

if __name__ == "__main__":
    problem = hpo.problems.digits()  # learning rate, momentum, weight decay, and a static width
    hparams = problem.space.sample(jax.random.key(0), NUM_TRIALS)
    sweep = hpo.population.sweep(
        problem.training, hparams, key=1, num_steps=NUM_STEPS, num_reports=1, scheduler="halving"
    )
    for step, losses in zip(sweep.curve_steps, sweep.curves.T, strict=True):
        losses = losses[np.isfinite(losses)]
        print(f"step {step:3d}: {len(losses):5d} trials, best loss {losses.min():.4f}")
    taken = int(sweep.steps.sum())
    print(f"{taken:,} steps of {NUM_TRIALS * NUM_STEPS:,}, in {sweep.seconds:.1f} s")
    best = problem.space.decode(sweep.best_hparams)
    print(f"best validation loss {sweep.best_loss:.4f} with {best}")
