"""Small regression problems with dense float64 answers."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import gp

likelihood = jax.jit(gp.log_marginal_likelihood, static_argnums=0)
condition = jax.jit(gp.condition, static_argnums=0)
predict = jax.jit(lambda posterior, x: posterior.predict(x))
with_gradient = jax.jit(lambda posterior, x: posterior.predict_with_gradient(x))


def smooth(n, d, seed=0):
    """Points of the unit cube and standardised values of a smooth function."""
    x = np.random.default_rng(seed).uniform(size=(n, d))
    y = np.sin(5 * x[:, 0]) + (x**2).sum(axis=1)
    return x, (y - y.mean()) / y.std()


def hyper(g):
    """Hyperparameters of no special value."""
    return gp.Hyperparameters(np.linspace(-1.2, 0.3, g), np.asarray(0.4), np.asarray(-4.0))


def data(x, y, noise=None):
    """All rows in the mask."""
    noise = np.zeros(len(y)) if noise is None else noise
    return gp.Data(jnp.asarray(x), jnp.asarray(y), jnp.asarray(noise), jnp.ones(len(y), bool))


def padded(x, y, extra):
    """Rubbish rows outside the mask, the first of them in front."""
    rng = np.random.default_rng(1)
    front, back = rng.uniform(size=(2, extra, x.shape[1]))
    mask = np.r_[np.zeros(extra), np.ones(len(y)), np.zeros(extra)].astype(bool)
    return gp.Data(
        jnp.asarray(np.concatenate([front, x, back])),
        jnp.asarray(np.concatenate([np.zeros(extra), y, np.zeros(extra)])),
        jnp.asarray(np.r_[np.full(extra, 3.0), np.zeros(len(y) + extra)]),
        jnp.asarray(mask),
    )


def matern(r2):
    """Matérn-5/2, written as in Rasmussen and Williams, eq. 4.17."""
    r = np.sqrt(r2)
    return (1 + np.sqrt(5) * r + 5 * r2 / 3) * np.exp(-np.sqrt(5) * r)


def signal(left, right, hyper):
    """Signal covariance of two sets of points."""
    z, w = (a / np.exp(np.asarray(hyper.log_lengthscale)) for a in (left, right))
    return np.exp(hyper.log_scale) * matern(((z[:, None] - w[None]) ** 2).sum(axis=2))


def dense(x, hyper):
    """Covariance of noisy observations."""
    return signal(x, x, hyper) + np.exp(hyper.log_noise) * np.eye(len(x))
