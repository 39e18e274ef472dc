"""A published trace: hypertorch's logistic-regression notebook, seven outer losses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

# Outer step -> outer loss, as printed in the notebook (prolearner/hypertorch 6241dfa).
PUBLISHED = {
    0: 0.574399, 10: 0.533768, 20: 0.361522, 50: 0.294467,
    100: 0.285354, 170: 0.281720, 990: 0.280506,
}  # fmt: skip


def notebook_data():
    """The notebook's data: its global NumPy seed and its order of draws."""
    model_selection = pytest.importorskip("sklearn.model_selection")
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    try:
        w = np.random.randn(20)  # noqa: NPY002
        x = np.random.randn(1000, 20)  # noqa: NPY002
        y = x @ w + 0.1 * np.random.randn(1000)  # noqa: NPY002
        y = (y > 0.0).astype(float)
        return model_selection.train_test_split(x, y, test_size=0.5)
    finally:
        np.random.set_state(state)  # noqa: NPY002


def test_seven_checkpoints(float32):
    x, x_val, y, y_val = (jnp.asarray(part, jnp.float32) for part in notebook_data())

    def cross_entropy(w, x, y):
        return jnp.mean(optax.sigmoid_binary_cross_entropy(x @ w, y))

    def inner(hparams, w):
        return cross_entropy(w, x, y) + 0.5 * jnp.sum(hparams * w**2)

    def step(key, hparams, w, t):
        return w - 0.1 * hpo.training.gradient(lambda w: inner(hparams, w))(w)

    training = hpo.Training(
        lambda key, hparams: jnp.zeros(20, jnp.float32),
        step,
        lambda hparams, w: cross_entropy(w, x_val, y_val),
        inner,
    )
    estimator = hg.truncated(training, num_steps=100, window=10)
    optimizer = optax.sgd(1.0, momentum=0.9)

    def outer_step(loop, _):
        hparams, state = loop
        out = estimator(jax.random.key(0), hparams)
        updates, state = optimizer.update(out.grad, state)
        return (jnp.maximum(hparams + updates, 1e-8), state), out.value

    start = jnp.ones(20, jnp.float32)
    loop = start, optimizer.init(start)
    values = jax.jit(lambda loop: jax.lax.scan(outer_step, loop, length=991)[1])(loop)
    for number, published in PUBLISHED.items():
        assert float(values[number]) == pytest.approx(published, abs=2e-6), number
