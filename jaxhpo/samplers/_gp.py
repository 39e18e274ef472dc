"""Bayesian optimization with a Gaussian process: the factory and its three functions."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxhpo import _checks, acquisition
from jaxhpo import gp as engine
from jaxhpo._base import Array, Outcome, PyTree, Sampler, has_proposal, make_sampler
from jaxhpo.samplers import _gp_model as model
from jaxhpo.samplers import _gp_search as search
from jaxhpo.samplers._gp_state import Observations, check_room, no_observations
from jaxhpo.samplers._lattice import finite_lattice
from jaxhpo.samplers._qmc import qmc
from jaxhpo.samplers._stream import Tally, check_space, new_tally, told_points
from jaxhpo.samplers._visited import Visited
from jaxhpo.space import Space

_NOISE_FLOOR = {"float64": 1e-8, "float32": 1e-4}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GpState:
    """State of `gp`.

    Attributes:
        rows: what is known.
        start: state of the low-discrepancy sequence, which also keeps count of a finite space.
        tally: what has been told.
        thetas: `[g + 2]` hyperparameters of the objective's model, and of the violation's if there
            is one.
        num_fitted: `[]` int32, told rows that the last fit has seen.
    """

    rows: Observations
    start: PyTree
    tally: Tally
    thetas: tuple[Array, ...]
    num_fitted: Array


class GpInfo(NamedTuple):
    """What `gp` reports of a tell.

    Attributes:
        status: `[]` int32, `Status.EMPTY` if no further point is left, else `Status.COMPLETE`.
        num_told: `[]` int32, points told so far.
        num_failed: `[]` int32, those whose value was NaN or infinite.
        num_dropped: `[]` int32, points that the buffers had no row for.
        lengthscale: `[d]` lengthscale of each unit coordinate in the last fit.
        noise: `[]` noise variance in the last fit, where targets have unit deviation.
    """

    status: Array
    num_told: Array
    num_failed: Array
    num_dropped: Array
    lengthscale: Array
    noise: Array


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
    num_candidates: int = 512,
    num_lanes: int = 6,
    num_basins: int = 4,
    num_active: int = 512,
    precision: str = "float64",
) -> Sampler:
    """Bayesian optimization: a Gaussian process of the values so far says where to look next.

    After a low-discrepancy start, each proposal maximises an acquisition function of an exact
    Gaussian process with one lengthscale a coordinate, fitted by maximum a posteriori. Values are
    standardised, and compressed above the median, so that outliers do no harm; known noise
    (`Outcome.se`) is used, further noise is learned. Failed trials count as the worst value. Points
    still running are filled in by draws from the model, so batches and workers do not crowd.
    Categories have Hamming distances; parameters of inactive branches count for nothing.

    When to use it: trials dearer than some milliseconds, up to some twenty dimensions. A few hundred
    trials show it at its best; of thousands it conditions on `num_active` at a time, so that a
    proposal costs the same however long the study. For many cheap trials use `qmc` or `cma_es`.

    Args:
        space: the search space; its bounds may be traced.
        batch_size: static; rows of one `ask`.
        capacity: static; observations that the state holds. `minimize` and `Study` change it as
            needed; a sampler driven by hand drops points beyond it (and says so).
        num_startup: static; points told before the model takes over; None means the number of
            dimensions plus 1, but 4 at least and 10 at most.
        acquisition_function: static; "log_ei" (log expected improvement), "log_pi" (of its
            probability) or "ucb" (optimistic bound).
        beta: squared number of deviations of "ucb"; traced.
        kernel: static; "matern52" or "rbf".
        constrained: static; whether `Outcome.violation` gets a model of its own, by which proposals
            are weighted with their probability of being feasible. Without it an infeasible trial
            counts as failed.
        num_candidates: static; points at which the acquisition function is tried first.
        num_lanes: static; quasi-Newton searches that start from the best of them, at least 3.
        num_basins: static; a minimum that has been reached is left alone in three proposals of
            four, and other basins are searched from a start of their own; up to so many minima.
            0: never.
        num_active: static; observations that the model is conditioned on, at most: the best ones,
            those around the best, the newest, and a spread over all others.
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
        https://arxiv.org/abs/2402.02229 (lengthscales that grow with the dimension).
    """
    space = check_space("gp", space)
    batch_size = _checks.check_int("gp", "batch_size", batch_size, 1)
    capacity = _checks.check_int("gp", "capacity", capacity, 1)
    start = min(10, max(4, space.num_dims + 1)) if num_startup is None else num_startup
    start = _checks.check_int("gp", "num_startup", start, 1)
    _check_choice("acquisition_function", acquisition_function, search.ACQUISITIONS)
    _check_choice("kernel", kernel, ("matern52", "rbf"))
    _check_choice("precision", precision, tuple(_NOISE_FLOOR))
    if not isinstance(constrained, bool):
        raise TypeError(f"gp: `constrained` must be a bool, got {_checks.describe(constrained)}.")
    num_candidates = _checks.check_int("gp", "num_candidates", num_candidates, 16)
    num_lanes = _checks.check_int("gp", "num_lanes", num_lanes, 3)
    num_basins = _checks.check_int("gp", "num_basins", num_basins, 0)
    num_active = _checks.check_int("gp", "num_active", num_active, 32)
    beta = _checks.check_positive("gp", "beta", beta)
    embedding = acquisition.embedding_of(space)
    budget = acquisition.Budget(num_candidates, num_candidates // 4, num_lanes)
    options = search.Options(
        batch_size,
        capacity,
        start,
        acquisition_function,
        constrained,
        precision,
        num_basins,
        num_active,
        budget,
    )
    settings = search.GpSettings(
        space=space,
        start=qmc(space),
        table=jnp.asarray(
            search.candidate_table(num_candidates + num_candidates // 4, space.num_dims + 2)
        ),
        prior=engine.default_prior(
            space.num_dims, jnp.float32, noise_floor=_NOISE_FLOOR[precision]
        ),
        beta=jnp.asarray(beta, jnp.result_type(float)),
        kernel=embedding.kernel(kernel),
        embedding=embedding,
        lattice=finite_lattice(space),
        options=options,
    )
    return make_sampler(settings, _init, _ask, _tell, _resize)


def _check_choice(argument: str, value: Any, known: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in known:
        raise _checks.fail("gp", argument, f"one of {', '.join(known)}", value)


def _init(settings: search.GpSettings, key: Array) -> GpState:
    options, dtype = settings.options, jnp.result_type(float)
    theta = model.first_theta(settings.prior).astype(dtype)
    return GpState(
        rows=no_observations(options.capacity, settings.space.num_dims),
        start=settings.start.init(key),
        tally=new_tally(),
        thetas=(theta,) * (1 + options.constrained),
        num_fitted=jnp.zeros((), jnp.int32),
    )


def _resize(settings: search.GpSettings, state: GpState, capacity: int) -> GpState:
    """The same knowledge in buffers of another capacity (static)."""
    del settings  # the capacity is the shape of the buffers
    return dataclasses.replace(state, rows=state.rows.resize(capacity))


def _ask(settings: search.GpSettings, key: Array, state: GpState) -> tuple[GpState, Array]:
    has_model = state.rows.num_told >= settings.options.num_startup
    thetas, num_fitted = search.refit(settings, state.rows, state.thetas, state.num_fitted)
    state = dataclasses.replace(state, thetas=thetas, num_fitted=num_fitted)

    def row(state: GpState, key: Array) -> tuple[GpState, Array]:
        key_search, key_start = jax.random.split(key)
        nothing = jnp.full(settings.space.num_dims, jnp.nan, jnp.result_type(float))
        unit = jax.lax.cond(
            has_model,
            lambda: search.search(settings, key_search, state.rows, state.thetas),
            lambda: nothing,
        )
        start, unit = jax.lax.cond(
            has_proposal(unit),
            lambda: (_close(settings, state.start, unit), unit),
            lambda: _follow(settings, key_start, state.start),
        )
        unit = settings.space.snap(unit)
        return dataclasses.replace(state, start=start, rows=state.rows.ask(unit)), unit

    q = settings.options.batch_size
    if q == 1:
        state, unit = row(state, key)
        return state, unit[None]
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(q, dtype=jnp.uint32))
    return jax.lax.scan(row, state, keys)


def _tell(
    settings: search.GpSettings, key: Array, state: GpState, unit: Array, outcome: Outcome
) -> tuple[GpState, GpInfo]:
    unit = told_points("gp.tell", settings.space, unit, outcome)
    if outcome.value.ndim != 1:
        expected = "of shape [q]: `gp` takes one objective"
        raise _checks.fail("gp.tell", "outcome.value", expected, outcome.value.shape)
    check_room("gp.tell", state.rows, unit)
    start, info = settings.start.tell(key, state.start, unit, outcome)
    rows = state.rows.tell(unit, outcome)
    tally = state.tally.add(has_proposal(unit), outcome)
    hyper = engine.unravel(state.thetas[0])
    report = GpInfo(
        info.status,
        tally.num_told,
        tally.num_failed,
        rows.num_dropped,
        jnp.exp(hyper.log_lengthscale),
        jnp.exp(hyper.log_noise),
    )
    return dataclasses.replace(state, rows=rows, start=start, tally=tally), report


def _close(settings: search.GpSettings, start: PyTree, unit: Array) -> PyTree:
    """Closes a proposed configuration of a finite space."""
    if settings.lattice is None or not isinstance(start.known, Visited):
        return start
    known = start.known.add(*settings.lattice.number(settings.space, unit[None]))
    return dataclasses.replace(start, known=known)


def _follow(settings: search.GpSettings, key: Array, start: PyTree) -> tuple[PyTree, Array]:
    """The next point of the low-discrepancy sequence."""
    start, unit = settings.start.ask(key, start)
    return start, unit[0]
