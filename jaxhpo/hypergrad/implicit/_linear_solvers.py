"""Linear solvers of the implicit estimators, and the records by which they are named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.scipy.sparse.linalg as sparse

from jaxhpo._checks import check_count, check_not_negative, check_positive
from jaxhpo._linalg import matmul, solve

Array = jax.Array
Vector = list[Array]
Operator = Callable[[Vector], Vector]


class Solved(NamedTuple):
    """A linear solve: the solution, the contraction of its iteration, the iterations it took."""

    v: Vector
    contraction: Array | None = None
    steps: Array | None = None


@dataclasses.dataclass(frozen=True)
class CG:
    """Conjugate gradients on the Hessian; made by `cg`."""

    max_steps: int
    tol: float | None
    damping: float

    def solve(self, key: Array, apply: Operator, b: Vector, start: Vector | None) -> Solved:
        """Solves `(H + damping I) v = b`."""
        operator = damped(apply, self.damping)
        v, steps = conjugate_gradients(operator, b, start, _tol(self.tol, b), self.max_steps)
        return Solved(v, steps=steps)


@dataclasses.dataclass(frozen=True)
class Neumann:
    """A truncated Neumann series of the Hessian; made by `neumann`."""

    num_terms: int
    step_size: float

    def solve(self, key: Array, apply: Operator, b: Vector, start: Vector | None) -> Solved:
        """Sums `step_size (I - step_size H)^j b` for j from 0 to `num_terms`."""

        def shrink(u: Vector) -> Vector:
            return axpy(-self.step_size, apply(u), u)

        return series(shrink, [self.step_size * part for part in b], self.num_terms, start)


@dataclasses.dataclass(frozen=True)
class Nystrom:
    """A low-rank inverse from sampled Hessian columns; made by `nystrom`."""

    rank: int
    damping: float

    def solve(self, key: Array, apply: Operator, b: Vector, start: Vector | None) -> Solved:
        """Solves `(C W^-1 C' + damping I) v = b` by the Woodbury identity."""
        flat, unravel = jax.flatten_util.ravel_pytree(b)
        rank = min(self.rank, flat.size)
        chosen = jax.random.choice(key, flat.size, (rank,), replace=False)
        basis = jax.nn.one_hot(chosen, flat.size, dtype=flat.dtype)
        columns = jax.vmap(lambda e: jax.flatten_util.ravel_pytree(apply(unravel(e)))[0])(basis)
        small = columns[:, chosen] + matmul(columns, columns.T) / self.damping
        inner = solve(small, matmul(columns, flat))
        return Solved(unravel(flat / self.damping - matmul(columns.T, inner) / self.damping**2))


@dataclasses.dataclass(frozen=True)
class Dense:
    """The whole Hessian, solved directly; made by `dense`."""

    damping: float

    def solve(self, key: Array, apply: Operator, b: Vector, start: Vector | None) -> Solved:
        """Solves `(H + damping I) v = b`."""
        flat, unravel = jax.flatten_util.ravel_pytree(b)

        def column(e: Array) -> Array:
            return jax.flatten_util.ravel_pytree(damped(apply, self.damping)(unravel(e)))[0]

        matrix = jax.vmap(column)(jnp.eye(flat.size, dtype=flat.dtype))
        return Solved(unravel(solve(matrix, flat)))


@dataclasses.dataclass(frozen=True)
class FixedPoint:
    """Iterations of the adjoint of the training step; made by `fixed_point`."""

    num_iters: int

    def solve(self, back: Operator, ahead: Operator, b: Vector, start: Vector | None) -> Solved:
        """Sums `(A')^j b` for j from 0 to `num_iters`."""
        return series(back, b, self.num_iters, start)


@dataclasses.dataclass(frozen=True)
class GMRES:
    """GMRES on the fixed-point map; made by `gmres`."""

    max_steps: int
    tol: float | None

    def solve(self, back: Operator, ahead: Operator, b: Vector, start: Vector | None) -> Solved:
        """Solves `(I - A') v = b`."""
        restart = min(self.max_steps, max(1, sum(part.size for part in b)), 50)
        found = sparse.gmres(
            complement(back),
            b,
            x0=start,
            tol=_tol(self.tol, b),
            restart=restart,
            maxiter=-(-self.max_steps // restart),
            # The other method squares the condition number and then takes a Cholesky factor of it:
            # NaN in float32 on a map that hardly contracts.
            solve_method="incremental",
        )
        return Solved(found[0])


@dataclasses.dataclass(frozen=True)
class NormalCG:
    """Conjugate gradients on the normal equations of the fixed-point map; made by `normal_cg`."""

    max_steps: int
    tol: float | None

    def solve(self, back: Operator, ahead: Operator, b: Vector, start: Vector | None) -> Solved:
        """Solves `(I - A) (I - A') v = (I - A) b`."""
        outward, inward = complement(ahead), complement(back)

        def normal(v: Vector) -> Vector:
            return outward(inward(v))

        tol = _tol(self.tol, b)
        v, steps = conjugate_gradients(normal, outward(b), start, tol, self.max_steps)
        return Solved(v, steps=steps)


HessianSolver = CG | Neumann | Nystrom | Dense
MapSolver = FixedPoint | GMRES | NormalCG


def cg(max_steps: int = 100, tol: float | None = None, damping: float = 0.0) -> CG:
    """Conjugate gradients on the Hessian of `inner_loss`: the best choice near a minimum.

    Args:
        max_steps: Hessian products at most; static, at least 1.
        tol: relative residual to stop at; static; None takes ten roundings.
        damping: added to the Hessian's diagonal; static, 0 or more.

    Returns:
        A value for `solver`.

    Example:
        >>> cg(10).max_steps
        10
    """
    check_not_negative("cg", "damping", damping)
    if tol is not None:
        check_positive("cg", "tol", tol)
    return CG(check_count("cg", "max_steps", max_steps, 1), tol, float(damping))


def neumann(num_terms: int, step_size: float) -> Neumann:
    """Truncated Neumann series: as `truncated(window=num_terms + 1)` from the optimum.

    Args:
        num_terms: Hessian products; static, 0 or more (0 is T1-T2).
        step_size: below 2 over the largest curvature; static.

    Returns:
        A value for `solver`.

    Example:
        >>> neumann(20, 0.1).num_terms
        20
    """
    return Neumann(
        check_count("neumann", "num_terms", num_terms, 0),
        float(check_positive("neumann", "step_size", step_size)),
    )


def nystrom(rank: int, damping: float = 1e-2) -> Nystrom:
    """Nyström approximation of the inverse Hessian from `rank` random columns.

    Args:
        rank: columns, one Hessian product each; static, at least 1.
        damping: added to the diagonal; static, above 0.

    Returns:
        A value for `solver`.

    Example:
        >>> nystrom(5).rank
        5
    """
    return Nystrom(
        check_count("nystrom", "rank", rank, 1),
        float(check_positive("nystrom", "damping", damping)),
    )


def dense(damping: float = 0.0) -> Dense:
    """The dense Hessian: an oracle for up to about two thousand parameters.

    Args:
        damping: added to the diagonal; static, 0 or more.

    Returns:
        A value for `solver`.

    Example:
        >>> dense().damping
        0.0
    """
    check_not_negative("dense", "damping", damping)
    return Dense(float(damping))


def fixed_point(num_iters: int) -> FixedPoint:
    """Iterates the adjoint of one training step: as long as training contracts, so does this.

    Args:
        num_iters: adjoint steps; static, 0 or more.

    Returns:
        A value for `solver`.

    Example:
        >>> fixed_point(50).num_iters
        50
    """
    return FixedPoint(check_count("fixed_point", "num_iters", num_iters, 0))


def gmres(max_steps: int = 50, tol: float | None = None) -> GMRES:
    """GMRES on the training step's fixed-point equation, which need not be symmetric.

    Args:
        max_steps: adjoint steps at most; static, at least 1.
        tol: relative residual to stop at; static; None takes ten roundings.

    Returns:
        A value for `solver`.

    Example:
        >>> gmres().max_steps
        50
    """
    return GMRES(check_count("gmres", "max_steps", max_steps, 1), tol)


def normal_cg(max_steps: int = 100, tol: float | None = None) -> NormalCG:
    """Conjugate gradients on the normal equations of the training step's fixed-point equation.

    Args:
        max_steps: pairs of tangent and adjoint steps at most; static, at least 1.
        tol: relative residual to stop at; static; None takes ten roundings.

    Returns:
        A value for `solver`.

    Example:
        >>> normal_cg(20).max_steps
        20
    """
    return NormalCG(check_count("normal_cg", "max_steps", max_steps, 1), tol)


NAMES: dict[str, HessianSolver | MapSolver] = {
    "cg": CG(100, None, 0.0),
    "dense": Dense(0.0),
    "gmres": GMRES(50, None),
    "normal_cg": NormalCG(100, None),
}


def axpy(scale: float, x: Vector, y: Vector) -> Vector:
    """`scale x + y`."""
    return [scale * a + b for a, b in zip(x, y, strict=True)]


def damped(apply: Operator, damping: float) -> Operator:
    """The operator plus a multiple of the identity."""
    return (lambda v: axpy(damping, v, apply(v))) if damping else apply


def complement(apply: Operator) -> Operator:
    """The identity minus the operator."""
    return lambda v: axpy(-1.0, apply(v), v)


def conjugate_gradients(
    apply: Operator, b: Vector, start: Vector | None, tol: float, max_steps: int
) -> tuple[Vector, Array]:
    """Solves a symmetric positive system to a relative residual, and counts the products."""
    v = [jnp.zeros_like(part) for part in b] if start is None else start
    residual = b if start is None else axpy(-1.0, apply(start), b)
    square = dot(residual, residual)
    enough = tol**2 * dot(b, b)

    def is_open(loop: Any) -> Array:
        return (loop[3] > enough) & (loop[4] < max_steps)

    def body(loop: Any) -> Any:
        v, residual, direction, square, count = loop
        image = apply(direction)
        step = square / dot(direction, image)
        v, residual = _along(step, direction, v), _along(-step, image, residual)
        new = dot(residual, residual)
        return v, residual, _along(new / square, direction, residual), new, count + 1

    loop = (v, residual, residual, square, jnp.int32(0))
    v, _, _, _, count = jax.lax.while_loop(is_open, body, loop)
    return v, count


def _along(scale: Array, x: Vector, y: Vector) -> Vector:
    return [scale.astype(a.dtype) * a + b for a, b in zip(x, y, strict=True)]


def series(apply: Operator, b: Vector, count: int, start: Vector | None) -> Solved:
    """Sum of the powers 0 to `count` of an operator on `b`, and how much the last one shrank.

    From a start it is as many turns of `v <- A v + b`, whose changes shrink alike.
    """

    def body(_: Any, loop: tuple[Vector, Vector, Array]) -> tuple[Vector, Vector, Array]:
        change, total, _ = loop
        new = apply(change)
        return new, axpy(1.0, new, total), norm(new) / norm(change)

    change, total = b, b
    if start is not None:
        change = axpy(-1.0, start, axpy(1.0, apply(start), b))
        total = axpy(1.0, change, start)
    ratio = jnp.full_like(norm(b), jnp.nan)
    _, total, ratio = jax.lax.fori_loop(0, count, body, (change, total, ratio))
    return Solved(total, contraction=ratio)


def dot(x: Vector, y: Vector) -> Array:
    """Inner product over all leaves, in the widest of their dtypes."""
    dtype = jnp.result_type(*x) if x else jnp.result_type(float)
    parts = [jnp.sum((a * b).astype(dtype)) for a, b in zip(x, y, strict=True)]
    return sum(parts, jnp.zeros((), dtype))


def norm(v: Vector) -> Array:
    """Euclidean norm over all leaves."""
    dtype = jnp.result_type(*v) if v else jnp.result_type(float)
    return jnp.sqrt(sum((jnp.sum(a.astype(dtype) ** 2) for a in v), jnp.zeros((), dtype)))


def _tol(tol: float | None, b: Vector) -> float:
    return 10 * float(jnp.finfo(jnp.result_type(*b)).eps) if tol is None else tol
