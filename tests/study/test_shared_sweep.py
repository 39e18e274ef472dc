"""Several processes sweep one study: no point is trained twice, whoever starts late or dies."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

import jaxhpo as hpo
from jaxhpo import Status
from tests.study.sweep_worker import TRAINING, study_of
from tests.study.test_postgres import server  # noqa: F401

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture(params=["sqlite", "journal", "postgres"])
def storage(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/s.db"
    if request.param == "journal":
        return str(tmp_path / "s.journal")
    pytest.importorskip("psycopg")
    address = request.getfixturevalue("server")
    name = f"t{abs(hash(request.node.name)) % 10**8}{os.getpid()}"
    import psycopg

    with psycopg.connect(f"postgresql://tester@{address}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg://tester@{address.rpartition('/')[0]}/{name}"


def start(storage, num_trials, batch_size=4096, end="whole"):
    command = [sys.executable, "-m", "tests.study.sweep_worker", storage]
    return subprocess.Popen(
        [*command, str(num_trials), str(batch_size), end],
        cwd=ROOT, env={**os.environ, "JAXHPO_CACHE": "0"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(*workers):
    for worker in workers:
        _, error = worker.communicate(timeout=600)
        assert worker.returncode == 0, error


def facts(study):
    return [(t.number, t.status, t.params, t.value) for t in study.trials]


def assert_is_one_sweep(storage, num_trials):
    """What was recorded is what one process alone would have recorded."""
    whole = study_of(None)
    whole.sweep(TRAINING, num_trials=num_trials, num_steps=5, progress=False)
    assert {t.status for t in whole.trials} == {Status.COMPLETE}
    assert len({str(t.params) for t in whole.trials}) == num_trials
    found = facts(study_of(storage))
    assert [fact[:3] for fact in found] == [fact[:3] for fact in facts(whole)]
    values = [fact[3] for fact in facts(whole)]
    assert [fact[3] for fact in found] == pytest.approx(values, rel=1e-5)


@pytest.mark.timeout(900)
def test_two_workers_on_one_sweep_and_the_second_starts_late(storage):
    study_of(storage)
    first = start(storage, 12, end="slow")
    assert first.stdout.readline() == "reserved\n"
    second = start(storage, 12, batch_size=6)
    ended(first, second)
    assert_is_one_sweep(storage, 24)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_four_workers_on_one_sweep(storage):
    study_of(storage)
    ended(*(start(storage, 25, batch_size=size) for size in (4096, 4096, 10, 3)))
    assert_is_one_sweep(storage, 100)


@pytest.mark.timeout(900)
def test_the_batch_of_a_killed_process_is_trained_by_the_next_one(storage, caplog):
    worker = start(storage, 6, end="killed")
    worker.communicate(timeout=600)
    assert worker.returncode == -signal.SIGKILL
    study = study_of(storage)
    assert "6 trials wait to be trained again" in caplog.text
    assert [(t.number, t.status) for t in study.trials] == [(i, Status.WAITING) for i in range(6)]
    other = study_of(storage)
    # Both have seen the trials wait; each is taken up once.
    study.sweep(TRAINING, num_trials=4, num_steps=5, progress=False)
    other.sweep(TRAINING, num_trials=4, num_steps=5, progress=False)
    assert_is_one_sweep(storage, 8)


def test_a_batch_that_somebody_trains_is_not_taken_for_lost(storage):
    worker = start(storage, 6, end="slow")
    assert worker.stdout.readline() == "reserved\n"
    study = study_of(storage)
    assert {t.status for t in study.trials} == {Status.RUNNING}
    study.sweep(TRAINING, num_trials=2, num_steps=5, progress=False)
    ended(worker)
    assert_is_one_sweep(storage, 8)


def test_trials_that_others_had_ended_keep_what_was_recorded(storage, monkeypatch, caplog):
    study = study_of(storage)
    run = hpo.population.sweep

    def meanwhile(*args, **settings):
        if study.trials[1].status is Status.RUNNING:
            study_of(storage).tell(1, 0.125)
        return run(*args, **settings)

    monkeypatch.setattr(hpo.population, "sweep", meanwhile)
    summary = study.sweep(TRAINING, num_trials=3, num_steps=5, progress=False)
    # Two of the first batch, and one more for the one that was lost.
    assert (summary.num_trials, summary.num_batches, len(study.trials)) == (3, 2, 4)
    assert study.trials[1].value == 0.125
    assert "trial 1 has already ended with [0.125]" in caplog.text
