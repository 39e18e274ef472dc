"""Results that the storage does not take: kept in a file, written once at the next open."""

import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import threading

import optuna
import pytest
import sqlalchemy

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import StorageError, Study
from jaxhpo.study.storage import _open
from jaxhpo.study.storage.outages import _retry
from tests.study import objectives

X = {"x": hpo.uniform(-1.0, 3.0)}


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Where results are kept if not beside the storage."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "jaxhpo"


@pytest.fixture(params=["study.db", "study.journal"])
def path(request, tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / request.param


def opened(path):
    return Study(X, "qmc", storage=path, name="s")


def refusing(study, monkeypatch, message="database or disk is full"):
    """Lets the study's storage refuse to end trials."""

    def refuse(*arguments):
        raise OSError(message)

    monkeypatch.setattr(study._store, "_finish", refuse)


def files(*folders):
    return [f for folder in folders if folder.is_dir() for f in folder.glob("*.unsaved-*")]


def test_a_value_is_kept_beside_the_file_and_ends_its_trial_once(path, monkeypatch, caplog):
    study = opened(path)
    study.optimize(objectives.score, num_trials=1)
    refusing(study, monkeypatch)
    with pytest.raises(StorageError, match="disk is full.*Saved the result of 1 trial in") as e:
        study.optimize(objectives.score, num_trials=3)
    [kept] = files(path.parent)
    assert str(kept) in str(e.value)
    assert "\n" not in str(e.value)
    for _ in range(2):
        again = opened(path)
        assert [t.status for t in again.trials] == [Status.COMPLETE] * 2
    assert files(path.parent) == []
    assert caplog.text.count("recorded 1 result from") == 1
    again.optimize(objectives.score, num_trials=1)
    whole = Study(X, "qmc", storage=None)
    whole.optimize(objectives.score, num_trials=3)
    assert again.values.tolist() == whole.values.tolist()


def test_the_same_study_goes_on_with_the_value(path, monkeypatch):
    study = opened(path)
    with monkeypatch.context() as patch:
        refusing(study, patch)
        with pytest.raises(StorageError, match="Saved the result"):
            study.optimize(objectives.score, num_trials=3)
    study.optimize(objectives.score, num_trials=2)
    whole = Study(X, "qmc", storage=None)
    whole.optimize(objectives.score, num_trials=3)
    assert study.values.tolist() == whole.values.tolist()
    assert files(path.parent) == []


def test_recorded_trials_with_curves_are_kept_as_they_are(path, monkeypatch):
    study = opened(path)

    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(study._store, "_append", refuse)
        with pytest.raises(StorageError, match="Saved the results of 2 trials in"):
            study.record(
                [{"x": 0.5}, {"x": 1.5}], [1.0, 2.0], curves=[[3.0, 1.0], [4.0, 2.0]],
                curve_steps=[1, 10], violation=[0.0, 1.0], se=[0.1, 0.2], seconds=3.0,
            )  # fmt: skip
    expected = Study(X, "qmc", storage=None)
    expected.record(
        [{"x": 0.5}, {"x": 1.5}], [1.0, 2.0], curves=[[3.0, 1.0], [4.0, 2.0]],
        curve_steps=[1, 10], violation=[0.0, 1.0], se=[0.1, 0.2], seconds=3.0,
    )  # fmt: skip

    def facts(one):
        return [(t.params, t.value, t.status, t.curve, t.violation, t.se) for t in one.trials]

    assert facts(opened(path)) == facts(opened(path)) == facts(expected)


def test_a_crash_between_writing_and_removing_the_file_writes_nothing_twice(path, monkeypatch):
    study = opened(path)

    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(study._store, "_append", refuse)
        with pytest.raises(StorageError):
            study.record([{"x": 0.5}], [1.0])
    trial = study.ask()[0]
    with monkeypatch.context() as patch:
        refusing(study, patch)
        with pytest.raises(StorageError):
            study.tell(trial, 7.0)
    copies = path.parent / "copies"
    copies.mkdir()
    for file in files(path.parent):
        shutil.copy(file, copies)
    for _ in range(3):
        for file in copies.iterdir():
            shutil.copy(file, path.parent)
        assert sorted(opened(path).values.tolist()) == [1.0, 7.0]


def test_a_value_that_waits_beside_a_disk_that_stays_full_is_not_doubled(path, monkeypatch, caplog):
    study = opened(path)
    with monkeypatch.context() as patch:
        refusing(study, patch)
        with pytest.raises(StorageError):
            study.optimize(lambda p: 5.0, num_trials=1)

        def refuse(self, *arguments):
            raise OSError(28, "No space left on device")

        patch.setattr(type(study._store), "_finish", refuse)
        for _ in range(2):
            assert opened(path).trials[0].status is Status.RUNNING
        assert "stay there" in caplog.text
        assert len(files(path.parent)) == 1
    assert [t.value for t in opened(path).trials] == [5.0]


def test_where_no_folder_takes_it_the_message_holds_the_value(path, monkeypatch):
    from jaxhpo.study.storage.outages import _spool

    study = opened(path)
    refusing(study, monkeypatch)
    monkeypatch.setattr(_spool, "_folders", lambda place: iter(()))
    with pytest.raises(StorageError, match=r"Could not save .*the values were \[0.125\]"):
        study.optimize(lambda p: 0.125, num_trials=1)


def test_a_full_folder_is_left_for_the_users_own(path, monkeypatch, state):
    from jaxhpo.study.storage.outages import _spool

    study = opened(path)
    refusing(study, monkeypatch)
    write = _spool._write

    def write_elsewhere(file, text):
        if file.parent == path.parent:
            raise OSError(28, "No space left on device")
        write(file, text)

    monkeypatch.setattr(_spool, "_write", write_elsewhere)
    with pytest.raises(StorageError, match="Saved the result"):
        study.optimize(lambda p: 0.5, num_trials=1)
    [kept] = files(state)
    assert kept.stat().st_mode & 0o77 == 0
    assert [t.value for t in opened(path).trials] == [0.5]
    assert files(state) == []


def test_what_belongs_to_a_study_that_was_deleted_is_left_alone(path, monkeypatch, caplog):
    study = opened(path)
    refusing(study, monkeypatch)
    with pytest.raises(StorageError):
        study.optimize(lambda p: 0.5, num_trials=1)
    del study
    for file in path.parent.glob(f"{path.name}*"):
        if "unsaved" not in file.name:
            file.unlink()
    opened(path).ask()
    assert [t.status for t in opened(path).trials] == [Status.RUNNING]
    assert "not in this study" in caplog.text
    assert len(files(path.parent)) == 1


def test_a_file_of_rubbish_or_of_a_stranger_is_left_alone(path, caplog):
    from jaxhpo.study.storage.outages import _spool

    opened(path).optimize(lambda p: 0.5, num_trials=1)
    stem = _spool._stem(str(path), "s")
    bad = path.parent / f"{stem}bad.json"
    bad.write_text("{")
    foreign = path.parent / f"{stem}foreign.json"
    foreign.write_text(json.dumps({"format": 1, "study": "another", "endings": [], "rows": []}))
    assert len(opened(path).trials) == 1
    assert "its results are not recorded" in caplog.text
    assert bad.exists()
    assert foreign.exists()


def test_ctrl_c_while_waiting_keeps_the_value(tmp_path, monkeypatch):
    path = tmp_path / "s.db"
    study = opened(path)
    monkeypatch.setattr(_open, "BUSY_SECONDS", 0.1)
    monkeypatch.setenv(_retry.PATIENCE_VARIABLE, "60")
    study = opened(path)
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def objective(params):
        holder.execute("BEGIN IMMEDIATE")
        threading.Timer(0.5, os.kill, (os.getpid(), 2)).start()
        return 4.0

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, num_trials=1)
    holder.execute("ROLLBACK")
    holder.close()
    assert [t.value for t in opened(path).trials] == [4.0]


