"""Running trials whose process is gone."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo._status import Status
from jaxhpo.study.storage._owner import is_alive, is_dead
from jaxhpo.study.storage._reserved import RESERVED, own_attrs
from jaxhpo.study.storage._rows import HEARTBEAT, RESUMABLE, Ending
from jaxhpo.study.storage.outages import _heartbeats
from jaxhpo.study.storage.outages._late_results import recover_spooled

if TYPE_CHECKING:
    from jaxhpo.study.storage._store import Store

logger = logging.getLogger("jaxhpo")

ENDED_REASON = "the process that ran it ended before it told a value"

SILENT_REASON = (
    "the process that ran it on {host!r} has vanished: it missed {count} signs of life, "
    "one every {seconds:g} s"
)


def fail_stale(store: Store, *, everywhere: bool) -> list[int]:
    """Marks running trials as failed: those of dead processes, or all of them.

    On machines that cannot be asked those of silent processes, if they have promised signs of life.
    Those that were part of a batch wait again, with their numbers: nothing was trained of them that
    could fail, and their points are not lost. So do those whose objective can go on with them.

    Args:
        store: the study's rows.
        everywhere: all of them, whoever runs them.

    Returns:
        Numbers of those that failed.
    """
    if store.is_read_only:
        return []
    # What ended, and could not be written then, has not failed.
    recover_spooled(store)
    running = store.running()
    silent = _silent(store, running)
    owners = {str(own_attrs(trial).get("owner")) for trial in running if trial._trial_id in silent}

    def is_theirs(owner: object) -> bool:
        return everywhere or is_dead(owner) or str(owner) in owners

    def is_abandoned(trial: Any) -> bool:
        return everywhere or trial._trial_id in silent or is_dead(own_attrs(trial).get("owner"))

    abandoned = [trial for trial in running if is_abandoned(trial)]
    waiting = [trial for trial in abandoned if own_attrs(trial).keys() & {RESERVED, RESUMABLE}]
    if released := store.release([trial._trial_id for trial in waiting], is_theirs):
        line = "study %r: %d trials wait to be trained again: %s"
        logger.warning(line, store.name, len(released), ENDED_REASON)
    stale = [trial for trial in abandoned if trial not in waiting]
    reasons = [silent.get(one._trial_id, ENDED_REASON) for one in stale]
    endings = [
        Ending(trial._trial_id, Status.FAILED, None, {"reason": reason})
        for trial, reason in zip(stale, reasons, strict=True)
    ]
    already_ended = set(store.finish_now(endings))
    numbers = [trial.number for trial in stale if trial._trial_id not in already_ended]
    if numbers:
        why = "; ".join(sorted(set(reasons)))
        logger.warning("study %r: trials %s are marked as failed: %s", store.name, numbers, why)
    return numbers


def _silent(store: Store, running: Sequence[Any]) -> dict[int, str]:
    """Trials whose processes cannot be asked and have missed signs of life, with the reason.

    Each trial has signs of its own: a process may have lost hold of one, and run others.
    """
    promised = {
        trial._trial_id: own
        for trial in running
        if HEARTBEAT in (own := own_attrs(trial)) and not is_alive(own.get("owner"))
    }
    if not promised:
        return {}
    seconds = {trial_id: own[HEARTBEAT] for trial_id, own in promised.items()}
    found = store.read(functools.partial(_heartbeats.silent, seconds=seconds), list)
    return {trial_id: _reason(promised[trial_id]) for trial_id in found}


def _reason(own: dict[str, Any]) -> str:
    owner = own.get("owner")
    host = owner[0] if isinstance(owner, list | tuple) and owner else "unknown"
    return SILENT_REASON.format(host=host, count=_heartbeats.MISSED, seconds=own[HEARTBEAT])
