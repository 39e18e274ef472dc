"""Products in full precision, and factorisations that may be batched, on any platform.

On CPU, jaxlib spreads a batch of LAPACK calls over XLA's thread pool from a thread of that pool,
and waits there. Two such batches at once on a machine of two cores wait for each other for ever
(seen with jaxlib 0.10.2: a loop around two batches of triangular solves). A loop of single calls
does not wait, so on CPU a batch is a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from jaxhpo._base import Array

_SMALL = 32
"""Rows up to which a triangular matrix is inverted by one solve."""


def matmul(left: Array, right: Array) -> Array:
    """Product of a matrix with a matrix or a vector, in the operands' own precision.

    `left @ right` asks for its result type by name. Where `vmap` transforms it outside the local
    context, that name is cut to float32; this product names no type. Accelerators round the
    operands of a float32 product to fewer digits unless told otherwise; a covariance does not
    survive that.

    Args:
        left: `[a, b]`.
        right: `[b, c]` or `[b]`.

    Returns:
        `[a, c]` or `[a]`.
    """
    dimensions = (((left.ndim - 1,), (0,)), ((), ()))
    return jax.lax.dot_general(left, right, dimensions, precision=jax.lax.Precision.HIGHEST)


def transposed_matmul(left: Array, right: Array) -> Array:
    """`left.T` times `right`, `[b, c]` of `[a, b]` and `[a, c]`.

    XLA's CPU backend multiplies by a transposed left operand two to three times as slowly as by a
    transposed copy of it.
    """
    return matmul(jax.lax.optimization_barrier(left.T), right)


def gram(matrix: Array) -> Array:
    """`matrix.T` times `matrix`, `[b, b]` of `[a, b]`; see `transposed_matmul`."""
    transposed = jax.lax.optimization_barrier(matrix.T)
    return matmul(transposed, transposed.T)


def one_by_one_on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes `vmap` of a function a loop on CPU, and what it is elsewhere.

    Args:
        function: of arrays of one dtype, unbatched. Its derivatives are its caller's affair.

    Returns:
        A function of the same arguments. It may be batched outside a local float64 context.
    """
    looped = custom_vmap(function)

    @looped.def_vmap
    def _(axis_size: int, in_batched: list[bool], *arrays: Array) -> tuple[Any, Any]:
        with _precision_of(arrays[0]):
            whole = [
                array if is_batched else jnp.broadcast_to(array, (axis_size, *array.shape))
                for array, is_batched in zip(arrays, in_batched, strict=True)
            ]
            out = jax.lax.map(lambda row: looped(*row), whole)
        return out, jax.tree.map(lambda _: True, out)

    def call(*arrays: Array) -> Any:
        return jax.lax.platform_dependent(*arrays, cpu=looped, default=function)

    return call


def _precision_of(array: Array) -> Any:
    """A context in which float64 is float64, for an array that is already so."""
    return jax.enable_x64(np.float64 in (jnp.result_type(float), array.dtype))


@jax.custom_jvp
def inverse_cholesky(matrix: Array) -> tuple[Array, Array]:
    """Factors a symmetric positive definite matrix.

    Args:
        matrix: `[n, n]`, of which the upper triangle is read.

    Returns:
        `L` with `L L^T = matrix`, and `L^-1`, both `[n, n]`; not finite if there is no such `L`.

    Example:
        >>> import jax.numpy as jnp
        >>> factor, inverse = inverse_cholesky(jnp.array([[4.0, 0.0], [0.0, 16.0]]))
        >>> factor.diagonal().tolist(), inverse.diagonal().tolist()
        ([2.0, 4.0], [0.5, 0.25])
    """
    factor, inverse = _inverse_cholesky(matrix)
    return factor, inverse


@one_by_one_on_cpu
def _inverse_cholesky(matrix: Array) -> tuple[Array, Array]:
    with _precision_of(matrix):
        factor = _factored(matrix)
        return factor, _inverse_lower(factor)


def _inverse_lower(factor: Array) -> Array:
    """Inverse of a lower triangular matrix by halves: products are faster than one large solve."""
    n = factor.shape[0]
    if n <= _SMALL:
        eye = jnp.eye(n, dtype=factor.dtype)
        return jax.scipy.linalg.solve_triangular(factor, eye, lower=True)
    half = -(-n // 16) * 8
    upper, lower = _inverse_lower(factor[:half, :half]), _inverse_lower(factor[half:, half:])
    corner = -matmul(matmul(lower, factor[half:, :half]), upper)
    zeros = jnp.zeros((half, n - half), factor.dtype)
    return jnp.concatenate(
        [jnp.concatenate([upper, zeros], axis=1), jnp.concatenate([corner, lower], axis=1)]
    )


@inverse_cholesky.defjvp
def _inverse_cholesky_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """`dL = L phi(L^-1 dK L^-T)`, where `phi` halves the diagonal of the lower triangle.

    Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527, eq. 8.
    """
    factor, inverse = inverse_cholesky(*primals)
    upper = jnp.triu(tangents[0])
    tangent = upper + jnp.triu(upper, 1).T
    inner = jnp.tril(matmul(matmul(inverse, tangent), inverse.T))
    inner = inner - 0.5 * jnp.diag(jnp.diagonal(inner))
    return (factor, inverse), (matmul(factor, inner), -matmul(inner, inverse))


def cholesky(matrix: Array) -> Array:
    """Lower triangular factor of a symmetric positive definite matrix.

    Args:
        matrix: `[n, n]`, of which the upper triangle is read.

    Returns:
        `[n, n]`, not finite if there is none; not to be differentiated.
    """
    factor: Array = _cholesky(matrix)
    return factor


@one_by_one_on_cpu
def _cholesky(matrix: Array) -> Array:
    with _precision_of(matrix):
        return _factored(matrix)


def _factored(matrix: Array) -> Array:
    # LAPACK wants columns one after another. Those of a symmetric matrix are its rows: without the
    # transpose, XLA lays out all that the matrix is made of by columns, and reads it so.
    factor: Array = jnp.linalg.cholesky(matrix.T, symmetrize_input=False)
    return factor


def solve_lower(factor: Array, right: Array) -> Array:
    """Solves `factor x = right` for a lower triangular factor.

    Args:
        factor: `[n, n]`.
        right: `[n, k]`, of the same dtype.

    Returns:
        `x`, `[n, k]`; not to be differentiated.
    """
    x: Array = _solve_lower(factor, right)
    return x


@one_by_one_on_cpu
def _solve_lower(factor: Array, right: Array) -> Array:
    with _precision_of(factor):
        return jax.scipy.linalg.solve_triangular(factor, right, lower=True)


def eigh(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors in columns of a symmetric matrix.

    Args:
        matrix: `[n, n]`, of which the lower triangle is read.

    Returns:
        `[n]` and `[n, n]`; not to be differentiated.
    """
    values, vectors = _eigh(matrix)
    return values, vectors


@one_by_one_on_cpu
def _eigh(matrix: Array) -> tuple[Array, Array]:
    with _precision_of(matrix):
        values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=False)
    return values, vectors


def solve(matrix: Array, right: Array) -> Array:
    """Solves `matrix x = right` by LU factors.

    Args:
        matrix: `[n, n]`, any that has an inverse.
        right: `[n]`, of the same dtype.

    Returns:
        `x`, `[n]`; not to be differentiated.
    """
    x: Array = _solve(matrix, right)
    return x


@one_by_one_on_cpu
def _solve(matrix: Array, right: Array) -> Array:
    with _precision_of(matrix):
        return jnp.linalg.solve(matrix, right)
