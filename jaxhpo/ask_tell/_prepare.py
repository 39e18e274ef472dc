"""What the process runs that compiles a sampler's next capacity; see `_compile_ahead`."""

from __future__ import annotations

import pickle
import sys

import jax

from jaxhpo.ask_tell import _stored_programs
from jaxhpo.ask_tell._compiled import prepare


def main() -> int:
    """Reads the arguments of `prepare` from standard input; returns 0 if it has called it."""
    surroundings, capacity, sampler, key, state, *others = pickle.load(sys.stdin.buffer)
    # Otherwise these would be other programs than those that are waited for.
    if surroundings != _stored_programs.surroundings():
        return 1
    # What comes out of a stored program is bound to its device, and that is part of the next one.
    state = jax.device_put(state, jax.local_devices()[0])
    prepare(capacity, sampler, key, state, *others)
    return 0
