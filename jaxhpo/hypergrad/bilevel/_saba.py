"""SABA: SOBA with the variance of its batches taken out by tables of past directions."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._checks import fail
from jaxhpo.hypergrad.bilevel._problem import BilevelProblem
from jaxhpo.hypergrad.bilevel._solver_base import make_solver, settings_of
from jaxhpo.hypergrad.bilevel._state import Array, BilevelSolver, BilevelState, PyTree, Settings
from jaxhpo.hypergrad.bilevel._steps import add, step_at_once


class _Table(NamedTuple):
    """Past parts by block of data, `[num_blocks, ...]`, and their mean."""

    rows: PyTree
    mean: PyTree


class _Memory(NamedTuple):
    """Tables of the inner parts (slope, product, cross) and the outer ones."""

    inner: _Table
    outer: _Table


def saba(
    problem: BilevelProblem, *, inner_step: Any, outer_step: Any, linear_step: Any = None
) -> BilevelSolver:
    """Stochastic average bilevel algorithm: the steps of `soba` on variance-reduced directions.

    Model: the data are cut into fixed blocks of one batch each; every part `d` of the direction
    becomes `d_i(now) - table_i + mean(table)` with a block `i` drawn at random, and the table
    remembers `d_i`, as SAGA does. With constant step sizes it converges to the solution itself,
    where `soba` stays in a noise ball. The tables take `num_blocks (2 P + H)` numbers for the
    training data and `num_blocks (P + H)` for the validation data. Shuffle sorted data beforehand.

    Args:
        problem: from `bilevel.problem`, with batch sizes that divide the numbers of examples.
        inner_step: step size of the parameters; a number (traced) or an optax schedule.
        outer_step: step size of the hyperparameters; likewise, smaller.
        linear_step: step size of the linear system; None takes `inner_step`.

    Returns:
        The solver. Errors that all solvers share: see `hypergrad.bilevel`.

    Raises:
        ValueError: a batch that does not divide the data.

    Example:
        >>> import jax.numpy as jnp, jaxhpo as hpo
        >>> x = jnp.linspace(0.5, 1.5, 8)
        >>> shrink = hpo.hypergrad.bilevel.problem(
        ...     lambda h, w, x: 0.5 * jnp.mean((w - x) ** 2) + 0.5 * h["l2"] * w**2,
        ...     lambda h, w, x: 0.5 * jnp.mean((w - x) ** 2),
        ...     train=x, validation=0.5 * x, batch_size=1, validation_batch_size=1,
        ... )
        >>> solver = hpo.hypergrad.bilevel.saba(shrink, inner_step=0.2, outer_step=0.05)
        >>> found = hpo.hypergrad.bilevel.solve(
        ...     solver, {"l2": 0.5}, 1.0, key=0, num_updates=3000, record_every=1000
        ... )
        >>> round(float(found.hparams["l2"]), 3)
        1.0

    References:
        Dagréou et al., "A framework for bilevel optimization that enables stochastic and global
        variance reduction algorithms", NeurIPS 2022.
    """
    # Blocks of a batch rather than single examples keep the tables smaller by the batch size.
    where = "saba"
    settings = settings_of(where, problem, inner_step, outer_step, linear_step)
    _check_divides(where, "batch_size", problem.num_train, problem.batch_size)
    size = problem.validation_batch_size
    _check_divides(where, "validation_batch_size", problem.num_validation, size)
    return make_solver(where, settings, _update, _remember)


def _check_divides(where: str, argument: str, num_examples: int, size: int | None) -> None:
    # A smaller last block would be of another shape, and its examples of another weight.
    if size is not None and num_examples % size:
        divisor = max(d for d in range(1, size + 1) if num_examples % d == 0)
        expected = f"a divisor of the {num_examples} examples, such as {divisor}"
        raise fail(where, argument, expected, size)


def _block(data: PyTree, num_examples: int, size: int | None, i: Array) -> PyTree:
    """The examples of block `i`."""
    if size is None:
        return data
    # A slice at a traced place: one program for all blocks.
    return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, i * size, size), data)


def _inner_parts(settings: Settings, state: BilevelState | _Point, i: Array) -> PyTree:
    problem = settings.problem
    batch = _block(problem.train, problem.num_train, problem.batch_size, i)
    # One product gives H v and the cross term of one batch at once.
    return problem.inner_along(state.free, state.params, state.adjoint, batch)


def _outer_parts(settings: Settings, state: BilevelState | _Point, i: Array) -> PyTree:
    problem = settings.problem
    size = problem.validation_batch_size
    batch = _block(problem.validation, problem.num_validation, size, i)
    return problem.outer_grads(state.free, state.params, batch)


class _Point(NamedTuple):
    """The part of a state that directions depend on."""

    free: PyTree
    params: PyTree
    adjoint: PyTree


def _counts(settings: Settings) -> tuple[int, int]:
    problem = settings.problem
    return (
        problem.num_train // (problem.batch_size or problem.num_train),
        problem.num_validation // (problem.validation_batch_size or problem.num_validation),
    )


def _remember(settings: Settings, free: PyTree, params: PyTree, adjoint: PyTree) -> _Memory:
    """Full tables at the start."""
    point, tables = _Point(free, params, adjoint), []
    for parts, count in zip((_inner_parts, _outer_parts), _counts(settings), strict=True):
        # Full tables cost one pass over the data at the start, a block at a time: the memory is
        # that of one batch. From empty ones the first pass would have the variance of `soba`.
        numbers = jnp.arange(count, dtype=jnp.int32)
        rows = jax.lax.map(lambda i, parts=parts: parts(settings, point, i), numbers)
        tables.append(_Table(rows, jax.tree.map(lambda a: jnp.mean(a, axis=0), rows)))
    return _Memory(*tables)


def _reduced(table: _Table, i: Array, count: int, new: PyTree) -> tuple[PyTree, _Table]:
    """The variance-reduced direction, and the table with the new part."""
    # SAGA (Defazio, Bach and Lacoste-Julien, 2014): unbiased over i, and its variance vanishes as
    # the table comes to hold the parts at the solution.
    change = jax.tree.map(lambda rows, part: part - rows[i], table.rows, new)
    direction = add(table.mean, change)
    rows = jax.tree.map(lambda rows, part: rows.at[i].set(part), table.rows, new)
    # One row changed, so the mean moves by a share of the change: no pass over the table.
    mean = jax.tree.map(lambda mean, d: mean + d / count, table.mean, change)
    return direction, _Table(rows, mean)


def _update(settings: Settings, key: Array, state: BilevelState) -> BilevelState:
    key_train, key_validation = jax.random.split(key)
    counts, memory = _counts(settings), state.memory
    i = jax.random.randint(key_train, (), 0, counts[0], jnp.int32)
    j = jax.random.randint(key_validation, (), 0, counts[1], jnp.int32)
    inner, seen = _reduced(memory.inner, i, counts[0], _inner_parts(settings, state, i))
    outer, judged = _reduced(memory.outer, j, counts[1], _outer_parts(settings, state, j))
    state = dataclasses.replace(state, memory=_Memory(seen, judged))
    return step_at_once(settings, state, inner, outer)
