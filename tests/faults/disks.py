"""Rows of storages that refuse: locked, full, broken, read-only, damaged and deleted files."""

import contextlib
import functools
import os
import pathlib
import random
import sqlite3
import subprocess
import tempfile
import time

from tests.faults import harness, programs
from tests.faults.harness import Tally, places, tally
from tests.faults.table import row

IMPATIENT = {"JAXHPO_PATIENCE": "0.2"}
GIVEN = {"sampler": "random", "num_trials": 30}


def recovered(name, nursery, place, *, injected, given=GIVEN):
    """What a study comes to, once nothing is in the way any more; no computed value may be lost."""
    nursery.finish("optimize", **place, **given)
    study, expected = programs.study_of(place["storage"], "random"), harness.without_faults
    return tally(
        name, study, place["ledger"], injected=injected, expected=expected("random"), lives=True
    )


def refused(nursery, place, **settings):
    """Runs into a storage that refuses; the run says so and ends."""
    status, said = nursery.run("optimize", **place, **settings)
    assert status in (0, 1), said[-3000:]
    assert status == 0 or "StorageError: Study: `storage`" in said, said[-3000:]
    return status == 1


# -- locked


@row("SQLite locked by another program, again and again", few=4, many=30)
def lock_now_and_then(name, nursery, folder, times):
    """The run waits for the lock."""
    place, rng, count = places(folder), random.Random(4), 0
    nursery.finish("optimize", **place, sampler="random", num_trials=1)
    given = {"sampler": "random", "num_trials": 20 * times, "seconds": 0.005}
    child = nursery.start("optimize", **place, **given)
    path = place["storage"].removeprefix("sqlite:///")
    while count < times and child.status.empty():
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
            connection.execute(rng.choice(["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"]))
            time.sleep(rng.uniform(0.0, 0.5))
            connection.rollback()
        count += 1
        time.sleep(rng.uniform(0.0, 0.1))
    assert child.wait() == 0, child.said()[-3000:]
    return recovered(name, nursery, place, injected=count, given=given)


@row("SQLite locked for longer than anybody waits", few=1, many=8)
def lock_for_long(name, nursery, folder, times):
    """The run ends, and its value is kept for the next one."""
    total = Tally(name)
    for _ in range(times):
        place = places(folder)
        nursery.finish("optimize", **place, sampler="random", num_trials=1)
        given = {**GIVEN, "seconds": 0.03, "busy": 0.1}
        child = nursery.start("optimize", environment=IMPATIENT, **place, **given)
        while len(harness.told(place["ledger"])) < 3:
            time.sleep(0.01)
        path = place["storage"].removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            status, said = child.wait(), child.said()
            connection.rollback()
        assert (status, "is locked" in said) == (1, True), said[-3000:]
        total.add(recovered(name, nursery, place, injected=1))
    return total


# -- a disk that fails


