"""Programs that are compiled ahead: a later process of the same shape adds none."""

import os
import subprocess
import sys

import pytest


def clean_environment():
    """That of a user."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("JAXHPO", "JAX_", "XLA_"))}


def run(tmp_path, *arguments, **variables):
    environment = clean_environment()
    environment |= {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(tmp_path), **variables}
    command = [sys.executable, "-m", "jaxhpo", "warm", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)


def added(done):
    """The last column of the table's rows."""
    assert done.returncode == 0, done.stderr
    rows = [line.strip("│ ").split("│") for line in done.stdout.splitlines() if "│" in line]
    return [float(row[-1]) for row in rows]


def test_what_was_compiled_once_is_there(tmp_path):
    arguments = ("-s", "qmc", "-s", "nsga2", "-d", "2", "--trials", "3")
    assert min(added(run(tmp_path, *arguments))) > 0.0
    assert added(run(tmp_path, *arguments)) == [0.0, 0.0]


def test_what_cannot_be_filled_is_said(tmp_path):
    done = run(tmp_path, "-s", "gradient")
    assert done.returncode == 2
    assert "needs gradients" in done.stderr
    assert "there is no sampler 'tp'" in run(tmp_path, "-s", "tp").stderr
    off = run(tmp_path, "-s", "qmc", JAXHPO_CACHE="0")
    assert off.returncode == 2
    assert "cache is off" in off.stderr


COUNT = """
import jax
missed = []
def listen(event, **facts):
    if event == "/jax/compilation_cache/cache_misses":
        missed.append(event)
jax.monitoring.register_event_listener(listen)
"""
STUDY = """
import jaxhpo as hpo
space = {f"w{i}": hpo.log_uniform(1e-3, 5.0) for i in range(4)} | {"v": hpo.normal(0, 1, shape=2)}
study = hpo.Study(space, "tpe", storage=None, seed=4)
study.optimize(lambda params: params["w0"], num_trials=12, progress=False)
print(len(missed))
"""
OPTUNA = """
import optuna
from jaxhpo.integrations.optuna import JaxhpoSampler
def objective(trial):
    kind = trial.suggest_categorical("kind", ["a", "b", "c", "d"])
    sizes = [trial.suggest_int(f"k{i}", 1, 2 + i) for i in range(4)]
    return trial.suggest_float("x", -1.0, 1.0) ** 2 + sum(sizes) + (kind == "a")
study = optuna.create_study(sampler=JaxhpoSampler("tpe", seed=3))
study.optimize(objective, n_trials=12)
print(len(missed))
"""


@pytest.mark.slow
def test_what_later_processes_need_was_compiled(tmp_path):
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),  # programs that took no time are kept as well
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    assert min(added(run(tmp_path, "-s", "tpe", "-d", "6", "--trials", "12", **environment))) > 0.0
    for script in (STUDY, OPTUNA):
        done = subprocess.run(
            [sys.executable, "-c", COUNT + script],
            env=clean_environment() | {"JAX_PLATFORMS": "cpu", **environment},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-1] == "0"
