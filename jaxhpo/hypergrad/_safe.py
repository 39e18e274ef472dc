"""Evaluates a traced step with derivatives that stay finite where the step itself is finite.

The traps, all found inside optax: `sqrt` at zero (Adam's second moment of a dead unit, a norm of a
zero gradient) has an infinite derivative, and a NaN in a branch that `where` did not select turns a
zero cotangent into NaN (`radam` before its threshold). The primitives that run forward are the
same, so the trajectory does not change by a bit; only the derivative rules differ:

- `sqrt`, `rsqrt` and `pow` have derivative 0 where theirs would be infinite or NaN: a subgradient.
- a product or quotient with a scalar that came from a root ignores that scalar where it is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
from jax import lax

# Scalars from these may be NaN; through those, a NaN spreads until `where` drops it.
_ROOTS = ("sqrt", "rsqrt", "log")
_SPREAD = ("mul", "div", "add", "sub", "neg", "convert_element_type", "broadcast_in_dim", "copy",
           "sqrt", "rsqrt")  # fmt: skip


def _finite(x: Any) -> Any:
    return jnp.where(jnp.isfinite(x), x, jnp.zeros_like(x))


@jax.custom_jvp
def _sqrt(x: Any) -> Any:
    return lax.sqrt(x)


@_sqrt.defjvp
def _sqrt_jvp(primals: Any, tangents: Any) -> Any:
    root = _sqrt(primals[0])
    return root, tangents[0] * _finite(0.5 / root)


@jax.custom_jvp
def _rsqrt(x: Any) -> Any:
    return lax.rsqrt(x)


@_rsqrt.defjvp
def _rsqrt_jvp(primals: Any, tangents: Any) -> Any:
    root = _rsqrt(primals[0])
    return root, tangents[0] * _finite(-0.5 * root / primals[0])


@jax.custom_jvp
def _pow(x: Any, y: Any) -> Any:
    return lax.pow(x, y)


@_pow.defjvp
def _pow_jvp(primals: Any, tangents: Any) -> Any:
    (x, y), (dx, dy) = primals, tangents
    power = _pow(x, y)
    by_base = _finite(lax.mul(lax.convert_element_type(y, x.dtype), power / x))
    tangent = dx * by_base
    if dy.dtype != jax.dtypes.float0:
        tangent = tangent + dy * _finite(power * jnp.log(x))
    return power, tangent


@jax.custom_jvp
def _mul(x: Any, y: Any) -> Any:
    return lax.mul(x, y)


@_mul.defjvp
def _mul_jvp(primals: Any, tangents: Any) -> Any:
    (x, y), (dx, dy) = primals, tangents
    return _mul(x, y), dx * _finite(y) + _finite(x) * dy


@jax.custom_jvp
def _div(x: Any, y: Any) -> Any:
    return lax.div(x, y)


@_div.defjvp
def _div_jvp(primals: Any, tangents: Any) -> Any:
    (x, y), (dx, dy) = primals, tangents
    quotient = _div(x, y)
    return quotient, dx * _finite(1 / y) - _finite(quotient / y) * dy


def evaluate(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """Evaluates a jaxpr with the safe rules.

    Args:
        jaxpr: an open jaxpr.
        consts: values of its constant variables.
        args: flat inputs.

    Returns:
        Flat outputs, bit for bit those of the jaxpr.
    """
    values: dict[Any, Any] = {}
    tainted: set[Any] = set()  # scalars that may be NaN because a root was taken

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, jax.extend.core.Literal) else values[atom]

    for variables, given in ((jaxpr.constvars, consts), (jaxpr.invars, args)):
        values.update(zip(variables, given, strict=True))
    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        taint = [
            not isinstance(atom, jax.extend.core.Literal) and atom in tainted for atom in eqn.invars
        ]
        outputs = _apply(eqn, inputs, any(taint))
        values.update(zip(eqn.outvars, outputs, strict=True))
        if _spreads(eqn, any(taint)):
            tainted.update(eqn.outvars)
    return [read(atom) for atom in jaxpr.outvars]


def _spreads(eqn: Any, has_tainted_input: bool) -> bool:
    """Tells whether the result may be NaN because a root was taken of a scalar."""
    name = eqn.primitive.name
    if name in _ROOTS and eqn.outvars[0].aval.shape == ():
        return True
    return has_tainted_input and name in _SPREAD


def _apply(eqn: Any, inputs: list[Any], is_tainted: bool) -> list[Any]:
    """One equation: the same primitive, with a safe derivative where it has one."""
    name = eqn.primitive.name
    if name in _RULES and jnp.issubdtype(jnp.result_type(inputs[0]), jnp.floating):
        return [_RULES[name](*inputs)]
    if name in _TAINTED_RULES and is_tainted:
        return [_TAINTED_RULES[name](*inputs)]
    if name in ("jit", "pjit"):
        return _closed(eqn.params["jaxpr"])(*inputs)
    params = eqn.primitive.get_bind_params(_with_safe_bodies(name, eqn.params))
    with eqn.ctx.manager:
        outputs = eqn.primitive.bind(*inputs, **params)
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


def _closed(closed: Any) -> Callable[..., list[Any]]:
    return lambda *args: evaluate(closed.jaxpr, closed.consts, args)


def _with_safe_bodies(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a loop or a branch whose bodies use the safe rules."""
    if name == "scan":
        return {**params, "jaxpr": _rewritten(params["jaxpr"])}
    if name == "cond":
        return {**params, "branches": tuple(_rewritten(body) for body in params["branches"])}
    return params


def _rewritten(closed: Any) -> Any:
    shapes = [
        jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
        for aval in closed.in_avals
    ]
    return jax.make_jaxpr(_closed(closed))(*shapes)


_RULES = {"sqrt": _sqrt, "rsqrt": _rsqrt, "pow": _pow}
_TAINTED_RULES = {"mul": _mul, "div": _div}