def fail_at_writes(name, nursery, folder, times, *, kind, watched, failure, most=10**9):
    """Refuses the n-th write and those after it, for n all over the run."""
    place, given = places(folder, kind), {"sampler": "random", "num_trials": 12}
    counting = {"kind": "count", "path": os.path.dirname(place["ledger"]) + watched}
    writes = int(nursery.finish("optimize", fault=counting, **place, **given).split()[-1])
    total, stride = Tally(name), max(1, writes // times)
    for at in range(1, writes + 1, stride):
        place = places(folder, kind)
        path = os.path.dirname(place["ledger"]) + watched  # results may be kept elsewhere
        fault = {"kind": failure, "path": path, "at": at, "until": at + most - 1}
        count = refused(nursery, place, fault=fault, environment=IMPATIENT, **given)
        found = recovered(name, nursery, place, injected=int(count), given=given)
        if not found.is_clean:
            found.notes.append(f"write {at} of {writes}")
        total.add(found)
    return total


for kind, watched in (("sqlite", "/study.db"), ("journal", "/study.journal")):
    for failure, words in (
        ("full", "disk full"), ("broken", "disk broken"), ("readonly", "disk read-only"),
    ):  # fmt: skip
        row(f"{words} from the n-th write on: {kind}", few=3 * (failure == "full"), many=40)(
            functools.partial(fail_at_writes, kind=kind, watched=watched, failure=failure)
        )
    row(f"one write refused, the n-th: {kind}", many=30)(
        functools.partial(fail_at_writes, kind=kind, watched=watched, failure="full", most=1)
    )


@contextlib.contextmanager
def small_disk(options):
    """A file system of its own in memory.

    Raises:
        RuntimeError: none can be mounted here.
    """
    folder = tempfile.mkdtemp(prefix="jaxhpo-disk-")
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        os.rmdir(folder)
        raise RuntimeError("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        os.rmdir(folder)


def fill(folder):
    """Fills a file system to its last byte; returns the file that does it."""
    path = os.path.join(folder, "fill")
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    for size in (4096, 1):
        try:
            while True:
                os.write(file, b"x" * size)
        except OSError:
            pass
    os.close(file)
    return path


@row("disk really full (a small file system)", few=2, many=10)
def fill_disk(name, nursery, folder, times):
    """The disk fills while trials run, the last file of results does not fit on it either."""
    total = Tally(name)
    for i in range(times):
        with small_disk("size=16m") as disk:
            place = places(disk, ("sqlite", "journal")[i % 2])
            place["ledger"] = places(folder)["ledger"]
            given = {"sampler": "random", "num_trials": 400, "seconds": 0.01}
            child = nursery.start("optimize", environment=IMPATIENT, **place, **given)
            while len(harness.told(place["ledger"])) < 5:
                time.sleep(0.02)
            filled = fill(disk)
            status, said = child.wait(), child.said()
            assert (status, "the disk is full" in said) == (1, True), said[-3000:]
            os.unlink(filled)
            given["num_trials"] = 1 + max(40, len(harness.told(place["ledger"])) + 5)
            total.add(recovered(name, nursery, place, injected=1, given=given))
    return total


@row("file system made read-only between two processes", few=1, many=6)
def make_read_only(name, nursery, folder, times):
    """As an operating system does where a disk reports errors; what it holds can be read."""
    total = Tally(name)
    for i in range(times):
        with small_disk("size=16m") as disk:
            place = places(disk, ("sqlite", "journal")[i % 2])
            place["ledger"] = places(folder)["ledger"]
            nursery.finish("optimize", **place, sampler="random", num_trials=10)
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            try:
                assert len(programs.study_of(place["storage"], "random").trials) == 10
                assert refused(nursery, place, environment=IMPATIENT, **GIVEN)
            finally:
                subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            total.add(recovered(name, nursery, place, injected=1))
    return total


# -- files that are damaged or gone


@row("file damaged while the study runs, then restored", few=2, many=10)
def damage(name, nursery, folder, times):
    """Zeros in the middle; what is computed meanwhile comes into the file that is put back."""
    total = Tally(name)
    for i in range(times):
        place, given = places(folder, ("sqlite", "journal")[i % 2]), {**GIVEN, "num_trials": 60}
        nursery.finish("optimize", **place, sampler="random", num_trials=20)
        path = pathlib.Path(place["storage"].removeprefix("sqlite:///"))
        whole = path.read_bytes()
        harmed = bytearray(whole)
        start, end = len(whole) // 5, 4 * len(whole) // 5
        harmed[start:end] = bytes(end - start)
        path.write_bytes(harmed)
        assert refused(nursery, place, environment=IMPATIENT, **given)
        for beside in path.parent.glob(path.name + "-*"):
            beside.unlink()
        path.write_bytes(whole)
        total.add(recovered(name, nursery, place, injected=1, given=given))
    return total


@row("file deleted while the study runs", few=2, many=12)
def delete(name, nursery, folder, times):
    """The run says so at its next write, and saves what it has recorded in a file beside it."""
    total = Tally(name)
    for i in range(times):
        place = places(folder, ("sqlite", "journal")[i % 2])
        path = pathlib.Path(place["storage"].removeprefix("sqlite:///"))
        child = nursery.start(
            "optimize", environment=IMPATIENT, **place, **{**GIVEN, "seconds": 0.02}
        )
        while len(harness.told(place["ledger"])) < 5:
            time.sleep(0.01)
        for one in path.parent.glob(path.name + "*"):
            with contextlib.suppress(FileNotFoundError):
                one.unlink()
        status, said = child.wait(), child.said()
        assert (status, "was deleted" in said) == (1, True), said[-3000:]
        [rescued] = path.parent.glob(f"{path.stem}.rescued-*{path.suffix}")
        rescued.rename(path)
        total.add(recovered(name, nursery, place, injected=1))
    return total
