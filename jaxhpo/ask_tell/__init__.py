"""A sampler on the host: compiled, replayed from a history, asked and told.

`Study` and every integration drive their samplers through this room.
"""

from jaxhpo.ask_tell._compilation_cache import enable_compilation_cache as enable_compilation_cache
from jaxhpo.ask_tell._compiled import asked_shape as asked_shape
from jaxhpo.ask_tell._compiled import padded_size as padded_size
from jaxhpo.ask_tell._host_sampler import HostSampler as HostSampler
from jaxhpo.ask_tell._recipe import Recipe as Recipe
from jaxhpo.ask_tell._recipe import Repeatable as Repeatable
from jaxhpo.ask_tell._replay import Proposer as Proposer
from jaxhpo.ask_tell._replay import Told as Told
from jaxhpo.ask_tell._stored_programs import size as size_of_stored_programs

__all__ = [
    "HostSampler",
    "Proposer",
    "Recipe",
    "Repeatable",
    "Told",
    "asked_shape",
    "enable_compilation_cache",
    "padded_size",
    "size_of_stored_programs",
]
