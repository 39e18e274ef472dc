"""Processes that create one study at the same moment: all of them get it."""

import os
import subprocess
import sys

import optuna
import pytest

import jaxhpo as hpo
from jaxhpo.study import Study
from jaxhpo.study.storage import _open
from tests.study.test_postgres import server  # noqa: F401

SCRIPT = """
import sys, time
import jaxhpo as hpo
from jaxhpo.study import Study
import optuna, sqlalchemy, alembic  # so that all are ready at once
space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
print("ready", flush=True)
for line in sys.stdin:
    study = Study(space, "random", storage=line.strip(), name="shared", seed=3)
    study.tell(study.ask(), [1.0])
    print(study.name, flush=True)
"""


def create(storages, num_processes):
    """Lets processes create the same studies, each of them at once."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT], env={**os.environ, "JAXHPO_CACHE": "0"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(num_processes)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for storage in storages:
            for process in processes:
                process.stdin.write(f"{storage}\n")
                process.stdin.flush()
            for process in processes:
                answer = process.stdout.readline()
                assert answer == "shared\n", process.communicate()[1][-3000:]
            study = Study({"x": hpo.uniform(0.0, 1.0)}, "random", storage=storage, name="shared")
            assert [trial.number for trial in study.trials] == list(range(num_processes))
            assert len({trial.params["x"] for trial in study.trials}) == num_processes
            names = optuna.get_all_study_names(study._store.storage)
            assert names == ["shared"]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_three_processes_create_a_sqlite_study_at_once(tmp_path):
    create([f"sqlite:///{tmp_path}/{i}.db" for i in range(3)], 3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_eight_processes_create_a_sqlite_study_at_once(tmp_path):
    create([f"sqlite:///{tmp_path}/{i}.db" for i in range(8)], 8)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_eight_processes_create_a_journal_at_once(tmp_path):
    create([str(tmp_path / f"{i}.journal") for i in range(5)], 8)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_eight_processes_create_a_study_of_a_server_at_once(server):  # noqa: F811
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(f"postgresql://tester@{server}", autocommit=True) as connection:
        for i in range(4):
            connection.execute(f"CREATE DATABASE race{i}")
    base = f"postgresql+psycopg://tester@{server}".removesuffix("/postgres")
    create([f"{base}/race{i}" for i in range(4)], 8)


@pytest.mark.parametrize("kept", [0, 3, 8, 12])
def test_tables_of_a_process_that_died_while_it_made_them(tmp_path, kept):
    """Opens what a process leaves that was killed after it had made so many tables."""
    import sqlite3

    from optuna.storages._rdb import models
    from sqlalchemy.schema import CreateTable

    tables = models.BaseModel.metadata.sorted_tables
    with sqlite3.connect(tmp_path / "s.db") as connection:
        for table in tables[:kept]:
            connection.execute(str(CreateTable(table)))
    connection.close()
    study = Study({"x": hpo.uniform(0.0, 1.0)}, "random", storage=tmp_path / "s.db", name="s")
    study.optimize(lambda p: p["x"], num_trials=2)
    assert len(study.trials) == 2


def test_what_another_process_makes_just_now_is_tried_again():
    import sqlalchemy.exc

    calls = []

    def make():
        calls.append(0)
        if len(calls) < 4:
            raise sqlalchemy.exc.OperationalError("CREATE", {}, Exception("table t already exists"))
        return "made"

    assert _open.retry_on_race(make) == "made"
    with pytest.raises(sqlalchemy.exc.OperationalError, match="no such column"):
        _open.retry_on_race(lambda: _raise("no such column: x"))


def _raise(text):
    import sqlalchemy.exc

    raise sqlalchemy.exc.OperationalError("SELECT", {}, Exception(text))
