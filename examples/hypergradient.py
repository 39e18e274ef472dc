"""Learn a whole learning-rate schedule, one rate per step, by hypergradient descent.

    python examples/hypergradient.py [number of outer steps]

A small network on two noisy spirals. Random search would face one dimension per step; the
hypergradient costs the same for forty numbers as for one.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxhpo as hpo

STEPS = 40
NUM_OUTER = int(sys.argv[1]) if len(sys.argv) > 1 else 100


def spirals(seed: int, num: int) -> dict[str, jax.Array]:
    """Points on two spirals, label 0 or 1."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0.5, 3.0, num) * np.pi / 1.5
    label = rng.integers(0, 2, num)
    turn = angle + np.pi * label
    points = 0.3 * angle[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    points += 0.08 * rng.normal(size=(num, 2))
    return {"x": jnp.asarray(points, jnp.float32), "y": jnp.asarray(label, jnp.float32)}


def init(key: jax.Array, hparams: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Random weights of a 2-16-1 network."""
    key_w, key_v = jax.random.split(key)
    return {
        "w": jax.random.normal(key_w, (2, 16)), "b": jnp.zeros(16),
        "v": 0.25 * jax.random.normal(key_v, (16, 1)),
    }  # fmt: skip


def loss(hparams: dict[str, jax.Array], params: dict[str, jax.Array], batch: dict) -> jax.Array:
    """Cross-entropy."""
    logits = jnp.tanh(batch["x"] @ params["w"] + params["b"][None]) @ params["v"]
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits[:, 0], batch["y"]))


def main() -> None:
    """Descends from the best constant rate and prints before and after."""
    training = hpo.training.from_optax(
        init,
        loss,
        lambda hparams: optax.sgd(lambda count: hparams["lr"][count], momentum=0.9),
        train=spirals(0, 128),
        validation=spirals(1, 256),
    )
    space = hpo.Space({"lr": hpo.log_uniform(1e-3, 3.0, shape=STEPS)})
    grid = jnp.logspace(-3, 0.4, 30)
    constants = {"lr": jnp.repeat(grid[:, None], STEPS, axis=1)}
    mean_loss = jax.jit(hpo.training.objective(hpo.training.averaged(training, 64), STEPS))
    tried = jax.vmap(mean_loss, (None, 0))(jax.random.key(1), constants)
    best = int(jnp.nanargmin(tried))

    # Every outer step trains eight networks from fresh weights: no schedule can fit one draw.
    estimator = hpo.hypergrad.unrolled(hpo.training.averaged(training, 8), num_steps=STEPS)
    path = hpo.hypergrad.descend(
        estimator, {"lr": constants["lr"][best]}, optax.adam(0.05), key=jax.random.key(0),
        num_outer=NUM_OUTER, space=space,
    )  # fmt: skip
    ends = {"lr": constants["lr"][best]}, path.best_hparams
    before, after = (mean_loss(jax.random.key(2), hparams) for hparams in ends)
    print(f"best of 30 constant rates: {grid[best]:.3f}")
    print(f"mean validation loss of 64 fresh seeds: {before:.4f} -> {after:.4f}")
    print("learned schedule:", np.round(np.asarray(path.best_hparams["lr"])[::5], 3))


if __name__ == "__main__":
    main()
