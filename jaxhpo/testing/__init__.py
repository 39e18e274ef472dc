"""Public conformance checks: one row enrols a sampler, your own included.

Example:
    >>> import jaxhpo as hpo
    >>> from jaxhpo.testing import SamplerCase, check_sampler
    >>> case = SamplerCase("random", hpo.samplers.random)
    >>> check_sampler(case, only=["signatures", "info"])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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

__all__ = [
    "CHECKS",
    "SamplerCase",
    "check_sampler",
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
    for name in CHECKS if only is None else only:
        if name not in CHECKS:
            raise _checks.fail("check_sampler", "only", f"among {', '.join(CHECKS)}", name)
        try:
            CHECKS[name](case)
        except AssertionError as error:
            error.add_note(f"conformance check {name!r} of sampler {case.id!r}")
            raise
