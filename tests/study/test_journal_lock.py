"""The lock of a journal: free at once where its process is gone, and Optuna's own to Optuna."""

import os
import subprocess
import sys
import threading
import time

import pytest
from optuna.storages.journal import JournalFileSymlinkLock

from jaxhpo.study.storage.files import _journal_lock
from jaxhpo.study.storage.files._journal_lock import JournalLock

TAKE = """
import sys
from jaxhpo.study.storage.files._journal_lock import JournalLock
JournalLock(sys.argv[1]).acquire()
"""


@pytest.fixture(params=["s.journal", "deep./s.journal"])
def path(request, tmp_path):
    """A journal, also in a folder that ends with a dot."""
    (tmp_path / "deep.").mkdir()
    file = os.path.join(tmp_path, request.param)
    open(file, "w").close()
    return file


def held_by_a_dead_process(path):
    subprocess.run([sys.executable, "-c", TAKE, path], check=True)
    assert os.path.islink(path + ".lock")


def test_the_lock_of_a_dead_process_is_free_at_once(path, caplog):
    held_by_a_dead_process(path)
    assert os.path.realpath(path + ".lock") == os.path.realpath(path)  # as Optuna wants it
    lock = JournalLock(path, grace_period=1000)
    with caplog.at_level("INFO", logger="jaxhpo"):
        assert lock.acquire()
    assert "its process has ended" in caplog.text
    lock.release()
    assert not [name for name in os.listdir(os.path.dirname(path)) if "lock" in name]


@pytest.mark.parametrize("kind", [JournalLock, JournalFileSymlinkLock])
def test_the_lock_of_a_living_process_is_waited_for(path, kind, monkeypatch, caplog):
    monkeypatch.setattr(_journal_lock, "_SAY_AFTER", 0.1)
    holder, taken = kind(path), []
    holder.acquire()
    thread = threading.Thread(target=lambda: taken.append(JournalLock(path).acquire()))
    thread.start()
    time.sleep(0.5)
    assert not taken
    holder.release()
    thread.join()
    assert taken == [True]
    assert "waiting for another process" in caplog.text


def test_a_lock_of_nobody_known_ages(path):
    JournalFileSymlinkLock(path).acquire()
    with pytest.warns(UserWarning, match="grace_period"):
        lock = JournalLock(path, grace_period=1)
    assert lock.acquire()


def test_optuna_waits_for_ours(path):
    ours, taken = JournalLock(path), []
    ours.acquire()
    theirs = JournalFileSymlinkLock(path)
    thread = threading.Thread(target=lambda: taken.append(theirs.acquire()))
    thread.start()
    time.sleep(0.3)
    assert not taken
    ours.release()
    thread.join()
    theirs.release()


def test_what_names_no_process_of_this_place_is_nobody_s(path, monkeypatch):
    target = JournalLock(path)._own_target()
    assert _journal_lock._owner_in(target)[1] == os.getpid()
    assert _journal_lock._owner_in(path) is None
    monkeypatch.setattr(
        _journal_lock, "this_process", lambda: ["host", 1, "2", "other", "boot", "ns"]
    )
    assert _journal_lock._owner_in(target) is None


def test_many_take_a_dead_one_s_lock_one_after_another(path):
    held_by_a_dead_process(path)
    inside, most = [], []

    def work():
        for _ in range(20):
            lock = JournalLock(path)
            lock.acquire()
            inside.append(1)
            most.append(len(inside))
            inside.pop()
            lock.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
