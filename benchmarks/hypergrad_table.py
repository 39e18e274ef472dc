"""Every hypergradient estimator on every task: error, time, memory, and where its descent ends.

    python benchmarks/hypergrad_table.py
    python benchmarks/hypergrad_table.py --tasks ridge schedule --num-outer 100

A row is an estimator on a task at the task's start, in free coordinates: its distance from the
exact gradient relative to that one's size, the cosine between them, processor time over the plain
run's, temporary memory of the compiled program; and the outer loss and the task's score (larger is
better), both the mean of three fresh runs, after a descent with Adam at the task's own step. A cell
that an estimator refuses says so; a gradient too dear to descend on is computed once; a descent
whose loss or gradient is no longer finite ends there and says where and why. Tasks run in two
processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from jaxhpo.hypergrad._coordinates import from_free, to_free

TASKS = (
    "ridge", "logistic", "penalties", "valley", "cleaning", "weighting", "distillation", "schedule",
)  # fmt: skip
DEAREST = 60.0  # plain runs that one gradient of a descent may cost


class Row(NamedTuple):
    """One cell of the table; `note` is why it is empty."""

    name: str
    error: float = float("nan")
    cosine: float = float("nan")
    time_ratio: float = float("nan")
    megabytes: float = float("nan")
    value: float = float("nan")
    score: float = float("nan")
    note: str = ""


def estimators(task: Any) -> Iterator[tuple[str, Callable[[], hg.Estimator]]]:
    """Name and factory of all estimators, with settings that the task decides; exact ones first."""
    run, steps = task.training, task.num_steps
    for name, schedule in (
        ("step", "step"), ("none", "none"), ("sqrt", "sqrt"), ("nested(3)", hg.nested(3)),
        ("binomial", "binomial"),
    ):  # fmt: skip
        yield (
            f"unrolled, {name}",
            lambda s=schedule: hg.unrolled(run, num_steps=steps, checkpoint=s),
        )
    yield "forward", lambda: hg.forward(run, num_steps=steps, batch_tangents=64)
    yield "reversible", lambda: hg.reversible(run, num_steps=steps, **task.reversible)
    yield "finite_difference", lambda: hg.finite_difference(run, num_steps=steps)
    window = max(1, steps // 10)
    yield "truncated, T/10", lambda: hg.truncated(run, num_steps=steps, window=window)
    yield "drmad", lambda: hg.drmad(run, num_steps=steps)
    yield "hyperdistill", lambda: hg.hyperdistill(run, num_steps=steps)
    yield "one_step", lambda: hg.one_step(run, num_steps=steps)
    yield "greedy, 0.9", lambda: hg.greedy(run, num_steps=steps, decay=0.9)
    for name, solver in (
        ("cg", hg.cg(30)), ("neumann(30)", hg.neumann(30, 0.3)), ("gmres", hg.gmres(30)),
    ):  # fmt: skip
        yield (
            f"implicit, {name}",
            lambda s=solver: hg.implicit(run, num_steps=steps, solver=s),
        )
    yield "es, 16 pairs", lambda: hg.es(run, num_steps=steps, num_pairs=16, sigma=0.01)
    windows = next(w for w in (5, 4, 2, 1) if steps % w == 0)
    yield (
        f"pes, {windows} windows",
        lambda: hg.pes(run, num_steps=steps, window=steps // windows, num_pairs=16, sigma=0.01),
    )


def free_gradient(task: Any, estimator: hg.Estimator) -> Callable[..., Any]:
    """Value and gradient in free coordinates, as one function of key and point."""

    def function(key: jax.Array, free: Any) -> Any:
        hparams, pullback = jax.vjp(lambda free: from_free(task.space, free), free)
        out = estimator(key, hparams)
        return out.value, pullback(out.grad)[0]

    return function


MIN_ROUND = 0.05
"""Seconds of a round: the clock of processor time is coarse."""


def seconds_of(program: Callable[..., Any], *args: Any, rounds: int = 3) -> float:
    """Least processor time of a run; a round repeats a short one until it can be measured."""
    times, num_runs = [], 1
    while len(times) < rounds:
        begin = time.process_time()
        for _ in range(num_runs):
            jax.block_until_ready(program(*args))
        seconds = time.process_time() - begin
        if seconds < MIN_ROUND:
            num_runs *= 4
            continue
        times.append(seconds / num_runs)
        if seconds > 2.0:
            break
    return min(times)


def descend(
    task: Any, program: Callable[..., Any], free: Any, num_outer: int
) -> tuple[Any, int | None]:
    """Adam on the compiled gradient; each step has a key of its own, as a stochastic one needs.

    Returns the point reached, and the step at which loss or gradient was not finite, if any.
    """
    optimizer = optax.adam(task.outer_lr)
    state = optimizer.init(free)

    @jax.jit
    def move(free: Any, grads: Any, state: Any) -> Any:
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(free, updates), state

    for i in range(num_outer):
        value, grads = program(jax.random.key(i), free)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, grads))):
            return free, i
        free, state = move(free, grads, state)
    return free, None


def why_diverged(task: Any, plain: Callable[..., Any], point: Any, step: int) -> str:
    """What a descent broke off at: training itself, or the estimator on a sound run."""
    value = float(plain(jax.random.key(step), point))
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(point))
    reason = (
        "its hyperparameters make training diverge"
        if not np.isfinite(value)
        else f"no finite gradient of a run of loss {value:.3g}"
    )
    return f"diverged at step {step}: {reason} (largest free coordinate {largest:.3g})"


def table_of(name: str, num_outer: int) -> tuple[str, Row, list[Row]]:
    """All rows of one task, and the score before any descent."""
    task = hpo.problems.TASKS[name]()
    key, free = jax.random.key(0), to_free(task.space, task.hparams)
    value = hpo.training.objective(task.training, task.num_steps)
    plain = jax.jit(lambda key, free: value(key, from_free(task.space, free)))
    plain(key, free)
    unit = seconds_of(plain, key, free, rounds=7)

    @jax.jit
    def outcome(free: Any) -> jax.Array:
        hparams = from_free(task.space, free)
        keys = jax.random.split(jax.random.key(99), 3)
        states = [hpo.training.train(task.training, k, hparams, task.num_steps) for k in keys]
        ends = [(task.training.loss(hparams, s), task.score(hparams, s)) for s in states]
        return jnp.mean(jnp.stack([jnp.stack([a, b.astype(a.dtype)]) for a, b in ends]), axis=0)

    exact: np.ndarray | None = None
    rows = []
    for label, build in estimators(task):
        if label == "reversible" and task.reversible is None:
            rows.append(Row(label, note="no momentum"))
            continue
        try:
            lowered = jax.jit(free_gradient(task, build())).lower(key, free)
        except (ValueError, TypeError) as error:
            rows.append(Row(label, note="refuses: " + str(error).split(": ", 1)[1][:60] + "…"))
            continue
        program = lowered.compile()
        memory: Any = program.memory_analysis()
        grad = np.asarray(jax.flatten_util.ravel_pytree(program(key, free)[1])[0], np.float64)
        exact = grad if exact is None else exact
        size, own = np.linalg.norm(exact), np.linalg.norm(grad)
        ratio = seconds_of(program, key, free) / unit
        is_dear = ratio > DEAREST
        end, reached, note = float("nan"), float("nan"), "too dear to descend" if is_dear else ""
        if not is_dear:
            point, broke = descend(task, program, free, num_outer)
            end, reached = map(float, outcome(point))
            note = "" if broke is None else why_diverged(task, plain, point, broke)
        rows.append(
            Row(
                label,
                float(np.linalg.norm(grad - exact) / size),
                float(grad @ exact / (size * own)) if own else 0.0,
                ratio,
                memory.temp_size_in_bytes / 1e6,
                end,
                reached,
                note,
            )
        )
    value_before, score_before = map(float, outcome(free))
    before = Row("no descent", value=value_before, score=score_before)
    return name, before, rows


def show(name: str, before: Row, rows: list[Row]) -> None:
    """Prints one task's rows."""
    task = hpo.problems.TASKS[name]()
    count = sum(leaf.size for leaf in jax.tree.leaves(task.hparams))
    print(
        f"\n### {name}: H = {count}, T = {task.num_steps}, outer step {task.outer_lr:g}; before: "
        f"value {before.value:.4f}, score {before.score:.4f}\n"
    )
    print("| estimator | error | cosine | x plain | memory MB | value after | score after |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        if np.isnan(row.error):
            print(f"| {row.name} | {row.note} | | | | | |")
            continue
        after = row.note + " |" if row.note else f"{row.value:.4f} | {row.score:.4f}"
        print(
            f"| {row.name} | {row.error:.1e} | {row.cosine:.3f} | {row.time_ratio:.1f} | "
            f"{row.megabytes:.2f} | {after} |"
        )


def main() -> None:
    """Prints the table, task by task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=list(hpo.problems.TASKS), default=TASKS)
    parser.add_argument("--num-outer", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    begin = time.perf_counter()
    print(f"jax {jax.__version__}, float32, Adam, {args.num_outer} outer steps")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.processes, mp_context=context) as pool:
        jobs = [pool.submit(table_of, name, args.num_outer) for name in args.tasks]
        for job in jobs:
            show(*job.result())
    print(f"\n{time.perf_counter() - begin:.0f} s in all")


if __name__ == "__main__":
    main()
