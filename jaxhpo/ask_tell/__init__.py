"""A sampler on the host: compiled, replayed from a history, asked and told.

`Study` and every integration drive their samplers through this room.
"""

from jaxhpo._tracing.compilation_cache import enable_compilation_cache as enable_compilation_cache
from jaxhpo.ask_tell._compile_clock import CompileClock as CompileClock
from jaxhpo.ask_tell._compiled import padded_size as padded_size
from jaxhpo.ask_tell._compiled import proposal_shape_of as proposal_shape_of
from jaxhpo.ask_tell._host_sampler import HostSampler as HostSampler
from jaxhpo.ask_tell._replay import Evaluations as Evaluations
from jaxhpo.ask_tell._replay import Proposer as Proposer
from jaxhpo.ask_tell._sampler_spec import Repeatable as Repeatable
from jaxhpo.ask_tell._sampler_spec import SamplerSpec as SamplerSpec
from jaxhpo.ask_tell._sampler_spec import bare_space as bare_space
from jaxhpo.ask_tell._stored_programs import size as size_of_stored_programs

__all__ = [
    "CompileClock",
    "Evaluations",
    "HostSampler",
    "Proposer",
    "Repeatable",
    "SamplerSpec",
    "bare_space",
    "enable_compilation_cache",
    "padded_size",
    "proposal_shape_of",
    "size_of_stored_programs",
]
