"""Arithmetic operations of a traced function: a price that no clock and no machine decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from jax.interpreters.partial_eval import dce_jaxpr

from jaxhpo.training.internal import has_primitive

# They move numbers and compute none.
_MOVES = frozenset((
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "dynamic_slice",
    "dynamic_update_slice", "gather", "concatenate", "convert_element_type", "copy", "iota", "pad",
    "rev", "select_n", "split", "stop_gradient", "bitcast_convert_type", "random_wrap",
    "random_unwrap", "copy_p", "device_put", "optimization_barrier", "debug_callback",
))  # fmt: skip
_LOOP = ("while",)
_CUBIC = {"cholesky": 1 / 3, "lu": 2 / 3, "qr": 4 / 3, "geqrf": 4 / 3, "eigh": 9.0, "svd": 20.0}


def operations(function: Callable[..., Any], *args: Any) -> float:
    """Counts the operations of one call: two a multiply-add, one a number that is computed.

    A `while_loop` is followed as often as it runs: such a function is run once, with a counter.

    Args:
        function: traceable.
        args: what to call it with; concrete.

    Returns:
        The number of operations.
    """
    closed = jax.make_jaxpr(function)(*args)
    # What no output depends on is not compiled either.
    jaxpr, _ = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True)
    if not has_primitive(jaxpr, _LOOP):
        return _static(jaxpr)

    @jax.jit
    def count(*flat: Any) -> jax.Array:
        return _counted(jaxpr, closed.consts, flat)[1]

    return float(count(*jax.tree.leaves(args)))


def _static(jaxpr: Any) -> float:
    """Operations of a jaxpr without a loop of unknown length."""
    return sum(_cost(eqn) for eqn in jaxpr.eqns)


def _cost(eqn: Any) -> float:
    """Operations of one equation."""
    name, size = eqn.primitive.name, sum(_size(v) for v in eqn.outvars)
    if name == "scan":
        return float(eqn.params["length"] * _static(eqn.params["jaxpr"].jaxpr))
    if name == "cond":
        return max(_static(branch.jaxpr) for branch in eqn.params["branches"])
    inner = _inner(eqn)
    if inner is not None:
        return _static(inner[0])
    if name in _MOVES:
        return 0.0
    if name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return 2.0 * size * math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
    if name in _CUBIC:
        return _CUBIC[name] * _size(eqn.invars[0]) * eqn.invars[0].aval.shape[-1]
    if name == "triangular_solve":
        return float(size * eqn.invars[0].aval.shape[-1])
    if name.startswith(("reduce", "arg", "cum", "scatter", "sort")):
        return float(sum(_size(v) for v in eqn.invars))
    return float(size)


def _size(variable: Any) -> int:
    return math.prod(getattr(variable.aval, "shape", ()))


def _inner(eqn: Any) -> tuple[Any, Sequence[Any]] | None:
    """The one jaxpr that an equation calls (jit, remat, a rule of its own), and its constants."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        found = eqn.params.get(name)
        if found is not None:
            return (found.jaxpr, found.consts) if hasattr(found, "consts") else (found, ())
    return None


def _counted(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> tuple[list[Any], Any]:
    """Outputs of a jaxpr and its operations, loops of unknown length included."""
    known: dict[Any, Any] = {}

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else known[atom]

    known |= dict(zip(jaxpr.constvars, consts, strict=True))
    known |= dict(zip(jaxpr.invars, args, strict=True))
    total = jnp.float32(0)
    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        outputs, cost = _evaluated(eqn, inputs)
        total = total + cost
        known |= dict(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars], total


def _evaluated(eqn: Any, inputs: list[Any]) -> tuple[Sequence[Any], Any]:
    """Outputs and operations of one equation."""
    name = eqn.primitive.name
    if name == "while":
        return _while(eqn.params, inputs)
    if name == "scan" and has_primitive(eqn.params["jaxpr"].jaxpr, _LOOP):
        return _scan(eqn.params, inputs)
    if name == "cond" and any(has_primitive(b.jaxpr, _LOOP) for b in eqn.params["branches"]):
        number, *rest = inputs
        return jax.lax.switch(number, [_branch(b) for b in eqn.params["branches"]], *rest)
    inner = None if name in ("scan", "cond") else _inner(eqn)
    if inner is not None:
        return _counted(*inner, inputs)
    found = eqn.primitive.bind(*inputs, **eqn.params)
    return found if eqn.primitive.multiple_results else [found], jnp.float32(_cost(eqn))


def _branch(closed: Any) -> Callable[..., Any]:
    return lambda *args: _counted(closed.jaxpr, closed.consts, args)


def _while(params: Any, inputs: list[Any]) -> tuple[Sequence[Any], Any]:
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    test, body = params["cond_jaxpr"], params["body_jaxpr"]
    test_consts, body_consts, start = inputs[:first], inputs[first:second], inputs[second:]

    def goes_on(loop: Any) -> Any:
        return _counted(test.jaxpr, test.consts, [*test_consts, *loop[0]])[0][0]

    def once(loop: Any) -> Any:
        outputs, cost = _counted(body.jaxpr, body.consts, [*body_consts, *loop[0]])
        return outputs, loop[1] + cost

    found: tuple[list[Any], Any] = jax.lax.while_loop(goes_on, once, (start, jnp.float32(0)))
    return found


def _scan(params: Any, inputs: list[Any]) -> tuple[Sequence[Any], Any]:
    first, cut = _scan_counts(params)
    second = first + cut
    closed, consts = params["jaxpr"], inputs[:first]

    def body(loop: Any, row: Any) -> Any:
        outputs, cost = _counted(closed.jaxpr, closed.consts, [*consts, *loop[0], *row])
        return (outputs[:cut], loop[1] + cost), outputs[cut:]

    (carry, total), rows = jax.lax.scan(
        body,
        (inputs[first:second], jnp.float32(0)),
        inputs[second:],
        length=params["length"],
        reverse=params["reverse"],
    )
    return [*carry, *rows], total


def _scan_counts(params: Any) -> tuple[int, int]:
    """How many constants a scan has, and how many parts its carry."""
    if "ft_in" in params:  # from JAX 0.12 on
        consts, carry, _ = params["ft_in"].unpack()
        return len(consts), len(carry)
    return params["num_consts"], params["num_carry"]
