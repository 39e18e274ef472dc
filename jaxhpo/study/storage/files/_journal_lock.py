"""The lock of a journal file: Optuna's, but that of a process that has died is taken away at once.

Optuna's lock is a symbolic link to the journal. Whoever dies with it makes all others wait for half
a minute. Here the link's target also says who holds it, spelled so that it still is the journal: a
path may hold any number of `/` and `./`. Optuna's own processes take the link for one of theirs.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import struct
import time
import uuid
import zlib
from collections.abc import Iterator
from typing import Any

from optuna.storages.journal import JournalFileSymlinkLock

from jaxhpo.study.storage._owner import is_dead, this_process

logger = logging.getLogger("jaxhpo")

_FORMAT = ">IIQ"  # the place, the process, its start
_LONGEST_PAUSE, _SAY_AFTER = 0.05, 2.0


class JournalLock(JournalFileSymlinkLock):
    """Optuna's lock on a journal file, with its owner."""

    def acquire(self) -> bool:
        """Waits for the lock.

        Returns:
            True. A lock whose process has ended is taken away at once, and one of which nobody
            knows that, such as Optuna's or another machine's, after `grace_period` seconds.
        """
        start = since = time.monotonic()
        seen, pause, is_said = None, 0.001, False
        while True:
            with contextlib.suppress(FileExistsError):
                os.symlink(self._own_target(), self._lock_file)
                return True
            now, found = time.monotonic(), self._holder()
            if found != seen:
                seen, since = found, now
            is_old = self.grace_period is not None and now - since > self.grace_period
            if found is not None and (is_old or is_dead(_owner_in(found[0]))):
                self._take_away(found)
                continue
            if not is_said and now - start > _SAY_AFTER:
                logger.warning("%s: waiting for another process that holds it", self._lock_file)
                is_said = True
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _own_target(self) -> str:
        folder, name = os.path.split(self._lock_target_file)
        return os.path.realpath(folder) + _spelled_owner() + name

    def _holder(self) -> tuple[str, int] | None:
        """What the link says, and when it was made; None if there is no lock."""
        try:
            made = os.lstat(self._lock_file).st_mtime_ns
            return os.readlink(self._lock_file), made
        except OSError as error:
            return ("", made) if error.errno == errno.EINVAL else None  # a file, no link

    def _take_away(self, found: tuple[str, int]) -> None:
        """Removes the lock if it is still that one; one process of a machine at a time."""
        with _alone(self._lock_target_file):
            if self._holder() != found:
                return
            aside = f"{self._lock_file}{uuid.uuid4()}.rename"
            with contextlib.suppress(OSError):
                os.rename(self._lock_file, aside)
                os.unlink(aside)
                logger.info("%s: removed; its process has ended", self._lock_file)


def _spelled_owner() -> str:
    """This process as slashes and dots between a folder and a name: `/` is 0, `/.` is 1."""
    _, pid, start, *place = this_process()
    packed = struct.pack(_FORMAT, _place_code(place), int(pid), int(start or 0))
    bits = "".join(f"{byte:08b}" for byte in packed)
    return "".join("/." if bit == "1" else "/" for bit in bits) + "/"


def _owner_in(target: str) -> list[Any] | None:
    """What `this_process` returned in the process that made a link, if it ran in this place."""
    size = 8 * struct.calcsize(_FORMAT)
    found = re.search(rf"((?:/\.?){{{size}}})/[^/]*$", target)
    if found is None:
        return None
    bits = found[1].replace("/.", "1").replace("/", "0")
    code, pid, start = struct.unpack(_FORMAT, int(bits, 2).to_bytes(size // 8, "big"))
    host, _, _, *place = this_process()
    if code != _place_code(place):
        return None
    return [host, pid, str(start or ""), *place]


def _place_code(place: list[Any]) -> int:
    return zlib.crc32(repr(place).encode())


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Lets one process at a time into a file's folder; if it dies, the system lets the next in."""
    try:
        import fcntl

        folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
