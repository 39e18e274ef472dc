"""Two thousand trials of one training run, side by side: logistic regression by hand.

Run: python examples/sweep.py
"""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_breast_cancer

import jaxhpo as hpo

NUM_TRIALS, NUM_STEPS = 2_000, 300


def load() -> tuple[jax.Array, ...]:
    """Breast cancer data, standardised: 400 examples train, 169 validate."""
    inputs, labels = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    x, y = inputs[order].astype(np.float32), labels[order].astype(np.float32)
    return tuple(jnp.asarray(part) for part in (x[:400], y[:400], x[400:], y[400:]))


X_TRAIN, Y_TRAIN, X_VAL, Y_VAL = load()


def cross_entropy(params, x, y):
    """Mean logistic loss of a linear model."""
    logits = x @ params["w"] + params["b"]
    return jnp.mean(jnp.logaddexp(0.0, logits) - y * logits)


def init(key, hparams):
    """Small random weights, of a searched size."""
    weights = hparams["init_scale"] * jax.random.normal(key, (X_TRAIN.shape[1],))
    params = {"w": weights, "b": jnp.zeros(())}
    return {"params": params, "velocity": jax.tree.map(jnp.zeros_like, params)}


def step(key, hparams, state, t):
    """One step of SGD with momentum and weight decay; the batch follows from the key and `t`."""
    rows = jax.random.randint(jax.random.fold_in(key, t), (64,), 0, len(X_TRAIN))
    params = state["params"]
    grads = jax.grad(cross_entropy)(params, X_TRAIN[rows], Y_TRAIN[rows])
    velocity = jax.tree.map(
        lambda v, g, p: hparams["momentum"] * v + g + hparams["decay"] * p,
        state["velocity"], grads, params,
    )  # fmt: skip
    params = jax.tree.map(lambda p, v: p - hparams["lr"] * v, params, velocity)
    return {"params": params, "velocity": velocity}


def loss(hparams, state):
    """The validation loss, which the search minimises."""
    return cross_entropy(state["params"], X_VAL, Y_VAL)


space = hpo.Space(
    {
        "lr": hpo.log_uniform(1e-4, 10.0),
        "momentum": hpo.uniform(0.0, 0.99),
        "decay": hpo.log_uniform(1e-6, 1e-1),
        "init_scale": hpo.log_uniform(1e-3, 1.0),
    }
)

if __name__ == "__main__":
    training = hpo.Training(init=init, step=step, loss=loss)
    hparams = space.sample(jax.random.key(0), NUM_TRIALS)
    sweep = hpo.population.sweep(training, hparams, key=1, num_steps=NUM_STEPS)
    print(sweep.plan)
    print(f"{NUM_TRIALS} trials in {sweep.seconds:.1f} s, {sweep.num_failed} diverged")
    print(f"best validation loss {sweep.best_loss:.4f} with {space.decode(sweep.best_hparams)}")
