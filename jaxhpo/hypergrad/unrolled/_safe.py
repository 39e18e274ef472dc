"""Evaluates a traced step with the derivative of the run, finite where the step itself is finite.

The traps, all found inside optax: `sqrt` at zero (Adam's second moment of a dead unit, a norm of a
zero gradient) has an infinite derivative, and a NaN in a branch that `where` did not select turns a
zero cotangent into NaN (`radam` before its threshold). The primitives that run forward are the
same, so the trajectory does not change by a bit; only the derivative rules differ:

- `sqrt`, `rsqrt` and `pow` have derivative 0 where JAX's is infinite or NaN: a subgradient. So has
  a product or quotient with a scalar that came from a root and may be NaN.
- maxima and minima ask which argument is the extremum, not which equals it (`_extrema`).
- what was written to shape the inner gradient has done its work once that gradient is taken: a
  `stop_gradient` is the identity from then on, and a function with a derivative rule of its own is
  differentiated as what it computes (`training._rules` says which are meant).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from jaxhpo.hypergrad.unrolled import _extrema
from jaxhpo.training.internal import CUSTOM_VJP, equations, has_primitive, is_inexact, is_overruled

# The derivative of these has poles.
_SINGULAR = ("sqrt", "rsqrt", "pow")
# Scalars from these may be NaN; through those, a NaN spreads until `where` drops it, and meets
# these.
_ROOTS = ("sqrt", "rsqrt", "log")
_SPREAD = ("mul", "div", "add", "sub", "neg", "convert_element_type", "broadcast_in_dim", "copy",
           "sqrt", "rsqrt", "stop_gradient")  # fmt: skip
_TAINTED = ("mul", "div")
# Where these keep their body, which is evaluated in their place.
_INLINED = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_vmap_call": "call",
}
# A function with one of these inside has no other derivative than that of its rule.
_NO_DERIVATIVE = ("while", "pure_callback", "io_callback", "ffi_call", "pallas_call")


def _finite(x: Any) -> Any:
    return jnp.where(jnp.isfinite(x), x, jnp.zeros_like(x))


def _binding(eqn: Any) -> Callable[..., Any]:
    """The primitive of an equation as a function of its inputs."""

    def bind(*args: Any) -> Any:
        with eqn.ctx.manager:
            return eqn.primitive.bind(*args, **eqn.params)

    return bind


def _with_finite_slopes(eqn: Any, inputs: list[Any]) -> Any:
    """An elementwise equation with JAX's own derivative where that is finite, and 0 elsewhere."""
    bind = _binding(eqn)
    apply = jax.custom_jvp(bind)

    @apply.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        out = apply(*primals)
        total = jnp.zeros_like(out)
        for i, (x, along) in enumerate(zip(primals, tangents, strict=True)):
            if is_inexact(x):  # not a whole exponent

                def at(x: Any, i: int = i) -> Any:
                    return bind(*primals[:i], x, *primals[i + 1 :])

                # JAX's rule of a power with a whole exponent promotes, which strict users forbid.
                with jax.numpy_dtype_promotion("standard"):
                    slope = jax.jvp(at, (x,), (jnp.ones_like(x),))[1]
                total = total + along * _finite(slope)
        return out, total

    return apply(*inputs)


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
    """One equation: the same primitive, with the derivative that the run has."""
    name = eqn.primitive.name
    is_real = bool(inputs) and jnp.issubdtype(jnp.result_type(inputs[0]), jnp.floating)
    if is_real and (name in _SINGULAR or (name in _TAINTED and is_tainted)):
        return [_with_finite_slopes(eqn, inputs)]
    if is_real and name in _extrema.PAIRWISE:
        return [_extrema.pairwise(eqn, _binding(eqn), *inputs)]
    if is_real and name in _extrema.REDUCTIONS and jnp.size(inputs[0]):
        return [_extrema.reduced(eqn, _binding(eqn), *inputs)]
    if is_overruled(eqn):
        return _as_run(eqn, inputs)
    if name in _INLINED:
        inner = eqn.params[_INLINED[name]]
        return evaluate(inner.jaxpr, inner.consts, inputs)
    if name == "shard_map":
        return _sharded(eqn, inputs)
    return _bind(eqn, inputs, _with_safe_bodies(name, eqn.params))


def _as_run(eqn: Any, inputs: list[Any]) -> list[Any]:
    """An equation that shaped the inner gradient: from now on, what it computes."""
    if eqn.primitive.name == "stop_gradient":
        return inputs
    closed = eqn.params["call_jaxpr"]
    if has_primitive(closed.jaxpr, _NO_DERIVATIVE):
        return _bind(eqn, inputs, eqn.params)  # its own rule is the only one that there is
    if eqn.primitive.name in CUSTOM_VJP:
        return _closed(closed)(*inputs)
    return _where_finite(_closed(closed), lambda *args: _bind(eqn, args, eqn.params), inputs)


