"""Samplers by name, for the command line and for studies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxhpo import _checks
from jaxhpo._base import Sampler
from jaxhpo._suggest import did_you_mean
from jaxhpo.samplers._auto import auto
from jaxhpo.samplers._cma_es import cma_es
from jaxhpo.samplers._de import de
from jaxhpo.samplers._gp import gp
from jaxhpo.samplers._gp_multi import gp_multi
from jaxhpo.samplers._gradient import gradient
from jaxhpo.samplers._grid import grid
from jaxhpo.samplers._nsga2 import nsga2
from jaxhpo.samplers._nsga3 import nsga3
from jaxhpo.samplers._pattern import pattern
from jaxhpo.samplers._qmc import qmc
from jaxhpo.samplers._random import random
from jaxhpo.samplers._tpe import tpe
from jaxhpo.samplers._turbo import turbo
from jaxhpo.space import Space

_FACTORIES: dict[str, Callable[..., Sampler]] = {
    "auto": auto,
    "cma_es": cma_es,
    "de": de,
    "gp": gp,
    "gp_multi": gp_multi,
    "gradient": gradient,
    "grid": grid,
    "nsga2": nsga2,
    "nsga3": nsga3,
    "pattern": pattern,
    "qmc": qmc,
    "random": random,
    "tpe": tpe,
    "turbo": turbo,
}


def names() -> tuple[str, ...]:
    """Lists the names that `get` knows, in alphabetical order.

    Returns:
        The names.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.samplers.names()[:4]
        ('auto', 'cma_es', 'de', 'gp')
    """
    return tuple(sorted(_FACTORIES))


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
    if name not in _FACTORIES:
        error = _checks.fail("samplers.get", "name", f"one of {', '.join(names())}", name)
        raise ValueError(f"{str(error).removesuffix('.')}{did_you_mean(name, names()) or '.'}")
    return _FACTORIES[name](space, **settings)
