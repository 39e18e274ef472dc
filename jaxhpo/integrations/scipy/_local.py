"""Local methods: a compiled BFGS over many starts, and SciPy's own with gradients by JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxhpo._checks import check_int, check_positive, describe, fail
from jaxhpo.ask_tell import enable_compilation_cache
from jaxhpo.gp.internal import Minimum, minimize_box

_WHERE = "minimize"
_HESSIANS = ("newton-cg", "dogleg", "trust-ncg", "trust-krylov", "trust-exact")
_WITHOUT_GRADIENT = ("nelder-mead", "powell", "cobyla", "cobyqa")
_STEPS_A_DIMENSION = 200
_GTOL = 1e-5


def limits(bounds: Any, size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds `[d]`, infinite where there is none.

    Args:
        bounds: pairs with None for no bound, a `Bounds`, or None.
        size: d, or None to take it from the bounds.

    Returns:
        The two arrays.

    Raises:
        ValueError: another number of bounds, or reversed ones.
    """
    if bounds is None:
        return np.full(size or 0, -np.inf), np.full(size or 0, np.inf)
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        pairs = list(np.broadcast(bounds.lb, bounds.ub))
        pairs = pairs * size if size and len(pairs) == 1 else pairs
    else:
        pairs = [tuple(pair) for pair in bounds]
    if size is not None and len(pairs) != size:
        raise fail(_WHERE, "bounds", f"{size} pairs, one per coordinate of `x0`", bounds)
    lower = np.asarray([-np.inf if low is None else low for low, _ in pairs], np.float64)
    upper = np.asarray([np.inf if high is None else high for _, high in pairs], np.float64)
    if not (lower <= upper).all():
        raise fail(_WHERE, "bounds", "pairs (low, high) with low <= high", bounds)
    return lower, upper


class Problem:
    """The function with its bounds, its starts and its way to a gradient."""

    def __init__(
        self,
        fun: Callable[..., Any],
        x0: Any,
        args: tuple[Any, ...],
        jac: Any,
        bounds: Any,
        num_starts: int,
        seed: int,
    ) -> None:
        """Checks the arguments of `minimize`, which documents them."""
        enable_compilation_cache()  # no driver takes part here, which would do so
        self.args, self.jac, self.bounds = args, jac, bounds
        self.fun = functools.partial(_call, fun, args) if args else fun
        x = np.atleast_1d(np.asarray(x0, np.float64))
        if x.ndim != 1 or not np.isfinite(x).all():
            raise fail(_WHERE, "x0", "a finite vector", x0)
        self.lower, self.upper = limits(bounds, len(x))
        if not ((self.lower <= x) & (x <= self.upper)).all():
            raise fail(_WHERE, "x0", "within the bounds", x0)
        self.starts = self._draw(x, num_starts, seed)
        self.is_bounded = bool(np.isfinite([self.lower, self.upper]).any())
        self.reason = self._untraceable()
        self.is_traceable = self.reason is None
        if jac == "jax" and not self.is_traceable:
            raise TypeError(
                f"{_WHERE}: `fun` must be traceable by JAX with jac='jax' (no NumPy, no Python "
                f"control flow on values); tracing it raised {self.reason}"
            )

    def _draw(self, x: np.ndarray, count: int, seed: int) -> np.ndarray:
        """`[s, d]`: the start that was given, then others."""
        rng = np.random.default_rng(seed)
        shape = (count - 1, len(x))
        is_box = np.isfinite(self.lower) & np.isfinite(self.upper)
        low, high = np.where(is_box, self.lower, 0.0), np.where(is_box, self.upper, 1.0)
        around = x + (1.0 + np.abs(x)) * rng.standard_normal(shape)
        drawn = np.where(is_box, low + (high - low) * rng.random(shape), around)
        return np.concatenate([x[None], np.clip(drawn, self.lower, self.upper)])

    def _untraceable(self) -> str | None:
        """Why JAX cannot differentiate the function, or None if it can."""
        if self.jac not in (None, "jax"):
            return "nothing: another `jac` was asked for"
        x = jax.ShapeDtypeStruct((self.starts.shape[1],), np.float64)
        try:
            with jax.enable_x64(True):
                shape = jax.eval_shape(self.fun, x)
            if not jnp.issubdtype(shape.dtype, jnp.floating) or shape.size != 1:
                return f"nothing, but it returned {shape} and no real number"
        except Exception as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0]}"
        return None


def minimize_compiled(problem: Problem, tol: Any, callback: Any, options: dict[str, Any]) -> Any:
    """The projected BFGS: one program for all starts."""
    if not problem.is_traceable:
        raise TypeError(
            f"{_WHERE}: `fun` must be traceable by JAX for method='BFGS' with bounds, and `jac` "
            f"None or 'jax'; take 'L-BFGS-B' otherwise. Tracing raised {problem.reason}"
        )
    if callback is not None:
        expected = "None with method='BFGS', which runs as one program; take 'L-BFGS-B'"
        raise fail(_WHERE, "callback", expected, callback)
    d = problem.starts.shape[1]
    gtol = check_positive(_WHERE, "gtol", options.pop("gtol", _GTOL if tol is None else tol))
    limit = check_int(_WHERE, "maxiter", options.pop("maxiter", _STEPS_A_DIMENSION * d), 1)
    options.pop("disp", None)
    if options:
        raise fail(_WHERE, "options", "among gtol and maxiter with method='BFGS'", sorted(options))
    with jax.enable_x64(True):
        box = (problem.lower, problem.upper)
        found = _lanes(Partial(problem.fun), problem.starts, *box, limit, gtol)
        found = jax.tree.map(np.asarray, found)
    return _result(problem, found, gtol, limit)


