"""Whole processes of a short study: what starting, compiling and tracing cost, beside Optuna.

python benchmarks/start.py [--samplers random qmc tpe gp] [--trials 200] [--rounds 5]
    [--before CHECKOUT] [--door study|conditional|searchcv] [--sleep 0]

A process imports the library, runs a study in memory of a quadratic function in 6 uniform
dimensions and ends. "cold" has an empty folder of compiled programs, "warm" the one that a cold
process has left. `--before` runs another checkout of this package in the same rounds. Smallest and
median of interleaved rounds: wall and CPU seconds of the process; the same without its imports,
measured inside; the longest pause between two trials, of which each sleeps `--sleep` seconds; and
programs compiled in it. Python's bytecode is there, as after an installation. "import jax" is what
every program with JAX has to pay, "imports" what all that a script imports costs; "conditional" and
"searchcv" are searches through the doors of Optuna and scikit-learn.
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
BEGIN = """
import resource, time
import jax
count, pause, ended = 0, 0.0, None
def listen(event, seconds, **facts):
    global count
    count += event == "/jax/core/compile/backend_compile_duration"
jax.monitoring.register_event_duration_secs_listener(listen)
def trial(value):
    global pause, ended
    pause = max(pause, 0.0 if ended is None else time.perf_counter() - ended)
    time.sleep({sleep})
    ended = time.perf_counter()
    return value
def cpu():
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in both)
wall_before, cpu_before = time.perf_counter(), cpu()
"""
END = """
print(time.perf_counter() - wall_before, cpu() - cpu_before, pause, count)
"""
IMPORTS = {
    "study": """
import jaxhpo as hpo
import jaxhpo.study
""",
    "conditional": """
import optuna
from jaxhpo.integrations.optuna import JaxhpoSampler
optuna.logging.set_verbosity(optuna.logging.ERROR)
""",
    "searchcv": """
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier
import jaxhpo as hpo
from jaxhpo.integrations.sklearn import SearchCV
""",
}
BODIES = {
    "study": """
space = hpo.Space({{f"x{{i}}": hpo.uniform(0.0, 1.0) for i in range({dims})}})
study = hpo.Study(space, {name!r}, storage=None, seed={seed})
study.optimize(
    lambda params: trial(sum((x - 0.3) ** 2 for x in params.values())),
    num_trials={trials}, progress=False,
)
""",
    "conditional": """
def objective(asked):
    kind = asked.suggest_categorical("kind", ["a", "b", "c"])
    x = asked.suggest_float("x", -1.0, 1.0)
    if kind == "a":
        return trial(x**2 + asked.suggest_float("lr", 1e-4, 1.0, log=True))
    return trial(x**2 + (asked.suggest_int("depth", 1, 9) if kind == "b" else 1))
study = optuna.create_study(sampler=JaxhpoSampler({name!r}, seed={seed}))
study.optimize(objective, n_trials=30)
""",
    "searchcv": """
space = {{"max_depth": hpo.integer(1, 9), "ccp_alpha": hpo.uniform(0.0, 0.1)}}
settings = {{"n_iter": 20, "cv": 2, "sampler": {name!r}, "random_state": {seed}}}
SearchCV(DecisionTreeClassifier(), space, **settings).fit(*load_iris(return_X_y=True))
""",
}
OPTUNA = """
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(sampler=optuna.samplers.{name}(seed={seed}))
study.optimize(
    lambda trial: sum((trial.suggest_float(f"x{{i}}", 0.0, 1.0) - 0.3) ** 2 for i in range({dims})),
    n_trials={trials},
)
"""
PEERS = {"random": "RandomSampler", "qmc": "QMCSampler", "tpe": "TPESampler", "gp": "GPSampler"}


def process(script, folder, environment):
    """Wall and CPU seconds of a process, and the numbers of the last line that it prints."""
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
    inside = map(float, text.splitlines()[-1].split()) if text else ()
    return wall, usage.ru_utime + usage.ru_stime, *inside


def one_round(arguments, name, seed, checkouts):
    """One row a kind of process, in the order in which they run."""
    door, elsewhere = arguments.door, tempfile.gettempdir()
    facts = {"dims": NUM_DIMS, "trials": arguments.trials, "seed": seed, "sleep": arguments.sleep}
    script = (IMPORTS[door] + BEGIN + BODIES[door] + END).format(name=name, **facts)
    for label, checkout in checkouts.items():
        with tempfile.TemporaryDirectory() as folder:
            environment = {"PYTHONPATH": str(checkout), "JAXHPO_CACHE_DIR": folder}
            for state in ("cold", "warm"):
                yield f"{label}, {state}", process(script, folder, environment)
            yield f"{label}, imports", process(IMPORTS[door], folder, environment)
    yield "import jax", process("import jax", elsewhere, {})
    # Optuna's GPSampler needs PyTorch, without which it is left out.
    has_peer = name in PEERS and (name != "gp" or importlib.util.find_spec("torch") is not None)
    if has_peer and door == "study":
        script = OPTUNA.format(name=PEERS[name], **facts)
        yield f"Optuna's {PEERS[name]}", process(script, elsewhere, {})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samplers", nargs="+", default=list(PEERS))
    parser.add_argument("--door", choices=list(BODIES), default="study")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=pathlib.Path)
    parser.add_argument("--sleep", type=float, default=0.0)
    arguments = parser.parse_args()
    checkouts = {"jaxhpo": ROOT}
    if arguments.before:
        checkouts = {"before": arguments.before.resolve(), **checkouts}
    with tempfile.TemporaryDirectory() as bytecode:
        os.environ["PYTHONPYCACHEPREFIX"] = bytecode
        measure(arguments, checkouts)


COLUMNS = ("wall", "CPU", "wall inside", "CPU inside", "longest pause", "programs")


def measure(arguments, checkouts):
    """Prints a table."""
    for checkout in checkouts.values():  # writes the bytecode
        process("import jaxhpo.study, optuna, sklearn", str(checkout), {})
    print(f"{arguments.trials} trials, {arguments.rounds} rounds; seconds (min / median)")
    print(f"| sampler | process | {' | '.join(COLUMNS)} |")
    print("|---" * (2 + len(COLUMNS)) + "|")
    for name in arguments.samplers:
        rows = {}
        for seed in range(arguments.rounds):
            for label, row in one_round(arguments, name, seed, checkouts):
                rows.setdefault(label, []).append(row)
        for label, values in rows.items():
            numbers = list(zip(*values, strict=True))
            cells = [f"{min(one):.2f} / {statistics.median(one):.2f}" for one in numbers[:5]]
            cells += [f"{max(one):.0f}" for one in numbers[5:]]
            cells += [""] * (len(COLUMNS) - len(cells))
            print(f"| {name} | {label} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
