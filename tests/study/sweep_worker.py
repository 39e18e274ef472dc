"""Run as a process: sweeps a study that others sweep too; can be told to stop inside a batch."""

import os
import signal
import sys
import time

import jax
import jax.numpy as jnp

import jaxhpo as hpo

SPACE = {"lr": hpo.log_uniform(1e-3, 1.0), "width": hpo.static([1, 2])}
TRAINING = hpo.Training(
    init=lambda key, h: jax.random.normal(key, (h["width"],)),
    step=lambda key, h, state, t: state * (1 - h["lr"]),
    loss=lambda h, state: jnp.sum(state**2),
)


def study_of(storage):
    return hpo.Study(SPACE, "random", storage=storage, name="shared", seed=7)


def main(storage: str, num_trials: int, batch_size: int, end: str) -> None:
    study = study_of(storage)
    batches = []

    def tick(progress: hpo.study.Progress) -> None:
        batches.append(progress)
        if len(batches) > 1:
            return
        print("reserved", flush=True)  # the first batch is written down, nothing is trained
        if end == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if end == "slow":
            time.sleep(2.0)

    study.sweep(TRAINING, num_trials=num_trials, num_steps=5, batch_size=batch_size, progress=tick)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
