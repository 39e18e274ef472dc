"""The table of faults: each row is a function that injects one, and says what became of trials."""

import dataclasses
from collections.abc import Callable

from tests.faults.harness import Tally


@dataclasses.dataclass(frozen=True)
class Row:
    """A fault.

    Attributes:
        inject: `(nursery, folder, times) -> Tally`; `times` studies are hit by it.
        few: how often in the quick tests; 0 for the slow ones only.
        many: how often in the slow tests and in the benchmark.
    """

    inject: Callable[..., Tally]
    few: int
    many: int


FAULTS: dict[str, Row] = {}


def row(name, *, few=0, many):
    """Makes a function a row; it gets the row's name as its first argument."""

    def add(function):
        assert name not in FAULTS, name
        FAULTS[name] = Row(lambda *args: function(name, *args), few, many)
        return function

    return add


def load():
    """The table with all its rows."""
    from tests.faults import disks, engines, processes, servers  # noqa: F401

    return FAULTS
