"""How hard the compiler tries: quick tests spend most of their time in it."""

import contextlib
import os

import jax

FLAG = "jax_disable_most_optimizations"
by_default = {FLAG: False}

# A quarter of the time on two cores. The first is unknown to later versions, which stop at it.
XLA_FLAGS = ["--xla_cpu_parallel_codegen_split_count=1"]
if jax.version.__version_info__ < (0, 11):
    XLA_FLAGS.insert(0, "--xla_cpu_use_fusion_emitters=false")


def optimize_less_by_default():
    """Compiles in less time, to programs that are slower and round alike, unless told otherwise.

    To be called before the first program; what the tests start inherits it.
    """
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *XLA_FLAGS])
    os.environ[FLAG.upper()] = "1"
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
