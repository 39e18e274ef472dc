"""Small training runs with known or easily checked derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxhpo as hpo
from jaxhpo import training as tr


def regression(num=20, features=4, seed=0):
    """Fixed data of a regression task."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, features)), rng.normal(size=num)


def mostly_slow(values, *quick):
    """Values as parameters of a test, all slow but the quick ones."""
    rows = [v if isinstance(v, tuple) else (v,) for v in values]
    marks = [() if v in quick else pytest.mark.slow for v in values]
    return [pytest.param(*row, marks=mark) for row, mark in zip(rows, marks, strict=True)]


def as_real(*arrays):
    return tuple(jnp.asarray(a, jnp.result_type(float)) for a in arrays)


def network(optimizer, *, batch_size=None, width=3):
    """A tanh network on regression data; `optimizer(hparams)`; hparams hold a log L2 penalty."""
    x, y = as_real(*regression())

    def init(key, hparams):
        dtype = jnp.result_type(float)
        w = 0.3 * jax.random.normal(key, (4, width), dtype)
        return {"w": w, "b": jnp.zeros(width, dtype), "v": jnp.ones((width, 1), dtype)}

    def loss(hparams, params, batch):
        hidden = jnp.tanh(batch["x"] @ params["w"] + params["b"][None])
        error = (hidden @ params["v"])[:, 0] - batch["y"]
        return jnp.mean(error**2) + jnp.exp(hparams["l2"]) * jnp.sum(params["w"] ** 2)

    return tr.from_optax(
        init, loss, optimizer, train={"x": x, "y": y},
        validation={"x": x[:7], "y": y[:7]}, batch_size=batch_size,
        validation_loss=lambda hparams, params, batch: loss({"l2": -jnp.inf}, params, batch),
    )  # fmt: skip


def momentum_network(**kwargs):
    return network(lambda h: optax.sgd(jnp.exp(h["lr"]), momentum=jax.nn.sigmoid(h["m"])), **kwargs)


MOMENTUM_HPARAMS = {"lr": -2.5, "m": 1.0, "l2": -3.0}


def ridge():
    """Ridge regression by plain gradient descent, one log penalty a feature.

    Returns the training run and the exact derivatives of its value after T steps from zero, by
    the eigenvectors of the constant Hessian: in NumPy float64, with no code in common.
    """
    x, y = regression(30, 5, seed=3)
    train_x, train_y, val_x, val_y = x[:20], y[:20], x[20:], y[20:]
    jx, jy, jvx, jvy = as_real(train_x, train_y, val_x, val_y)

    def inner(hparams, w):
        fit = 0.5 * jnp.mean((jx @ w - jy) ** 2)
        return fit + 0.5 * jnp.sum(jnp.exp(hparams["l2"]) * w**2)

    def step(key, hparams, state, t):
        grads = tr.gradient(lambda w: inner(hparams, w))(state["params"])
        return {"params": state["params"] - hparams["lr"] * grads}

    training = hpo.Training(
        init=lambda key, hparams: {"params": jnp.zeros(5, jx.dtype)},
        step=step,
        loss=lambda hparams, state: 0.5 * jnp.mean((jvx @ state["params"] - jvy) ** 2),
        inner_loss=inner,
    )

    def solution(lr, log_l2, num_steps):
        """w_T = (I - (I - lr H)^T) H^-1 c, H = X'X/n + diag(l2); num_steps None: converged."""
        hessian = train_x.T @ train_x / 20 + np.diag(np.exp(log_l2))
        values, vectors = np.linalg.eigh(hessian)
        done = 1.0 if num_steps is None else 1 - (1 - lr * values) ** num_steps
        return vectors @ (done / values * (vectors.T @ (train_x.T @ train_y / 20)))

    def exact(lr, log_l2, num_steps):
        """Value, its derivative by lr, and by the log penalties, after T steps."""
        hessian = train_x.T @ train_x / 20 + np.diag(np.exp(log_l2))
        values, vectors = np.linalg.eigh(hessian)
        w = solution(lr, log_l2, num_steps)
        residual = val_x @ w - val_y
        outer = vectors.T @ (val_x.T @ residual / 10)
        right = vectors.T @ (train_x.T @ train_y / 20)

        def phi(h):
            return (1 - (1 - lr * h) ** num_steps) / h if num_steps else 1 / h

        def slope(h):
            if not num_steps:
                return -1 / h**2
            return (num_steps * lr * (1 - lr * h) ** (num_steps - 1) - phi(h)) / h

        # Daleckii-Krein: the derivative of phi(H) along a symmetric direction.
        gaps = values[:, None] - values[None]
        divided = np.where(
            np.eye(5, dtype=bool),
            np.diag(slope(values)),
            (phi(values)[:, None] - phi(values)[None]) / np.where(np.eye(5, dtype=bool), 1, gaps),
        )
        by_l2 = []
        for j in range(5):
            direction = np.exp(log_l2[j]) * np.outer(vectors[j], vectors[j])
            by_l2.append(outer @ (divided * direction) @ right)
        by_lr = (
            outer @ (num_steps * (1 - lr * values) ** (num_steps - 1) * right) if num_steps else 0
        )
        return 0.5 * np.mean(residual**2), by_lr, np.array(by_l2)

    return training, exact


def seeded_ridge():
    """Ridge regression from random weights: the smallest run that depends on its key."""
    training, _ = ridge()

    def init(key, hparams):
        return {"params": 0.5 * jax.random.normal(key, (5,), jnp.result_type(float))}

    return training._replace(init=init)


def plateau(value, hparams, grad, *, seed=0, num_directions=3):
    """Smallest disagreement of central differences with a gradient over a scan of step sizes.

    Relative to the size of the directional derivative; the largest over random directions, and
    infinite where nothing of it is a number.
    """
    leaves, treedef = jax.tree.flatten(hparams)
    worst = 0.0
    for number in range(num_directions):
        rng = np.random.default_rng(seed + number)
        direction = [rng.normal(size=np.shape(leaf)) for leaf in leaves]
        slope = sum(
            float(np.sum(np.asarray(g) * d))
            for g, d in zip(jax.tree.leaves(grad), direction, strict=True)
        )
        errors = []
        for h in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8):
            ends = [
                float(value(jax.tree.unflatten(
                    treedef, [jnp.asarray(leaf + sign * h * d) for leaf, d in
                              zip(leaves, direction, strict=True)])))
                for sign in (1, -1)
            ]  # fmt: skip
            errors.append(abs((ends[0] - ends[1]) / (2 * h) - slope) / max(abs(slope), 1e-3))
        worst = max(worst, min((e for e in errors if np.isfinite(e)), default=np.inf))
    return worst
