"""Bayesian optimization in a trust region: the factory and its functions."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Outcome, Record, Sampler, make_sampler
from jaxhpo.samplers._parts._pending import BufferInfo, check_space
from jaxhpo.samplers._traits import register
from jaxhpo.samplers.bayesian import _ask_tell
from jaxhpo.samplers.bayesian._fits import first_fitted
from jaxhpo.samplers.bayesian._search import single_rules
from jaxhpo.samplers.bayesian._settings import (
    GpSettings,
    check_options,
    first_state,
    make_settings,
)
from jaxhpo.samplers.bayesian._state import GpState
from jaxhpo.samplers.bayesian._trust_region import Patience, Region, new_region
from jaxhpo.space import Space


class TurboState(Record):
    """State of `turbo`.

    Attributes:
        model: what `gp` would keep.
        region: the trust region.
    """

    model: GpState
    region: Region


class TurboInfo(BufferInfo):
    """What `turbo` reports of a tell, besides `BufferInfo`.

    Attributes:
        length: `[]` side of the trust region.
        num_restarts: `[]` int32, regions that have been given up.
    """

    length: Array
    num_restarts: Array


@register(has_many_kernels=True)
def turbo(
    space: Space,
    *,
    batch_size: int = 1,
    capacity: int = 512,
    num_startup: int | None = None,
    acquisition_function: str = "log_ei",
    num_candidates: int = 512,
    num_lanes: int = 6,
    num_active: int = 512,
    precision: str = "float64",
) -> Sampler:
    """Bayesian optimization in a trust region, for many dimensions and thousands of trials.

    A Gaussian process of the points since the last restart proposes inside a box around the best of
    them. The box doubles after 3 improvements in a row, halves after as many failures as there are
    dimensions (4 at least), and once it is smaller than 1/128 a new one begins with a design of its
    own. Numeric coordinates are bounded, categories are free.

    When to use it: twenty dimensions and more, or hundreds of trials and more on a rugged function,
    where one model of the whole space is either wrong or indifferent. Below, `gp` has a trust
    region beside its search of the whole space.

    Args:
        space: the search space; its bounds may be traced.
        batch_size: static; rows of one `ask`.
        capacity: static; observations that the state holds. `minimize` and `Study` change it as
            needed.
        num_startup: static; points of the design that begins a region; None means twice the number
            of dimensions, 4 at least and 40 at most.
        acquisition_function: static; as for `gp`. "thompson" is the choice of the paper and varies
            most within large batches.
        num_candidates: static; points at which the acquisition function is tried first.
        num_lanes: static; quasi-Newton searches that start from the best of them, at least 3.
        num_active: static; observations that the model is conditioned on, at most.
        precision: static; "float64" or "float32"; as for `gp`.

    Returns:
        The sampler. An infeasible trial counts as failed.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range or an unknown name, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-2.0, 3.0, shape=(4,))})
        >>> def objective(key, params):
        ...     return ((params["x"] - 1.0) ** 2).sum()
        >>> sampler = hpo.samplers.turbo(space)
        >>> result = hpo.minimize(objective, space, sampler, key=0, num_trials=16)
        >>> bool(result.best_value < 2.0)
        True

    References:
        Eriksson et al., "Scalable global optimization via local Bayesian optimization", 2019,
        https://arxiv.org/abs/1910.01739.
    """
    space = check_space("turbo", space)
    if num_startup is None:
        num_startup = min(40, max(4, 2 * space.num_dims))
    options = check_options(
        "turbo", space, batch_size=batch_size, capacity=capacity,
        num_candidates=num_candidates, num_lanes=num_lanes, num_active=num_active,
        precision=precision, acquisition_function=acquisition_function,
    )  # fmt: skip
    settings = make_settings("turbo", space, options, num_startup=num_startup)
    return make_sampler(settings, _init, _ask, _tell, _resize, name="turbo")


def _init(settings: GpSettings, key: Array) -> TurboState:
    zeros = [jnp.zeros((), jnp.int32) for _ in range(2)]
    region = new_region(jnp.result_type(float), *zeros)
    return TurboState(first_state(settings, key), region)


def _ask(settings: GpSettings, key: Array, state: TurboState) -> tuple[TurboState, Array]:
    rules = single_rules(settings, state.region)
    known, unit = _ask_tell.propose(settings, rules, key, state.model, state.region)
    return dataclasses.replace(state, model=known), unit


def _tell(
    settings: GpSettings, key: Array, state: TurboState, unit: Array, outcome: Outcome
) -> tuple[TurboState, TurboInfo]:
    known, unit, info = _ask_tell.absorb("turbo.tell", settings, key, state.model, unit, outcome)
    options = settings.options
    patience = Patience(
        options.batch_size,
        settings.num_startup,
        max(4, settings.space.num_dims, options.batch_size),
    )
    region = state.region.tell(unit, outcome, patience)
    # A new region has a model of its own.
    begins = region.num_restarts > state.region.num_restarts
    first = first_fitted(settings.prior, len(known.fitted), known.rows.unit.dtype)
    known = dataclasses.replace(
        known,
        fitted=jax.tree.map(functools.partial(jnp.where, begins), first, known.fitted),
        num_fitted=jnp.where(begins, 0, known.num_fitted),
    )
    report = TurboInfo(
        info.status,
        known.counts.num_observed,
        known.counts.num_failed,
        known.rows.num_dropped,
        region.length,
        region.num_restarts,
    )
    return TurboState(known, region), report


def _resize(settings: GpSettings, state: TurboState, capacity: int) -> TurboState:
    return dataclasses.replace(state, model=_ask_tell.resize(settings, state.model, capacity))
