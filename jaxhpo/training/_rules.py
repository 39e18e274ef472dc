"""Which derivatives that a program asks for are the derivatives of what it computes.

Two things are asked of a program. Is the gradient of a loss symmetric, so that its derivative may
be taken forward over reverse? And is a derivative rule, or a `stop_gradient`, still to be obeyed
once the inner gradient has been taken? Both hinge on who wrote it: inside JAX the rules are the
derivatives of what is computed, and a `stop_gradient` stands where the derivative is zero anyway
(the maximum that a softmax subtracts) or where a rule takes care of it (a linear solve). Anyone
else writes them to change a derivative.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")

_JAX = os.path.dirname(jax.__file__) + os.sep
_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep

# Functions of JAX whose rule is made by `defjvps`, so that the rule's own file tells nothing.
_BY_DEFJVPS = (
    "relu", "relu6", "log1mexp", "logit", "poch", "hyp1f1", "hyp2f1", "_wofz", "_erfcx", "_dawsn",
)  # fmt: skip

# Where JAX stops gradients for its own reasons, and the libraries that give their linear solves a
# derivative by hand and stop everything around it.
_STOPPING = tuple(
    os.path.join(_JAX, "_src", *path.split("/"))
    for path in (
        "nn/functions.py", "ops/special.py", "numpy/reductions.py", "numpy/ufuncs.py",
        "lax/linalg.py", "scipy/linalg.py", "random/core.py", "random.py",
        "lax/control_flow/conditionals.py",
    )
)  # fmt: skip
_SOLVING = ("equinox", "lineax", "optimistix", "diffrax")
# On the way from the function that stops a gradient to the equation that is recorded.
_PLUMBING = tuple(
    os.path.join(_JAX, "_src", *path.split("/"))
    for path in (
        "source_info_util.py", "core.py", "tree_util.py", "tree.py", "traceback_util.py",
        "lax/lax.py", "interpreters",
    )
)  # fmt: skip

CUSTOM_JVP = ("custom_jvp_call", "custom_jvp_call_jaxpr")
CUSTOM_VJP = ("custom_vjp_call", "custom_vjp_call_jaxpr")


def constant(value: T) -> T:
    """The identity, whose derivative is zero for the inner gradient and for the hypergradient.

    A `jax.lax.stop_gradient` in a training step shapes the inner gradient; the hypergradient is
    that of the run that follows, in which the stopped value moves with the hyperparameters. Where
    it must not (first-order MAML, a straight-through estimate of a hyperparameter, a truncation),
    say so with this. Finite differences do not see it.

    Args:
        value: pytree of arrays.

    Returns:
        The same values.

    Example:
        >>> import jax, jaxhpo as hpo
        >>> float(jax.grad(lambda x: x * hpo.training.constant(x))(3.0))
        3.0
    """
    return jax.tree.map(lambda leaf: _constant(leaf) if is_inexact(leaf) else leaf, value)


@jax.custom_jvp
def _constant(value: Any) -> Any:
    return value


@_constant.defjvp
def _constant_jvp(primals: Any, tangents: Any) -> Any:
    return _constant(*primals), jnp.zeros_like(tangents[0])


def is_inexact(value: Any) -> bool:
    """Tells whether a leaf can carry a derivative."""
    try:
        return bool(jnp.issubdtype(jnp.result_type(value), jnp.inexact))
    except TypeError:  # a static value, such as a name
        return False


def sub_jaxprs(eqn: Any) -> Iterator[Any]:
    """The jaxprs among the parameters of an equation."""
    for value in eqn.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                yield inner


def equations(jaxpr: Any) -> Iterator[Any]:
    """The equations of a jaxpr and of those nested in it, but for the inside of JAX's own rules."""
    for eqn in jaxpr.eqns:
        yield eqn
        if not (eqn.primitive.name in CUSTOM_JVP and is_from_jax(eqn)):
            for inner in sub_jaxprs(eqn):
                yield from equations(inner)


def has_primitive(jaxpr: Any, names: tuple[str, ...]) -> bool:
    """Tells whether a jaxpr, or one nested in it, holds one of the named primitives."""
    return any(
        eqn.primitive.name in names or any(has_primitive(sub, names) for sub in sub_jaxprs(eqn))
        for eqn in jaxpr.eqns
    )


def asymmetry(jaxpr: Any) -> str | None:
    """What may keep the second derivative of a function from being symmetric, or None."""
    for eqn in equations(jaxpr):
        name = eqn.primitive.name
        if name == "stop_gradient" and not is_inner_stop(eqn):
            return "a stop_gradient"
        if name in CUSTOM_JVP and not (is_from_jax(eqn) and rule_name(eqn) != "_custom_root"):
            return f"a function with a derivative rule of its own ({rule_name(eqn)})"
        if name in CUSTOM_VJP or name == "linear_call":
            return f"a function with a custom reverse rule ({rule_name(eqn)})"
    return None


def is_overruled(eqn: Any) -> bool:
    """Tells whether a rule no longer counts once the inner gradient has been taken.

    Then the run differentiates what the function computes. The rules of this package stay: the
    forward-over-reverse derivative of `gradient`, and that of `constant`.
    """
    name = eqn.primitive.name
    if name == "stop_gradient":
        return not is_inner_stop(eqn)
    if name in CUSTOM_JVP:
        return not (is_from_jax(eqn) or _file(_body(eqn)).startswith(_OURS))
    return name in CUSTOM_VJP and not _file(_body(eqn)).startswith((_JAX, _OURS))


def is_held_constant(eqn: Any) -> bool:
    """Tells whether a value is held fixed by `constant`."""
    is_ours = eqn.primitive.name in CUSTOM_JVP and _file(_body(eqn)).startswith(_OURS)
    return is_ours and rule_name(eqn) == "_constant"


def is_from_jax(eqn: Any) -> bool:
    """Tells whether a function with a rule of its own, and the rule, are JAX's."""
    body, rule = _file(_body(eqn)), _file(eqn.params.get("jvp_jaxpr_fun"))
    if not (body.startswith(_JAX) and rule.startswith(_JAX)):
        return False
    return not rule.endswith("custom_derivatives.py") or rule_name(eqn) in _BY_DEFJVPS


def is_inner_stop(eqn: Any) -> bool:
    """Tells whether JAX itself, or a library that solves linear systems, stopped this gradient."""
    frames = getattr(eqn.source_info.traceback, "frames", ())
    files = (frame.file_name for frame in frames)
    author = next((file for file in files if not file.startswith(_PLUMBING)), "")
    parts = os.path.normpath(author).split(os.sep)
    return author.startswith(_STOPPING) or not set(_SOLVING).isdisjoint(parts)


def _body(eqn: Any) -> Any:
    body = eqn.params.get("call_jaxpr", eqn.params.get("fun_jaxpr"))
    return getattr(body, "jaxpr", body)


def rule_name(eqn: Any) -> str:
    """What a function with a rule of its own is called."""
    info = getattr(_body(eqn), "debug_info", None)
    return str(getattr(info, "func_name", None) or eqn.primitive.name)


def _file(code: Any) -> str:
    return str(getattr(getattr(code, "debug_info", None), "func_filename", None) or "")