@jax.jit
def _lanes(
    fun: Any, starts: jax.Array, lower: jax.Array, upper: jax.Array, limit: Any, gtol: Any
) -> Minimum:
    def scalar(x: jax.Array) -> jax.Array:
        return jnp.reshape(fun(x), ())

    def lane(start: jax.Array) -> Minimum:
        first = jnp.max(jnp.abs(jax.grad(scalar)(start)))
        scale = 1.0 / jnp.maximum(jnp.where(jnp.isfinite(first), first, 1.0), 1.0)
        return minimize_box(
            jax.value_and_grad(scalar),
            start,
            lower,
            upper,
            max_evals=limit,
            tolerance=gtol,
            inverse=jnp.full_like(start, scale),
            max_step=jnp.asarray(jnp.inf, start.dtype),
        )

    return jax.vmap(lane)(starts)


def _result(problem: Problem, found: Minimum, gtol: float, limit: int) -> Any:
    from scipy.optimize import OptimizeResult

    values = np.where(np.isfinite(found.value), found.value, np.inf)
    best = int(np.argmin(values))
    x, jac = found.x[best], found.gradient[best]
    outward = ((x <= problem.lower) & (jac > 0)) | ((x >= problem.upper) & (jac < 0))
    size = float(np.max(np.abs(np.where(outward, 0.0, jac))))
    is_finite = bool(np.isfinite(values[best]))
    success = is_finite and size <= gtol
    if success:
        status, message = 0, "Optimization terminated successfully."
        if found.num_evals[best] == 1 and not jac.any():
            message += " The gradient is zero at x0: is `fun` rounded, or constant there?"
    elif not is_finite:
        status, message = 3, "NaN result encountered: `fun` is not finite at any start."
    elif found.num_evals[best] >= limit:
        status, message = 1, "Maximum number of iterations has been exceeded."
    else:
        status, message = 2, "No further decrease along the search direction."
    result = OptimizeResult(
        x=x if is_finite else problem.starts[best],
        fun=float(found.value[best]) if is_finite else float("nan"),
        jac=jac,
        nfev=int(found.num_evals.sum()),
        njev=int(found.num_evals.sum()),
        nit=int(found.num_evals[best]),
        status=status,
        success=success,
        message=message,
    )
    if len(values) > 1:
        result.starts = OptimizeResult(x=found.x, fun=found.value)
    return result


def minimize_scipy(
    problem: Problem,
    name: str,
    hess: Any,
    hessp: Any,
    constraints: Any,
    tol: Any,
    callback: Any,
    options: dict[str, Any],
) -> Any:
    """SciPy's method from each start, with gradients by JAX where they serve."""
    from scipy import optimize

    fun, jac = problem.fun, problem.jac
    if name in _WITHOUT_GRADIENT:
        if jac not in (None, False):
            raise fail(_WHERE, "jac", f"None with method={name!r}, which needs no gradient", jac)
        jac = None
    elif problem.is_traceable:
        fun, jac = _value_and_gradient(problem.fun), True
        if hess is None and hessp is None and name in _HESSIANS:
            hess = _in_double(jax.hessian(_scalar(problem.fun)))
    elif callable(jac) and problem.args:
        jac = functools.partial(_call, jac, problem.args)
    if problem.args and callable(hess) and not problem.is_traceable:
        hess = functools.partial(_call, hess, problem.args)
    # What is not given is left out, so that SciPy does not warn of what it would not use.
    given = {"hess": hess, "hessp": hessp, "bounds": problem.bounds, "callback": callback}
    given = {key: value for key, value in given.items() if value is not None}
    if constraints is not None and np.size(constraints):
        given["constraints"] = constraints
    results = [
        optimize.minimize(fun, start, method=name, jac=jac, tol=tol, options=options, **given)
        for start in problem.starts
    ]
    values = np.asarray([np.inf if not np.isfinite(r.fun) else r.fun for r in results])
    best = results[int(np.argmin(values))]
    if len(results) > 1:
        best.starts = optimize.OptimizeResult(x=np.stack([r.x for r in results]), fun=values)
        best.nfev = sum(r.nfev for r in results)
    return best


def _value_and_gradient(fun: Callable[..., Any]) -> Callable[..., Any]:
    compiled = _in_double(jax.value_and_grad(_scalar(fun)))

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = compiled(x)
        return float(value), gradient

    return both


def _scalar(fun: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: jnp.reshape(fun(x), ())


def _in_double(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of one vector and calls it in double precision, NumPy in and out."""
    compiled = jax.jit(fun)

    def call(x: Any) -> Any:
        with jax.enable_x64(True):
            return jax.tree.map(np.array, compiled(np.asarray(x, np.float64)))

    return call


def _call(fun: Callable[..., Any], args: tuple[Any, ...], x: Any) -> Any:
    if not callable(fun):
        raise TypeError(f"{_WHERE}: `jac` must be a function, got {describe(fun)}.")
    return fun(x, *args)
