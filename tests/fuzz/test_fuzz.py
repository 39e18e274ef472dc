"""Public functions with arguments at random: an answer, or an error that names the argument.

No hang, no silent NaN, nothing outside of its bounds. `-m slow` draws 10,000 calls.
"""

import enum
import resource

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz import calls, strategies
from tests.fuzz.verdict import Hangs, fault_of, limited
from tests.malformed import parameters
from tests.test_public_names import CALLABLES

CASES = 10_000
QUICK = 4
SLOW = {"malformed." + name for name in (
    "samplers.cma_es", "sweep", "replay", "slice_of", "draw_paths", "fit", "solve",
)}  # fmt: skip
FIXED = {
    "deadline": None, "database": None, "suppress_health_check": list(HealthCheck),
    "derandomize": True, "phases": [Phase.explicit, Phase.generate],
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def little_memory():
    """An allocation of what does not fit is an error, and no end of the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + 4 * 1024**3
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Some text is drawn for the path of a folder, which is then made."""
    monkeypatch.chdir(tmp_path)


def fuzz(name, count):
    """Draws calls of one function; all faults, each kind of them once."""
    entry = calls.ENTRIES[name]
    good = entry.given() if callable(entry.given) else entry.given
    names = [n for n in parameters(entry.function, good) if n not in entry.keeps]
    assert fault_of(entry, {}) is None or name == "jaxhpo.load_study", fault_of(entry, {})
    if not names:
        return
    faults = {}

    @settings(max_examples=count, **FIXED)
    @given(strategies.changes(entry.function, names))
    def run(changed):
        said = fault_of(entry, changed)
        if said is not None:
            faults.setdefault((tuple(sorted(changed)), said[:60]), f"{changed!r:.300}: {said:.300}")

    run()
    assert not faults, "\n".join(list(faults.values())[:20])


@pytest.mark.parametrize("name", [name for name in calls.ENTRIES if name not in SLOW])
def test_a_few_calls(name):
    fuzz(name, QUICK)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", calls.ENTRIES)
def test_many_calls(name):
    fuzz(name, -(-CASES // len(calls.ENTRIES)))


def test_every_public_function_is_fuzzed_or_says_why_not():
    known = calls.enrolled()
    missing = [
        name
        for name, function in CALLABLES.items()
        if id(calls.core(function)) not in known
        and not calls.is_record(function)
        and not (isinstance(function, type) and issubclass(function, enum.Enum))
        and not name.startswith(tuple(calls.EXCEPTIONS))
    ]
    assert not missing, f"enrol these in tests/fuzz/calls.py, or say why not: {missing}"


def test_each_exception_has_a_use():
    known = calls.enrolled()
    left = [n for n, f in CALLABLES.items() if id(calls.core(f)) not in known]
    unused = [one for one in calls.EXCEPTIONS if not any(n.startswith(one) for n in left)]
    assert not unused


def test_what_is_wrong_is_found():
    """The oracle can fail: a hang, a NaN, an error without a name, and one of another kind."""

    def broken(n):
        while n == "hang":
            pass
        if n == "unnamed":
            raise ValueError("bad")
        if n == "other":
            raise RuntimeError("`n`")
        return float("nan")

    entry = calls.Entry(broken, {"n": "good"})
    assert "names no argument" in fault_of(entry, {"n": "unnamed"})
    assert "RuntimeError" in fault_of(entry, {"n": "other"})
    assert "silent NaN" in fault_of(entry, {"n": 1})
    with pytest.raises(Hangs), limited(0.2):
        broken("hang")
