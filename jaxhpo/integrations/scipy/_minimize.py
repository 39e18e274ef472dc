"""SciPy: `minimize` with bounds that always hold, gradients by JAX, and our samplers as methods."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxhpo import samplers
from jaxhpo._checks import check_callable, check_int, describe, fail
from jaxhpo.integrations._extras import require

_WHERE = "minimize"
# SciPy's methods that keep within bounds, and those that do not.
_BOUNDED = (
    "l-bfgs-b", "tnc", "slsqp", "trust-constr", "nelder-mead", "powell", "cobyla", "cobyqa",
)  # fmt: skip
_UNBOUNDED = ("cg", "newton-cg", "dogleg", "trust-ncg", "trust-krylov", "trust-exact")
_CONSTRAINED = ("slsqp", "trust-constr", "cobyla", "cobyqa")


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    method: str | None = None,
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Callable[..., Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    num_starts: int = 1,
    integrality: Any = None,
    seed: int = 0,
) -> Any:
    """Minimises a function of one vector, as `scipy.optimize.minimize` does.

    Bounds hold whatever the method, or it is refused. A function that JAX can trace is
    differentiated by JAX, in double precision, so no evaluation is spent on finite differences.

    - "BFGS": a projected BFGS in one compiled program, all starts side by side under `vmap`. It
      needs a function that JAX can trace; any other function without bounds gets SciPy's BFGS.
    - SciPy's other methods, by their names: SciPy's code with JAX's gradients, start after start.
    - "gp", "tpe", "cma_es" and all other names of `jaxhpo.samplers.names()`: global searches over
      finite bounds, for any Python function, without gradients.

    Args:
        fun: `fun(x, *args) -> float`, with `jac=True` a pair of value and gradient.
        x0: `[d]` the first start; None lets a sampler choose.
        args: further arguments of `fun`.
        method: a name, case ignored. None is what SciPy takes: SLSQP with constraints, L-BFGS-B
            with bounds, else BFGS.
        jac: None or "jax" for JAX's gradient ("jax" insists on it; None falls back to SciPy's
            finite differences where `fun` cannot be traced), True if `fun` returns it, a function,
            or "2-point", "3-point", "cs".
        hess: as in SciPy; by JAX where a method needs it and `fun` can be traced.
        hessp: as in SciPy.
        bounds: pairs (low, high), None for no bound, or a `scipy.optimize.Bounds`.
        constraints: as in SciPy, for its methods that take them.
        tol: as in SciPy; for "BFGS" the largest entry of the projected gradient.
        callback: as in SciPy; not for the compiled "BFGS".
        options: of the method. "BFGS" has `gtol` (1e-5) and `maxiter` (200 d). A sampler has
            `maxiter`, the number of evaluations (100); its other options are the settings of its
            factory in `jaxhpo.samplers`.
        num_starts: local methods only; further starts are drawn in the bounds, or around `x0`
            where there are none.
        integrality: samplers only; as in `scipy.optimize.differential_evolution`.
        seed: of starts and samplers.

    Returns:
        A `scipy.optimize.OptimizeResult`. With several starts its `starts` has the final `x` and
        `fun` of each; a sampler's `trials` has all points and values.

    Raises:
        TypeError: a function that cannot be traced where it must be.
        ValueError: an unknown method, a method that would ignore bounds or constraints, or an
            argument out of range.
        ImportError: SciPy is not installed.

    Example:
        >>> result = minimize(lambda x: ((x - 2.0) ** 2).sum(), [0.0, 0.0], method="BFGS",
        ...                   bounds=[(0.0, 1.0), (-5.0, 5.0)])
        >>> result.x.round(3).tolist(), result.success
        ([1.0, 2.0], True)

    References:
        Nocedal, Wright, "Numerical Optimization", 2nd edition, 2006, chapters 6 and 16.
    """
    require("scipy.optimize", "scipy")
    check_callable(_WHERE, "fun", fun)
    check_int(_WHERE, "num_starts", num_starts, 1)
    name = _method_name(method, bounds, constraints)
    args = args if isinstance(args, tuple) else (args,)
    options = dict(options or {})
    if name in samplers.names():
        from jaxhpo.integrations.scipy._search import search

        for argument, value in (("jac", jac), ("hess", hess), ("hessp", hessp), ("tol", tol)):
            if value is not None and value is not False:
                raise fail(_WHERE, argument, f"None with method={name!r}", value)
        if num_starts != 1:
            raise fail(_WHERE, "num_starts", f"1 with method={name!r}", num_starts)
        _refuse_constraints(name, constraints)
        return search(
            functools.partial(_call, fun, args), x0, name, bounds, callback, options,
            integrality=integrality, seed=seed,
        )  # fmt: skip
    from jaxhpo.integrations.scipy._local import Problem, minimize_compiled, minimize_scipy

    if integrality is not None:
        raise fail(_WHERE, "integrality", f"None with method={name!r}", integrality)
    if name in _UNBOUNDED and _is_bounded(bounds):
        expected = f"None with method={name!r}, which would ignore them; take 'L-BFGS-B' or 'BFGS'"
        raise fail(_WHERE, "bounds", expected, bounds)
    if name not in _CONSTRAINED:
        _refuse_constraints(name, constraints)
    problem = Problem(fun, x0, args, jac, bounds, num_starts, seed)
    if name == "bfgs" and (problem.is_traceable or problem.is_bounded):
        return minimize_compiled(problem, tol, callback, options)
    return minimize_scipy(problem, name, hess, hessp, constraints, tol, callback, options)


def as_method(name: str, **settings: Any) -> Callable[..., Any]:
    """Makes a `method=` for `scipy.optimize.minimize` itself.

    Args:
        name: any method of `minimize` here.
        **settings: `num_starts`, `integrality` or `seed` of `minimize`.

    Returns:
        A function that SciPy calls with its own arguments; `options` pass through.

    Raises:
        TypeError: a setting that `minimize` does not have.
        ValueError: an unknown method.

    Example:
        >>> from scipy import optimize
        >>> result = optimize.minimize(lambda x: (x[0] - 0.3) ** 2, [0.9], bounds=[(0.0, 1.0)],
        ...                            method=as_method("qmc"), options={"maxiter": 64})
        >>> bool(abs(result.x[0] - 0.3) < 0.02)
        True
    """
    _method_name(name, None, ())
    known = [
        p.name for p in inspect.signature(minimize).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]
    if not set(settings) <= set(known):
        raise TypeError(f"as_method: settings must be among {known}, got {sorted(settings)}.")

    def method(fun: Any, x0: Any, args: Any = (), **given: Any) -> Any:
        named = {
            key: given.pop(key, None) for key in ("jac", "hess", "hessp", "bounds", "callback")
        }
        constraints, tol = given.pop("constraints", ()), given.pop("tol", None)
        return minimize(
            fun, x0, args, name, constraints=constraints, tol=tol, options=given,
            **named, **settings,
        )  # fmt: skip

    return method


def _method_name(method: Any, bounds: Any, constraints: Any) -> str:
    if method is None:
        if constraints is not None and np.size(constraints):
            return "slsqp"
        return "bfgs" if bounds is None else "l-bfgs-b"
    if not isinstance(method, str):
        raise TypeError(f"{_WHERE}: `method` must be a name, got {describe(method)}.")
    name = method.lower()
    if name not in ("bfgs", *_BOUNDED, *_UNBOUNDED, *samplers.names()):
        expected = f"'BFGS', a method of SciPy, or one of {', '.join(samplers.names())}"
        raise fail(_WHERE, "method", expected, method)
    return name


def _is_bounded(bounds: Any) -> bool:
    from jaxhpo.integrations.scipy._local import limits

    return bounds is not None and bool(np.isfinite(np.stack(limits(bounds, None))).any())


def _refuse_constraints(name: str, constraints: Any) -> None:
    if constraints is not None and np.size(constraints):
        expected = f"empty with method={name!r}; {', '.join(_CONSTRAINED)} take them"
        raise fail(_WHERE, "constraints", expected, constraints)


def _call(fun: Callable[..., Any], args: tuple[Any, ...], x: Any) -> Any:
    return fun(x, *args)


__all__ = ["as_method", "minimize"]
