"""One thread for the linear algebra of the package's own programs.

On a CPU, JAX takes LAPACK from the OpenBLAS that SciPy brings. Its threads spin while they wait for
a core that other processes keep busy, and small matrices gain nothing from them. NumPy has an
OpenBLAS of its own, so the number of its threads stays what it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

_MODULE = "scipy.linalg.cython_lapack"
"""Where jaxlib looks LAPACK up; it imports this for the first program that needs it."""

_PREFIXES = ("scipy_openblas", "openblas")


class _Threads(NamedTuple):
    """The functions of a library that count its threads."""

    get: Callable[[], int]
    set: Callable[[int], None]


class _Limit:
    """Whether some thread is inside `one_thread`, and what to go back to."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth, self.before = 0, 1
        self.threads: _Threads | None = None
        self.has_looked = False


_limit = _Limit()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within, LAPACK as JAX calls it on a CPU uses one thread, in all threads of the process.

    What runs inside should have ended at its end: block on its result. Costs a few microseconds.
    Where LAPACK is another library than OpenBLAS, or is not loaded yet, nothing changes.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    with _limit.lock:
        _limit.depth += 1
        if not _limit.has_looked and (module := sys.modules.get(_MODULE)) is not None:
            _limit.threads, _limit.has_looked = _functions(module.__file__), True
        if _limit.depth == 1 and _limit.threads is not None:
            _limit.before = _limit.threads.get()
            if _limit.before > 1:
                _limit.threads.set(1)


def _leave() -> None:
    with _limit.lock:
        _limit.depth -= 1
        if _limit.depth == 0 and _limit.threads is not None and _limit.before > 1:
            _limit.threads.set(_limit.before)
            _limit.before = 1


def _functions(path: str | None) -> _Threads | None:
    """Those of the OpenBLAS that an extension module is linked to; None if it is to another one."""
    try:
        # Names are looked up in what the module depends on as well; on Windows they are not.
        library = ctypes.CDLL(path)
    except (OSError, TypeError):
        return None
    for prefix in _PREFIXES:
        with contextlib.suppress(AttributeError):
            get = getattr(library, f"{prefix}_get_num_threads")
            change = getattr(library, f"{prefix}_set_num_threads")
            get.argtypes, get.restype = [], ctypes.c_int
            change.argtypes, change.restype = [ctypes.c_int], None
            return _Threads(get, change)
    return None
