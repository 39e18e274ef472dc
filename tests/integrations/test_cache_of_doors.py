"""Every door turns JAX's compilation cache on: the second process compiles nothing anew."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

DOORS = {
    "optuna": """
        import optuna
        from jaxhpo.integrations.optuna import JaxhpoSampler
        study = optuna.create_study(sampler=JaxhpoSampler("qmc", seed=0))
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    """,
    "sklearn": """
        from sklearn.datasets import load_iris
        from sklearn.tree import DecisionTreeClassifier
        from jaxhpo.integrations.sklearn import SearchCV
        space = {"max_depth": [1, 2, 3, 4]}
        search = SearchCV(DecisionTreeClassifier(), space, n_iter=2, cv=2, sampler="qmc")
        search.fit(*load_iris(return_X_y=True))
    """,
    "scipy": """
        from jaxhpo.integrations.scipy import minimize
        minimize(lambda x: x[0] ** 2, None, method="qmc", bounds=[(-1, 1)], options={"maxiter": 3})
    """,
    "scipy-local": """
        import jax.numpy as jnp
        from jaxhpo.integrations.scipy import minimize
        minimize(lambda x: jnp.sum(x ** 2), [0.3, 0.4], method="BFGS", bounds=[(-1, 1)] * 2)
    """,
    "gpyopt": """
        from jaxhpo.integrations.gpyopt import BayesianOptimization
        domain = [{"name": "x", "type": "continuous", "domain": (0, 1)}]
        BayesianOptimization(lambda x: x[0, 0] ** 2, domain, initial_design_numdata=2)
    """,
    "hyperopt": """
        from hyperopt import hp
        from jaxhpo.integrations.hyperopt import fmin
        fmin(lambda x: x ** 2, hp.uniform("x", -1, 1), "qmc", 3)
    """,
    "ray": """
        from jaxhpo import uniform
        from jaxhpo.integrations.ray import JaxhpoSearch
        search = JaxhpoSearch("qmc", {"x": uniform(0.0, 1.0)}, metric="loss", mode="min")
        search.suggest("a")
    """,
    "study": """
        import jaxhpo as hpo
        study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=None)
        study.optimize(lambda p: p["x"], num_trials=2)
    """,
}
QUICK = ("optuna", "sklearn", "scipy-local")
CASES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DOORS]


def hits_of(door, folder):
    """Runs a door's script in a fresh process."""
    code = (
        "import jax\nhits = []\n"
        "jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))\n"
        + textwrap.dedent(DOORS[door])
        + '\nprint("HITS", sum("cache_hits" in name for name in hits))\n'
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAXHPO", "JAX_"))}
    environment |= {"JAXHPO_CACHE_DIR": str(folder), "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, timeout=300, env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return int(result.stdout.split("HITS")[1])


@pytest.mark.parametrize("door", CASES)
def test_the_second_process_through_a_door_starts_warm(door, tmp_path):
    assert hits_of(door, tmp_path) == 0
    assert [path for path in pathlib.Path(tmp_path).rglob("*") if path.is_file()]
    assert hits_of(door, tmp_path) >= 1