def test_a_long_lock_is_waited_for_and_told(tmp_path, monkeypatch, caplog):
    path = tmp_path / "s.db"
    monkeypatch.setattr(_open, "BUSY_SECONDS", 0.05)
    monkeypatch.setenv(_retry.PATIENCE_VARIABLE, "60")
    monkeypatch.setattr(_retry, "_SECONDS_BETWEEN_LINES", 0.4)
    study = opened(path)
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def objective(params):
        holder.execute("BEGIN IMMEDIATE")
        threading.Timer(1.5, holder.execute, ("ROLLBACK",)).start()
        return 4.0

    study.optimize(objective, num_trials=1)
    assert study.best_value == 4.0
    assert caplog.text.count("Waiting for it; retrying") == 1
    assert 1 <= caplog.text.count("Still waiting") <= 4
    assert caplog.text.count("is available again after") == 1
    holder.close()


def test_enqueued_trials_wait_for_a_lock_as_well(tmp_path, monkeypatch):
    path = tmp_path / "s.db"
    monkeypatch.setattr(_open, "BUSY_SECONDS", 0.05)
    monkeypatch.setenv(_retry.PATIENCE_VARIABLE, "60")
    study = opened(path)
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    threading.Timer(1.0, holder.execute, ("ROLLBACK",)).start()
    numbers = study.enqueue([{"x": 0.5}, {"x": 1.5}])
    study.optimize(lambda params: params["x"], num_trials=2)
    assert numbers == [0, 1]
    assert list(study.values) == [0.5, 1.5]
    holder.close()


def test_an_enqueued_trial_whose_answer_was_lost_is_there_once(tmp_path, monkeypatch):
    study = opened(tmp_path / "s.db")
    create, is_lost = study._store.storage.create_new_trial, [True]

    def create_and_lose(*args):
        found = create(*args)
        if is_lost.pop() if is_lost else False:
            raise sqlalchemy.exc.OperationalError(
                "INSERT", {}, Exception("server closed the connection")
            )
        return found

    monkeypatch.setattr(study._store.storage, "create_new_trial", create_and_lose)
    assert study.enqueue({"x": 0.5}) == [0]
    assert study.enqueue({"x": 0.5}) == [1]
    assert len(study.trials) == 2


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_the_patience_must_be_a_number_of_seconds(monkeypatch, text):
    monkeypatch.setenv(_retry.PATIENCE_VARIABLE, text)
    with pytest.raises(ValueError, match="JAXHPO_PATIENCE must be a number of seconds"):
        _retry.retry_timeout()


