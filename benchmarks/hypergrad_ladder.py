"""Time and memory of every exact hypergradient against the plain run, on one network.

    taskset -c 0 python benchmarks/hypergrad_ladder.py --width 512 --num-steps 100

A 64-width-10 tanh network under SGD with momentum, batches of 128; one log learning rate a step,
a momentum and two log penalties. Variants are interleaved round by round; the ratio is the
smallest processor time over the smallest of the plain run in the same process. Memory is read from
the compiled program. Gradients are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

NUM_EXAMPLES, BATCH = 1000, 128


def network(width: int) -> tuple[hpo.Training, Callable[..., Any]]:
    """The training run, and its inner loss as a function of key, hparams, params and step."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(NUM_EXAMPLES, 64)), jnp.float32)
    y = jnp.asarray(rng.integers(0, 10, size=NUM_EXAMPLES))

    def init(key: jax.Array, hparams: Any) -> Any:
        key_w, key_v = jax.random.split(key)
        params = (
            jax.random.normal(key_w, (64, width)) / 8, jnp.zeros(width),
            jax.random.normal(key_v, (width, 10)) / width**0.5, jnp.zeros(10),
        )  # fmt: skip
        return {"params": params, "velocity": jax.tree.map(jnp.zeros_like, params)}

    def cross_entropy(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        w, b, v, c = params
        logits = jnp.tanh(x @ w + b[None]) @ v + c[None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def loss(key: jax.Array, hparams: Any, params: Any, t: jax.Array) -> jax.Array:
        bits = jax.random.bits(jax.random.fold_in(key, t), (BATCH,), jnp.uint32)
        rows = (bits % NUM_EXAMPLES).astype(jnp.int32)
        penalty = jnp.exp(hparams["l2"])
        decay = penalty[0] * jnp.sum(params[0] ** 2) + penalty[1] * jnp.sum(params[2] ** 2)
        return cross_entropy(params, x[rows], y[rows]) + decay

    def step(key: jax.Array, hparams: Any, state: Any, t: jax.Array) -> Any:
        grads = hpo.training.gradient(lambda p: loss(key, hparams, p, t))(state["params"])
        decay = jax.nn.sigmoid(hparams["momentum"])
        velocity = jax.tree.map(lambda v, g: decay * v + g, state["velocity"], grads)
        rate = jnp.exp(hparams["lr"][t])
        params = jax.tree.map(lambda p, v: p - rate * v, state["params"], velocity)
        return {"params": params, "velocity": velocity}

    def validation(hparams: Any, state: Any) -> jax.Array:
        return cross_entropy(state["params"], x[:200], y[:200])

    return hpo.Training(init, step, validation), loss


def estimators(training: hpo.Training, num_steps: int) -> dict[str, hg.Estimator]:
    """The exact ones, by name; forward mode has too many hyperparameters here but one."""
    exact = {
        name: hg.unrolled(training, num_steps=num_steps, checkpoint=checkpoint)
        for name, checkpoint in [
            ("none", "none"), ("step", "step"), ("sqrt", "sqrt"), ("nested(3)", hg.nested(3)),
            ("binomial", "binomial"),
        ]
    }  # fmt: skip
    return exact


def reversible(training: hpo.Training, loss: Any, num_steps: int) -> Callable[..., Any]:
    """Reversible training, which takes the momentum as a constant."""

    def fill(h: Any) -> Any:
        return {**h, "momentum": jnp.log(jnp.float32(9.0))}

    estimator = hg.reversible(
        hpo.Training(
            lambda key, h: training.init(key, fill(h)),
            lambda key, h, state, t: training.step(key, fill(h), state, t),
            lambda h, state: training.loss(fill(h), state),
        ),
        num_steps=num_steps,
        loss=lambda key, h, params, t: loss(key, fill(h), params, t),
        decay=Fraction(9, 10),
        learning_rate=lambda hparams, t: jnp.exp(hparams["lr"][t]),
    )
    return lambda key, h: estimator(key, {name: h[name] for name in ("lr", "l2")})


def forward_one(training: hpo.Training, num_steps: int, hparams: Any) -> Callable[..., Any]:
    """Forward mode with one hyperparameter: the first penalty."""

    def fill(h: Any) -> Any:
        return {**hparams, "l2": jnp.stack([h, hparams["l2"][1]])}

    inner = hpo.Training(
        lambda key, h: training.init(key, fill(h)),
        lambda key, h, state, t: training.step(key, fill(h), state, t),
        lambda h, state: training.loss(fill(h), state),
    )
    estimator = hg.forward(inner, num_steps=num_steps)
    return lambda key, h: estimator(key, h["l2"][0])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--num-steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    training, loss = network(args.width)
    key = jax.random.key(0)
    hparams = {
        "lr": jnp.full(args.num_steps, -2.5),
        "momentum": jnp.log(jnp.float32(9.0)),
        "l2": jnp.full(2, -6.0),
    }
    functions: dict[str, Callable[..., Any]] = {
        "plain": hpo.training.objective(training, args.num_steps)
    }
    exact = estimators(training, args.num_steps)
    for name, estimator in {
        **exact, "reversible": reversible(training, loss, args.num_steps)
    }.items():  # fmt: skip
        functions[name] = lambda k, h, e=estimator: (lambda o: (o.value, o.grad))(e(k, h))
    functions["forward, H = 1"] = lambda k, h: (lambda o: (o.value, o.grad))(
        forward_one(training, args.num_steps, h)(k, h)
    )
    programs, compile_time = {}, {}
    for name, function in functions.items():
        begin = time.perf_counter()
        programs[name] = jax.jit(function).lower(key, hparams).compile()
        compile_time[name] = time.perf_counter() - begin
    by_step = programs["step"](key, hparams)[1]["l2"]
    for name in programs.keys() - {"plain", "forward, H = 1"}:
        np.testing.assert_allclose(programs[name](key, hparams)[1]["l2"], by_step, rtol=1e-2)
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(args.rounds):
        for name, program in programs.items():
            begin = time.process_time()
            jax.block_until_ready(program(key, hparams))
            seconds[name].append(time.process_time() - begin)
    plain = min(seconds["plain"])
    print(f"jax {jax.__version__}, width {args.width}, T = {args.num_steps}")
    print("| variant | ms | x plain (min) | x plain (median) | temp MB | compile s |")
    print("|---|---|---|---|---|---|")
    for name, program in programs.items():
        memory: Any = program.memory_analysis()
        print(
            f"| {name} | {1e3 * min(seconds[name]):.1f} | {min(seconds[name]) / plain:.2f} | "
            f"{np.median(seconds[name]) / np.median(seconds['plain']):.2f} | "
            f"{memory.temp_size_in_bytes / 1e6:.2f} | {compile_time[name]:.1f} |"
        )


if __name__ == "__main__":
    main()
