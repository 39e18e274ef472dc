"""Samplers made of samplers: one file each, pure like what they are made of."""

from jaxhpo.samplers.combinators._mixture import mixture as mixture
from jaxhpo.samplers.combinators._restarts import with_restarts as with_restarts
from jaxhpo.samplers.combinators._warm_start import warm_start as warm_start

__all__ = [
    "mixture",
    "warm_start",
    "with_restarts",
]
