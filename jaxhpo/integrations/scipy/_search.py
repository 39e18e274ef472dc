"""A sampler as a method of `minimize`: any Python function over finite bounds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxhpo import samplers
from jaxhpo._checks import check_int, fail
from jaxhpo.ask_tell import Evaluations, Proposer, bare_space, proposal_shape_of
from jaxhpo.space.readers import from_scipy

_WHERE = "minimize"
_MAX_ITER = 100


def search(
    fun: Callable[[Any], Any],
    x0: Any,
    name: str,
    bounds: Any,
    callback: Any,
    options: dict[str, Any],
    *,
    integrality: Any,
    seed: int,
) -> Any:
    """See `minimize`, which documents the arguments; `fun` takes `x` alone."""
    from scipy.optimize import OptimizeResult

    if bounds is None:
        raise fail(_WHERE, "bounds", f"finite pairs (low, high) with method={name!r}", bounds)
    space = from_scipy(bounds, integrality=integrality)
    limit = check_int(_WHERE, "maxiter", options.pop("maxiter", _MAX_ITER), 1)
    options.pop("disp", None)
    made = samplers.get(name, bare_space(space, options), **options)
    shape = proposal_shape_of(made, space, name, options)
    proposer = Proposer(space, made, check_int(_WHERE, "seed", seed, 0), shape)
    points: list[np.ndarray] = []
    values: list[float] = []
    notify = _notifier(callback)

    def evaluate(x: np.ndarray, unit: np.ndarray) -> bool:
        """Evaluates one point and tells it; true if the callback wants to end."""
        value = float(np.asarray(fun(x)).reshape(()))
        points.append(x)
        values.append(value)
        told = Evaluations(unit[None], np.asarray([value if np.isfinite(value) else np.nan]))
        proposer.tell(told, len(values))
        best = int(np.argmin(_finite(values)))
        return notify(OptimizeResult(x=points[best], fun=values[best]))

    is_stopped, message = False, "Maximum number of evaluations reached."
    if x0 is not None:
        x = np.atleast_1d(np.asarray(x0, np.float64))
        if x.shape != (space.num_dims,):
            raise fail(_WHERE, "x0", f"a vector of {space.num_dims} numbers, one per bound", x0)
        is_stopped = evaluate(x, _unit_of(proposer, x, integrality, x0))
    while not is_stopped and len(values) < limit:
        unit, found = proposer.propose(len(values), 1)
        if len(unit) == 0:
            message = "Every point of the space was evaluated."
            break
        is_stopped = evaluate(np.asarray(space.decode(found)[0], np.float64), unit[0])
    best = int(np.argmin(_finite(values)))
    is_finite = bool(np.isfinite(values[best]))
    if is_stopped:
        message = "`callback` raised StopIteration."
    return OptimizeResult(
        x=points[best],
        fun=values[best],
        nfev=len(values),
        nit=len(values),
        status=99 if is_stopped else 0 if is_finite else 3,
        success=is_finite and not is_stopped,
        message=message if is_finite else "NaN result encountered: no value was finite.",
        trials=OptimizeResult(x=np.stack(points), fun=np.asarray(values)),
    )


def _unit_of(proposer: Proposer, x: np.ndarray, integrality: Any, x0: Any) -> np.ndarray:
    whole = np.broadcast_to(np.asarray(False if integrality is None else integrality), x.shape)
    params = tuple(int(v) if w else float(v) for v, w in zip(x, whole, strict=True))
    try:
        return proposer.unit_of([params])[0]
    except ValueError:
        raise fail(_WHERE, "x0", "within the bounds", x0) from None


def _finite(values: list[float]) -> np.ndarray:
    array = np.asarray(values)
    return np.where(np.isfinite(array), array, np.inf)


def _notifier(callback: Any) -> Callable[[Any], bool]:
    """Calls a callback the way SciPy does; true if it raises StopIteration."""
    if callback is None:
        return lambda result: False
    names = list(inspect.signature(callback).parameters)

    def notify(result: Any) -> bool:
        try:
            if names == ["intermediate_result"]:
                callback(intermediate_result=result)
            else:
                callback(np.copy(result.x))
        except StopIteration:
            return True
        return False

    return notify
