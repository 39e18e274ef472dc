"""Hypergradients by the implicit function theorem, at a stationary point of training."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.extend.core
import jax.numpy as jnp

from jaxhpo._checks import check_choice, describe, fail
from jaxhpo.hypergrad._arguments import check_run
from jaxhpo.hypergrad._base import Array, Diagnostics, Estimator, Hypergradient, Memory, Traits
from jaxhpo.hypergrad.implicit import _linear_solvers as solvers
from jaxhpo.hypergrad.implicit._linear_solvers import Vector, axpy, norm
from jaxhpo.hypergrad.unrolled._adjoint_sweep import advance
from jaxhpo.hypergrad.unrolled._opened_run import Carry, Run, explained, open_run
from jaxhpo.training import Training
from jaxhpo.training.internal import asymmetry

_HESSIAN = solvers.CG | solvers.Neumann | solvers.Nystrom | solvers.Dense
_MAP = solvers.FixedPoint | solvers.GMRES | solvers.NormalCG


_WARM_STARTS = ("none", "solve", "both")


class _Warm(NamedTuple):
    """What the last call came to: the linear solution, the trained state, the step number."""

    v: Vector
    carry: Carry
    t: Array


def implicit(
    training: Training, *, num_steps: int, solver: Any = "cg", warm_start: str = "none"
) -> Estimator:
    """Hypergradient of the converged run, without looking back.

    Model: at `∂_w g(λ, w) = 0` the solution moves by `-H^-1 ∂²_{wλ} g`, so the gradient is
    `∂_λ L - (∂²_{λw} g) v` with `H v = ∂_w L` (solvers `cg`, `neumann`, `nystrom`, `dense`, on
    `inner_loss`). At a fixed point of any step it is `∂_λ L + v ∂_λ step` with
    `v (I - ∂_s step) = ∂_s L` (solvers `fixed_point`, `gmres`, `normal_cg`), which also fits
    momentum, Adam and decoupled weight decay, whose maps are not symmetric.
    It sees only what moves the solution: not a learning rate, a momentum or initial weights. It is
    as wrong as training is unfinished: look at `stationarity` in the diagnostics.

    Args:
        training: the run; for the Hessian solvers with `inner_loss`.
        num_steps: steps of the run; static.
        solver: "cg", "dense", "gmres", "normal_cg", or one of the solver functions; static.
        warm_start: what `update`, and so `descend`, takes from the last hyperparameters; static.
            "solve": the linear solve starts at its last solution (same result, fewer steps);
            "both": training goes on from its last state, too, so that few steps per call suffice;
            the gradient is then that of no finite run, and right where `stationarity` is small.

    Raises:
        TypeError: `solver` is of a wrong type.
        ValueError: no steps, an unknown warm start; a Hessian solver without `inner_loss` or with
            one whose gradient field is not symmetric; on a call, a hyperparameter that moves no
            solution.

    Example:
        >>> import jax, jax.numpy as jnp, optax, jaxhpo as hpo
        >>> training = hpo.training.from_optax(
        ...     lambda key, hparams: jnp.zeros(()),
        ...     lambda hparams, w, batch: (w - 1.0) ** 2 + hparams["l2"] * w**2,
        ...     optax.sgd(0.2), train=jnp.zeros(1), validation=jnp.zeros(1),
        ...     validation_loss=lambda hparams, w, batch: w,
        ... )
        >>> estimator = hpo.hypergrad.implicit(training, num_steps=100)
        >>> round(float(estimator(jax.random.key(0), {"l2": 1.0}).grad["l2"]), 4)
        -0.25

    References:
        Pedregosa 2016; Grazzi et al. 2020; Lorraine et al. 2020; Hataya and Yamada 2023.
    """
    where = "implicit"
    num_steps = check_run(where, training, num_steps)
    solver = _check_solver(where, solver)
    if isinstance(solver, _HESSIAN) and training.inner_loss is None:
        raise ValueError(
            f"{where}: `training` must have inner_loss for {type(solver).__name__}, got None. "
            "Without it use solver=gmres() or fixed_point(num_iters), which need only the step."
        )

    check_choice(where, "warm_start", warm_start, _WARM_STARTS)

    def evaluate_from(key: Array, hparams: Any, warm: _Warm | None) -> tuple[Hypergradient, _Warm]:
        with explained(where):
            run = open_run(where, training, key, hparams, mixed=False)
            if training.inner_loss is not None:
                _check_moves_solution(where, training.inner_loss, run)
            carry, t, v = run.start, jnp.int32(0), None if warm is None else warm.v
            if warm is not None and warm_start == "both":
                carry, t = warm.carry, warm.t
            final, t = advance(run, carry, t, num_steps), t + jnp.int32(num_steps)
            value, by_hparams, by_state = run.loss_vjp(hparams, final)
            if isinstance(solver, _HESSIAN):
                through, diagnostics, v = _by_hessian(
                    where, training.inner_loss, run, final, by_state, key, solver, v
                )
            else:
                through, diagnostics, v = _by_map(run, final, by_state, t, solver, v)
        grad = jax.tree.map(jnp.add, by_hparams, through)
        out = Hypergradient(value, grad, run.state(final), diagnostics)
        return out, _Warm(v, final, t)

    def evaluate(key: Array, hparams: Any) -> Hypergradient:
        return evaluate_from(key, hparams, None)[0]

    def init(key: Array, hparams: Any) -> _Warm:
        run = open_run(where, training, key, hparams, mixed=False)
        real = run.start.real
        unknowns = _select(run, real) if isinstance(solver, _HESSIAN) else real
        return _Warm([jnp.zeros_like(leaf) for leaf in unknowns], run.start, jnp.int32(0))

    traits = Traits(
        bias="exact only at a stationary point of training",
        time="1 run and some Hessian products",
        memory="a few S",
        needs="inner_loss (cg, neumann, nystrom, dense)",
        cannot="learning rate, momentum, schedule, initial weights: their gradient would be zero",
    )
    memory = None if warm_start == "none" else Memory(init, evaluate_from)
    return Estimator(where, training, num_steps, traits, evaluate, memory)


def _check_solver(where: str, solver: Any) -> Any:
    if isinstance(solver, str):
        if solver not in solvers.NAMES:
            raise fail(where, "solver", f"one of {sorted(solvers.NAMES)} or a solver", solver)
        return solvers.NAMES[solver]
    if not isinstance(solver, _HESSIAN | _MAP):
        raise TypeError(
            f"{where}: `solver` must be one of {sorted(solvers.NAMES)} or come from cg, neumann, "
            f"nystrom, dense, fixed_point, gmres or normal_cg, got {describe(solver)}."
        )
    return solver


def _by_hessian(
    where: str,
    inner_loss: Any,
    run: Run,
    final: Carry,
    by_state: Vector,
    key: Array,
    solver: Any,
    start: Vector | None,
) -> tuple[Any, Diagnostics, Vector]:
    """What the solution's motion contributes, by the Hessian of the inner loss."""
    params = _select(run, final.real)
    tree = _params_tree(run)

    def loss(hparams: Any, params: Vector) -> Array:
        return jnp.asarray(inner_loss(hparams, jax.tree.unflatten(tree, params)))

    found = asymmetry(jax.make_jaxpr(loss)(run.hparams, params).jaxpr)
    if found is not None:
        raise ValueError(
            f"{where}: `training.inner_loss` holds {found}, so the derivative of its gradient is "
            f"not symmetric and {type(solver).__name__} does not apply. Use solver=gmres() or "
            "normal_cg()."
        )

    def slope(params: Vector) -> Vector:
        return jax.grad(loss, argnums=1)(run.hparams, params)

    def hessian(v: Vector) -> Vector:
        return jax.jvp(slope, (params,), (v,))[1]

    b = _select(run, by_state)
    v, contraction, steps = solver.solve(key, hessian, b, start)
    # ∂²_{λw} g v, forward over reverse.
    cross = jax.jvp(lambda p: jax.grad(loss)(run.hparams, p), (params,), (v,))[1]
    size = norm(params)
    diagnostics = Diagnostics(
        stationarity=norm(slope(params)) / jnp.maximum(size, jnp.finfo(size.dtype).tiny),
        contraction=contraction,
        linear_residual=_relative(axpy(-1.0, b, hessian(v)), b),
        linear_steps=steps,
    )
    return jax.tree.map(jnp.negative, cross), diagnostics, v


