"""When the model parameters of a study are fitted, and where each fit starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import gp
from jaxhpo._base import Array
from jaxhpo.samplers.bayesian._targets import Fitted, Table, Targets

_GRID = 2.0**12
"""Logarithms of hyperparameters are multiples of one over it."""

_NOISY = -2.0
"""Log noise variance of the start that explains by noise what the other takes for the function."""

_EPOCH = 2.0**0.5
"""Growth of the history within one epoch."""

_MOST = 2**30
"""A history that no study reaches, and that int32 still counts."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When hyperparameters are fitted: counts of observed rows, so that a resumed run fits alike.

    A fit goes on from the one before it. The first fit of each epoch starts anew instead, so that
    no fit rests on more than an epoch of others.

    Attributes:
        epochs: `[e]` int32 counts at which epochs begin (`epochs_of`); the first fit comes first.
        batch: counts grow by multiples of it.
        every: the step is one batch up to this count, two up to twice it, and so on.
    """

    epochs: Array
    batch: int
    every: int

    def after(self, count: Array) -> Array:
        """The next count after `count`; 0 stands for no fit yet."""
        step = jnp.asarray(self.batch, jnp.int32) * (1 + count // self.every)
        return jnp.where(count == 0, jnp.asarray(self.epochs)[0], count + step)

    def is_fresh(self, before: Array, count: Array) -> Array:
        """Whether the fit at `count`, which follows the one at `before`, starts anew."""
        return (before == 0) | (self._epoch(before) != self._epoch(count))

    def due(self, num_fitted: Array, num_observed: Array) -> tuple[Array, Array]:
        """The fits that `num_observed` rows call for, once those up to `num_fitted` are made.

        Returns:
            The count after which fits are to be made, and that of the last one: equal if none is.
            Fits before the last fresh one leave no trace, so they are passed over.
        """

        def pass_over(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            begin, count = carry
            following = self.after(count)
            return jnp.where(self.is_fresh(count, following), count, begin), following

        return jax.lax.while_loop(
            lambda carry: self.after(carry[1]) <= num_observed, pass_over, (num_fitted, num_fitted)
        )

    def _epoch(self, count: Array) -> Array:
        return jnp.sum(count >= jnp.asarray(self.epochs), dtype=jnp.int32)


def epochs_of(first: int) -> np.ndarray:
    """Counts `[e]` int32 at which epochs begin, from the first fit on; as many for every `first`.

    Host side.
    """
    exponents = np.arange(np.ceil(np.log(_MOST) / np.log(_EPOCH)))
    return np.minimum(np.ceil(first * _EPOCH**exponents), _MOST).astype(np.int32)


def refit(
    kernel: gp.Kernel,
    prior: gp.Prior,
    schedule: Schedule,
    makers: tuple[Callable[[Table, Array, Array], Targets], ...],
    table: Table,
    fitted: tuple[Fitted, ...],
    num_fitted: Array,
    max_evals: int,
    select: Callable[[Table, Array], Table],
) -> tuple[tuple[Fitted, ...], Array]:
    """Brings hyperparameters up to date: by all fits that have become due.

    Each fit sees the rows observed first, up to its count, and starts from the last fit; a fresh
    one starts from the prior's centre, and from there with much noise. So the outcome depends on
    the history alone.
    A fresh fit begins with the choice of the map from values to targets, of `gp.SHARPNESS`: by the
    density that the model at the prior's centre gives to the values (Snelson, Rasmussen and
    Ghahramani, "Warped Gaussian processes", 2003, eq. 5).

    Args:
        kernel: static structure of the kernel.
        prior: the prior.
        schedule: when fits are due.
        makers: one per model: from the table, a mask and a sharpness to targets.
        table: the observations.
        fitted: of each model.
        num_fitted: `[]` int32, count of the last fit.
        max_evals: evaluations of the likelihood, at most.
        select: from the table and a mask to the rows that a fit sees.

    Returns:
        What is fitted to each model, and the count of the last fit.
    """
    order = jnp.cumsum(table.is_observed, dtype=jnp.int32)
    begin, end = schedule.due(num_fitted, order[-1])

    def fit(carry: tuple[Array, Fitted]) -> tuple[Array, Fitted]:
        before, last = carry
        count = schedule.after(before)
        is_fresh = schedule.is_fresh(before, count)
        seen = select(table, table.is_observed & (order <= count))

        def one(model: Array, last: Fitted) -> Fitted:
            def data_of(sharpness: Array) -> tuple[gp.Data, Array]:
                return _targets(makers, model, seen, sharpness)

            return _fit(kernel, prior, data_of, is_fresh, last, max_evals)

        numbers = jnp.arange(len(makers), dtype=jnp.int32)
        if len(makers) > 1:
            return count, jax.lax.map(lambda pair: one(*pair), (numbers, last))
        return count, jax.tree.map(lambda leaf: leaf[None], one(numbers[0], _row(last, 0)))

    _, last = jax.lax.while_loop(lambda carry: carry[0] < end, fit, (begin, _stack(fitted)))
    return tuple(_row(last, i) for i in range(len(makers))), end


def _targets(
    makers: tuple[Callable[[Table, Array, Array], Targets], ...],
    model: Array,
    seen: Table,
    sharpness: Array,
) -> tuple[gp.Data, Array]:
    """The data of a model with a sharpness, and what their map adds to a log density."""

    def branch(make: Callable[[Table, Array, Array], Targets]) -> Callable[[], Any]:
        def made() -> tuple[gp.Data, Array]:
            data, _, warped = make(seen, seen.is_observed, sharpness)
            return data, warped.log_slope

        return made

    branches = [branch(make) for make in makers]
    return branches[0]() if len(makers) == 1 else jax.lax.switch(model, branches)


class _Best(NamedTuple):
    """What a search over sharpness and hyperparameters has found so far."""

    density: Array
    sharpness: Array
    log_posterior: Array
    theta: Array


def _fit(
    kernel: gp.Kernel,
    prior: gp.Prior,
    data_of: Callable[[Array], tuple[gp.Data, Array]],
    is_fresh: Array,
    last: Fitted,
    max_evals: int,
) -> Fitted:
    """Fits one model: where that is fresh, the sharpness first, then from two starts.

    One loop, so that the likelihood is compiled once: to look at a sharpness is a search of one
    evaluation.
    """
    centre, options = first_theta(prior), jnp.asarray(gp.SHARPNESS, prior.mean.dtype)
    first_start = jnp.asarray(len(gp.SHARPNESS), jnp.int32)
    start = jnp.where(is_fresh, centre, last.theta)
    nothing = jnp.full((), -jnp.inf, centre.dtype)

    def search(i: Array, best: _Best) -> _Best:
        is_look = i < first_start
        option = options[jnp.minimum(i, first_start - 1)]
        sharpness = jnp.where(is_look, option, best.sharpness)
        data, log_slope = data_of(sharpness)
        begin = jnp.where(i > first_start, centre.at[-1].set(_NOISY), start)
        evals = jnp.where(is_look, 1, max_evals)
        found = gp.fit(kernel, data, prior, begin[None], max_evals=evals)
        density = log_slope + found.log_posterior
        is_sharpest = is_look & (density > best.density) & jnp.isfinite(density)
        is_better = ~is_look & (found.log_posterior > best.log_posterior)
        return _Best(
            jnp.where(is_sharpest, density, best.density),
            jnp.where(is_sharpest, sharpness, best.sharpness),
            jnp.where(is_better, found.log_posterior, best.log_posterior),
            jnp.where(is_better, found.hyper.ravel(), best.theta),
        )

    best = _Best(nothing, jnp.where(is_fresh, options[0], last.sharpness), nothing, start)
    bounds = (jnp.where(is_fresh, 0, first_start), first_start + 1 + is_fresh.astype(jnp.int32))
    best = jax.lax.fori_loop(*bounds, search, best)
    # Rounded: the same number once it has been through the state, and where the last bits of
    # the linear algebra depend on what else the machine does.
    return Fitted(jnp.round(best.theta * _GRID) / _GRID, best.sharpness)


def _stack(trees: Any) -> Any:
    """One tree whose leaves have a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _row(tree: Any, i: int) -> Any:
    """The tree of row `i` of all leaves."""
    return jax.tree.map(lambda leaf: leaf[i], tree)


def first_theta(prior: gp.Prior) -> Array:
    """Where fits start: the centre of the prior."""
    return jnp.clip(prior.mean, prior.lower, prior.upper)


def first_fitted(prior: gp.Prior, num_models: int, dtype: Any) -> tuple[Fitted, ...]:
    """The parameters before any fit, in separate buffers for each model."""
    theta = first_theta(prior).astype(dtype)
    sharpness = jnp.asarray(gp.SHARPNESS[0], dtype)
    return tuple(Fitted(theta.copy(), sharpness.copy()) for _ in range(num_models))
