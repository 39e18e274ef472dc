"""The gradient of a training loss, with a cheaper derivative of its own for hypergradients."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp

from jaxhpo.training._rules import asymmetry, is_inexact

_is_mixed: contextvars.ContextVar[bool] = contextvars.ContextVar("is_mixed", default=False)


@contextlib.contextmanager
def mixed_mode(enabled: bool) -> Iterator[None]:
    """Chooses, while code is traced inside, how `gradient` is differentiated in turn."""
    token = _is_mixed.set(enabled)
    try:
        yield
    finally:
        _is_mixed.reset(token)


def gradient(fun: Callable[..., Any], *, has_aux: bool = False) -> Callable[[Any], Any]:
    """The gradient of a scalar function of one argument, as `jax.grad` gives it.

    Inside a reverse-mode hypergradient its derivative is taken forward over reverse: the Hessian is
    symmetric, so the product of a cotangent with the derivative of the gradient is itself a
    directional derivative of the gradient, which keeps no activations. Everywhere else it is
    `jax.grad`, and so it is for a loss whose second derivative need not be symmetric: one with a
    `stop_gradient` or with a `jax.custom_jvp` or `jax.custom_vjp` inside. (Those inside JAX's own
    functions, softmax or relu, change no derivative and do no harm.)

    Args:
        fun: `fun(params) -> scalar`, or `(scalar, aux)`; it may close over anything.
        has_aux: whether `fun` also returns auxiliary values; static.

    Returns:
        `grad(params) -> grads`, or `(grads, aux)`.

    Example:
        >>> import jax.numpy as jnp, jaxhpo as hpo
        >>> print(hpo.training.gradient(lambda w: jnp.sum(w**2))(jnp.arange(3.0)))
        [0. 2. 4.]

    References:
        Kemaev et al., "Scalable meta-learning via mixed-mode differentiation", ICML 2025.
    """

    def grad(params: Any) -> Any:
        if not _is_mixed.get():
            return jax.grad(fun, has_aux=has_aux)(params)
        grads, aux = _mixed_gradient(_with_aux(fun, has_aux), params)
        return (grads, aux) if has_aux else grads

    return grad


def _with_aux(fun: Callable[..., Any], has_aux: bool) -> Callable[..., Any]:
    return fun if has_aux else lambda params: (fun(params), ())


def _read(values: dict[Any, Any], atom: Any) -> Any:
    return atom.val if isinstance(atom, jax.extend.core.Literal) else values[atom]


def _bind(eqn: Any, values: dict[Any, Any]) -> None:
    """Evaluates one equation into the table of values."""
    inputs = [_read(values, atom) for atom in eqn.invars]
    with eqn.ctx.manager:
        outputs = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(eqn.params))
    outputs = outputs if eqn.primitive.multiple_results else [outputs]
    values.update(zip(eqn.outvars, outputs, strict=True))


def _precompute(jaxpr: Any, known: dict[Any, Any]) -> list[Any]:
    """Evaluates what follows from `known` alone, adds what is used, and returns the other eqns."""
    rest: list[Any] = []
    constants: set[Any] = set()
    for eqn in jaxpr.eqns:
        is_literal = [isinstance(atom, jax.extend.core.Literal) for atom in eqn.invars]
        pairs = zip(eqn.invars, is_literal, strict=True)
        if not all(flag or atom in known for atom, flag in pairs):
            rest.append(eqn)
            continue
        _bind(eqn, known)
        if all(is_literal) or constants.issuperset(
            atom for atom in eqn.invars if not isinstance(atom, jax.extend.core.Literal)
        ):
            # A constant costs nothing where it stands, and memory if it is handed over.
            rest.append(eqn)
            constants.update(eqn.outvars)
    atoms = [atom for eqn in rest for atom in eqn.invars] + list(jaxpr.outvars)
    used = {atom for atom in atoms if not isinstance(atom, jax.extend.core.Literal)}
    for var in [var for var in known if var not in used or var in constants]:
        del known[var]
    return rest


def _mixed_gradient(fun: Callable[..., Any], params: Any) -> tuple[Any, Any]:
    """`jax.grad(fun, has_aux=True)(params)` whose reverse derivative is forward over reverse."""
    closed, shape = jax.make_jaxpr(fun, return_shape=True)(params)
    if asymmetry(closed.jaxpr) is not None:
        return jax.grad(fun, has_aux=True)(params)
    leaves, treedef = jax.tree.flatten(params)
    aux_treedef = jax.tree.structure(shape[1])
    # Values that `fun` closes over become arguments, so that they get their own derivatives.
    # What it makes of counters and keys alone (batches, dropout) is made once, not in each pass.
    jaxpr = closed.jaxpr
    is_real = [is_inexact(const) for const in closed.consts]
    given = list(zip(jaxpr.constvars, closed.consts, is_real, strict=True))
    real_vars = [var for var, _, flag in given if flag]
    real = [const for _, const, flag in given if flag]
    known = {var: const for var, const, flag in given if not flag}
    rest = _precompute(jaxpr, known)
    other_vars, other = list(known), list(known.values())

    def split_aux(real: list[Any], other: list[Any], leaves: list[Any]) -> tuple[Any, Any, Any]:
        values = dict(zip([*other_vars, *real_vars], [*other, *real], strict=True))
        values.update(zip(jaxpr.invars, leaves, strict=True))
        for eqn in rest:
            _bind(eqn, values)
        value, *aux = [_read(values, atom) for atom in jaxpr.outvars]
        return (
            value,
            [a for a in aux if is_inexact(a)],
            [a for a in aux if not is_inexact(a)],
        )

    @jax.custom_vjp
    def grad_fn(leaves: list[Any], real: list[Any], other: list[Any]) -> Any:
        def loss(leaves: list[Any]) -> Any:
            value, real_aux, other_aux = split_aux(real, other, leaves)
            return value, (real_aux, other_aux)

        return jax.grad(loss, has_aux=True)(leaves)

    def forward(leaves: list[Any], real: list[Any], other: list[Any]) -> Any:
        return grad_fn(leaves, real, other), (leaves, real, other)

    def backward(saved: Any, cotangent: Any) -> Any:
        leaves, real, other = saved
        direction, (aux_cotangent, _) = cotangent

        def pullback(leaves: list[Any], seed: Any, aux_seed: list[Any]) -> Any:
            def outputs(leaves: list[Any], real: list[Any]) -> Any:
                return split_aux(real, other, leaves)[:2]

            return jax.vjp(outputs, leaves, real)[1]((seed, aux_seed))

        # The directional derivative of the pullback of (1, 0), with the cotangent of aux on top.
        seed = jnp.ones((), closed.out_avals[0].dtype)
        at = (leaves, seed, jax.tree.map(jnp.zeros_like, aux_cotangent))
        along = (direction, jnp.zeros_like(seed), aux_cotangent)
        d_leaves, d_real = jax.jvp(pullback, at, along)[1]
        return d_leaves, d_real, None

    grad_fn.defvjp(forward, backward)
    grads, (real_aux, other_aux) = grad_fn(leaves, real, other)
    sources = {True: iter(real_aux), False: iter(other_aux)}
    aux = [next(sources[is_inexact(leaf)]) for leaf in jax.tree.leaves(shape[1])]
    return jax.tree.unflatten(treedef, grads), jax.tree.unflatten(aux_treedef, aux)