def _by_map(
    run: Run, final: Carry, by_state: Vector, t: Array, solver: Any, start: Vector | None
) -> tuple[Any, Diagnostics, Vector]:
    """What the fixed point's motion contributes, by the training step as a map."""
    pullback = run.step_vjp(run.hparams, final, t)

    def real_step(real: Vector) -> Vector:
        return run.step(run.hparams, Carry(real, final.other), t).real

    def back(v: Vector) -> Vector:
        return pullback(v)[1]

    def ahead(v: Vector) -> Vector:
        return jax.jvp(real_step, (final.real,), (v,))[1]

    v, contraction, steps = solver.solve(back, ahead, by_state, start)
    moved = axpy(-1.0, final.real, real_step(final.real))
    size = norm(_select(run, final.real))
    residual = axpy(-1.0, by_state, axpy(-1.0, back(v), v))
    diagnostics = Diagnostics(
        stationarity=norm(_select(run, moved)) / jnp.maximum(size, jnp.finfo(size.dtype).tiny),
        contraction=contraction,
        linear_residual=_relative(residual, by_state),
        linear_steps=steps,
    )
    return pullback(v)[0], diagnostics, v


def _relative(residual: Vector, b: Vector) -> Array:
    size = norm(b)
    return norm(residual) / jnp.maximum(size, jnp.finfo(size.dtype).tiny)