def _bind(eqn: Any, inputs: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    with eqn.ctx.manager:
        outputs = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(params))
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


def _sharded(eqn: Any, inputs: list[Any]) -> list[Any]:
    """A computation by device, taken up anew around what its body is from now on."""
    params = eqn.params
    if not any(map(is_overruled, equations(params["jaxpr"]))):
        return _bind(eqn, inputs, params)
    by_device = jax.shard_map(
        lambda *args: evaluate(params["jaxpr"], (), args),
        mesh=params["mesh"],
        in_specs=params["in_specs"],
        out_specs=list(params["out_specs"]),
        axis_names=set(params["manual_axes"]),
        check_vma=params["check_vma"],
    )
    return list(by_device(*inputs))


def _where_finite(
    body: Callable[..., list[Any]], ruled: Callable[..., list[Any]], inputs: list[Any]
) -> list[Any]:
    """`body(*inputs)`, with the derivative of `ruled` where the body's own is not finite.

    Many a rule is there for that alone: the function is smooth at a point where its parts are not.
    """
    is_real = [is_inexact(x) for x in inputs]

    def of_real(fun: Callable[..., list[Any]], primals: Sequence[Any]) -> Any:
        def call(*real: Any) -> list[Any]:
            rest = iter(real)
            pairs = zip(primals, is_real, strict=True)
            outputs = fun(*[next(rest) if flag else x for x, flag in pairs])
            return [out for out in outputs if is_inexact(out)]

        return call

    apply = jax.custom_jvp(body)

    @apply.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        along = [d for d, flag in zip(tangents, is_real, strict=True) if flag]

        def slope(
            fun: Callable[..., list[Any]], primals: Sequence[Any], along: Sequence[Any]
        ) -> list[Any]:
            real = tuple(x for x, flag in zip(primals, is_real, strict=True) if flag)
            return jax.jvp(of_real(fun, primals), real, tuple(along))[1]

        probe = slope(body, primals, [jnp.ones_like(d) for d in along])
        is_finite = [jnp.all(jnp.isfinite(part)) for part in probe]
        outputs = apply(*primals)
        if not is_finite:
            return outputs, [_zero_tangent(out) for out in outputs]
        if _can_be_asked_again(lambda *args: slope(ruled, *args), list(primals), along):
            moved = jax.lax.cond(
                jnp.all(jnp.stack(is_finite)),
                lambda along: slope(body, primals, along),
                lambda along: slope(ruled, primals, along),
                along,
            )
        else:
            moved = slope(body, primals, along)
        rest = iter(moved)
        return outputs, [next(rest) if is_inexact(x) else _zero_tangent(x) for x in outputs]

    return list(apply(*inputs))


def _can_be_asked_again(fun: Callable[..., Any], *args: Any) -> bool:
    """Whether a rule closes over no value of the trace in which the step was recorded."""
    try:
        consts = jax.make_jaxpr(fun)(*args).consts
    except jax.errors.UnexpectedTracerError:
        return False
    return not any(isinstance(const, jax.core.Tracer) for const in consts)


def _zero_tangent(value: Any) -> Any:
    return np.zeros(jnp.shape(value), jax.dtypes.float0)


def _closed(closed: Any) -> Callable[..., list[Any]]:
    return lambda *args: evaluate(closed.jaxpr, closed.consts, args)


def _with_safe_bodies(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a loop, a branch or a solve whose bodies use the safe rules."""
    if name == "scan":
        return {**params, "jaxpr": _rewritten(params["jaxpr"])}
    if name == "while":
        return {**params, "body_jaxpr": _rewritten(params["body_jaxpr"])}
    if name == "cond":
        return {**params, "branches": tuple(_rewritten(body) for body in params["branches"])}
    if name in ("remat2", "checkpoint"):
        body = _rewritten(jax.extend.core.ClosedJaxpr(params["jaxpr"], ()))
        return params if body.consts else {**params, "jaxpr": body.jaxpr}
    if name == "custom_linear_solve":
        jaxprs = params["jaxprs"]
        return {**params, "jaxprs": jaxprs._replace(matvec=_rewritten(jaxprs.matvec))}
    return params


def _rewritten(closed: Any) -> Any:
    shapes = [
        jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
        for aval in closed.in_avals
    ]
    return jax.make_jaxpr(_closed(closed))(*shapes)
