"""Population-based training of a noisy quadratic: a schedule in one sweep, and its lineage picture.

Run: python examples/pbt.py [number of trials]
"""

import sys

import jax
import numpy as np

import jaxhpo as hpo

NUM_TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 20

if __name__ == "__main__":
    problem = hpo.problems.noisy_quadratic()  # one hyperparameter, the learning rate
    hparams = problem.space.sample(jax.random.key(0), NUM_TRIALS)
    sweep = hpo.population.sweep(
        problem.training,
        hparams,
        key=1,
        num_steps=problem.num_steps,
        scheduler="pbt",
        space=problem.space,
    )
    lineage = sweep.lineage
    rates = lineage.schedule(sweep.best_index)["lr"]
    for step, who, rate in zip(
        lineage.steps[::5], lineage.ancestors(sweep.best_index)[::5], rates[::5], strict=True
    ):
        print(f"until step {step:3d}: trial {who:2d} with a learning rate of {rate:.4f}")

    # What the schedule is worth, over all noise, and what the best constant rate is.
    every_step = np.repeat(rates, np.diff([0, *lineage.steps]))
    constant, loss = problem.best_constant()
    print(f"best constant rate {constant:.3f}: expected loss {loss:.4f}")
    print(f"this schedule: expected loss {problem.expected_loss(every_step):.4f}")

    again = hpo.population.replay(problem.training, sweep)
    print(f"loss {sweep.best_loss}, trained anew {again.losses[0]}")
    try:
        figure = hpo.plots.lineage(lineage, lineage.hparams["lr"], sweep.best_index, ylabel="lr")
        figure.savefig("pbt.png", dpi=150)
    except ModuleNotFoundError as error:
        print(f"no picture: {error}")
