"""Quick tests of the sampler compile with fewer optimisations, slow ones with all."""

import pytest

from tests.compiler import fewer_optimizations


@pytest.fixture(autouse=True)
def quick_to_compile(request):
    is_sampler = request.module.__name__.endswith(("test_sampler", "test_basins", "test_fantasies"))
    if not is_sampler or request.node.get_closest_marker("slow"):
        yield
        return
    with fewer_optimizations():
        yield
