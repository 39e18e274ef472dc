"""The search for the best next point: candidates, quasi-Newton lanes, sweeps of the discrete."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo._base import Array
from jaxhpo.acquisition._lanes import Lanes, climb, loop_range, sweep
from jaxhpo.acquisition._problem import Budget, Problem, ScoreFn
from jaxhpo.gp import argmax

_SWEEPS = 2


class Found(NamedTuple):
    """What a search found.

    Attributes:
        unit: `[d]` snapped point.
        value: `[]` its score; minus infinity if no candidate was allowed and new.
    """

    unit: Array
    value: Array


def optimize(
    score: ScoreFn,
    problem: Problem,
    candidates: Array,
    lengthscale: Array,
    uniforms: Array,
    budget: Budget,
) -> Found:
    """Finds the point of highest score.

    The best candidate, the best local one and a random choice among the rest, in proportion to
    their (exponentiated) score, start one quasi-Newton lane each in the continuous coordinates,
    scaled by their lengthscales. Discrete coordinates are then swept: all values of a coordinate
    with up to 16, beyond that the neighbours at distances 1, 2, 4, … and values spread over the
    range. The best allowed and new point of all of these is returned.

    Args:
        score: log-scaled acquisition function of features.
        problem: where to search.
        candidates: `[c, d]` points; the last `budget.num_local` are the local ones.
        lengthscale: `[F]` of the features.
        uniforms: `[c]` uniform numbers of (0, 1) for the random choice.
        budget: static sizes.

    Returns:
        What was `Found`.
    """
    has_free, has_discrete = problem.embedding.has_free, problem.embedding.has_discrete
    # Points with a continuous coordinate are new unless clipped: only the starts are looked at.
    unit, features, allowed = problem.prepare(candidates, must_be_new=not has_free)
    work = lengthscale.dtype
    features = features.astype(work)
    value = jnp.where(allowed, score(features, unit)[0], -jnp.inf)
    value = jnp.where(jnp.isnan(value), -jnp.inf, value)
    start = _choose_starts(value, uniforms.astype(work), budget)
    _, _, is_new = problem.prepare(unit[start])
    lanes = Lanes(unit[start], features[start], jnp.where(is_new, value[start], -jnp.inf))

    climbed = functools.partial(climb, score, problem, lengthscale=lengthscale, budget=budget)
    swept = functools.partial(sweep, score, problem)

    def both(i: Array, lanes: Lanes) -> Lanes:
        # The first round only climbs: so one climb is compiled, not two.
        return climbed(jax.lax.cond(i > 0, swept, lambda lanes: lanes, lanes))

    if has_free and has_discrete:
        rounds = problem.embedding.num_rounds(problem.space, _SWEEPS)
        lanes = jax.lax.fori_loop(*loop_range(rounds), both, lanes)
    elif has_free:
        lanes = climbed(lanes)
    else:
        lanes = jax.lax.fori_loop(*loop_range(_SWEEPS), lambda _, lanes: swept(lanes), lanes)
    best = argmax(lanes.value)
    return Found(lanes.unit[best], lanes.value[best])


def _choose_starts(value: Array, uniforms: Array, budget: Budget) -> Array:
    """The best candidate, the best local one, and a draw without replacement among all."""
    local = value.shape[0] - budget.num_local + argmax(value[-budget.num_local :])
    # Adding Gumbel noise and taking the largest draws in proportion to exp(value).
    gumbel = -jnp.log(-jnp.log(jnp.clip(uniforms, 1e-6, 1.0 - 1e-6)))
    _, drawn = jax.lax.top_k(value + gumbel, max(budget.num_lanes - 2, 1))
    return jnp.concatenate([jnp.stack([argmax(value), local]), drawn.astype(jnp.int32)])
