"""Files and folders that cannot be written are read; a SQLite file is whole after each call."""

import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import optuna
import pytest

import jaxhpo as hpo
from jaxhpo.study import StorageError, Study
from jaxhpo.study.storage.files._sqlite import Reader, is_read_only
from tests.study import objectives

X = {"x": hpo.uniform(-1.0, 3.0)}
ROOT = pathlib.Path(hpo.__file__).parents[1]


def opened(path):
    return Study(X, "qmc", storage=path, name="s")


@pytest.fixture(params=["study.db", "study.journal"])
def frozen(request, tmp_path):
    """A storage with a study of four trials, on a file system that cannot be written."""
    folder = tmp_path / "folder"
    folder.mkdir()
    study = opened(folder / request.param)
    study.optimize(objectives.score, num_trials=4)
    del study
    yield from _mounted(folder, request.param)


def _mounted(folder, name):
    for options in (["--bind"], ["-o", "remount,ro,bind"]):
        command = ["mount", *options, str(folder), str(folder)]
        if options[0] == "-o":
            command = ["mount", *options, str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system can be mounted read-only here")
    try:
        yield folder / name
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_study_that_cannot_be_written_is_read(frozen):
    study = opened(frozen)
    assert len(study.trials) == 4
    whole = Study(X, "qmc", storage=None)
    whole.optimize(objectives.score, num_trials=4)
    assert study.values.tolist() == whole.values.tolist()
    assert study.best_params == whole.best_params
    with pytest.raises(StorageError, match="read-only"):
        study.optimize(objectives.score, num_trials=1)


@pytest.mark.parametrize("command", [["studies"], ["best", "s"], ["report", "s", "--no-model"]])
def test_the_command_line_reads_what_it_cannot_write(frozen, tmp_path, command):
    storage = str(frozen) if frozen.suffix == ".journal" else f"sqlite:///{frozen}"
    more = ["--out", str(tmp_path / "r.html")] if command[0] == "report" else []
    run = subprocess.run(
        [sys.executable, "-m", "jaxhpo", *command, "--storage", storage, *more],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "s" in run.stdout


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="becoming another user needs root")
@pytest.mark.parametrize("name", ["study.db", "study.journal"])
def test_another_user_reads_a_file_that_is_not_his(tmp_path, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    study = opened(folder / name)
    study.optimize(objectives.score, num_trials=4)
    # While it is open there is a log beside the file that holds what was written last.
    study.ask()
    for parent in tmp_path.parents:
        if "pytest" in str(parent):
            parent.chmod(0o755)
    for part in (tmp_path, folder):
        part.chmod(0o755)
    code = f"""
import jaxhpo as hpo
from jaxhpo.study import Study
study = Study({{"x": hpo.uniform(-1.0, 3.0)}}, "qmc", storage={str(folder / name)!r}, name="s")
print(len(study.trials), study.best.number)
"""
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    if subprocess.run(
        [*nobody, sys.executable, "-c", "import numpy"], capture_output=True
    ).returncode:
        pytest.skip("another user cannot run this Python")
    run = subprocess.run(
        [*nobody, sys.executable, "-c", code], capture_output=True, text=True, cwd="/",
        env={**os.environ, "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["5", str(study.best.number)]


def test_a_log_beside_a_file_in_a_folder_that_cannot_be_written_counts(tmp_path, monkeypatch):
    """What a killed process left in the log is read from a copy, and the copy is never written."""
    path = tmp_path / "study.db"
    study = opened(path)
    study.optimize(objectives.score, num_trials=2)
    study.ask()  # stays in the log
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(path, other / "study.db")
    shutil.copy(f"{path}-wal", other / "study.db-wal")
    monkeypatch.setattr(Reader, "_can_be_read", lambda self: False)
    reader = Reader(str(other / "study.db"), 1.0)
    connection = reader()
    assert connection.execute("SELECT count(*) FROM trials").fetchone()[0] == 3
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM trials")
    connection.close()


@pytest.mark.parametrize("call", ["optimize", "record", "tell", "sweep"])
def test_a_plain_copy_of_the_file_holds_all_while_the_study_lives(tmp_path, call):
    from tests.study.test_sweep import SPACE, TRAINING

    path = tmp_path / "study.db"
    study = Study(SPACE if call == "sweep" else X, "random", storage=path, name="s")
    if call == "optimize":
        study.optimize(objectives.score, num_trials=3)
    elif call == "record":
        study.record([{"x": 0.5}] * 3, [1.0, 2.0, 3.0])
    elif call == "tell":
        study.tell(study.ask(3), [1.0, 2.0, 3.0])
    else:
        study.sweep(TRAINING, num_trials=3, num_steps=4)
    shutil.copy(path, tmp_path / "copy.db")
    copied = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/copy.db")
    assert len(copied.trials) == len(study.trials) == 3
    assert all(trial.state.is_finished() for trial in copied.trials)


def test_a_reader_at_work_does_not_hold_up_a_run(tmp_path):
    path = tmp_path / "study.db"
    study = opened(path)
    study.optimize(objectives.score, num_trials=1)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM trials").fetchone()
    study.optimize(objectives.score, num_trials=2)
    reader.execute("COMMIT")
    reader.close()
    assert len(study.trials) == 3
    with study._store.storage._backend.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


def test_what_is_read_only(tmp_path):
    path = tmp_path / "s.db"
    assert not is_read_only(str(path))
    path.touch()
    assert not is_read_only(str(path))
    with pytest.raises(StorageError, match="cannot be created"):
        opened(tmp_path / "nowhere" / "s.db")
