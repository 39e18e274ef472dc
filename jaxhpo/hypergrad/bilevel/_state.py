"""The protocol that bilevel solvers share: two pure functions over one state, as in optax."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxhpo.hypergrad.bilevel._problem import BilevelProblem

Array = jax.Array
PyTree = Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BilevelState:
    """Where a solver stands.

    Attributes:
        free: hyperparameters in free coordinates `x` (see `BilevelSolver.hparams`).
        params: inner parameters `w`.
        adjoint: pytree like `params`, the estimate `v` of `-H^-1 ∂_w f`; zero where a solver keeps
            none.
        memory: what else the algorithm remembers.
        grad: pytree like `free`, the hypergradient that the last update followed.
        count: `[]` updates done.
    """

    free: PyTree
    params: PyTree
    adjoint: PyTree
    memory: PyTree
    grad: PyTree
    count: Array


class BilevelSolver(NamedTuple):
    """A stochastic bilevel algorithm as pure functions; made by `soba`, `saba` and the others.

    The functions are `jax.tree_util.Partial` objects over the settings, so that a solver is a
    pytree: solvers of equal structure share compiled code, and step sizes and data are traced.

    Attributes:
        init: `init(hparams, params) -> state`.
        update: `update(key, state) -> state`, one step of everything that the solver moves.
        hparams: `hparams(state)`, the hyperparameters of a state, inside their space.
    """

    init: Callable[[PyTree, PyTree], BilevelState]
    update: Callable[[Array, BilevelState], BilevelState]
    hparams: Callable[[BilevelState], PyTree]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Settings:
    """What all solvers share; step sizes are functions of the update's number.

    Attributes:
        problem: the problem.
        inner: step size of `params`.
        linear: step size of the linear system.
        outer: step size of the hyperparameters.
        penalty: weight of the inner problem (F2SA).
        num_inner: inner steps per update.
        num_linear: steps, or terms, of the linear system per update.
    """

    problem: BilevelProblem
    inner: Callable[[Array], Array]
    linear: Callable[[Array], Array]
    outer: Callable[[Array], Array]
    penalty: Callable[[Array], Array] | None = None
    num_inner: int = dataclasses.field(default=1, metadata={"static": True})
    num_linear: int = dataclasses.field(default=1, metadata={"static": True})
