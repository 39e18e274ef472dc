"""Strictness for every test: promotions must be explicit, and the seed is fixed.

The x64 switch comes from the environment (JAX_ENABLE_X64), so that one command runs either mode.
"""

import itertools
import os
import pathlib
import signal
import zlib

# Two host devices, so that sharding is really exercised on one machine.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Small matrices gain nothing from threads, and threads that wait for a busy core spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may write into the user's folders.
os.environ["JAXHPO_CACHE"] = "0"

import jax
import psutil
import pytest

from tests.compiler import optimize_less
from tests.programs import Programs

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser):
    parser.addoption("--part", metavar="K/N", help="run the K-th of N parts of what was selected")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Keeps one part of the tests; a test stays in its part whatever else is added."""
    if config.option.part is None:
        return
    k, n = map(int, config.option.part.split("/"))
    if not 1 <= k <= n:
        raise pytest.UsageError(f"--part must be K/N with 1 <= K <= N, got {config.option.part}")
    parts = [zlib.crc32(item.nodeid.encode()) % n + 1 for item in items]
    config.hook.pytest_deselected(items=[i for i, p in zip(items, parts, strict=True) if p != k])
    items[:] = [i for i, p in zip(items, parts, strict=True) if p == k]


def pytest_configure(config):
    optimize_less()
    config.pluginmanager.register(Programs(config))


# Compiled programs stay in memory; a process that holds more than this forgets them.
MEMORY_LIMIT = 2 * 1024**3

# Each has memory maps of its own. Linux allows 65,530 to a process; the compiler crashes beyond.
MAP_LIMIT = 40_000
MAPS = pathlib.Path("/proc/self/maps")


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """Keeps a long run of tests within the memory of a small machine."""
    yield
    if psutil.Process().memory_info().rss > MEMORY_LIMIT:
        jax.clear_caches()


COUNT = itertools.count()


@pytest.fixture(autouse=True)
def bounded_maps():
    """Keeps one long module within the memory maps of a process."""
    yield
    if next(COUNT) % 16 == 0 and MAPS.exists() and MAPS.read_bytes().count(b"\n") > MAP_LIMIT:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def interrupts():
    """Ctrl-C as Python comes with it, in the test and in what it starts.

    A shell that starts the tests in the background lets them ignore it, and a run of Ray Tune
    leaves a handler of its own behind.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def key():
    """A fixed key."""
    return jax.random.key(20)
