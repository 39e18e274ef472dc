"""What is known already is not proposed again; rows without a point are nobody's equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo.acquisition import _problem


# Sizes at which the compiled maximum over NaN was a number: everything seemed known.
@pytest.mark.parametrize(("c", "n", "d"), [(6, 100, 8), (6, 256, 6), (1, 256, 16), (6, 64, 16)])
def test_rows_of_nan_equal_no_point(c, n, d):
    rng = np.random.default_rng(0)
    unit = rng.uniform(size=(c, d)).astype(np.float32)
    known = rng.uniform(size=(n, d)).astype(np.float32)
    known[3] = unit[-1]
    mask = np.arange(n) < n // 2

    @jax.jit
    def is_known(unit, known, mask):
        return _problem._is_known(unit, jnp.where(mask[:, None], known, jnp.nan))

    expected = np.arange(c) == c - 1
    np.testing.assert_array_equal(is_known(unit, known, mask), expected)