def _select(run: Run, real: Vector) -> Vector:
    return [leaf for leaf, flag in zip(real, run.is_param, strict=True) if flag]


def _params_tree(run: Run) -> Any:
    """The structure of the parameters within the state."""
    state = run.state(run.start)
    params = state.get("params", state) if isinstance(state, dict) else state
    return jax.tree.structure(getattr(params, "params", params))


def _check_moves_solution(where: str, inner_loss: Any, run: Run) -> None:
    """Refuses hyperparameters that act in training but not in the inner gradient."""
    params, tree = _select(run, run.start.real), _params_tree(run)

    def slope(hparams: Any, params: Vector) -> Vector:
        return jax.grad(lambda p: inner_loss(hparams, jax.tree.unflatten(tree, p)))(params)

    def trained(hparams: Any, carry: Carry) -> tuple[Carry, Carry]:
        return run.init(hparams), run.step(hparams, carry, jnp.int32(0))

    moves = reaches(jax.make_jaxpr(slope)(run.hparams, params).jaxpr, run.hparams)
    acts = reaches(jax.make_jaxpr(trained)(run.hparams, run.start).jaxpr, run.hparams)
    judged = reaches(jax.make_jaxpr(run.loss)(run.hparams, run.start).jaxpr, run.hparams)
    paths = jax.tree_util.tree_flatten_with_path(run.hparams)[0]
    for (path, _), *flags in zip(paths, moves, acts, judged, strict=True):
        if flags == [False, True, False]:
            name = "hparams" + jax.tree_util.keystr(path)
            raise ValueError(
                f"{where}: `{name}` does not move the solution of the inner problem (a learning "
                "rate, a momentum, a schedule, initial weights), so its implicit gradient is "
                "identically zero. Use hypergrad.unrolled, forward or truncated. (A decoupled "
                "weight decay moves the step's fixed point, not the minimum of inner_loss: for it "
                "use solver=gmres() on training._replace(inner_loss=None).)"
            )


def reaches(jaxpr: Any, hparams: Any) -> list[bool]:
    """For every leaf of the hyperparameters, which come first: whether an output depends on it."""
    count = len(jax.tree.leaves(hparams))
    sources: dict[Any, set[int]] = {var: {i} for i, var in enumerate(jaxpr.invars[:count])}

    def of(atom: Any) -> set[int]:
        return set() if isinstance(atom, jax.extend.core.Literal) else sources.get(atom, set())

    for eqn in jaxpr.eqns:
        found = set().union(*map(of, eqn.invars))
        for var in eqn.outvars:
            sources[var] = found
    reached = set().union(*map(of, jaxpr.outvars))
    return [i in reached for i in range(count)]
