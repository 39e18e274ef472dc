"""How hard the compiler tries: most tests spend most of their time in it."""

import contextlib
import os

import jax

FLAG = "jax_disable_most_optimizations"

# A quarter of the time on two cores. The first is unknown to later versions, which stop at it.
XLA_FLAGS = ["--xla_cpu_parallel_codegen_split_count=1"]
if jax.version.__version_info__ < (0, 11):
    XLA_FLAGS.insert(0, "--xla_cpu_use_fusion_emitters=false")


def optimize_less():
    """Compiles in a third of the time, to programs that are slower and round alike.

    To be called before the first program; what the tests start inherits it.
    """
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *XLA_FLAGS])
    os.environ[FLAG.upper()] = "1"
    jax.config.update(FLAG, True)


@contextlib.contextmanager
def all_optimizations():
    """Compiles as users do: where what the compiler makes of a program is itself the claim."""
    jax.config.update(FLAG, False)
    try:
        yield
    finally:
        jax.config.update(FLAG, True)
