"""How a solver is made: of checked settings, an update, and a first state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxhpo._checks import check_count, check_positive, describe, fail, noted
from jaxhpo._tracing.owned import as_pytree
from jaxhpo.hypergrad._base import real_leaves
from jaxhpo.hypergrad._coordinates import check_start
from jaxhpo.hypergrad.bilevel._problem import BilevelProblem
from jaxhpo.hypergrad.bilevel._state import Array, BilevelSolver, BilevelState, PyTree, Settings
from jaxhpo.hypergrad.implicit._implicit import reaches


def settings_of(
    where: str,
    problem: BilevelProblem,
    inner_step: Any,
    outer_step: Any,
    linear_step: Any = None,
    *,
    num_inner: int = 1,
    num_linear: int = 1,
) -> Settings:
    """Checks the arguments that solvers share; their errors name `where`."""
    if not isinstance(problem, BilevelProblem):
        raise TypeError(
            f"{where}: `problem` must come from bilevel.problem, got {describe(problem)}."
        )
    linear = inner_step if linear_step is None else linear_step
    return Settings(
        problem=problem,
        inner=schedule(where, "inner_step", inner_step),
        linear=schedule(where, "linear_step", linear),
        outer=schedule(where, "outer_step", outer_step),
        num_inner=check_count(where, "num_inner", num_inner, 1),
        num_linear=check_count(where, "num_linear", num_linear, 1),
    )


def make_solver(
    where: str,
    settings: Settings,
    update: Callable[[Settings, Array, BilevelState], BilevelState],
    remember: Callable[[Settings, PyTree, PyTree, PyTree], PyTree] | None = None,
) -> BilevelSolver:
    """Binds an algorithm to its settings.

    Args:
        where: the factory's name, for errors.
        settings: its settings.
        update: `update(settings, key, state) -> state`, a module's function.
        remember: `remember(settings, free, params, adjoint)`, the first `memory`; None: nothing.

    Returns:
        The solver.
    """
    init = Partial(_Init(where, remember), settings)
    return BilevelSolver(init, Partial(update, settings), Partial(_hparams, settings))


@dataclasses.dataclass(frozen=True)
class _Init:
    """The first state of a solver; compared by value, so that equal solvers share programs."""

    where: str
    remember: Callable[..., PyTree] | None

    def __call__(self, settings: Settings, hparams: PyTree, params: PyTree) -> BilevelState:
        text = f"{self.where}: raised while the losses of the problem took `hparams` and `params`."
        with noted(text):
            return self._start(settings, hparams, params)

    def _start(self, settings: Settings, hparams: PyTree, params: PyTree) -> BilevelState:
        hparams = real_leaves(self.where, hparams)
        params = _real_params(self.where, params)
        if settings.problem.space is not None:
            check_start(self.where, settings.problem.space, hparams)
        _check_matters(self.where, settings.problem, hparams, params)
        free = settings.problem.free(hparams)
        adjoint = jax.tree.map(jnp.zeros_like, params)
        remember = self.remember
        memory = () if remember is None else remember(settings, free, params, adjoint)
        grad = jax.tree.map(jnp.zeros_like, free)
        return BilevelState(free, params, adjoint, memory, grad, jnp.zeros((), jnp.int32))


def _check_matters(where: str, problem: BilevelProblem, hparams: PyTree, params: PyTree) -> None:
    """Refuses hyperparameters that neither move the inner minimum nor enter the outer loss."""
    plain = dataclasses.replace(problem, space=None)

    def slopes(hparams: PyTree, params: PyTree) -> Any:
        inner = plain.inner_slope(hparams, params, problem.train)
        return inner, plain.outer(hparams, params, problem.validation)

    flags = reaches(jax.make_jaxpr(slopes)(hparams, params).jaxpr, hparams)
    paths = jax.tree_util.tree_flatten_with_path(hparams)[0]
    for (path, _), flag in zip(paths, flags, strict=True):
        if not flag:
            name = "hparams" + jax.tree_util.keystr(path)
            raise ValueError(
                f"{where}: `{name}` does not move the minimum of the inner loss (a learning rate, "
                "a momentum, a schedule, initial weights), so its hypergradient is identically "
                "zero here. Use hypergrad.unrolled, forward or truncated on the training run."
            )


def _real_params(where: str, params: PyTree) -> PyTree:
    def strong(leaf: Any) -> Array:
        if isinstance(leaf, float):
            return jnp.asarray(leaf, jnp.result_type(float))
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"{where}: `params` must be real, got {describe(leaf)}.")
        return jax.lax.convert_element_type(jnp.asarray(leaf), jnp.result_type(leaf))

    if not jax.tree.leaves(params):
        raise fail(where, "params", "a pytree with at least one real number", params)
    return jax.tree.map(strong, params)


def _hparams(settings: Settings, state: BilevelState) -> PyTree:
    return settings.problem.hparams(state.free)


def schedule(where: str, argument: str, value: Any) -> Callable[[Array], Array]:
    """A positive number (traced), or a schedule as optax makes them, as a function of the count."""
    if callable(value):
        return as_pytree(value)
    value = check_positive(where, argument, value)
    return Partial(_constant, jnp.asarray(value, jnp.result_type(float)))


def _constant(value: Array, count: Array) -> Array:
    return value
