"""The programs of the next capacity, compiled by another process before they are needed.

XLA cannot be stopped: a process that ends while one of its threads compiles is aborted by it. So
another process compiles, into the folder that both share; a thread of this one then reads what is
there, which is short. What is proposed does not depend on any of it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import jax

from jaxhpo.ask_tell import _stored_programs
from jaxhpo.ask_tell._stable_text import NoStableTextError, structure_text

logger = logging.getLogger("jaxhpo")

FULL = 0.75
"""Part of the capacity that is used before the next one is prepared."""

MIN_SECONDS = 5.0
"""Where the rest of it lasts less, the other process would not be ready any earlier."""

_MAX_WAIT = 120.0
_COMMAND = "import sys; from jaxhpo.ask_tell import _prepare; sys.exit(_prepare.main())"


class CompileAhead:
    """Starts the other process once for each capacity, where there is time enough for it."""

    def __init__(self) -> None:
        """Starts nothing."""
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._capacity = self._first = self._prepared = 0
        self._began = 0.0

    def is_due(self, count: int, capacity: int) -> bool:
        """Whether there is something to do for the next capacity; asked before each ask and tell.

        Args:
            count: observations that there are.
            capacity: how many the buffers hold.
        """
        if capacity != self._capacity:
            self._capacity, self._first, self._began = capacity, count, time.monotonic()
        if self._prepared > capacity:
            return self._process is not None and self._process.poll() is not None
        if count < FULL * capacity or count == self._first:
            return False
        each = (time.monotonic() - self._began) / (count - self._first)
        return (capacity - count) * each >= MIN_SECONDS

    def go_on(self, prepare: Callable[..., None], capacity: int, *args: Any) -> None:
        """Starts the other process, or reads what it has compiled once it has ended.

        Args:
            prepare: called with the capacity and `args`, compiles; it must change nothing.
            capacity: the next one.
            args: the sampler, and others.
        """
        if self._process is None:
            self._prepared = capacity  # also if nothing comes of it: once is enough
            self._process = _started(capacity, *args)
            if self._process is not None:
                weakref.finalize(self, _end, self._process)
            return
        has_compiled, self._process = self._process.returncode == 0, None
        if has_compiled:
            surroundings = _stored_programs.surroundings()
            # No daemon: it may not be cut short, and does not take long.
            arguments = (prepare, surroundings, capacity, *args)
            self._thread = threading.Thread(target=_read, args=arguments)
            self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the other process or the thread is at work."""
        is_reading = self._thread is not None and self._thread.is_alive()
        return is_reading or (self._process is not None and self._process.poll() is None)

    def wait(self) -> None:
        """Waits until nothing is at work; ends the other process if it takes too long."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_MAX_WAIT)
            _end(self._process)
            self._process = None
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def _started(capacity: int, sampler: Any, *others: Any) -> subprocess.Popen[bytes] | None:
    """The other process; None where it would be of no use."""
    if _stored_programs.folder() is None or jax.default_backend() != "cpu":
        return None  # an accelerator has no room for two processes
    try:
        structure_text(jax.tree.structure(sampler))
        surroundings = _stored_programs.surroundings()
        content = pickle.dumps((surroundings, capacity, sampler, *others))
        return _run(content)
    except (NoStableTextError, pickle.PicklingError, AttributeError, TypeError, OSError) as error:
        logger.debug("the programs for %d trials are compiled later: %s", capacity, error)
        return None


def _run(content: bytes) -> subprocess.Popen[bytes]:
    """Starts a process with the settings of this one."""
    config: Any = jax.config
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": str(int(config.jax_enable_x64)),
        "JAX_COMPILATION_CACHE_DIR": str(config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(
            config.jax_persistent_cache_min_compile_time_secs
        ),
    }
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        return subprocess.Popen(
            [sys.executable, "-c", _COMMAND],
            stdin=file,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is not for it
        )


def _read(prepare: Callable[..., None], surroundings: str, capacity: int, *args: Any) -> None:
    """Calls `prepare` where JAX's settings are those of the thread that will need the programs."""
    if _stored_programs.surroundings() != surroundings:
        return
    try:
        prepare(capacity, *args)
    except Exception as error:  # whoever needs the programs meets it again
        logger.debug("the programs for %d trials cannot be read: %s", capacity, error)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process at once, whatever it is doing."""
    if process.poll() is None:
        process.kill()
    process.wait()
