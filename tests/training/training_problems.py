"""Small data for the adapters, in the default float of the test run."""

import jax
import jax.numpy as jnp
import numpy as np

FLOAT = np.dtype(jax.dtypes.canonicalize_dtype(float))


def examples(num=24, seed=0, dtype=FLOAT):
    rng = np.random.default_rng(seed)
    x = rng.normal(1.0, 2.0, size=(num, 3)).astype(dtype)
    y = (x @ np.asarray([1.0, -1.0, 0.5]) + 0.3).astype(dtype)
    return x, y[:, None]


def squared_error(hparams, outputs, targets):
    return jnp.mean((outputs - targets) ** 2, axis=-1)
