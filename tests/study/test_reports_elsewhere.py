"""Workers of other processes record their reports in the storage, and a scheduler stops them."""

import concurrent.futures
import multiprocessing
import os
import pathlib
import sys
import time

import optuna
import pytest
from loky import get_reusable_executor

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from jaxhpo.study.storage._errors import StorageError
from tests.study import reporters

X = {"x": hpo.uniform(-1.0, 3.0)}
STEPS = 9


@pytest.fixture(scope="module")
def two_processes():
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, context) as executor:
        yield executor


def falling(params):
    for step in range(1, STEPS + 1):
        yield (params["x"] - 1.0) ** 2 + 1.0 / step


class Waits:
    """Reports once, and goes on when a file is there."""

    def __init__(self, folder):
        self.file = pathlib.Path(folder) / "go"

    def __call__(self, params):
        yield 3.0
        deadline = time.monotonic() + 60
        while not self.file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        yield 2.0


def curves(study):
    return [trial.curve for trial in study.trials]


@pytest.mark.parametrize("ending", [".db", ".log"])
def test_asha_stops_trials_of_a_process_pool(ending, two_processes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the workers are in another folder
    study = Study(X, "qmc", storage=f"study{ending}", name="s")
    study.optimize(
        falling, num_trials=18, executor=two_processes, scheduler="asha", num_steps=STEPS
    )
    statuses = [trial.status for trial in study.trials]
    assert len(statuses) == 18
    assert set(statuses) == {Status.COMPLETE, Status.PRUNED}
    for trial in study.trials:
        full = list(falling(trial.params))
        assert trial.curve == {step: full[step - 1] for step in range(1, len(trial.curve) + 1)}
        assert trial.value == trial.curve[len(trial.curve)]
        assert (len(trial.curve) == STEPS) == (trial.status is Status.COMPLETE)


def test_one_worker_decides_as_this_process_does(two_processes, tmp_path):
    settings = {"num_trials": 9, "scheduler": "asha", "num_steps": STEPS}
    here = Study(X, "qmc", storage=None)
    here.optimize(falling, **settings)
    there = Study(X, "qmc", storage=tmp_path / "study.db")
    there.optimize(falling, executor=two_processes, num_workers=1, **settings)
    assert [t.status for t in there.trials] == [t.status for t in here.trials]
    assert curves(there) == curves(here)


def test_a_rule_that_lets_trials_wait_goes_on_from_their_checkpoints(two_processes, tmp_path):
    study = Study(X, "qmc", storage=tmp_path / "study.db")
    settings = {"num_trials": 9, "scheduler": "halving", "num_steps": reporters.STEPS}
    study.optimize(reporters.resumable, executor=two_processes, **settings)
    here = Study(X, "qmc", storage=None)
    here.optimize(reporters.resumable, **settings)
    assert [t.status for t in study.trials] == [t.status for t in here.trials]
    assert curves(study) == curves(here)
    assert not (tmp_path / "study.db.checkpoints").exists()  # nothing is left of those that ended


def test_a_pruner_of_optunas_is_asked_in_the_worker(two_processes, tmp_path):
    study = Study(X, "qmc", storage=tmp_path / "study.db")
    pruner = optuna.pruners.ThresholdPruner(upper=1.5, n_warmup_steps=2)
    study.optimize(falling, num_trials=8, executor=two_processes, scheduler=pruner)
    for trial in study.trials:
        full = list(falling(trial.params))
        too_high = [step for step in range(2, STEPS + 1) if full[step - 1] > 1.5]
        assert len(trial.curve) == (too_high[0] if too_high else STEPS)
        assert (trial.status is Status.PRUNED) == bool(too_high)


def test_reports_are_there_before_the_trial_has_ended(two_processes, tmp_path):
    study = Study(X, "qmc", storage=tmp_path / "study.db", name="s")
    seen = []

    def look():
        deadline = time.monotonic() + 60
        while not seen and time.monotonic() < deadline:
            other = hpo.load_study("s", tmp_path / "study.db")
            seen.extend(trial.curve for trial in other.trials if trial.curve)
            time.sleep(0.05)
        (tmp_path / "go").touch()

    with concurrent.futures.ThreadPoolExecutor(1) as watcher:
        watched = watcher.submit(look)
        study.optimize(Waits(tmp_path), num_trials=1, executor=two_processes)
        watched.result()
    assert seen[0] == {1: 3.0}
    assert curves(study) == [{1: 3.0, 2: 2.0}]


class DiesAfterTwo:
    """Its process ends after two reports of the first call."""

    def __init__(self, folder):
        self.file = pathlib.Path(folder) / "died"

    def __call__(self, params):
        yield 3.0
        yield 2.0
        if not self.file.exists():
            self.file.touch()
            os._exit(3)
        yield 1.0


def test_what_a_lost_worker_had_reported_is_kept(tmp_path):
    study = Study(X, "qmc", storage=tmp_path / "study.db")
    study.optimize(
        DiesAfterTwo(tmp_path),
        num_trials=1,
        executor=lambda: get_reusable_executor(1),
        max_retries=1,
        num_steps=3,
    )
    lost, again = study.trials
    assert lost.status is Status.FAILED
    assert "worker was lost" in lost.reason
    assert lost.curve == {1: 3.0, 2: 2.0}
    assert again.status is Status.COMPLETE
    assert again.curve == {1: 3.0, 2: 2.0, 3: 1.0}


def test_storage_in_memory_is_refused_with_a_scheduler(two_processes):
    for storage in (None, "sqlite://", optuna.storages.InMemoryStorage()):
        study = Study(X, "qmc", storage=storage)
        with pytest.raises(ValueError, match="`storage` is no URL or path that its workers can"):
            study.optimize(
                falling, num_trials=2, executor=two_processes, scheduler="asha", num_steps=3
            )
        assert not study.trials


def test_a_worker_that_does_not_see_the_file_says_so(two_processes, tmp_path, monkeypatch):
    study = Study(X, "qmc", storage=tmp_path / "study.db")
    monkeypatch.setattr(study._store, "address", str(tmp_path / "elsewhere" / "study.db"))
    with pytest.raises(StorageError, match=r"must see the study's storage.*elsewhere"):
        study.optimize(falling, num_trials=2, executor=two_processes, scheduler="asha", num_steps=3)
    assert {trial.status for trial in study.trials} == {Status.FAILED}
    # Nobody decides by them: they come with the trial's end, as from a machine without the file.
    study.optimize(falling, num_trials=2, executor=two_processes)
    assert [len(trial.curve) for trial in study.trials[-2:]] == [STEPS, STEPS]
    assert not (tmp_path / "elsewhere").exists()


def test_a_worker_that_sees_another_file_records_nothing_in_it(two_processes, tmp_path):
    study = Study(X, "qmc", storage=tmp_path / "study.db", name="s")
    other = Study(X, "qmc", storage=tmp_path / "other.db", name="s", seed=5)
    other.ask(2)
    study._store.address = str(tmp_path / "other.db")
    study.optimize(falling, num_trials=2, executor=two_processes)
    assert curves(other) == [{}, {}]
    assert [len(curve) for curve in curves(study)] == [STEPS, STEPS]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Dask's processes are spawned there")
def test_dask_is_stopped_by_a_scheduler(tmp_path):
    import distributed

    study = Study(X, "qmc", storage=tmp_path / "study.db")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        study.optimize(
            falling,
            num_trials=18,
            executor=client.get_executor(retries=0),
            num_workers=2,
            scheduler="asha",
            num_steps=STEPS,
        )
    assert {trial.status for trial in study.trials} == {Status.COMPLETE, Status.PRUNED}
