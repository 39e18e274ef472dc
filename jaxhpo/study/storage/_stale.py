"""Running trials whose process is gone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jaxhpo._status import Status
from jaxhpo.study.storage._owner import is_dead
from jaxhpo.study.storage._reports import RESUMABLE
from jaxhpo.study.storage._reserved import RESERVED, own_attrs
from jaxhpo.study.storage._rows import Ending
from jaxhpo.study.storage.outages._late_results import recover_spooled

if TYPE_CHECKING:
    from jaxhpo.study.storage._store import Store

logger = logging.getLogger("jaxhpo")

ENDED_REASON = "the process that ran it ended before it told a value"


def fail_stale(store: Store, *, everywhere: bool) -> list[int]:
    """Marks running trials as failed: those of dead processes, or all of them.

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

    def is_theirs(owner: object) -> bool:
        return everywhere or is_dead(owner)

    abandoned = [trial for trial in running if is_theirs(own_attrs(trial).get("owner"))]
    waiting = [trial for trial in abandoned if own_attrs(trial).keys() & {RESERVED, RESUMABLE}]
    if released := store.release([trial._trial_id for trial in waiting], is_theirs):
        line = "study %r: %d trials wait to be trained again: %s"
        logger.warning(line, store.name, len(released), ENDED_REASON)
    stale = [trial for trial in abandoned if trial not in waiting]
    reason = {"reason": ENDED_REASON}
    endings = [Ending(trial._trial_id, Status.FAILED, None, reason) for trial in stale]
    already_ended = set(store.finish_now(endings))
    numbers = [trial.number for trial in stale if trial._trial_id not in already_ended]
    if numbers:
        logger.warning(
            "study %r: trials %s are marked as failed: %s", store.name, numbers, ENDED_REASON
        )
    return numbers
