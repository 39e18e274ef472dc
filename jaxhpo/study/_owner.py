"""Whose running trials are still running: a process named so that a later one can tell."""

from __future__ import annotations

import functools
import os
import pathlib
import socket


def this_process() -> list[str | int]:
    """Host, process id and start time of this process, as JSON.

    The start time tells a process from a later one with the same id.
    """
    pid = os.getpid()
    return [socket.gethostname(), pid, _own_start_time(pid)]


@functools.cache
def _own_start_time(pid: int) -> str:
    """Start time of this process, read once; a forked one has another id."""
    return _start_time(pid)


def is_dead(owner: object) -> bool:
    """Tells whether the process that `this_process` described has certainly ended.

    Args:
        owner: what `this_process` returned, perhaps on another machine.

    Returns:
        True only if it ran on this machine and is gone. A process on another machine, or
        something that is no such description, is not known to be dead.
    """
    if not isinstance(owner, list | tuple) or len(owner) != 3:
        return False
    host, pid, start = owner
    if host != socket.gethostname() or not isinstance(pid, int):
        return False
    if not _exists(pid):
        return True
    return bool(start) and _start_time(pid) not in ("", start)


def _exists(pid: int) -> bool:
    if os.name == "nt":  # os.kill would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return _state(pid) != "Z"


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the program's name, or nothing where there is no such file."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text[text.rfind(")") + 1 :].split()


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _start_time(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""
