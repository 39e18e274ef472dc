"""Small training runs whose result is known, in the default float of the test run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxhpo as hpo
from jaxhpo import training as hpt

FLOAT = np.dtype(jax.dtypes.canonicalize_dtype(float))


def regression(batch_size=8, count=None):
    """Linear regression by SGD with momentum; `count` counts how often each function is called."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(40, 3)), FLOAT)
    y = x @ jnp.asarray([1.0, -2.0, 0.5], FLOAT)
    count = {} if count is None else count

    def seen(name):
        count[name] = count.get(name, 0) + 1

    def init(key, hparams):
        seen("init")
        return 0.1 * jax.random.normal(key, (3,), FLOAT)

    def loss(hparams, w, batch):
        seen("loss")
        return jnp.mean((batch[0] @ w - batch[1]) ** 2)

    return hpt.from_optax(
        init,
        loss,
        lambda h: optax.sgd(h["lr"], h["momentum"]),
        train=(x, y),
        validation=(x, y),
        batch_size=batch_size,
    )


def hparams(n, seed=1):
    """Values that all converge."""
    rng = np.random.default_rng(seed)
    return {
        "lr": jnp.asarray(rng.uniform(0.01, 0.1, n), FLOAT),
        "momentum": jnp.asarray(rng.uniform(0.0, 0.8, n), FLOAT),
    }


def decay():
    """state <- state * (1 - lr) from 1: the loss after t steps is (1 - lr)^(2t)."""
    return hpo.Training(
        init=lambda key, h: jnp.ones((), FLOAT),
        step=lambda key, h, state, t: state * (1 - h["lr"]),
        loss=lambda h, state: state**2,
    )


def row(tree, i):
    return jax.tree.map(lambda a: a[i], tree)
