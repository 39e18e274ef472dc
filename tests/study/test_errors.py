"""Storages that cannot be used: one line that says which, why and what to do."""

import pathlib
import sqlite3
import subprocess
import sys
import textwrap

import optuna
import pytest

import jaxhpo as hpo
from jaxhpo.study import StorageError, Study
from jaxhpo.study.storage import _open
from jaxhpo.study.storage._errors import explain_database_error
from tests.study import objectives

X = {"x": hpo.uniform(-1.0, 3.0)}


def failing(storage, error=StorageError, **settings):
    """Opens a study that cannot be opened, and gives the message."""
    with pytest.raises(error) as caught:
        Study(X, "qmc", storage=storage, name="s", **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert "`storage`" in message
    return message


@pytest.fixture
def recorded(url):
    """A file with a study of four trials."""
    study = Study(X, "qmc", storage=url, name="s")
    study.optimize(objectives.score, num_trials=4)
    study._store.storage._backend.engine.dispose()
    return pathlib.Path(url.removeprefix("sqlite:///"))


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("to do: buy milk\n" * 10)
    assert "must be a SQLite database, but the file is not one" in failing(path)
    assert path.read_text().startswith("to do")


def test_a_damaged_database(recorded):
    data = bytearray(recorded.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 64] = b"\xff" * 64
    recorded.write_bytes(data)
    message = failing(recorded)
    assert "is damaged" in message
    assert str(recorded) in message


def test_a_database_cut_short(recorded):
    with recorded.open("r+b") as file:
        file.truncate(recorded.stat().st_size // 2)
    message = failing(recorded)
    assert "is damaged" in message


def test_a_database_of_another_program(tmp_path):
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("create table studies (title text)")
    connection.commit()
    connection.close()
    assert "tables of another program" in failing(path)


def test_a_locked_database_waits_and_then_says_so(recorded, monkeypatch):
    monkeypatch.setattr(_open, "BUSY_SECONDS", 0.3)
    study = Study(X, "qmc", storage=recorded, name="s")
    holder = sqlite3.connect(recorded, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match=r"is locked.*Nothing recorded is lost") as caught:
        study.optimize(objectives.score, num_trials=1)
    assert "\n" not in str(caught.value)
    holder.execute("ROLLBACK")
    holder.close()
    study.optimize(objectives.score, num_trials=1)
    whole = Study(X, "qmc", storage=None)
    whole.optimize(objectives.score, num_trials=5)
    assert study.values.tolist() == whole.values.tolist()


def test_a_lock_that_is_released_in_time_is_waited_for(recorded):
    script = textwrap.dedent(f"""
        import sqlite3, time
        c = sqlite3.connect({str(recorded)!r}, isolation_level=None)
        c.execute("BEGIN IMMEDIATE")
        print("held", flush=True)
        time.sleep(0.7)
        c.execute("ROLLBACK")
    """)
    study = Study(X, "qmc", storage=recorded, name="s")
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    study.optimize(objectives.score, num_trials=1)
    process.communicate()
    assert len(study.trials) == 5


def test_a_value_that_could_not_be_written_is_not_half_written(recorded, monkeypatch):
    monkeypatch.setattr(_open, "BUSY_SECONDS", 0.1)
    study = Study(X, "qmc", storage=recorded, name="s")
    holder = sqlite3.connect(recorded, isolation_level=None)

    def objective(params):
        holder.execute("BEGIN IMMEDIATE")
        return 1.0

    with pytest.raises(StorageError, match="is locked"):
        study.optimize(objective, num_trials=1)
    holder.execute("ROLLBACK")
    holder.close()
    trials = optuna.load_study(study_name="s", storage=f"sqlite:///{recorded}").trials
    assert [t.state.name for t in trials] == ["COMPLETE"] * 4 + ["RUNNING"]
    again = Study(X, "qmc", storage=recorded, name="s")
    assert again.trials[4].value == 1.0  # it was kept beside the file
    assert again.fail_stale(everywhere=True) == []


def test_a_folder_that_is_not_there(tmp_path):
    message = failing(f"sqlite:///{tmp_path}/no/such/study.db")
    assert "there is no folder" in message
    assert "no/such" in message
    assert "no such folder" in failing(tmp_path / "no" / "study.log")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_a_folder(tmp_path):
    (tmp_path / "study.db").mkdir()
    assert "it is a folder" in failing(tmp_path / "study.db")


def test_a_journal_that_is_none(tmp_path):
    path = tmp_path / "study.log"
    path.write_text("hello\nworld\n")
    assert "must be an Optuna journal" in failing(path)


@pytest.mark.parametrize("storage", ["study", "study.txt", "what://ever:x", ""])
def test_a_text_that_names_no_storage(storage):
    failing(storage, (ValueError, StorageError))


@pytest.mark.parametrize("storage", [3, 1.5, ["sqlite:///x.db"], object])
def test_an_object_that_is_no_storage(storage):
    assert "None (memory), a database URL" in failing(storage, TypeError)


def test_a_missing_driver_names_the_command():
    message = failing("oracle+nosuch://user:secret@host/base")
    assert "secret" not in message
    assert "driver that is not installed" in message


def test_a_server_that_is_not_there():
    pytest.importorskip("psycopg2")
    message = failing("postgresql://user:secret@127.0.0.1:1/base")
    assert "cannot be reached" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("database is locked", "is locked"),
        ("attempt to write a readonly database", "read-only"),
        ("database or disk is full", "disk is full"),
        ("something else\nsecond line", "could not be used: something else"),
    ],
)
def test_each_database_message_has_its_sentence(text, meaning):
    message = explain_database_error("sqlite:///x.db", RuntimeError(text))
    assert meaning in message
    assert "sqlite:///x.db" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"direction": "up"}, ValueError, "`direction` must be 'minimize' or 'maximize'.*got 'up'"),
        ({"name": 3}, TypeError, "`name` must be a string or None, got 3"),
        ({"name": ""}, TypeError, "`name` must be a string or None, got ''"),
        ({"seed": -1}, ValueError, "`seed` must be at least 0, got -1"),
        ({"seed": 0.5}, TypeError, "`seed` must be an integer"),
        (
            {"sampler": "bayes"},
            ValueError,
            "one of auto, cma_es, de, .*random, tpe.*'bayes'",
        ),
        ({"sampler": 3}, TypeError, "`sampler` must be a name"),
        ({"space": {"x": 1.0}}, TypeError, "`x` must be a dimension"),
    ],
)
def test_bad_settings_are_named_and_create_no_file(tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        Study(**{"space": X, "sampler": "qmc", "storage": tmp_path / "s.db", **settings})
    assert list(tmp_path.iterdir()) == []


def test_a_sampler_over_another_space_is_refused():
    sampler = hpo.samplers.qmc(hpo.Space({**X, "y": hpo.uniform(0.0, 1.0)}))
    with pytest.raises(ValueError, match="`sampler` must be over a space of 1 unit dimensions"):
        Study(X, sampler, storage=None)


def test_an_optuna_storage_is_taken_as_it_is(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/s.db")
    study = Study(X, "qmc", storage=storage, name="s")
    study.optimize(objectives.score, num_trials=2)
    assert len(optuna.load_study(study_name="s", storage=storage).trials) == 2


def test_sqlite_is_opened_with_a_write_ahead_log(url):
    engine = Study(X, "qmc", storage=url)._store.storage._backend.engine
    with engine.connect() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"pragma {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 30_000}
