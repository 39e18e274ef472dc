"""Every sampler against every check, and nobody left out."""

import pytest

from jaxhpo import samplers
from jaxhpo.testing import CHECKS
from tests.registry import QUICK, SAMPLERS


def pairs():
    for case in SAMPLERS:
        for check in CHECKS:
            is_slow = check not in QUICK.get(case.id, CHECKS)
            marks = [pytest.mark.slow] if is_slow else []
            yield pytest.param(case, check, id=f"{case.id}-{check}", marks=marks)


@pytest.mark.parametrize(("case", "check"), list(pairs()))
def test_sampler(case, check):
    CHECKS[check](case)


def test_quick_checks_exist():
    ids = {case.id for case in SAMPLERS}
    assert all(row in ids and checks <= set(CHECKS) for row, checks in QUICK.items())


def test_registry_names_and_exports_agree():
    others = {"Choice", "choose", "get", "mixture", "names", "warm_start", "with_restarts"}
    factories = set(samplers.__all__) - others
    assert {case.name for case in SAMPLERS} == set(samplers.names()) == factories
