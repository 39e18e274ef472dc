"""Every sampler against every check, and nobody left out."""

import pytest

from jaxhpo import samplers
from jaxhpo.testing import CHECKS
from tests.registry import SAMPLERS


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", SAMPLERS, ids=lambda case: case.id)
def test_sampler(case, check):
    CHECKS[check](case)


def test_registry_names_and_exports_agree():
    factories = set(samplers.__all__) - {"get", "names"}
    assert {case.name for case in SAMPLERS} == set(samplers.names()) == factories
