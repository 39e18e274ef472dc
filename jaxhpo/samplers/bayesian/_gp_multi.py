"""Bayesian optimization of several objectives: one Gaussian process each."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxhpo import _checks
from jaxhpo import gp as engine
from jaxhpo._base import Array, Outcome, Record, Sampler, make_sampler, static_field
from jaxhpo.samplers._parts._pending import BufferInfo, check_space
from jaxhpo.samplers._traits import register
from jaxhpo.samplers.bayesian import _ask_tell
from jaxhpo.samplers.bayesian._fits import first_fitted
from jaxhpo.samplers.bayesian._multi_acquisition import several_rules
from jaxhpo.samplers.bayesian._settings import (
    GpSettings,
    check_options,
    first_state,
    make_settings,
)
from jaxhpo.samplers.bayesian._state import GpState
from jaxhpo.space import Space


class GpMultiSettings(Record):
    """Settings of `gp_multi`: those of `gp`, and the number of objectives (static)."""

    base: GpSettings
    num_objectives: int = static_field()


class GpMultiInfo(BufferInfo):
    """What `gp_multi` reports of a tell, besides `BufferInfo`.

    Attributes:
        lengthscale: `[m, d]` lengthscales of each objective's model in the last fit.
    """

    lengthscale: Array


@register(
    several_objectives=True, models_constraints=True, several_only=True, has_many_kernels=True
)
def gp_multi(
    space: Space,
    *,
    num_objectives: int = 2,
    batch_size: int = 1,
    capacity: int = 256,
    num_startup: int | None = None,
    kernel: str = "matern52",
    constrained: bool = False,
    num_candidates: int = 512,
    num_lanes: int = 6,
    num_active: int = 512,
    precision: str = "float64",
) -> Sampler:
    """Bayesian optimization of several objectives by one Gaussian process each, as in `gp`.

    Of two or three objectives a proposal maximises the logarithm of the expected hypervolume
    improvement, exact for independent objectives, in their standardised values. The reference point
    lies a tenth of the front's extent beyond the front, and no nearer than the mean of the start-up
    points. Of more objectives, where volumes are dear, it maximises the expected improvement of a
    scalarisation: the largest objective, each over the front's extent and by weights that are drawn
    anew for every proposal, so that all of the front is approached. Pending points count with a
    draw of their values. Known noise (`Outcome.se`, one a value) is used, further noise is learned.

    When to use it: up to a few hundred trials that take longer than a proposal (tens of
    milliseconds for two objectives on a CPU core, a tenth of a second for three). For more or
    cheaper trials use `nsga2` or `nsga3`.

    Args:
        space: the search space; its bounds may be traced.
        num_objectives: static; at least 1, which is plain expected improvement.
        batch_size: static; rows of one `ask`.
        capacity: static; observations that the state holds, as in `gp`.
        num_startup: static; points observed before the models take over, as in `gp`.
        kernel: static; "matern52" or "rbf".
        constrained: static; whether `Outcome.violation` gets a model of its own, as in `gp`.
        num_candidates: static; points at which the acquisition function is tried first.
        num_lanes: static; quasi-Newton searches that start from the best of them, at least 3.
        num_active: static; observations that the models are conditioned on, at most.
        precision: static; "float64" or "float32", as in `gp`.

    Returns:
        The sampler. Proposals are never repeated; rows of NaN follow when a finite space is used
        up.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range or an unknown name, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-1.0, 3.0)})
        >>> sampler = hpo.samplers.gp_multi(space, num_objectives=2)

    References:
        Ament et al., "Unexpected improvements to expected improvement for Bayesian optimization",
        2023, https://arxiv.org/abs/2310.20708.
        Emmerich, Deutz and Klinkenberg, "Hypervolume-based expected improvement", 2011,
        https://doi.org/10.1109/CEC.2011.5949880.
        Knowles, "ParEGO", 2006, https://doi.org/10.1109/TEVC.2005.851274 (more than three).
    """
    space = check_space("gp_multi", space)
    m = _checks.check_count("gp_multi", "num_objectives", num_objectives, 1)
    options = check_options(
        "gp_multi", space, batch_size=batch_size, capacity=capacity,
        num_candidates=num_candidates, num_lanes=num_lanes, num_active=num_active,
        precision=precision, constrained=constrained,
    )  # fmt: skip
    base = make_settings("gp_multi", space, options, num_startup=num_startup, kernel=kernel)
    settings = GpMultiSettings(base, m)
    return make_sampler(settings, _init, _ask, _tell, _resize, name="gp_multi")


def _init(settings: GpMultiSettings, key: Array) -> GpState:
    m, state = settings.num_objectives, first_state(settings.base, key)
    num_models = m + settings.base.options.constrained
    value, se = (
        jnp.zeros((state.rows.value.shape[0], m), state.rows.value.dtype) for _ in range(2)
    )
    return dataclasses.replace(
        state,
        rows=dataclasses.replace(state.rows, value=value, se=se),
        fitted=first_fitted(settings.base.prior, num_models, value.dtype),
    )


def _ask(settings: GpMultiSettings, key: Array, state: GpState) -> tuple[GpState, Array]:
    rules = several_rules(settings.base, settings.num_objectives)
    return _ask_tell.propose(settings.base, rules, key, state)


def _tell(
    settings: GpMultiSettings, key: Array, state: GpState, unit: Any, outcome: Outcome
) -> tuple[GpState, GpMultiInfo]:
    m = settings.num_objectives
    state, _, info = _ask_tell.absorb(
        "gp_multi.tell", settings.base, key, state, unit, outcome, (m,)
    )
    scales = [jnp.exp(engine.unravel(one.theta).log_lengthscale) for one in state.fitted[:m]]
    counts, rows = state.counts, state.rows
    return state, GpMultiInfo(
        info.status, counts.num_observed, counts.num_failed, rows.num_dropped, jnp.stack(scales)
    )


def _resize(settings: GpMultiSettings, state: GpState, capacity: int) -> GpState:
    return _ask_tell.resize(settings.base, state, capacity)
