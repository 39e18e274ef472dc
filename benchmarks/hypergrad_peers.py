"""Hypergradients against the peers, on the same weights, data and hyperparameters.

    pip install -e ".[demo]" torch torchopt higher betty-ml gradhpo jaxopt optimistix
    taskset -c 0 python benchmarks/hypergrad_peers.py --width 512 --num-steps 100
    taskset -c 0 python benchmarks/hypergrad_peers.py --width 64 --num-steps 1000

Three tables. *Unrolled*: the exact gradient of a 64-width-10 tanh network under SGD with momentum
by four log penalties. *Implicit*: softmax regression trained to its optimum, then conjugate
gradients or a Neumann series. *Greedy*: every step judged by the loss right after it. In each the
gradients are compared first and must be equal. Rounds are interleaved; processor time is beside
wall time; compilation is apart. A peer that is not installed is left out, by name.

Memory is the temporary memory of the compiled program on this side; for PyTorch it is the growth of
the peak resident set in a process of its own over the plain run in it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

BATCH, NUM_VALIDATION = 128, 200
KNOWN_WRONG = {
    "betty, cg": "from the second product on: its new direction takes up the old residual",
}


def make_setting(width: int, num_steps: int, *, rate: float, momentum: float, log_l2: float) -> Any:
    """Weights, hyperparameters and digits; `width` 0 is a linear model from zero."""
    from _torch_peers import Setting
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16.0).astype(np.float32), labels.astype(np.int32)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labels))
    train, validation = order[:BATCH], order[BATCH : BATCH + NUM_VALIDATION]
    widths = (64, width, 10) if width else (64, 10)
    weights = []
    for a, b in itertools.pairwise(widths):
        scale = 1 / np.sqrt(a) if width else 0.0
        weights += [(scale * rng.normal(size=(a, b))).astype(np.float32), np.zeros(b, np.float32)]
    return Setting(
        weights, np.full(len(weights), log_l2, np.float32),
        (images[train], labels[train]), (images[validation], labels[validation]),
        rate, momentum, num_steps, 15,
    )  # fmt: skip


def losses(s: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Inner loss of params and hyperparameters, outer loss of params."""

    def cross_entropy(weights: Any, part: Any) -> jax.Array:
        *hidden, w, b = weights
        x = jnp.tanh(part[0] @ hidden[0] + hidden[1][None]) if hidden else part[0]
        logits = x @ w + b[None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, part[1]).mean()

    train, validation = jax.tree.map(jnp.asarray, (s.train, s.validation))

    def inner(hparams: jax.Array, params: Any) -> jax.Array:
        penalty = sum(jnp.exp(hparams[i]) * jnp.sum(w**2) for i, w in enumerate(params))
        return cross_entropy(params, train) + penalty

    return inner, lambda params: cross_entropy(params, validation)


def make_training(s: Any) -> hpo.Training:
    """The run on our side."""
    inner, outer = losses(s)
    start = [jnp.asarray(w) for w in s.weights]
    return hpo.training.from_optax(
        lambda key, hparams: start,
        lambda hparams, params, batch: inner(hparams, params),
        optax.sgd(s.rate, momentum=s.momentum or None),
        train=jnp.zeros(1),  # the losses hold their data
        validation=jnp.zeros(1),
        validation_loss=lambda hparams, params, batch: outer(params),
    )


class Ours:
    """A compiled function of the hyperparameters, with what it cost to compile."""

    def __init__(self, s: Any, function: Callable[[jax.Array], Any]):
        hparams = jnp.asarray(s.hparams)
        begin = time.perf_counter()
        self.program = jax.jit(function).lower(hparams).compile()
        self.compile_seconds = time.perf_counter() - begin
        memory: Any = self.program.memory_analysis()
        self.temp_bytes = memory.temp_size_in_bytes
        self.hparams = hparams

    def __call__(self) -> tuple[float, np.ndarray]:
        value, grad = jax.block_until_ready(self.program(self.hparams))
        return float(value), np.asarray(grad)


def estimated(s: Any, estimator: hg.Estimator) -> Ours:
    """An estimator as `(value, gradient)`."""
    return Ours(s, lambda h: (lambda out: (out.value, out.grad))(estimator(jax.random.key(0), h)))


