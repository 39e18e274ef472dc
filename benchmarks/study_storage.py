"""What it costs to write a study down: `python benchmarks/study_storage.py [--quick] [--only …]`.

Five tables, all on SQLite in a temporary folder, best and median of interleaved rounds:
a batch of vectorised trials by one transaction beside Optuna's `add_trials` (`bulk`); the overhead
of a study that runs an empty objective trial by trial beside Optuna's own `optimize` (`single`);
the same by several processes on one file (`several`); the time to open a stored study again
(`reopen`); and what each sampler needs to take up its history (`history`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("JAXHPO_CACHE", "0")

import jax
import numpy as np
import optuna

import jaxhpo as hpo
from jaxhpo.study import Study
from jaxhpo.study._batch import build_rows
from jaxhpo.study.storage._open import open_storage
from jaxhpo.study.storage._rows import to_frozen_trial

SPACE = {
    "lr": hpo.log_uniform(1e-4, 1.0),
    "decay": hpo.log_uniform(1e-6, 1e-1),
    "momentum": hpo.uniform(0.0, 0.99),
    "units": hpo.integer(16, 512, log=True),
    "opt": ["adam", "sgd"],
}


def make_rows(study: Study, num_trials: int, num_points: int) -> list:
    """Rows of a sweep, as `Study.record` makes them."""
    values = study.space.sample(jax.random.key(0), num_trials)
    return build_rows(
        "study_storage",
        study,
        np.asarray(study.space.to_unit(values)),
        study.space.decode(values),
        np.arange(float(num_trials)),
        curves=np.ones((num_trials, num_points)),
        curve_steps=range(num_points),
    )


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def bulk(folder: str, rounds: int, num_trials: int, num_slow: int) -> None:
    """Milliseconds a trial of a vectorised sweep, making the rows included for ours."""
    print(f"\nA batch of {num_trials} trials of 5 parameters, ms a trial (best / median)")
    print(f"{'curve points':>14}{'jaxhpo record':>22}{'its transaction':>22}{'add_trials WAL':>22}"
          f"{'add_trials default':>22}")  # fmt: skip
    for num_points in (0, 10, 50):
        times: dict[str, list[float]] = {"record": [], "write": [], "wal": [], "default": []}
        study = Study(SPACE, storage=f"sqlite:///{folder}/bulk.db", name=f"b{num_points}")
        values = study.space.sample(jax.random.key(0), num_trials)
        curves, steps = np.ones((num_trials, num_points)), range(num_points)
        losses = np.arange(float(num_trials))
        rows = make_rows(study, num_trials, num_points)
        frozen = [to_frozen_trial(row) for row in rows[:num_slow]]
        wal = optuna.create_study(storage=open_storage(f"{folder}/wal.db")[0])
        default = optuna.create_study(storage=f"sqlite:///{folder}/default.db")
        study.record(values, losses, curves=curves, curve_steps=steps)
        for _ in range(rounds):
            times["record"].append(
                timed(lambda: study.record(values, losses, curves=curves, curve_steps=steps))  # noqa: B023
                / num_trials
            )
            times["write"].append(timed(lambda: study._store.append(rows)) / num_trials)  # noqa: B023
            times["wal"].append(timed(lambda: wal.add_trials(frozen)) / num_slow)  # noqa: B023
            times["default"].append(timed(lambda: default.add_trials(frozen)) / num_slow)  # noqa: B023
        cells = "".join(f"{show(column):>22}" for column in times.values())
        print(f"{num_points:>14}{cells}")


def optuna_objective(trial: optuna.Trial) -> float:
    """Nothing, in Optuna's form."""
    trial.suggest_float("lr", 1e-4, 1.0, log=True)
    trial.suggest_float("decay", 1e-6, 1e-1, log=True)
    trial.suggest_float("momentum", 0.0, 0.99)
    trial.suggest_int("units", 16, 512, log=True)
    trial.suggest_categorical("opt", ["adam", "sgd"])
    return 0.0


