"""Trials that wait for a rule that does not run any more, or for a process that is gone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo.study.storage._reports import SCHEDULE, is_paused
from jaxhpo.study.storage._reserved import own_attrs

if TYPE_CHECKING:
    from jaxhpo.study._core import StudyCore
    from jaxhpo.study.storage._records import Record

logger = logging.getLogger("jaxhpo")


def waiting_for_rules(study: StudyCore) -> dict[int, str]:
    """The trials that wait for a scheduler: number and name of the rule."""
    return {
        frozen.number: _name(own_attrs(frozen)[SCHEDULE])
        for frozen in study._store.history()
        if is_paused(frozen) and SCHEDULE in own_attrs(frozen)
    }


def warn_of_left(study: StudyCore, excluded: Sequence[int] = ()) -> None:
    """Says which trials wait for another rule than the one that runs, and for how long.

    Args:
        study: the study.
        excluded: numbers of the trials that the rule that runs takes up.
    """
    left = {n: rule for n, rule in waiting_for_rules(study).items() if n not in set(excluded)}
    if left:
        logger.warning(
            "study %r: %d trials wait for another scheduler (%s), and no other run takes them up: "
            "run it again with the same settings, or end them with `study.prune_waiting()`.",
            study.name,
            len(left),
            ", ".join(sorted(set(left.values()))),
        )


def warn_of_awaited(study: StudyCore, records: Sequence[Record]) -> None:
    """Says for which trials of other processes a run waits, and how to go on without them."""
    where = sorted({_place(record.own.get("owner")) for record in records})
    logger.warning(
        "study %r waits for trials %s, which run on %s. If their processes are gone, "
        "`study.fail_stale(everywhere=True)`, called meanwhile or after Ctrl-C, frees them.",
        study.name,
        [record.number for record in records],
        ", ".join(where),
    )


def _name(entry: Any) -> str:
    return str(entry[0]).partition("-")[0]


def _place(owner: Any) -> str:
    is_known = isinstance(owner, list) and len(owner) > 1
    return f"{owner[0]} (process {owner[1]})" if is_known else "an unknown machine"
