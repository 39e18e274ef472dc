"""Whole processes of a short study: what starting, compiling and tracing cost, beside Optuna.

python benchmarks/start.py [--samplers random qmc tpe gp] [--trials 200] [--rounds 5]
    [--before CHECKOUT] [--door study|conditional|searchcv]

A process imports the library, runs a study in memory of a quadratic function in 6 uniform
dimensions and ends. "cold" has an empty folder of compiled programs, "warm" the one that a cold
process has left. `--before` runs another checkout of this package in the same rounds. Wall and CPU
seconds of the process, smallest and median of interleaved rounds; and programs compiled in it.
Python's bytecode is there, as after an installation. "import jax" is what every program with JAX
has to pay; "conditional" and "searchcv" are searches through the doors of Optuna and scikit-learn.
"""

import argparse
import importlib.util
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

NUM_DIMS = 6
ROOT = pathlib.Path(__file__).resolve().parent.parent
OURS = """
import jaxhpo as hpo
space = hpo.Space({{f"x{{i}}": hpo.uniform(0.0, 1.0) for i in range({dims})}})
study = hpo.Study(space, {name!r}, storage=None, seed={seed})
study.optimize(
    lambda params: sum((x - 0.3) ** 2 for x in params.values()), num_trials={trials}, progress=False
)
print(count)
"""
OPTUNA = """
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(sampler=optuna.samplers.{name}(seed={seed}))
study.optimize(
    lambda trial: sum((trial.suggest_float(f"x{{i}}", 0.0, 1.0) - 0.3) ** 2 for i in range({dims})),
    n_trials={trials},
)
print(0)
"""
COUNT = """
import jax
count = 0
def listen(event, seconds, **facts):
    global count
    count += event == "/jax/core/compile/backend_compile_duration"
jax.monitoring.register_event_duration_secs_listener(listen)
"""
CONDITIONAL = """
import optuna
from jaxhpo.integrations.optuna import JaxhpoSampler
optuna.logging.set_verbosity(optuna.logging.ERROR)
def objective(trial):
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    x = trial.suggest_float("x", -1.0, 1.0)
    if kind == "a":
        return x**2 + trial.suggest_float("lr", 1e-4, 1.0, log=True)
    return x**2 + (trial.suggest_int("depth", 1, 9) if kind == "b" else 1)
study = optuna.create_study(sampler=JaxhpoSampler({name!r}, seed={seed}))
study.optimize(objective, n_trials=30)
print(count)
"""
SEARCHCV = """
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier
import jaxhpo as hpo
from jaxhpo.integrations.sklearn import SearchCV
space = {{"max_depth": hpo.integer(1, 9), "ccp_alpha": hpo.uniform(0.0, 0.1)}}
settings = {{"n_iter": 20, "cv": 2, "sampler": {name!r}, "random_state": {seed}}}
SearchCV(DecisionTreeClassifier(), space, **settings).fit(*load_iris(return_X_y=True))
print(count)
"""
DOORS = {"study": COUNT + OURS, "conditional": COUNT + CONDITIONAL, "searchcv": COUNT + SEARCHCV}
PEERS = {"random": "RandomSampler", "qmc": "QMCSampler", "tpe": "TPESampler", "gp": "GPSampler"}


def process(script, folder, environment):
    """Wall and CPU seconds of a process, and the number that it prints last."""
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment},
        cwd=folder,  # what a script imports is not what lies where this one was started
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child.stdout, child.stderr:
        text, errors = child.stdout.read(), child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(errors)
    wall = time.perf_counter() - start
    return wall, usage.ru_utime + usage.ru_stime, int(text.split()[-1])


def one_round(door, name, seed, trials, checkouts):
    """One row a kind of process, in the order in which they run."""
    facts = {"dims": NUM_DIMS, "trials": trials, "seed": seed}
    for label, checkout in checkouts.items():
        script = DOORS[door].format(name=name, **facts)
        with tempfile.TemporaryDirectory() as folder:
            environment = {"PYTHONPATH": str(checkout), "JAXHPO_CACHE_DIR": folder}
            for state in ("cold", "warm"):
                yield f"{label}, {state}", process(script, folder, environment)
    yield "import jax", process("import jax; print(0)", tempfile.gettempdir(), {})
    # Optuna's GPSampler needs PyTorch, without which it is left out.
    has_peer = name in PEERS and (name != "gp" or importlib.util.find_spec("torch") is not None)
    if has_peer and door == "study":
        script = OPTUNA.format(name=PEERS[name], **facts)
        yield f"Optuna's {PEERS[name]}", process(script, tempfile.gettempdir(), {})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samplers", nargs="+", default=list(PEERS))
    parser.add_argument("--door", choices=list(DOORS), default="study")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=pathlib.Path)
    arguments = parser.parse_args()
    checkouts = {"jaxhpo": ROOT}
    if arguments.before:
        checkouts = {"before": arguments.before.resolve(), **checkouts}
    with tempfile.TemporaryDirectory() as bytecode:
        os.environ["PYTHONPYCACHEPREFIX"] = bytecode
        measure(arguments, checkouts)


def measure(arguments, checkouts):
    """Prints a table."""
    for checkout in checkouts.values():  # writes the bytecode
        process("import jaxhpo.study, optuna, sklearn; print(0)", str(checkout), {})
    print(f"{arguments.trials} trials, {arguments.rounds} rounds; seconds (min / median)")
    print("| sampler | process | wall | CPU | programs |")
    print("|---|---|---|---|---|")
    for name in arguments.samplers:
        rows = {}
        for seed in range(arguments.rounds):
            for label, row in one_round(arguments.door, name, seed, arguments.trials, checkouts):
                rows.setdefault(label, []).append(row)
        for label, values in rows.items():
            wall, cpu, programs = zip(*values, strict=True)
            cells = [f"{min(v):.2f} / {statistics.median(v):.2f}" for v in (wall, cpu)]
            print(f"| {name} | {label} | {cells[0]} | {cells[1]} | {max(programs)} |", flush=True)


if __name__ == "__main__":
    main()