@pytest.mark.parametrize("method", ["_append", "_finish", "_begin"])
def test_a_write_whose_answer_was_lost_is_not_done_twice(path, monkeypatch, method):
    study = opened(path)
    study.enqueue({"x": 0.25})
    real = getattr(study._store, method)
    calls = []

    def lose(*arguments):
        result = real(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError("server closed the connection unexpectedly")
        return result

    monkeypatch.setattr(study._store, method, lose)
    study.optimize(objectives.score, num_trials=3)
    assert len(calls) > 1
    assert [t.status for t in study.trials] == [Status.COMPLETE] * 3
    assert study.trials[0].params == {"x": 0.25}


# -- values that come late -------------------------------------------------------------------


def test_a_value_of_a_trial_that_was_given_up_gets_a_row_of_its_own(path, caplog):
    study = opened(path)

    def objective(params):
        if len(study.trials) == 1:
            assert opened(path).fail_stale(everywhere=True) == [0]
        return params["x"]

    study.optimize(objective, num_trials=2)
    given_up, late, normal = opened(path).trials
    assert (given_up.status, late.status) == (Status.FAILED, Status.COMPLETE)
    assert late.params == given_up.params
    assert late.value == given_up.params["x"]
    assert normal.params != late.params
    assert "is recorded as trial 1" in caplog.text
    assert len(optuna.load_study(study_name="s", storage=study._store.storage).trials) == 3


def test_tell_for_a_trial_that_was_given_up_records_the_value(path):
    study = opened(path)
    [trial] = study.ask()
    opened(path).fail_stale(everywhere=True)
    [told] = study.tell(trial, 3.0)
    assert (told.number, told.value) == (1, 3.0)
    assert study.best.number == 1
    # Once more is a mistake of the caller, and writes no third row.
    [told] = study.tell(trial, 3.0)
    assert told.number == 1
    assert len(study.trials) == 2


def test_a_value_for_a_trial_that_has_one_is_named(path, caplog):
    study = opened(path)

    def objective(params):
        opened(path).tell(0, 1.0)
        return 2.0

    study.optimize(objective, num_trials=1)
    assert [t.value for t in study.trials] == [1.0]
    assert "already ended with [1.0]; the value 2.0" in caplog.text


def test_two_processes_take_a_kept_value_up_once(path, monkeypatch):
    study = opened(path)

    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(study._store, "_append", refuse)
        for value in range(5):
            with pytest.raises(StorageError):
                study.record([{"x": 0.5}], [float(value)])
    threads = [threading.Thread(target=opened, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(opened(path).values.tolist()) == [0.0, 1.0, 2.0, 3.0, 4.0]


# -- a disk that is really full -----------------------------------------------------------------

FULL = """
import os, sys
import jaxhpo as hpo
from jaxhpo.study import StorageError, Study

folder, name = sys.argv[1], sys.argv[2]
path = os.path.join(folder, name)
study = Study({"x": hpo.uniform(0.0, 1.0)}, "random", storage=path, name="s")
study.optimize(lambda p: p["x"], num_trials=2, progress=False)

def fill(params):
    file = os.open(os.path.join(folder, "fill"), os.O_CREAT | os.O_WRONLY)
    for size in (4096, 1):
        try:
            while True:
                os.write(file, b"x" * size)
        except OSError:
            pass
    os.close(file)
    return 0.75

told = 0
for _ in range(40):  # a file may have room left in its last page
    try:
        study.optimize(fill, num_trials=1, progress=False)
    except StorageError as error:
        assert "the disk is full" in str(error), error
        told += 1
        break
assert told == 1
# Reading works, and what waits goes on waiting.
assert len(Study({"x": hpo.uniform(0.0, 1.0)}, "random", storage=path, name="s").trials) >= 2
os.unlink(os.path.join(folder, "fill"))
again = Study({"x": hpo.uniform(0.0, 1.0)}, "random", storage=path, name="s")
again.optimize(lambda p: p["x"], num_trials=2, progress=False)
ours = [t.value for t in again.trials][2:-2]
assert set(ours) == {0.75}, ours
"""


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("name", ["study.db", "study.journal"])
def test_a_disk_that_is_full(tmp_path, name):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        run = subprocess.run(
            [sys.executable, "-c", FULL, str(small), name], capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_the_files_are_named_in_the_documentation():
    text = pathlib.Path(hpo.__file__).parents[1].joinpath("docs", "durable-studies.md").read_text()
    assert _retry.PATIENCE_VARIABLE in text
    assert ".unsaved-" in text
