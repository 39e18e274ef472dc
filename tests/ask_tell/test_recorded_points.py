"""Points that each sampler proposed before its programs were put together as they are now.

`recorded_points.json` holds, by sampler, precision and seed, the points of some trials of a study
of 40; a seed beyond 32 bits counts differently in the two precisions.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.samplers._traits import traits_of

RECORDED = json.loads((pathlib.Path(__file__).parent / "recorded_points.json").read_text())
QUICK = {"random", "qmc", "grid", "tpe"}
# Other flags of the compiler and other processors round otherwise; another draw is far away.
ROUNDING = 1000 * float(jnp.finfo(jnp.result_type(float)).eps)
SPACE = hpo.Space(
    {
        "x": hpo.uniform(-1.0, 2.0),
        "lr": hpo.log_uniform(1e-4, 1.0),
        "k": hpo.integer(1, 9),
        "c": hpo.choice(["a", "b", "c"]),
    }
)


def objective(params):
    value = (params["x"] - 0.3) ** 2 + (np.log10(params["lr"]) + 2) ** 2 * 0.1
    return value + (params["k"] - 4) ** 2 * 0.05 + {"a": 0, "b": 0.3, "c": 0.1}[params["c"]]


def two_objectives(params):
    return objective(params), abs(params["x"] - 0.8)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in RECORDED]
)
def test_the_points_of_a_seed_stay(name):
    several = traits_of(name).several_objectives
    direction = ["minimize"] * 2 if several else "minimize"
    for seed, rows in RECORDED[name]["64" if jax.config.jax_enable_x64 else "32"].items():
        study = hpo.Study(SPACE, name, storage=None, seed=int(seed), direction=direction)
        called = two_objectives if several else objective
        study.optimize(called, num_trials=1 + max(map(int, rows)), progress=False)
        for number, point in rows.items():
            unit = study.trials[int(number)].unit
            np.testing.assert_allclose(unit, point, rtol=0, atol=ROUNDING, err_msg=number)
