"""CPU time of a warm ask and tell at n observations, beside Optuna's GPSampler and BoTorch.

    python benchmarks/bo_latency.py warm --sizes 100 250 --rounds 5 --libraries jaxhpo optuna
    python benchmarks/bo_latency.py cold

`warm`: every library is told the same `n` points; each round then times one ask and one tell of
each in turn, in CPU milliseconds, so that a busy machine hits all alike; the first round is left
out. The median of the rounds is printed. jaxhpo is measured by its sampler's functions and, as
"study", through `Study.ask` and `Study.tell` in memory, which is what Optuna's loop does.
`--torch-threads 2` gives PyTorch, and so the peers, two threads; time them without ours then, which
would count what their idle threads wait.

`cold`: new processes that import the library, tell 10 points in 6 dimensions and ask the model for
one more: wall and CPU seconds with an empty and with a filled compilation cache, and the peers'.
Rounds are interleaved, and their medians printed; Python's bytecode is there for all.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NPROC", "1")  # XLA's own threads: small programs only wait for them
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
from _bo_problems import Problem, Real

Steps = tuple[Callable[[], Any], Callable[[Any], None]]
"""One proposal, and telling its value."""


def problem(d: int) -> Problem:
    """A bowl with a ripple."""
    names = [f"x{i}" for i in range(d)]

    def function(values: Mapping[str, Any]) -> float:
        x = np.asarray([values[name] for name in names])
        return float(np.sum((x - 0.3) ** 2) + 0.1 * np.sum(np.sin(10 * x)))

    return Problem({name: Real(0.0, 1.0) for name in names}, function)


def data(d: int, n: int) -> list[tuple[dict[str, float], float]]:
    """Points that are half spread out, half around the optimum, as a search leaves them."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(size=(n - n // 2, d))
    near = np.clip(0.3 + 0.1 * rng.standard_normal((n // 2, d)), 0.0, 1.0)
    function = problem(d).function
    rows = [{f"x{i}": float(v) for i, v in enumerate(x)} for x in np.concatenate([spread, near])]
    return [(row, function(row)) for row in rows]


def jaxhpo_loop(d: int, n: int) -> Steps:
    """The sampler's own functions, compiled."""
    import jax
    from _bo_peers import _programs, jaxhpo_space

    import jaxhpo as hpo

    space, function = jaxhpo_space(problem(d)), problem(d).function
    sampler = hpo.samplers.gp(space, capacity=n + 28)
    ask, tell = _programs()
    key, rows = jax.random.key(0), data(d, n)
    unit = np.asarray([[row[f"x{i}"] for i in range(d)] for row, _ in rows], np.float32)
    value = np.asarray([v for _, v in rows], np.float32)
    held = {"state": tell(sampler, key, jax.jit(sampler.init)(key), unit, value)}

    def propose() -> Any:
        held["state"], asked, params = ask(sampler, space, key, held["state"])
        return asked, {name: float(v) for name, v in params.items()}

    def learn(proposal: Any) -> None:
        asked, params = proposal
        got = np.asarray([function(params)], np.float32)
        held["state"] = tell(sampler, key, held["state"], asked, got)
        jax.block_until_ready(held["state"])

    return propose, learn


def study_loop(d: int, n: int) -> Steps:
    """A `Study` in memory."""
    from _bo_peers import jaxhpo_space

    import jaxhpo as hpo

    study = hpo.Study(jaxhpo_space(problem(d)), sampler="gp", storage=None, seed=0)
    params, values = zip(*data(d, n), strict=True)
    study.record(list(params), list(values))
    function = problem(d).function

    def propose() -> Any:
        [trial] = study.ask()
        return trial

    return propose, lambda trial: study.tell(trial, function(trial.params))


def optuna_loop(d: int, n: int) -> Steps:
    """Optuna's study in memory with its GPSampler."""
    import optuna
    from _bo_peers import _distributions

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space, function = _distributions(problem(d)), problem(d).function
    study = optuna.create_study(sampler=optuna.samplers.GPSampler(seed=0))
    for params, value in data(d, n):
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value))

    def learn(trial: Any) -> None:
        study.tell(trial, function(trial.params))

    return lambda: study.ask(space), learn


def botorch_loop(d: int, n: int) -> Steps:
    """A proposal by BoTorch's defaults, as in `_bo_peers.botorch_gp`."""
    from _bo_peers import _botorch_propose

    task, rows = problem(d), data(d, n)
    held = {"x": [list(row.values()) for row, _ in rows], "y": [-v for _, v in rows]}

    def learn(point: list[float]) -> None:
        held["x"].append(point)
        held["y"].append(-task.function(dict(zip(task.params, point, strict=True))))

    return lambda: _botorch_propose(task, held).tolist(), learn


LOOPS = {
    "jaxhpo": jaxhpo_loop, "study": study_loop, "optuna": optuna_loop, "botorch": botorch_loop
}  # fmt: skip


def warm(args: argparse.Namespace) -> None:
    from _bo_peers import set_threads

    set_threads(args.torch_threads)
    print("CPU ms of an ask and a tell, median (least) of the rounds; n, d, then each library")
    for n in args.sizes:
        loops = {name: LOOPS[name](args.dims, n) for name in args.libraries}
        times: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(args.rounds + 1):
            for name, (propose, learn) in loops.items():
                start = time.process_time()
                learn(propose())
                times[name].append(1e3 * (time.process_time() - start))
        cells = (
            f"{name} {np.median(spent[1:]):.1f} ({min(spent[1:]):.1f})"
            for name, spent in times.items()
        )
        print(f"n = {n:5d}, d = {args.dims}:  " + ",  ".join(cells), flush=True)


def cold_child(library: str) -> None:
    """What one new process does; prints when it had a proposal, and the CPU seconds until then."""
    propose, _ = LOOPS[library](6, 10)
    propose()
    print(time.monotonic(), time.process_time())


def cold(args: argparse.Namespace) -> None:
    print("start of the process to the first proposal of the model: wall s, CPU s")
    peers = [library for library in args.libraries if library not in ("jaxhpo", "study")]
    with tempfile.TemporaryDirectory() as folder:
        cache = {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        _show("jaxhpo, empty cache", [_timed("jaxhpo", cache)])
        for library in peers:
            _timed(library, {})  # once before, so that all have their bytecode
        rounds = [
            [_timed("jaxhpo", cache)] + [_timed(library, {}) for library in peers]
            for _ in range(args.rounds)
        ]
    for name, times in zip(["jaxhpo, filled", *peers], zip(*rounds, strict=True), strict=True):
        _show(name, list(times))


def _timed(library: str, more: dict[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds of one new process."""
    start = time.monotonic()  # one clock for all processes
    done = subprocess.run(
        [sys.executable, __file__, "child", "--libraries", library],
        env={**os.environ, **more, "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    end, cpu = map(float, done.stdout.split()[-2:])
    return end - start, cpu


def _show(name: str, times: list[tuple[float, float]]) -> None:
    wall, cpu = np.median(np.asarray(times), axis=0)
    print(f"  {name:20s} {wall:5.1f}, {cpu:4.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("warm", "cold", "child"))
    parser.add_argument("--sizes", type=int, nargs="*", default=[100])
    parser.add_argument("--dims", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch-threads", type=int, default=1)
    parser.add_argument("--libraries", nargs="*", default=list(LOOPS), choices=LOOPS)
    args = parser.parse_args()
    if args.action == "child":
        cold_child(args.libraries[0])
    else:
        {"warm": warm, "cold": cold}[args.action](args)


if __name__ == "__main__":
    main()
