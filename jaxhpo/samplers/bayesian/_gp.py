"""Bayesian optimization with a Gaussian process: the factory and its three functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxhpo import gp as engine
from jaxhpo._base import Array, Outcome, PyTree, Sampler, make_sampler
from jaxhpo.samplers._parts._pending import BufferInfo, check_space
from jaxhpo.samplers._traits import register
from jaxhpo.samplers.bayesian._ask_tell import absorb, propose, resize
from jaxhpo.samplers.bayesian._search import single_rules
from jaxhpo.samplers.bayesian._settings import (
    GpSettings,
    check_options,
    first_state,
    make_settings,
)
from jaxhpo.samplers.bayesian._state import GpState
from jaxhpo.space import Space


class GpInfo(BufferInfo):
    """What `gp` reports of a tell, besides `BufferInfo`.

    Attributes:
        lengthscale: `[d]` lengthscale of each unit coordinate in the last fit.
        noise: `[]` noise variance in the last fit, where targets have unit deviation.
    """

    lengthscale: Array
    noise: Array


@register(models_constraints=True, takes_columns=True, has_many_kernels=True)
def gp(
    space: Space,
    *,
    batch_size: int = 1,
    capacity: int = 256,
    num_startup: int | None = None,
    acquisition_function: str = "log_ei",
    beta: float = 4.0,
    kernel: str = "matern52",
    constrained: bool = False,
    num_candidates: int = 128,
    num_lanes: int = 6,
    num_basins: int = 4,
    trust_region: bool = True,
    num_active: int = 512,
    prior: Callable[[PyTree], Any] | None = None,
    prior_strength: float = 10.0,
    precision: str = "float64",
) -> Sampler:
    """Bayesian optimization: a Gaussian process of the values so far says where to look next.

    After a low-discrepancy start, each proposal maximises an acquisition function of an exact
    Gaussian process with one lengthscale a coordinate, fitted by maximum a posteriori. Values are
    standardised, and compressed above the median as strongly as makes them most probable, so that
    outliers do no harm; known noise (`Outcome.se`) is used, further noise is learned. Failed trials
    count as the worst value, with noise: a place where several fail is avoided, and a failure by
    chance does little harm. After the first trials every second proposal stays in a trust region
    around the best point, so that valleys are followed. Points still running are filled in by draws
    from the model, so batches and workers do not crowd. Categories have Hamming distances;
    parameters of inactive branches count for nothing.

    When to use it: trials dearer than some milliseconds, of any kind of space up to some thirty
    dimensions; in twenty and more continuous ones `turbo` ends lower. It is at its best in the
    first few hundred trials; of thousands it conditions on `num_active` at a time, so that a
    proposal hardly costs more however long the study. For many cheap trials use `cma_es`.

    Args:
        space: the search space; its bounds may be traced.
        batch_size: static; rows of one `ask`.
        capacity: static; observations that the state holds. `minimize` and `Study` change it as
            needed; a sampler driven by hand drops points beyond it (and says so).
        num_startup: static; points observed before the model takes over; None means the number of
            dimensions plus 1, but 4 at least and 10 at most.
        acquisition_function: static; "log_ei" (log expected improvement), "log_pi" (of its
            probability), "ucb" (optimistic bound), "thompson" (the minimum of a function drawn from
            the posterior) or "mes" (max-value entropy search).
        beta: squared number of deviations of "ucb"; traced.
        kernel: static; "matern52" or "rbf".
        constrained: static; whether `Outcome.violation` gets a model of its own, by which proposals
            are weighted with their probability of being feasible. Without it an infeasible trial
            counts as failed. `minimize` and `Study` set it where the sampler is named.
        num_candidates: static; points at which the acquisition function is tried first.
        num_lanes: static; quasi-Newton searches that start from the best of them, at least 3.
        num_basins: static; a minimum that has been reached is left alone in three proposals of
            four (in 15 of 16 once nothing is left to gain there), and other basins are searched
            from a start of their own; up to so many minima. 0: never.
        trust_region: static; whether every second proposal stays in a region around the best point
            that grows where it improves and shrinks where it does not, and all of them while they
            improve; from trial 4 d on, of spaces with a continuous dimension, and where no minimum
            is being left (`num_basins`). The others search everywhere.
        num_active: static; observations that the model is conditioned on, at most: the best ones,
            those around the best, the newest, and a spread over all others.
        prior: where you believe the optimum lies: traceable, from one params pytree of arrays to a
            log density, up to a constant. Continuous parameters follow its gradient. It is added
            to the log of the acquisition function.
        prior_strength: traced; trials up to which `prior` counts in full; beyond them its weight
            falls as their share of all trials, so a wrong prior is overcome.
        precision: static; "float64" whatever the global switch says, or "float32" with a noise
            variance of 1e-4 at least.

    Returns:
        The sampler. Proposals are never repeated; rows of NaN follow when a finite space is used
        up. What it proposes depends on the history alone, so a study resumed from its history goes
        on as the uninterrupted one.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of range or an unknown name, or a space with nothing to search.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(-2.0, 3.0)})
        >>> def objective(key, params):
        ...     return (params["x"] - 1.0) ** 2
        >>> sampler = hpo.samplers.gp(space)
        >>> result = hpo.minimize(objective, space, sampler, key=0, num_trials=12)
        >>> bool(result.best_value < 1e-3)
        True

    References:
        Jones, Schonlau and Welch, "Efficient global optimization of expensive black-box functions",
        1998, https://doi.org/10.1023/A:1008306431147. Ament et al., 2023,
        https://arxiv.org/abs/2310.20708 (log EI). Hvarfner, Hellsten and Nardi, 2024,
        https://arxiv.org/abs/2402.02229 (lengthscales that grow with the dimension). Hvarfner et
        al., 2022, https://arxiv.org/abs/2204.11051 (priors over the optimum). Eriksson et al.,
        2019, https://arxiv.org/abs/1910.01739 (how a trust region grows and shrinks).
    """
    space = check_space("gp", space)
    options = check_options(
        "gp", space, batch_size=batch_size, capacity=capacity,
        num_candidates=num_candidates, num_lanes=num_lanes, num_active=num_active,
        precision=precision, acquisition_function=acquisition_function, constrained=constrained,
        num_basins=num_basins, trust_region=trust_region,
    )  # fmt: skip
    settings = make_settings(
        "gp", space, options, num_startup=num_startup, kernel=kernel, beta=beta, prior=prior,
        prior_strength=prior_strength,
    )  # fmt: skip
    return make_sampler(settings, first_state, _ask, _tell, resize, name="gp")


def _ask(settings: GpSettings, key: Array, state: GpState) -> tuple[GpState, Array]:
    return propose(settings, single_rules(settings), key, state)


def _tell(
    settings: GpSettings, key: Array, state: GpState, unit: Array, outcome: Outcome
) -> tuple[GpState, GpInfo]:
    state, _, info = absorb("gp.tell", settings, key, state, unit, outcome)
    hyper = engine.unravel(state.fitted[0].theta)
    report = GpInfo(
        info.status,
        state.counts.num_observed,
        state.counts.num_failed,
        state.rows.num_dropped,
        jnp.exp(hyper.log_lengthscale),
        jnp.exp(hyper.log_noise),
    )
    return state, report
