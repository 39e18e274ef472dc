"""Kernel ridge regression: length scales of a Gaussian kernel, answer in closed form."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxhpo._linalg import inverse_cholesky
from jaxhpo.problems._load import cut, examples, load, real, standardised
from jaxhpo.problems.tasks._task import Array, Task
from jaxhpo.training import Training

_NUM_TRAIN = 80


def kernel() -> Task:
    """Kernel ridge regression on diabetes: 10 log length scales and a log noise.

    Model: one step solves `(K + exp(noise)) α = y` by Cholesky factorisation, with
    `K_ij = exp(-½ Σ_d (x_id - x_jd)² exp(-2 scale_d))`; outer loss half the mean squared error of
    `K_* α` on validation rows. The step is its own fixed point, so implicit methods are exact too.

    Returns:
        The task; `hparams = {"scale": [10], "noise": []}`.

    Example:
        >>> import jaxhpo as hpo
        >>> task = hpo.problems.kernel()
        >>> sorted(task.exact(task.hparams)[1])
        ['noise', 'scale']
    """
    x, y = load("kernel", "diabetes")
    parts = standardised(cut((x, (y - y.mean()) / y.std()), [_NUM_TRAIN, 120]))
    train, validation, test = (examples(part) for part in parts)

    def matrix(hparams: Any, a: Array, b: Array) -> Array:
        shrunk = jnp.exp(-hparams["scale"])[None]
        gaps = (a * shrunk)[:, None] - (b * shrunk)[None]
        return jnp.exp(-0.5 * jnp.sum(gaps**2, axis=-1))

    def system(hparams: Any) -> Array:
        eye = jnp.eye(_NUM_TRAIN, dtype=train["y"].dtype)
        return matrix(hparams, train["x"], train["x"]) + jnp.exp(hparams["noise"]) * eye

    def error(hparams: Any, alpha: Array, part: Any) -> Array:
        return 0.5 * jnp.mean((matrix(hparams, part["x"], train["x"]) @ alpha - part["y"]) ** 2)

    def step(key: Array, hparams: Any, state: Any, t: Array) -> Any:
        _, inverse = inverse_cholesky(system(hparams))
        return {"params": inverse.T @ (inverse @ train["y"])}

    training = Training(
        init=lambda key, hparams: {"params": jnp.zeros_like(train["y"])},
        step=step,
        loss=lambda hparams, state: error(hparams, state["params"], validation),
        inner_loss=lambda hparams, alpha: (
            0.5 * alpha @ system(hparams) @ alpha - alpha @ train["y"]
        ),
    )
    return Task(
        training=training,
        num_steps=1,
        hparams={"scale": real(np.ones(10)), "noise": real(1.0)},
        test_loss=lambda hparams, state: error(hparams, state["params"], test),
        score=lambda hparams, state: -error(hparams, state["params"], test),
        outer_lr=0.05,
        num_outer=100,
        exact=lambda hparams: _exact(hparams, parts[0], parts[1]),
    )


def _exact(hparams: Any, train: Any, validation: Any) -> tuple[float, Any]:
    """Value and gradient by the derivative of an inverse, in NumPy float64."""
    scale = np.asarray(hparams["scale"], np.float64)
    noise = float(np.exp(hparams["noise"]))
    (x, y), (x_new, y_new) = train, validation

    def squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a[:, None] - b[None]) ** 2 * np.exp(-2 * scale)

    inner, outer = squares(x, x), squares(x_new, x)
    k, k_new = np.exp(-0.5 * inner.sum(-1)), np.exp(-0.5 * outer.sum(-1))
    inverse = np.linalg.inv(k + noise * np.eye(len(y)))
    alpha = inverse @ y
    residual = k_new @ alpha - y_new
    slope = residual / len(y_new)
    back = inverse @ (k_new.T @ slope)  # the outer derivative by y
    # d K / d scale_d = K * squares_d, elementwise.
    by_scale = [
        slope @ ((k_new * outer[..., d]) @ alpha) - back @ ((k * inner[..., d]) @ alpha)
        for d in range(len(scale))
    ]
    grad = {"scale": np.array(by_scale), "noise": -noise * back @ alpha}
    return 0.5 * float(np.mean(residual**2)), grad
