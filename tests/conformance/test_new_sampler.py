"""The sampler of docs/new-sampler.md: the page's code is the code that is checked here."""

import pathlib
import re

import pytest

from jaxhpo.testing import CHECKS

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "new-sampler.md"
QUICK = {"signatures", "state_is_stable", "key_reuse", "mixed", "all_failed", "padding", "branin"}


@pytest.fixture(scope="module")
def case():
    block = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)[0]
    names = {"__name__": "new_sampler"}
    exec(compile(block, str(PAGE), "exec"), names)
    return names["case"]


@pytest.mark.parametrize(
    "check", [pytest.param(c, marks=[] if c in QUICK else [pytest.mark.slow]) for c in CHECKS]
)
def test_sampler_of_the_page(case, check):
    CHECKS[check](case)
