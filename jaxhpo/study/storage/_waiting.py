"""Trials that wait to be evaluated before any that the sampler proposes: Optuna's enqueued ones.

They are rows of the storage in Optuna's state WAITING with Optuna's own attribute, so that
`optuna.Study.enqueue_trial` and its dashboard fill the same queue.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo import _checks
from jaxhpo._status import Status
from jaxhpo._tracing import owned
from jaxhpo.progress import printable
from jaxhpo.space.internal import sufficient
from jaxhpo.study._trial import unit_of
from jaxhpo.study.storage._reports import is_paused
from jaxhpo.study.storage._reserved import is_released
from jaxhpo.study.storage._rows import FIXED_ATTR, Ending, Row

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from jaxhpo.space import Space
    from jaxhpo.study.storage._store import Store

logger = logging.getLogger("jaxhpo")

_WHERE = "Study.enqueue"

_FIRST_TRIED_ATTR, _RETRIED_ATTR = "failed_trial", "retry_history"
"""The system attributes of `optuna.storages.RetryFailedTrialCallback`."""

_DRAWS = 256
"""Points at random among which what an enqueued trial leaves open is looked for."""

_WAITING_STREAM = 2**32 - 4
"""Stream of the seed's key that draws them."""


class WaitingTrial(NamedTuple):
    """A trial that waits; `values` is a batch of one, `unit` the point of one a batch has lost."""

    number: int
    trial_id: int
    values: Any
    unit: np.ndarray | None = None


def enqueue(store: Store, space: Space, params: Any) -> list[int]:
    """Writes waiting trials; see `Study.enqueue`."""
    listed = params if space._is_many(params) else [params]
    if isinstance(params, list) and not params:
        raise _checks.fail(_WHERE, "params", "at least one trial's", params)
    values = space.encode(listed, np.float64)
    if space.has_constraints and not (is_allowed := _is_feasible(space, values)).all():
        expected = "allowed by the space's constraints"
        raise _checks.fail(_WHERE, "params", expected, listed[int(np.argmin(is_allowed))])
    return [store.enqueue(space.flatten_params(one)) for one in space.decode(values)]


def retry_attrs(retried: list[int]) -> dict[str, Any]:
    """What links a trial to those whose params it runs again; Optuna's own retries say the same."""
    return {_FIRST_TRIED_ATTR: retried[0], _RETRIED_ATTR: retried}


def retried_numbers(frozen: FrozenTrial) -> list[int]:
    """The trials whose params a trial runs again, the first one first."""
    return list(frozen.system_attrs.get(_RETRIED_ATTR, ()))


def waiting(store: Store, space: Space, seed: int) -> Iterator[WaitingTrial]:
    """The trials that wait, those first that were enqueued first.

    Args:
        store: the study's rows.
        space: its space.
        seed: the study's; draws the parameters that a trial enqueued by Optuna leaves open.

    Yields:
        The trials. One that does not lie in the space ends as failed.
    """
    for frozen in store.waiting():
        if is_paused(frozen):
            continue
        if is_released(frozen) and (unit := unit_of(frozen)) is not None:
            yield WaitingTrial(frozen.number, frozen._trial_id, space.host_values(unit[None]), unit)
            continue
        fixed = frozen.system_attrs.get(FIXED_ATTR, {})
        try:
            values = _complete_params(space, fixed, (seed, frozen.number))
        except (ValueError, TypeError) as error:
            _fail_waiting(
                store, frozen, f"the enqueued parameters do not lie in the space: {error}"
            )
            continue
        yield WaitingTrial(frozen.number, frozen._trial_id, values)


def _complete_params(space: Space, fixed: dict[str, Any], seeds: tuple[int, int]) -> Any:
    """Values of an enqueued trial; parameters that it leaves open come from a random point.

    Raises:
        ValueError: none of them goes with what is fixed.
    """
    try:
        return space.encode([space.unflatten_params(fixed)], np.float64)
    except ValueError as error:
        reason = error
    seed = np.int64(seeds[0]).astype(jnp.result_type(int))
    values = jax.device_get(_draw(space, seed, np.uint32(seeds[1])))
    drawn = [space.flatten_params(one) for one in space.decode(values)]
    pool: dict[str, Any] = {}
    for flat in drawn:
        pool = {**flat, **pool}
    for flat in drawn:
        try:
            params = space.unflatten_params(fixed, others={**pool, **flat})
            values = space.encode([params], np.float64)
        except ValueError as error:
            reason = error
            continue
        if bool(_is_feasible(space, values)[0]):
            return values
        reason = ValueError("no random values of the other parameters satisfy the constraints")
    raise reason


def _sample(space: Space, seed: Any, number: Any) -> Any:
    """Values of points at random, from which a waiting trial takes what it leaves open."""
    key = jax.random.fold_in(jax.random.key(seed), np.uint32(_WAITING_STREAM))
    return space.sample(jax.random.fold_in(key, number), _DRAWS)


def _is_feasible(space: Space, values: Any) -> np.ndarray:
    """Whether the constraints hold, which see the exact values: `[n]` bool."""
    with sufficient(space.leaves):
        return np.asarray(_feasible(space, values))


# Whole programs: run operation by operation, each of them would be compiled by itself.
_draw = owned.jit(_sample, functions_in=(0,))
_feasible = owned.jit(lambda space, values: space.feasible(values), functions_in=(0,))


def _fail_waiting(store: Store, frozen: FrozenTrial, reason: str) -> None:
    """Ends a waiting trial as failed."""
    if store.begin(frozen._trial_id, Row(Status.RUNNING, None, {}, {})):
        logger.warning(
            "study %r: trial %d failed: %s", store.name, frozen.number, printable(reason)
        )
        store.finish([Ending(frozen._trial_id, Status.FAILED, None, {"reason": reason})])