def unrolled_rows(s: Any) -> dict[str, Callable[[], Any]]:
    import _torch_peers as peers

    training = make_training(s)
    objective = hpo.training.objective(training, s.num_steps)
    zeros = jnp.zeros(len(s.hparams))
    rows: dict[str, Callable[[], Any]] = {
        "jaxhpo, plain run": Ours(s, lambda h: (objective(jax.random.key(0), h), zeros))
    }
    for checkpoint in ("none", "step", "sqrt"):
        rows[f"jaxhpo unrolled, {checkpoint}"] = estimated(
            s, hg.unrolled(training, num_steps=s.num_steps, checkpoint=checkpoint)
        )
    rows["torch, plain run"] = peers.plain(s)
    for name, (package, build) in peers.UNROLLED.items():
        add(rows, name, package, lambda build=build: build(s))
    return rows


def implicit_rows(s: Any) -> dict[str, Callable[[], Any]]:
    import _torch_peers as peers

    training, (inner, outer) = make_training(s), losses(s)
    start = [jnp.asarray(w) for w in s.weights]
    rows: dict[str, Callable[[], Any]] = {}
    for name, solver in (
        ("cg", hg.cg(s.num_products, tol=1e-12)),
        ("neumann", hg.neumann(s.num_products, s.rate)),
    ):
        rows[f"jaxhpo implicit, {name}"] = estimated(
            s, hg.implicit(training, num_steps=s.num_steps, solver=solver)
        )

    def with_jaxopt() -> Ours:
        import jaxopt

        solver = jaxopt.GradientDescent(
            lambda params, hparams: inner(hparams, params), stepsize=s.rate, tol=0.0,
            maxiter=s.num_steps, acceleration=False, implicit_diff=True,
            implicit_diff_solve=lambda matvec, b, **_: jaxopt.linear_solve.solve_cg(
                matvec, b, maxiter=s.num_products, tol=0.0
            ),
        )  # fmt: skip
        return Ours(s, jax.value_and_grad(lambda h: outer(solver.run(start, h).params)))

    def with_optimistix() -> Ours:
        import lineax
        import optimistix

        solver = optimistix.GradientDescent(s.rate, rtol=0.0, atol=0.0)
        linear = lineax.CG(rtol=1e-5, atol=1e-7)  # it knows no fixed number of products
        adjoint = optimistix.ImplicitAdjoint(linear_solver=linear)

        def value(hparams: jax.Array) -> jax.Array:
            found = optimistix.minimise(
                lambda params, h: inner(h, params), solver, start, hparams,
                max_steps=s.num_steps, adjoint=adjoint, throw=False,
                tags=frozenset({lineax.positive_semidefinite_tag}),
            )  # fmt: skip
            return outer(found.value)

        return Ours(s, jax.value_and_grad(value))

    add(rows, "jaxopt GradientDescent", "jaxopt", with_jaxopt)
    add(rows, "optimistix ImplicitAdjoint", "optimistix", with_optimistix)
    for name, (package, build) in peers.IMPLICIT.items():
        add(rows, name, package, lambda build=build: build(s))
    return rows


def greedy_rows(s: Any) -> dict[str, Callable[[], Any]]:
    training, (inner, outer) = make_training(s), losses(s)
    start = [jnp.asarray(w) for w in s.weights]
    rows: dict[str, Callable[[], Any]] = {
        "jaxhpo greedy": estimated(s, hg.greedy(training, num_steps=s.num_steps, decay=0.9))
    }

    def with_gradhpo() -> Ours:
        import gradhpo

        optimizer = gradhpo.GreedyOptimizer(
            optax.sgd(s.rate, momentum=s.momentum or None), optax.sgd(1.0),
            unroll_steps=s.num_steps, gamma=0.9,
        )  # fmt: skip

        def value(hparams: jax.Array) -> Any:
            grad = optimizer.compute_hypergradient(
                optimizer.init(start, hparams), None, None,
                lambda params, h, batch: inner(h, params), lambda params, h, batch: outer(params),
            )  # fmt: skip
            return jnp.zeros(()), grad

        return Ours(s, value)

    add(rows, "gradhpo Greedy", "gradhpo", with_gradhpo)
    return rows


def add(rows: dict[str, Any], name: str, package: str, build: Callable[[], Any]) -> None:
    """Adds a peer's row, or says that it is not installed."""
    try:
        __import__(package)
    except ModuleNotFoundError as error:
        print(f"{name}: left out, {error}")
        return
    rows[name] = build()


SECTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "unrolled": unrolled_rows, "implicit": implicit_rows, "greedy": greedy_rows,
}  # fmt: skip


