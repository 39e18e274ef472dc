"""Every test here runs in float64 or float32 as it says, whatever the global switch."""

import contextlib
import pathlib
import sys

import jax
import pytest

from tests.compiler import all_optimizations

sys.path.insert(0, str(pathlib.Path(__file__).parent))


# Modules and tests where what the compiler makes of a program is itself the claim: memory, bits.
OPTIMIZED = (
    "test_memory", "test_reversible", "test_tasks", "test_forward_agrees", "test_whole_window",
    "test_the_cure",
)  # fmt: skip


@pytest.fixture(autouse=True)
def compiled_as_users_do(request):
    module = request.module.__name__.split(".")[-1]
    is_claim = module.startswith(OPTIMIZED) or request.node.name.startswith(OPTIMIZED)
    with all_optimizations() if is_claim else contextlib.nullcontext():
        yield


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def float32():
    with jax.enable_x64(False):
        yield
