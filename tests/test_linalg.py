"""Factorisations: their values, their derivatives, and how they are batched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo._base import Outcome
from jaxhpo._linalg import cholesky, eigh, inverse_cholesky, solve, solve_lower


def covariances(batch, n):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(batch, n, n))
    return jnp.asarray(root @ root.transpose(0, 2, 1) / n + np.eye(n), jnp.result_type(float))


def test_values_single_and_batched():
    matrices = covariances(3, 5)
    tolerance = 50 * float(jnp.finfo(matrices.dtype).eps)
    factor, inverse = jax.vmap(inverse_cholesky)(matrices)
    np.testing.assert_allclose(factor, np.linalg.cholesky(matrices), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(factor @ inverse, np.stack([np.eye(5)] * 3), atol=tolerance)
    for i in range(3):
        single = inverse_cholesky(matrices[i])
        np.testing.assert_array_equal(single[0], factor[i])
        np.testing.assert_array_equal(single[1], inverse[i])


def test_factor_and_whitening_single_and_batched():
    matrices = covariances(3, 5)
    tolerance = 50 * float(jnp.finfo(matrices.dtype).eps)
    right = matrices[:, :, :2] + 1
    factor = jax.vmap(cholesky)(matrices)
    np.testing.assert_allclose(factor, np.linalg.cholesky(matrices), rtol=tolerance, atol=tolerance)
    found = jax.vmap(solve_lower)(factor, right)
    np.testing.assert_allclose(factor @ found, right, rtol=tolerance, atol=tolerance)
    for i in range(3):
        np.testing.assert_array_equal(cholesky(matrices[i]), factor[i])
        np.testing.assert_array_equal(solve_lower(factor[i], right[i]), found[i])
    assert not np.isfinite(np.asarray(cholesky(-jnp.eye(3)))[-1, -1])


@pytest.mark.parametrize("name", ["gp", "cma_es"])
def test_products_are_in_full_precision_on_accelerators(name):
    """By default an accelerator keeps 10 bits of the operands of a float32 product."""
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(3,))})
    sampler = hpo.samplers.get(name, space, **({"precision": "float32"} if name == "gp" else {}))
    state = jax.eval_shape(sampler.init, jax.random.key(0))
    step = sampler.ask if name == "gp" else sampler.tell
    rows = jax.ShapeDtypeStruct((1, 3), jnp.result_type(float))
    outcome = Outcome(jax.ShapeDtypeStruct((1,), jnp.result_type(float)))
    args = (state,) if name == "gp" else (state, rows, outcome)
    text = jax.jit(step).lower(jax.random.key(0), *args).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_no_factor_gives_nan():
    assert not np.isfinite(inverse_cholesky(-jnp.eye(3))[0]).all()


@pytest.mark.parametrize("which", [0, 1])
def test_derivatives(which):
    with jax.enable_x64(True):
        matrix = jnp.asarray(np.asarray(covariances(1, 4)[0], np.float64))
        seed = jnp.asarray(np.random.default_rng(1).normal(size=(4, 4)))
        function = lambda a: jnp.sum(seed * inverse_cholesky(a)[which])  # noqa: E731
        gradient = jax.jit(jax.grad(function))(matrix)
        batched = jax.vmap(jax.grad(function))(matrix[None])[0]
        np.testing.assert_allclose(batched, gradient, rtol=1e-12, atol=1e-14)
        assert np.all(np.tril(gradient, -1) == 0)  # the upper triangle is what is read
        for i, j in ((0, 0), (1, 2), (3, 3)):
            step = jnp.zeros((4, 4)).at[i, j].set(1e-5)
            slope = (function(matrix + step) - function(matrix - step)) / 2e-5
            np.testing.assert_allclose(gradient[i, j], slope, rtol=1e-8, atol=1e-9)


def test_on_cpu_lapack_gets_one_matrix_a_call():
    """Two batched calls at once can wait for each other for ever on a machine of two cores."""

    def calls(function):
        text = jax.jit(jax.vmap(function)).lower(covariances(7, 5)).compile().as_text()
        return [line for line in text.splitlines() if "lapack_" in line]

    assert len(calls(inverse_cholesky)) >= 2
    assert not any("[7,5,5]" in line for line in calls(inverse_cholesky))
    assert any("[7,5,5]" in line for line in calls(jnp.linalg.cholesky))
    assert calls(eigh)
    assert not any("[7,5,5]" in line for line in calls(eigh))


def test_batched_outside_a_local_float64_context():
    def local(matrix):
        with jax.enable_x64(True):
            wide = jax.lax.convert_element_type(matrix, jnp.float64)
            return jax.lax.convert_element_type(inverse_cholesky(wide)[1], matrix.dtype)

    matrices = covariances(6, 4)
    nested = jax.jit(jax.vmap(jax.vmap(local)))(matrices.reshape(2, 3, 4, 4))
    expected = np.linalg.inv(np.linalg.cholesky(np.asarray(matrices, np.float64)))
    np.testing.assert_allclose(nested.reshape(6, 4, 4), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_solve_single_and_batched(axes):
    matrices = covariances(3, 5)
    rights = matrices[:, 0] + 1.0
    found = jax.vmap(solve, in_axes=axes)(
        matrices if axes[0] == 0 else matrices[0], rights if axes[1] == 0 else rights[0]
    )
    for i in range(3):
        matrix, right = matrices[i if axes[0] == 0 else 0], rights[i if axes[1] == 0 else 0]
        expected = np.linalg.solve(np.asarray(matrix, np.float64), np.asarray(right, np.float64))
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-5)


def test_eigh_single_and_batched():
    matrices = covariances(3, 5)
    values, vectors = jax.vmap(eigh)(matrices)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrices), rtol=1e-5)
    again = (vectors * values[:, None, :]) @ jnp.swapaxes(vectors, 1, 2)
    np.testing.assert_allclose(again, matrices, atol=1e-5)
