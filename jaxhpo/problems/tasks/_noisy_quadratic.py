"""A noisy quadratic: what a learning-rate schedule is worth on it is known exactly."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._checks import check_count, check_positive, fail
from jaxhpo.problems._load import real
from jaxhpo.space import Space, log_uniform
from jaxhpo.training import Training


class NoisyQuadratic(NamedTuple):
    """A training run with one hyperparameter, the learning rate, and its truth.

    Attributes:
        training: SGD; its loss is that of the parameters that were reached.
        space: `{"lr": ...}`.
        num_steps: steps that the problem is meant for.
        curvature: `[d]` float64.
        noise: `[d]` float64 variance of the gradient's noise.
    """

    training: Training
    space: Space
    num_steps: int
    curvature: np.ndarray
    noise: np.ndarray

    def expected_loss(self, rates: Any) -> float:
        """The mean, over all noise, of the loss after one step with each of some learning rates.

        Args:
            rates: `[t]` learning rates, one a step.

        Returns:
            The expected loss, in NumPy float64; infinite where it overflows.
        """
        rates = np.asarray(rates, np.float64)
        if rates.ndim != 1:
            raise fail("NoisyQuadratic.expected_loss", "rates", "of shape [t]", rates.shape)
        square = np.ones_like(self.curvature)
        with np.errstate(over="ignore", invalid="ignore"):
            for rate in rates:
                square = (1 - rate * self.curvature) ** 2 * square + rate**2 * self.noise
            loss = float(0.5 * np.sum(self.curvature * square))
        return loss if np.isfinite(loss) else np.inf

    def best_constant(self) -> tuple[float, float]:
        """The best constant learning rate, to three digits, and its expected loss."""
        rates = np.geomspace(1e-4, 1.99 / self.curvature.max(), 4000)[:, None]
        shrink, noise = (1 - rates * self.curvature) ** 2, rates**2 * self.noise
        # Summed as a geometric series: all steps are alike.
        rest = np.where(shrink < 1, (1 - shrink**self.num_steps) / (1 - shrink), self.num_steps)
        losses = 0.5 * (shrink**self.num_steps + noise * rest) @ self.curvature
        at = int(np.argmin(losses))
        return float(rates[at, 0]), float(losses[at])


def noisy_quadratic(
    *, num_dims: int = 100, num_steps: int = 800, noise: float = 1.0
) -> NoisyQuadratic:
    """A quadratic of curvatures `1, 1/2, 1/3, …`, whose gradients have noise of those variances.

    Model: from `w = 1`, `w <- w - lr (h w + sqrt(c) ε)` with `h_i = 1 / i`, `c_i = noise / i` and
    standard normal `ε`; the loss is `½ Σ h_i w_i²`. High rates leave a floor of noise and low ones
    do not arrive, so that the best constant is far from the best schedule: with the defaults a
    schedule reaches 0.485 of its expected loss. A rate that falls always lowers the loss at once,
    and too early a fall costs more in the end than it brings (1.5 times the best constant if the
    loss is minimised step by step), which is what misleads population-based training.

    Args:
        num_dims: parameters; static.
        num_steps: steps that the problem is meant for.
        noise: `c_1`.

    Returns:
        The problem.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a number out of range.

    Example:
        >>> import numpy as np, jaxhpo as hpo
        >>> problem = hpo.problems.noisy_quadratic()
        >>> rate, loss = problem.best_constant()
        >>> round(rate, 3), round(loss, 3)
        (0.089, 0.171)
        >>> falling = np.geomspace(0.5, 0.02, 800)
        >>> round(problem.expected_loss(falling) / loss, 2)
        0.5

    References:
        Zhang et al., "Which algorithmic choices matter at which batch sizes? Insights from a noisy
        quadratic model", 2019, https://arxiv.org/abs/1907.04164.
        Wu et al., "Understanding short-horizon bias in stochastic meta-optimization", 2018,
        https://arxiv.org/abs/1803.02021.
    """
    where = "noisy_quadratic"
    num_dims = check_count(where, "num_dims", num_dims, 1)
    num_steps = check_count(where, "num_steps", num_steps, 1)
    curvature = 1.0 / np.arange(1, num_dims + 1)
    variance = float(check_positive(where, "noise", noise)) * curvature
    h, deviation = real(curvature), real(np.sqrt(variance))

    def step(key: Any, hparams: Any, w: Any, t: Any) -> Any:
        noise = deviation * jax.random.normal(jax.random.fold_in(key, t), h.shape, h.dtype)
        return w - hparams["lr"] * (h * w + noise)

    training = Training(
        init=lambda key, hparams: jnp.ones_like(h),
        step=step,
        loss=lambda hparams, w: 0.5 * jnp.sum(h * w**2),
    )
    return NoisyQuadratic(
        training, Space({"lr": log_uniform(1e-3, 1.0)}), num_steps, curvature, variance
    )
