"""Public conformance checks: one row enrols a sampler or a scheduler, your own included.

Example:
    >>> import jaxhpo as hpo
    >>> from jaxhpo.testing import SamplerCase, check_sampler
    >>> case = SamplerCase("random", hpo.samplers.random)
    >>> check_sampler(case, only=["signatures", "info"])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from jaxhpo import _checks
from jaxhpo.testing import (
    _bounds,
    _discrete,
    _failures,
    _invariance,
    _objectives,
    _progress,
    _protocol,
    _transforms,
)
from jaxhpo.testing._case import SamplerCase as SamplerCase
from jaxhpo.testing._scheduler_case import SchedulerCase as SchedulerCase
from jaxhpo.testing._schedulers import SCHEDULER_CHECKS as SCHEDULER_CHECKS

__all__ = [
    "CHECKS",
    "SCHEDULER_CHECKS",
    "SamplerCase",
    "SchedulerCase",
    "check_sampler",
    "check_scheduler",
]

CHECKS: dict[str, Callable[[SamplerCase], None]] = {
    **_protocol.CHECKS,
    **_transforms.CHECKS,
    **_bounds.CHECKS,
    **_failures.CHECKS,
    **_invariance.CHECKS,
    **_discrete.CHECKS,
    **_objectives.CHECKS,
    **_progress.CHECKS,
}
"""All checks by name; each raises AssertionError where the sampler breaks its promise."""


def check_sampler(case: SamplerCase, only: Iterable[str] | None = None) -> None:
    """Runs the conformance checks on one sampler.

    Args:
        case: the sampler's row.
        only: names of checks, of `CHECKS`; None runs all.

    Raises:
        AssertionError: a check failed; a note names it.
        ValueError: `only` names a check that does not exist.
    """
    _run_checks("check_sampler", CHECKS, case, only, "sampler")


def check_scheduler(case: SchedulerCase, only: Iterable[str] | None = None) -> None:
    """Runs the conformance checks on one scheduler.

    Args:
        case: the scheduler's row.
        only: names of checks, of `SCHEDULER_CHECKS`; None runs all.

    Raises:
        AssertionError: a check failed; a note names it.
        ValueError: `only` names a check that does not exist.

    Example:
        >>> import jaxhpo as hpo
        >>> counts = (30, 15, 7, 3, 1)
        >>> case = SchedulerCase("halving", hpo.schedulers.halving, counts, {"first_rung": 2})
        >>> check_scheduler(case, only=["keep_counts"])
    """
    _run_checks("check_scheduler", SCHEDULER_CHECKS, case, only, "scheduler")


def _run_checks(
    where: str, checks: dict[str, Any], case: Any, only: Iterable[str] | None, kind: str
) -> None:
    for name in checks if only is None else only:
        if name not in checks:
            raise _checks.fail(where, "only", f"among {', '.join(checks)}", name)
        try:
            checks[name](case)
        except AssertionError as error:
            error.add_note(f"conformance check {name!r} of {kind} {case.id!r}")
            raise
