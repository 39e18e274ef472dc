"""How hard the compiler tries: quick tests spend most of their time in it."""

import contextlib

import jax

FLAG = "jax_disable_most_optimizations"
by_default = {FLAG: False}


def optimize_less_by_default():
    """Compiles in less time, to programs that are slower and round alike, unless told otherwise."""
    by_default[FLAG] = True
    jax.config.update(FLAG, True)


@contextlib.contextmanager
def fewer_optimizations():
    """Compiles in about half the time where programs are large."""
    with _flag(True):
        yield


@contextlib.contextmanager
def all_optimizations():
    """Compiles as users do: where what the compiler makes of a program is itself the claim."""
    with _flag(False):
        yield


@contextlib.contextmanager
def _flag(value):
    jax.config.update(FLAG, value)
    try:
        yield
    finally:
        jax.config.update(FLAG, by_default[FLAG])
