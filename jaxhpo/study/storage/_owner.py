"""Identifies the process that runs a trial, so that others can tell whether it has ended."""

from __future__ import annotations

import functools
import os
import pathlib
import socket
import uuid
from collections.abc import Sequence

# Inode of the first process-id namespace of every Linux system: a process in it is in no container.
_FIRST_NAMESPACE = "pid:[4026531836]"


def this_process() -> list[str | int]:
    """Host, process id, start time, machine, boot and process-id namespace, as JSON.

    The start time tells a process from a later one with the same id. Containers may share a host
    name, and their process ids mean nothing to each other: the namespace tells them apart.
    """
    pid = os.getpid()
    return [socket.gethostname(), pid, _own_start_time(pid), *_place(pid)]


@functools.cache
def _own_start_time(pid: int) -> str:
    """Start time of this process, read once; a forked one has another id."""
    return _start_time(pid)


@functools.cache
def _place(pid: int) -> tuple[str, str, str]:
    """The machine, its boot and the process-id namespace; empty where the system does not say."""
    del pid  # a forked process may have moved
    boot = _read("/proc/sys/kernel/random/boot_id")
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return _machine(), boot, namespace


def _machine() -> str:
    """What names this machine across boots: its systemd id, or its network card's number."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if found := _read(path):
            return found
    number = uuid.getnode()
    is_made_up = bool(number >> 40 & 1)  # no card was found
    return "" if is_made_up else f"{number:012x}"


def is_dead(owner: object) -> bool:
    """Tells whether the process that `this_process` described has certainly ended.

    Args:
        owner: what `this_process` returned, perhaps on another machine or in another container.

    Returns:
        True only if it ran where this process can see it, and is gone: in the same process-id
        namespace of the same boot, or outside of containers before this machine was booted. Of any
        other process, and of something that is no such description, nothing is known.
    """
    if not isinstance(owner, list | tuple) or not _is_here(owner):
        return False
    _, pid, start, *place = owner
    machine, boot, namespace = _place(os.getpid())
    if place[1] != boot:
        # Two containers of one image may agree in all the rest.
        return bool(machine and boot and place[1]) and namespace == _FIRST_NAMESPACE
    if not boot and not machine:
        return False
    if not _exists(pid):
        return True
    return bool(start) and _start_time(pid) not in ("", start)


def is_alive(owner: object) -> bool:
    """Tells whether the process that `this_process` described certainly lives, as far as is seen.

    Args:
        owner: as in `is_dead`.

    Returns:
        True only if it runs where this process can see it, and is there.
    """
    if not isinstance(owner, list | tuple) or not _is_here(owner):
        return False
    return owner[4] == _place(os.getpid())[1] and not is_dead(owner)


def _is_here(owner: Sequence[object]) -> bool:
    """Whether it ran where this process can see it, in this boot of the machine or before."""
    if len(owner) != 6:
        return False
    host, pid, _, machine, _, namespace = owner
    own_machine, _, own_namespace = _place(os.getpid())
    is_this_host = host == socket.gethostname() and isinstance(pid, int)
    return is_this_host and machine == own_machine and namespace == own_namespace


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


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the program's name, or nothing where there is no such file.

    Nothing either where /proc counts processes for another namespace than this process lives in.
    """
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return []
    except OSError:
        return []
    text = _read(f"/proc/{pid}/stat")
    return text[text.rfind(")") + 1 :].split()


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _start_time(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""
