"""Every test here runs in float64 or float32 as it says, whatever the global switch."""

import pathlib
import sys

import jax
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def float32():
    with jax.enable_x64(False):
        yield
