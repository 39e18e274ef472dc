"""How hard the compiler tries: quick tests spend most of their time in it."""

import contextlib

import jax


@contextlib.contextmanager
def fewer_optimizations():
    """Compiles in about half the time, to programs that are slower and round alike."""
    before = jax.config.jax_disable_most_optimizations
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
