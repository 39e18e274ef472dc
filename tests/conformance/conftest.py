"""Quick checks of heavy samplers compile with fewer optimisations, all others as users do."""

import pytest

from tests.registry import QUICK


@pytest.fixture(autouse=True)
def quick_to_compile(request):
    case = getattr(request.node, "callspec", None) and request.node.callspec.params.get("case")
    is_heavy = case is not None and case.id in QUICK
    if not is_heavy or request.node.get_closest_marker("slow"):
        yield
        return
