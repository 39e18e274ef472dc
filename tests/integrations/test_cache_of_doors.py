"""Every door turns JAX's compilation cache on: the second process compiles nothing."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

TRAINING = """
        import jax.numpy as jnp
        import optax
        import jaxhpo as hpo
        training = hpo.Training(
            init=lambda key, hparams: jnp.ones(()),
            step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
            loss=lambda hparams, state: state**2,
        )
"""
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
    "minimize": """
        import jaxhpo as hpo
        space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
        hpo.minimize(lambda key, p: p["x"], space, "qmc", key=0, num_trials=4)
    """,
    "minimize_many": """
        import jax
        import jaxhpo as hpo
        space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
        keys = jax.random.split(jax.random.key(0), 2)
        hpo.minimize_many(lambda key, p: p["x"], space, "qmc", keys=keys, num_trials=4)
    """,
    "sweep": TRAINING
    + """
        rates = {"lr": jnp.asarray([0.1, 0.5])}
        hpo.population.sweep(training, rates, key=0, num_steps=3, progress=False)
    """,
    "hypergrad": TRAINING
    + """
        estimator = hpo.hypergrad.unrolled(training, num_steps=2)
        hpo.hypergrad.descend(estimator, {"lr": 0.5}, optax.sgd(0.2), key=0, num_outer=2)
    """,
    "tpe": """
        import jaxhpo as hpo
        study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "tpe", storage=None)
        study.optimize(lambda p: p["x"], num_trials=2)
    """,
    "study": """
        import jaxhpo as hpo
        study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=None)
        study.optimize(lambda p: p["x"], num_trials=2)
    """,
}
QUICK = ("optuna", "sweep", "scipy-local")
CASES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DOORS]


# Every program is kept, however short its compilation was.
HEAD = """
import jax
from jaxhpo._tracing import compilation_cache
compilation_cache._MIN_COMPILE_SECONDS = 0.0
names = []
jax.monitoring.register_event_listener(lambda name, **_: names.append(name))
"""
TAIL = """
print("COUNTS", *(sum(part in name for name in names) for part in ("cache_hits", "cache_misses")))
"""


def counts_of(door, folder):
    """Programs that a door's script reads and compiles in a fresh process."""
    code = HEAD + textwrap.dedent(DOORS[door]) + TAIL
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAXHPO", "JAX_"))}
    environment |= {"JAXHPO_CACHE_DIR": str(folder), "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, timeout=300, env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    hits, misses = result.stdout.split("COUNTS")[1].split()
    return int(hits), int(misses)


@pytest.mark.parametrize("door", CASES)
def test_the_second_process_through_a_door_starts_warm(door, tmp_path):
    hits, misses = counts_of(door, tmp_path)
    assert misses >= 1
    assert [path for path in pathlib.Path(tmp_path).rglob("*") if path.is_file()]
    assert counts_of(door, tmp_path) == (hits + misses, 0)
