"""One of several processes: it sweeps, and writes down what it got.

Run: python FILE INDEX COUNT PORT OUT
"""

import sys

import jax
import numpy as np
import pytest

import jaxhpo as hpo
from tests.population.sweep_problems import regression

N, STEPS = 26, 24


def make_space():
    return hpo.Space({"lr": hpo.log_uniform(1e-3, 0.1), "momentum": hpo.uniform(0.0, 0.9)})


def scheduler_of(name):
    if name is None or not name.startswith("pbt"):
        return name
    explore = "hypergradient" if name == "pbt descent" else "random"
    return hpo.schedulers.pbt(N, STEPS, space=make_space(), interval=4, explore=explore)


def results(name, keep_states, **options):
    given = make_space().sample(jax.random.key(0), N)
    given = {**given, "lr": given["lr"].at[jax.numpy.array([2, 11])].set(np.inf)}
    swept = hpo.population.sweep(
        regression(), given, key=3, num_steps=STEPS, num_reports=4, width=2,
        scheduler=scheduler_of(name), keep_states=keep_states, progress=False, **options,
    )  # fmt: skip
    found = {
        "curves": swept.curves,
        "losses": swept.losses,
        "steps": swept.steps,
        "status": swept.status,
        "best_index": swept.best_index,
        "best_loss": swept.best_loss,
        "failed": swept.num_failed,
        "best": swept.best_state.params,
    }
    if keep_states:
        is_done = np.isfinite(swept.losses)
        found["states"] = np.asarray(swept.states.params)[is_done[swept.state_trials[0]]]
    if swept.lineage is not None:
        found["parent"] = swept.lineage.parent
        found["lr"] = swept.lineage.hparams["lr"]
    return found


def main(index, count, port, out):
    if count > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"localhost:{port}", count, index)
    whole = {}
    for name in (None, "halving", "asha", "pbt", "pbt descent"):
        for keep_states in (False, True):
            found = results(name, keep_states)
            whole |= {f"{name} {keep_states} {field}": value for field, value in found.items()}
    found = results("halving", False, chunk=4)
    whole |= {f"chunks {field}": value for field, value in found.items()}
    if count > 1:
        # With only its own devices a process sweeps by itself.
        alone = results("halving", index == 0, devices=jax.local_devices())
        np.testing.assert_array_equal(alone["curves"], found["curves"])
        given = make_space().sample(jax.random.key(index), N)
        with pytest.raises(ValueError, match="sweep: `hparams` must be the same in all processes"):
            hpo.population.sweep(regression(), given, key=3, num_steps=4, progress=False)
        given = make_space().sample(jax.random.key(0), N)
        for name, values in {
            "num_steps": (4, 6),
            "num_reports": (2, 4),
            "keep_states": (False, True),
            "scheduler": ("halving", "asha"),
        }.items():
            options = {"key": 3, "num_steps": 6, "progress": False, name: values[index]}
            with pytest.raises(ValueError, match=f"sweep: `{name}` must be the same in all proc"):
                hpo.population.sweep(regression(), given, **options)
        with pytest.raises(ValueError, match="sweep: `checkpoint_dir` must be None where several"):
            results(None, False, checkpoint_dir="unused")
    np.savez(out, **whole)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
