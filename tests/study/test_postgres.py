"""A real PostgreSQL server: the batch writer, several writers, and what is read back."""

import contextlib
import pathlib
import subprocess
import sys
import threading
import traceback
import urllib.parse

import optuna
import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import StorageError, Study
from jaxhpo.study.storage import _open
from jaxhpo.study.storage._rows import to_frozen_trial
from jaxhpo.study.storage._store import Store
from tests.faults import servers
from tests.study import objectives
from tests.study.test_bulk import ROWS, as_dict

HERE = pathlib.Path(__file__).parent
DRIVERS = ["psycopg", "psycopg2"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server on the loopback interface that lives as long as these tests."""
    with contextlib.ExitStack() as stack:
        try:
            address = stack.enter_context(servers.running_server(tmp_path_factory.mktemp("pg")))
        except RuntimeError as error:
            pytest.skip(str(error))
        yield address


@pytest.fixture(params=DRIVERS)
def url(request, server):
    pytest.importorskip(request.param)
    return f"postgresql+{request.param}://tester@{server}"


def test_every_field_equals_what_the_public_writer_stores(url):
    name = url.split(":")[0]
    store = Store(url, f"bulk {name}", ["minimize"])
    assert store._database is not None
    written = store.append(ROWS)
    public = optuna.create_study(storage=store.storage, study_name=f"public {name}")
    public.add_trials([to_frozen_trial(row) for row in ROWS])
    ours = optuna.load_study(study_name=f"bulk {name}", storage=store.storage).trials
    assert [trial._trial_id for trial in ours] == [trial_id for _, trial_id in written]
    for mine, other in zip(ours, public.trials, strict=True):
        assert as_dict(mine) == as_dict(other)


def test_three_processes_number_their_trials_without_a_gap(server):
    pytest.importorskip("psycopg")
    url = f"postgresql://tester@{server}"
    Store(url, "shared", ["minimize"])
    workers = [
        subprocess.Popen([sys.executable, str(HERE / "bulk_worker.py"), url, str(w), "8", "32"])
        for w in range(3)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    trials = Store(url, "shared", ["minimize"]).trials()
    assert [trial.number for trial in trials] == list(range(3 * 8 * 32))


def test_a_study_is_resumed_from_the_server(url):
    space, name = objectives.SPACES["conditional"](), f"study {url.split(':')[0]}"
    whole = Study(space, "qmc", storage=None, seed=5)
    whole.optimize(objectives.score, num_trials=12)
    for part in (5, 7):
        Study(space, "qmc", storage=url, name=name, seed=5).optimize(
            objectives.score, num_trials=part
        )
    trials = Study(space, "qmc", storage=url, name=name).trials
    assert [(t.params, t.value) for t in trials] == [(t.params, t.value) for t in whole.trials]
    assert {t.status for t in trials} == {Status.COMPLETE}


def test_a_database_that_is_not_there_is_named(url):
    missing = url.replace("/postgres", "/nothing")
    with pytest.raises(StorageError, match="cannot be reached: the server has no such database"):
        Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=missing)


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Where results are kept that the server does not take."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "jaxhpo"


def test_a_restart_while_an_objective_runs_is_not_noticed(url, server):
    study = Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=url, name=f"quick {url}")

    def objective(params):
        server.stop()
        server.start()
        return params["x"]

    study.optimize(objective, num_trials=2)
    assert [t.status for t in study.trials] == [Status.COMPLETE] * 2


def test_a_server_that_is_away_is_waited_for(url, server, caplog):
    study = Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=url, name=f"away {url}")

    def objective(params):
        server.stop()
        threading.Timer(2.0, server.start).start()
        return params["x"]

    study.optimize(objective, num_trials=2)
    assert [t.status for t in study.trials] == [Status.COMPLETE] * 2
    assert caplog.text.count("Waiting for it; retrying") == 2
    assert caplog.text.count("is available again after") == 2


def test_a_server_that_stays_away_does_not_take_the_value_with_it(url, server, state, monkeypatch):
    monkeypatch.setenv("JAXHPO_PATIENCE", "1.5")
    study = Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=url, name=f"gone {url}")

    def objective(params):
        server.stop()
        return 0.125

    try:
        with pytest.raises(StorageError, match="Saved the result of 1 trial in") as caught:
            study.optimize(objective, num_trials=2)
    finally:
        server.start()
    [kept] = state.iterdir()
    assert str(kept) in str(caught.value)
    for _ in range(2):
        again = Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=url, name=f"gone {url}")
        assert [(t.status, t.value) for t in again.trials] == [(Status.COMPLETE, 0.125)]
    assert list(state.iterdir()) == []


def test_a_lock_of_another_program_is_told_and_waited_for(url, server, monkeypatch, caplog):
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setattr(_open, "BUSY_SECONDS", 0.3)
    monkeypatch.setenv("JAXHPO_PATIENCE", "60")
    study = Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=url, name=f"lock {url}")
    other = psycopg.connect(f"postgresql://tester@{server}")

    def objective(params):
        other.execute("LOCK TABLE studies IN ACCESS EXCLUSIVE MODE")
        threading.Timer(1.5, other.rollback).start()
        return 0.5

    study.optimize(objective, num_trials=1)
    assert study.best_value == 0.5
    assert "is locked" in caplog.text
    assert "is available again after" in caplog.text
    other.close()


def test_a_wrong_password_is_in_no_part_of_the_error(server, tmp_path):
    pytest.importorskip("psycopg")
    for secret in ("sesame", "s@same", "se%40same"):
        quoted = urllib.parse.quote(secret, safe="")
        for url in (
            f"postgresql+psycopg://nobody:{quoted}@{server}x",
            f"postgresql+psycopg://nobody@{server}x?password={quoted}",
            f" postgresql+psycopg://nobody:{quoted}@{server}x ",
        ):
            with pytest.raises(StorageError) as caught:
                Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=url)
            text = "".join(traceback.format_exception(caught.value))
            assert secret not in text
            assert quoted not in text