def one_by_one(folder: str, rounds: int, num_trials: int) -> None:
    """Milliseconds a trial that a study adds to an empty objective."""
    print(f"\nAn empty objective, {num_trials} trials a round, ms a trial (best / median)")
    print(f"{'':>32}{'wall':>22}{'CPU':>22}")

    def ours(storage: str | None, sampler: str) -> Callable[[int], None]:
        study = Study(SPACE, sampler, storage=storage)
        study.optimize(lambda p: 0.0, num_trials=2, progress=False)
        return lambda n: study.optimize(lambda p: 0.0, num_trials=n, progress=False)

    def theirs(storage: object) -> Callable[[int], None]:
        study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
        return lambda n: study.optimize(optuna_objective, n_trials=n)

    runs = {
        **{
            f"jaxhpo {name}, memory": ours(None, name)
            for name in ("random", "qmc", "grid", "cma_es", "de", "nsga2")
        },
        "Optuna random, memory": theirs(None),
        "jaxhpo random, SQLite": ours(f"sqlite:///{folder}/one-random.db", "random"),
        "jaxhpo qmc, SQLite": ours(f"sqlite:///{folder}/one.db", "qmc"),
        "Optuna random, SQLite WAL": theirs(open_storage(f"{folder}/one-wal.db")[0]),
        "Optuna random, SQLite default": theirs(f"sqlite:///{folder}/one-default.db"),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            count = num_trials if "Optuna random, SQLite" not in name else max(num_trials // 5, 5)
            began = time.process_time()
            wall = timed(lambda: run(count))  # noqa: B023
            times[name].append((wall / count, (time.process_time() - began) / count))
    for name, column in times.items():
        wall, cpu = (show(list(part)) for part in zip(*column, strict=True))
        print(f"{name:>32}{wall:>22}{cpu:>22}")


_WORKER = """
import sys, time
sys.path.insert(0, {path!r})
import study_storage as this
run = this.worker_run(sys.argv[1], sys.argv[2])
run(3)
print("ready", flush=True)
sys.stdin.readline()
began = time.process_time()
run(int(sys.argv[3]))
print(time.process_time() - began, flush=True)
"""


def worker_run(kind: str, url: str) -> Callable[[int], None]:
    """What one of several processes does, with a number of trials."""
    if kind == "Optuna random":
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.RandomSampler()
        storage = open_storage(url)[0]
        theirs = optuna.load_study(study_name="s", storage=storage, sampler=sampler)
        return lambda n: theirs.optimize(optuna_objective, n_trials=n)
    study = Study(SPACE, kind.removeprefix("jaxhpo "), storage=url, name="s")
    return lambda n: study.optimize(lambda p: 0.0, num_trials=n, progress=False)


def several(folder: str, num_trials: int) -> None:
    """Milliseconds a trial of all, where several processes write one SQLite file."""
    print(f"\n{num_trials} trials of an empty objective by processes on one SQLite file (WAL), ms")
    print(f"{'':>20}{'processes':>12}{'wall / trial':>16}{'CPU / trial':>16}")
    code = _WORKER.format(path=os.path.dirname(os.path.abspath(__file__)))
    for count in (1, 2, 8):
        for kind in ("jaxhpo random", "jaxhpo tpe", "Optuna random"):
            url = f"sqlite:///{folder}/several-{count}-{kind.replace(' ', '-')}.db"
            if kind == "Optuna random":
                optuna.create_study(storage=open_storage(url)[0], study_name="s")
            command = [sys.executable, "-c", code, kind, url, str(num_trials // count)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            workers = []
            for _ in range(count):  # one after the other, so that none waits for a compiler
                worker = subprocess.Popen(command, **pipes)
                worker.stdout.readline()
                workers.append(worker)
            began = time.perf_counter()
            for worker in workers:
                worker.stdin.write("go\n")
                worker.stdin.flush()
            cpu = sum(float(worker.stdout.readline()) for worker in workers)
            wall = time.perf_counter() - began
            for worker in workers:
                worker.communicate()
            cells = (1e3 * wall / num_trials, 1e3 * cpu / num_trials)
            print(f"{kind:>20}{count:>12}{cells[0]:>16.2f}{cells[1]:>16.2f}", flush=True)


def reopening(folder: str, num_trials: int) -> None:
    """Seconds until a stored study proposes its next trial, beside reading it by Optuna."""
    url = f"sqlite:///{folder}/open.db"
    study = Study(SPACE, storage=url, name="s")
    study._store.append(make_rows(study, num_trials, 10))

    def resume() -> None:
        Study(SPACE, storage=url, name="s").ask(1)

    resume()  # compiles
    ours = timed(resume)
    theirs = timed(lambda: optuna.load_study(study_name="s", storage=url).trials)
    print(f"\nA stored study of {num_trials} trials with 10 curve points each")
    print(f"{'jaxhpo: open and ask the next':>32}{ours:>10.2f} s")
    print(f"{'Optuna: open and read all':>32}{theirs:>10.2f} s")


def long_history(folder: str, num_trials: int, samplers: Sequence[str]) -> None:
    """What a sampler needs to take up a long history, and for a trial that follows."""
    print(f"\nA stored study of {num_trials} trials, taken up by a sampler")
    print(f"{'':>12}{'first open, s':>16}{'again, s':>12}{'a trial, ms':>14}")
    for sampler in samplers:
        url = f"sqlite:///{folder}/long-{sampler}.db"
        study = Study(SPACE, sampler, storage=url, name="s", seed=0)
        study._store.append(make_rows(study, num_trials, 0))

        def resume(sampler: str = sampler, url: str = url) -> Study:
            again = Study(SPACE, sampler, storage=url, name="s")
            again.tell(again.ask(1), 0.5)
            return again

        first, second, study = timed(resume), timed(resume), resume()
        run = timed(
            lambda study=study: study.optimize(lambda p: 0.5, num_trials=50, progress=False)
        )
        print(f"{sampler:>12}{first:>16.2f}{second:>12.2f}{run / 50 * 1e3:>14.2f}")


def show(seconds: list[float]) -> str:
    """Best and median in milliseconds."""
    return f"{min(seconds) * 1e3:.2f} / {statistics.median(seconds) * 1e3:.2f}"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few and small rounds")
    tables = ("bulk", "single", "several", "reopen", "history")
    parser.add_argument("--only", nargs="+", choices=tables, default=tables)
    arguments = parser.parse_args()
    quick, only = arguments.quick, arguments.only
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        if "bulk" in only:
            bulk(folder, 2 if quick else 5, 128 if quick else 512, 8 if quick else 32)
        if "single" in only:
            one_by_one(folder, 2 if quick else 5, 50 if quick else 200)
        if "several" in only:
            several(folder, 80 if quick else 400)
        if "reopen" in only:
            reopening(folder, 500 if quick else 5000)
        if "history" in only:
            samplers = ("tpe", "cma_es", "de", "pattern", "nsga2", "gp")
            long_history(folder, 500 if quick else 5000, samplers[:2] if quick else samplers)


if __name__ == "__main__":
    main()
