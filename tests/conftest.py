"""Strictness for every test: promotions must be explicit, and the seed is fixed.

The x64 switch comes from the environment (JAX_ENABLE_X64), so that one command runs either mode.
"""

import os

# Two host devices, so that sharding is really exercised on one machine.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# No test may write into the user's folders.
os.environ["JAXHPO_CACHE"] = "0"

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key():
    """A fixed key."""
    return jax.random.key(20)
