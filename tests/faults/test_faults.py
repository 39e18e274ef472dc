"""No fault loses a trial, runs one twice or leaves one running; the study is what it is without.

`python benchmarks/faults.py` prints the table of these rows.
"""

import pytest

from tests.faults import table
from tests.faults.harness import Nursery, compiled_shim

FAULTS = table.load()
# The clusters' own warnings: open sockets, deprecations.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    """A process that forks others; of no use where nothing can be loaded before the C library."""
    if compiled_shim() is None:
        pytest.skip("no C compiler (cc), or no LD_PRELOAD")
    made = Nursery(tmp_path_factory.mktemp("nursery"))
    yield made
    made.close()


def check(name, times, nursery, folder):
    try:
        found = FAULTS[name].inject(nursery, str(folder), times)
    except (RuntimeError, ImportError) as error:
        if "here" in str(error) or "is installed" in str(error) or isinstance(error, ImportError):
            pytest.skip(str(error))
        raise
    assert found.injected > 0
    assert found.is_clean, f"{found}"


@pytest.mark.parametrize("name", [name for name, row in FAULTS.items() if row.few])
def test_a_sample(name, nursery, tmp_path):
    check(name, FAULTS[name].few, nursery, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FAULTS)
def test_all(name, nursery, tmp_path):
    check(name, FAULTS[name].many, nursery, tmp_path)
