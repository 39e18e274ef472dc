"""jaxopt, optimistix and gradhpo: JAX itself, so their programs are compiled like ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxhpo.benchmarking.leaderboard.peers._registry import NUM_PRODUCTS, SETTINGS
from jaxhpo.hypergrad import Diagnostics, Estimator, Hypergradient, Traits
from jaxhpo.problems import Task

Value = Callable[[Any, Any], Any]


def losses_of(task: Task) -> tuple[Callable[[Any, Any], Any], Callable[[Any], Any], Any]:
    """Inner loss of hyperparameters and weights, outer loss of weights, and the first weights."""
    training = task.training
    state = training.init(jax.random.key(0), task.hparams)
    assert training.inner_loss is not None
    inner = training.inner_loss

    def outer(params: Any) -> Any:
        return training.loss(task.hparams, dataclasses.replace(state, params=params))

    return inner, outer, state.params


def jaxopt(task: Task, name: str) -> Value:
    """Gradient descent that is differentiated at its end by conjugate gradients."""
    import jaxopt as library

    inner, outer, start = losses_of(task)
    solver = library.GradientDescent(
        lambda params, hparams: inner(hparams, params), stepsize=SETTINGS[name][0], tol=0.0,
        maxiter=task.num_steps, acceleration=False, implicit_diff=True,
        implicit_diff_solve=lambda matvec, b, **_: library.linear_solve.solve_cg(
            matvec, b, maxiter=NUM_PRODUCTS, tol=1e-6
        ),
    )  # fmt: skip
    return lambda key, h: jax.value_and_grad(lambda h: outer(solver.run(start, h).params))(h)


def optimistix(task: Task, name: str) -> Value:
    """The same by its implicit adjoint."""
    import lineax
    import optimistix as library

    inner, outer, start = losses_of(task)
    solver: Any = library.GradientDescent(SETTINGS[name][0], rtol=0.0, atol=0.0)
    adjoint = library.ImplicitAdjoint(linear_solver=lineax.CG(rtol=1e-5, atol=1e-7))

    def value(hparams: Any) -> Any:
        found: Any = library.minimise(
            lambda params, h: inner(h, params), solver, start, hparams, max_steps=task.num_steps,
            adjoint=adjoint, throw=False, tags=frozenset({lineax.positive_semidefinite_tag}),
        )  # fmt: skip
        return outer(found.value)

    return lambda key, h: jax.value_and_grad(value)(h)


def gradhpo(task: Task, name: str) -> Value:
    """Its greedy estimator, every step judged by the loss right after it."""
    import gradhpo as library

    inner, outer, start = losses_of(task)
    rate, momentum = SETTINGS[name]
    optimizer = library.GreedyOptimizer(
        optax.sgd(rate, momentum=momentum or None), optax.sgd(1.0), unroll_steps=task.num_steps,
        gamma=0.9,
    )  # fmt: skip

    def value(key: Any, hparams: Any) -> Any:
        grad = optimizer.compute_hypergradient(
            optimizer.init(start, hparams), None, None,
            lambda params, h, batch: inner(h, params), lambda params, h, batch: outer(params),
        )  # fmt: skip
        return jnp.zeros((), jax.tree.leaves(hparams)[0].dtype), grad

    return value


VALUES: dict[str, Callable[[Task, str], Value]] = {
    "jaxopt": jaxopt, "optimistix": optimistix, "gradhpo": gradhpo,
}  # fmt: skip


def estimator_of(name: str, task: Task, value: Value) -> Estimator:
    """A value and a gradient as one of our estimators; the state is not told."""

    def evaluate(key: Any, hparams: Any) -> Hypergradient:
        found, grad = value(key, hparams)
        return Hypergradient(found, grad, (), Diagnostics())

    return Estimator(name, task.training, task.num_steps, Traits(bias="as its authors have it"),
                     evaluate)  # fmt: skip
