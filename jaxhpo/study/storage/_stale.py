"""Running trials whose process is gone."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo._status import Status
from jaxhpo.study.storage._owner import is_alive, is_dead
from jaxhpo.study.storage._reports import RESUMABLE
from jaxhpo.study.storage._reserved import RESERVED, own_attrs
from jaxhpo.study.storage._rows import HEARTBEAT, Ending
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
    if store.is_new or store.is_read_only:
        return []
    # What ended, and could not be written then, has not failed.
    recover_spooled(store)
    running = store.running()

    silent = _silent_owners(store, running)

    def is_theirs(owner: object) -> bool:
        return everywhere or is_dead(owner) or str(owner) in silent

    abandoned = [trial for trial in running if is_theirs(own_attrs(trial).get("owner"))]
    waiting = [trial for trial in abandoned if own_attrs(trial).keys() & {RESERVED, RESUMABLE}]
    if released := store.release([trial._trial_id for trial in waiting], is_theirs):
        line = "study %r: %d trials wait to be trained again: %s"
        logger.warning(line, store.name, len(released), ENDED_REASON)
    stale = [trial for trial in abandoned if trial not in waiting]
    reasons = [silent.get(str(own_attrs(one).get("owner")), ENDED_REASON) for one in stale]
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


def _silent_owners(store: Store, running: Sequence[Any]) -> dict[str, str]:
    """The processes that cannot be asked and have missed their signs of life, with the reason."""
    promised = {
        trial._trial_id: own[HEARTBEAT]
        for trial in running
        if HEARTBEAT in (own := own_attrs(trial)) and not is_alive(own.get("owner"))
    }
    if not promised:
        return {}
    look = functools.partial(_heartbeats.silent, seconds=promised)
    found = store.read(look, list)
    owners = {t._trial_id: own_attrs(t).get("owner") for t in running if t._trial_id in found}
    return {
        str(owner): SILENT_REASON.format(
            host=owner[0] if isinstance(owner, list | tuple) and owner else "unknown",
            count=_heartbeats.MISSED,
            seconds=promised[i],
        )
        for i, owner in owners.items()
    }
