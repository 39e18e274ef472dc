"""Samplers by name, for the command line and for studies."""

from __future__ import annotations

from typing import Any

from jaxhpo import _checks
from jaxhpo._base import Sampler
from jaxhpo.samplers._traits import REGISTRY
from jaxhpo.space import Space


def names() -> tuple[str, ...]:
    """Lists the names that `get` knows, in alphabetical order.

    Returns:
        The names.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.samplers.names()[:4]
        ('auto', 'cma_es', 'de', 'gp')
    """
    return tuple(sorted(REGISTRY))


def get(name: Any, space: Space, **settings: Any) -> Sampler:
    """Makes a sampler from its name.

    Args:
        name: one of `names()`; a ready `Sampler` is returned as it is.
        space: the search space.
        **settings: settings of the factory of that name.

    Returns:
        The sampler.

    Raises:
        TypeError: `name` is neither a name nor a sampler, or settings come with a ready sampler.
        ValueError: no sampler has this name; the message lists those that exist.

    Example:
        >>> import jaxhpo as hpo
        >>> space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
        >>> sampler = hpo.samplers.get("qmc", space, sequence="halton")
    """
    if isinstance(name, Sampler):
        if settings:
            expected = "a name where settings are given"
            raise TypeError(f"samplers.get: `name` must be {expected}, got a ready sampler.")
        return name
    if not isinstance(name, str):
        got = _checks.describe(name)
        raise TypeError(f"samplers.get: `name` must be a name or a Sampler, got {got}.")
    if name not in REGISTRY:
        raise _checks.unknown_name("samplers.get", "name", names(), name)
    return REGISTRY[name].factory(space, **settings)
