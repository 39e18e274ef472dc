"""One sweep that two processes share through `jax.distributed`, here on one machine.

Run: python examples/distributed_sweep.py [number of trials]

On a cluster, start the same program once a machine, with the address of the first one; on GPUs and
TPUs leave out the settings of the CPU.
"""

import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp

import jaxhpo as hpo

NUM_PROCESSES, NUM_STEPS = 2, 200
NUM_TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 64


def training():
    """Least squares by gradient descent with momentum and noise."""
    curvature = 1 / jnp.arange(1.0, 21.0)

    def step(key, hparams, state, t):
        noise = 0.1 * jax.random.normal(jax.random.fold_in(key, t), curvature.shape)
        velocity = hparams["momentum"] * state["v"] + curvature * state["w"] + noise
        return {"w": state["w"] - hparams["lr"] * velocity, "v": velocity}

    return hpo.Training(
        init=lambda key, hparams: {"w": jnp.ones(20), "v": jnp.zeros(20)},
        step=step,
        loss=lambda hparams, state: jnp.sum(curvature * state["w"] ** 2) / 2,
    )


def work(index, address):
    """What every process runs: the same call, with the same arguments, for the same result."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, NUM_PROCESSES, index)
    space = hpo.Space({"lr": hpo.log_uniform(1e-3, 1.0), "momentum": hpo.uniform(0.0, 0.9)})
    swept = hpo.population.sweep(
        training(),
        space.sample(jax.random.key(0), NUM_TRIALS),
        key=1,
        num_steps=NUM_STEPS,
        scheduler="halving",
        width=8,  # with one width, the same bits on any number of devices and processes
    )
    params = space.decode(swept.best_hparams)
    print(
        f"process {index} of {jax.process_count()}, with {jax.local_device_count()} of "
        f"{jax.device_count()} devices: best trial {swept.best_index}, loss {swept.best_loss:.6f}, "
        f"{params}",
        flush=True,
    )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        work(int(sys.argv[2]), sys.argv[3])
    else:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        devices = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
        started = [
            subprocess.Popen(
                [sys.executable, __file__, str(NUM_TRIALS), str(i), address], env=devices
            )
            for i in range(NUM_PROCESSES)
        ]
        if any([process.wait() for process in started]):
            sys.exit("a process has failed")
