"""A published trace: hypertorch's logistic-regression notebook, seven outer losses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from jaxhpo.problems.tasks import _logistic


def test_the_drawn_data_are_the_notebooks():
    """The notebook's own calls: a global NumPy seed and scikit-learn's split."""
    model_selection = pytest.importorskip("sklearn.model_selection")
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    try:
        w = np.random.randn(20)  # noqa: NPY002
        x = np.random.randn(1000, 20)  # noqa: NPY002
        y = x @ w + 0.1 * np.random.randn(1000)  # noqa: NPY002
        y = (y > 0.0).astype(float)
        x, x_val, y, y_val = model_selection.train_test_split(x, y, test_size=0.5)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    drawn = _logistic.notebook_data()
    for ours, theirs in zip(drawn[:2], ((x, y), (x_val, y_val)), strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_seven_checkpoints(float32):
    task = hpo.problems.logistic()
    estimator = hg.truncated(task.training, num_steps=100, window=10)
    optimizer = optax.sgd(1.0, momentum=0.9)

    def outer_step(loop, _):
        hparams, state = loop
        out = estimator(jax.random.key(0), hparams)
        updates, state = optimizer.update(out.grad, state)
        moved = jax.tree.map(lambda h, u: jnp.maximum(h + u, 1e-8), hparams, updates)
        return (moved, state), out.value

    loop = task.hparams, optimizer.init(task.hparams)
    values = jax.jit(lambda loop: jax.lax.scan(outer_step, loop, length=991)[1])(loop)
    for number, published in hpo.problems.PUBLISHED_TRACE.items():
        assert float(values[number]) == pytest.approx(published, abs=2e-6), number