def check_equal(rows: dict[str, Any], tolerance: float) -> dict[str, float]:
    """Requires that gradients of one kind are equal, relative to their largest entry.

    A peer whose gradient is known to be wrong is reported, not compared.
    """
    apart: dict[str, float] = {}
    for is_series in (False, True):
        answers = {
            name: row()[1]
            for name, row in rows.items()
            if "plain" not in name and ("neumann" in name) == is_series
        }
        if answers:
            first = next(iter(answers.values()))
            size = np.abs(first).max()
            apart |= {name: float(np.abs(g - first).max() / size) for name, g in answers.items()}
    wrong = {name: error for name, error in apart.items() if not error < tolerance}
    if wrong.keys() - KNOWN_WRONG.keys():
        raise SystemExit(f"gradients differ by more than {tolerance}: {wrong}")
    return apart


def measure(section: str, s: Any, rounds: int, tolerance: float, *, with_memory: bool) -> None:
    """Prints one table."""
    rows = SECTIONS[section](s)
    apart = check_equal(rows, tolerance)
    cpu: dict[str, list[float]] = {name: [] for name in rows}
    wall: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, row in rows.items():
            begin, begin_cpu = time.perf_counter(), time.process_time()
            row()
            cpu[name].append(time.process_time() - begin_cpu)
            wall[name].append(time.perf_counter() - begin)
    count = sum(w.size for w in s.weights)
    print(f"\n### {section}: P = {count}, T = {s.num_steps}, batch {BATCH}\n")
    print("| variant | CPU ms, min (median) | wall ms, min | memory MB | compile s | off by |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        memory = row.temp_bytes / 1e6 if isinstance(row, Ours) else float("nan")
        if with_memory and not isinstance(row, Ours):
            memory = peak_growth(name, s)
        compiling = f"{row.compile_seconds:.1f}" if isinstance(row, Ours) else "-"
        print(
            f"| {name} | {1e3 * min(cpu[name]):.1f} ({1e3 * np.median(cpu[name]):.1f}) | "
            f"{1e3 * min(wall[name]):.1f} | {memory:.1f} | {compiling} | {apart.get(name, 0):.0e} |"
        )
    ours = {name: min(times) for name, times in cpu.items() if name.startswith("jaxhpo")}
    print("\nCPU time of each peer over ours:")
    for name, times in cpu.items():
        if apart.get(name, 0.0) > tolerance:
            print(f"- {name}: a wrong gradient, {KNOWN_WRONG[name]}")
        elif name not in ours and "plain" not in name:
            ratios = ", ".join(
                f"{min(times) / own:.1f} ({other.split(', ')[-1]})"
                for other, own in ours.items()
                if "plain" not in other
            )
            print(f"- {name}: {ratios}")


def peak_growth(name: str, s: Any) -> float:
    """Peak memory of one PyTorch call in a fresh process over that of the plain run, MB."""
    command = [
        sys.executable, __file__, "--child", name, "--width", str(s.weights[0].shape[1]),
        "--num-steps", str(s.num_steps),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def child(name: str, s: Any) -> None:
    """Prints the growth of the peak resident set, MB."""
    import _torch_peers as peers

    peers.plain(s)()
    before = peak_megabytes()
    if name in peers.UNROLLED:
        peers.UNROLLED[name][1](s)()
    print(peak_megabytes() - before)


def peak_megabytes() -> float:
    """Peak resident set of this process; `getrusage` would count the parent's as well (Linux)."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1e3


def setting_of(section: str, width: int, num_steps: int) -> Any:
    """The problem of each table."""
    if section == "implicit":
        return make_setting(0, num_steps, rate=0.4, momentum=0.0, log_l2=-4.0)
    return make_setting(width, num_steps, rate=0.05, momentum=0.9, log_l2=-6.0)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--section", choices=[*SECTIONS, "all"], default="all")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--num-steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, setting_of("unrolled", args.width, args.num_steps))
        return
    import torch

    print(f"jax {jax.__version__}, torch {torch.__version__}, {os.cpu_count()} cores")
    for section in SECTIONS if args.section == "all" else [args.section]:
        # A solution to differentiate at needs more steps; a Python loop in the peer, fewer.
        num_steps = {"implicit": 600, "greedy": min(args.num_steps, 30)}.get(
            section, args.num_steps
        )
        s = setting_of(section, args.width, num_steps)
        measure(section, s, args.rounds, 1e-3, with_memory=section == "unrolled")


if __name__ == "__main__":
    main()
