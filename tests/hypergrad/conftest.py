"""Every test here runs in float64 or float32 as it says, whatever the global switch."""

import pathlib
import sys

import jax
import pytest

from tests.compiler import all_optimizations, fewer_optimizations

sys.path.insert(0, str(pathlib.Path(__file__).parent))


# Modules and tests where what the compiler makes of a program is itself the claim: memory, bits.
OPTIMIZED = (
    "test_memory", "test_reversible", "test_tasks", "test_forward_agrees", "test_whole_window",
    "test_the_cure",
)  # fmt: skip


@pytest.fixture(autouse=True)
def quick_to_compile(request):
    """Quick tests spend their time in the compiler, so it optimises less; slow ones do not."""
    module = request.module.__name__.split(".")[-1]
    is_claim = module.startswith(OPTIMIZED) or request.node.name.startswith(OPTIMIZED)
    if is_claim or request.node.get_closest_marker("slow"):
        with all_optimizations():
            yield
        return
    with fewer_optimizations():
        yield


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def float32():
    with jax.enable_x64(False):
        yield
