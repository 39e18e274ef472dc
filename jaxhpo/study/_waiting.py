"""Trials that wait to be evaluated before any that the sampler proposes: Optuna's enqueued ones.

They are rows of the storage in Optuna's state WAITING with Optuna's own attribute, so that
`optuna.Study.enqueue_trial` and its dashboard fill the same queue.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from jaxhpo import _checks
from jaxhpo._status import Status
from jaxhpo.study._rows import FIXED_ATTR, Ending
from jaxhpo.study._trial import status_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from jaxhpo.space import Space
    from jaxhpo.study._store import Store

logger = logging.getLogger("jaxhpo")

_WHERE = "Study.enqueue"


class Begun(NamedTuple):
    """A trial that waited and is running now; `values` is a batch of one."""

    number: int
    trial_id: int
    values: Any


def enqueue(store: Store, space: Space, params: Any) -> list[int]:
    """Writes waiting trials; see `Study.enqueue`."""
    listed = params if isinstance(params, list) else [params]
    if not listed:
        raise _checks.fail(_WHERE, "params", "at least one trial's", params)
    decoded = space.decode(space.encode(listed))
    return [store.enqueue(space.flatten_params(one)) for one in decoded]


def begin(store: Store, space: Space, key: jax.Array) -> Iterator[Begun]:
    """Begins waiting trials, those first that were enqueued first.

    Args:
        store: the study's rows.
        space: its space.
        key: draws the parameters that a trial enqueued by Optuna leaves open.

    Yields:
        The trials. One that does not lie in the space ends as failed, and one that another process
        has begun is left to it.
    """
    for frozen in store.trials():
        if status_of(frozen) is not Status.WAITING or not store.begin(frozen._trial_id):
            continue
        values = _completed(space, frozen, jax.random.fold_in(key, np.uint32(frozen.number)))
        if values is None:
            _refuse(store, frozen)
        else:
            yield Begun(frozen.number, frozen._trial_id, values)


def _completed(space: Space, frozen: FrozenTrial, key: jax.Array) -> Any:
    """Values of a waiting trial, what it leaves open drawn at random; None if there are none."""
    fixed = frozen.system_attrs.get(FIXED_ATTR, {})
    [drawn] = space.decode(space.sample(key, 1))
    for flat in (fixed, {**space.flatten_params(drawn), **fixed}):
        try:
            return space.encode([space.unflatten_params(flat)])
        except (ValueError, TypeError):
            continue
    return None


def _refuse(store: Store, frozen: FrozenTrial) -> None:
    fixed = frozen.system_attrs.get(FIXED_ATTR)
    reason = f"the enqueued parameters {fixed} do not lie in the space"
    logger.warning("study %r: trial %d failed: %s", store.name, frozen.number, reason)
    store.finish([Ending(frozen._trial_id, Status.FAILED, None, {"reason": reason})])
