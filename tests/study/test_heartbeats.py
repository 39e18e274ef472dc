"""Processes of machines that cannot be asked: signs of life, and what becomes of the silent."""

import math
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import warnings

import optuna
import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from jaxhpo.study.reporting._source import Source
from tests.study.vanishing_worker import DIES_AT, SPACE


def vanish(folder, heartbeat):
    """A study whose process on another machine was killed in trial `DIES_AT`."""
    url = f"sqlite:///{folder}/study.db"
    command = [sys.executable, "-m", "tests.study.vanishing_worker", url, str(heartbeat)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return url


def query(folder, text):
    connection = sqlite3.connect(f"{folder}/study.db")
    with connection:
        found = connection.execute(text).fetchall()
    connection.close()
    return found


def let_pass(folder, seconds):
    """Makes all signs of life older."""
    text = f"UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-{seconds} seconds')"
    query(folder, text)


def statuses(study):
    return [trial.status for trial in study.trials]


def test_a_trial_of_a_vanished_machine_fails_and_runs_again_once(tmp_path, caplog):
    url = vanish(tmp_path, 60.0)
    early = Study(SPACE, "random", storage=url, name="s")
    assert statuses(early) == [Status.COMPLETE] * DIES_AT + [Status.RUNNING]
    let_pass(tmp_path, 150)  # two were missed
    assert early.fail_stale() == []
    let_pass(tmp_path, 60)
    study = Study(SPACE, "random", storage=url, name="s")
    lost = study.trials[DIES_AT]
    assert lost.status is Status.FAILED
    assert lost.reason == (
        "the process that ran it on 'elsewhere' has vanished: it missed 3 signs of life, "
        "one every 60 s"
    )
    other = Study(SPACE, "random", storage=url, name="s")
    for one in (study, other):
        one.optimize(lambda params: params["x"], num_trials=2, max_retries=1, progress=False)
    assert f"trial {DIES_AT + 1} runs its params again" in caplog.text
    again = study.trials[DIES_AT + 1]
    assert (again.status, again.params) == (Status.COMPLETE, lost.params)
    assert len(study.trials) == DIES_AT + 1 + 1 + 4  # the new one is no further one of a run
    [theirs] = [t for t in study.to_optuna().trials if t.number == again.number]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        retried = optuna.storages.RetryFailedTrialCallback.retried_trial_number(theirs)
    assert retried == DIES_AT


def test_a_run_with_a_heartbeat_looks_for_the_silent_as_it_goes(tmp_path):
    url = vanish(tmp_path, 5.0)
    study = Study(SPACE, "random", storage=url, name="s")
    assert statuses(study)[DIES_AT] is Status.RUNNING

    def objective(params):
        if len(seen) == 0:
            let_pass(tmp_path, 100)
        seen.append(params)
        time.sleep(0.06)
        return params["x"]

    seen = []
    study.optimize(objective, num_trials=6, heartbeat=0.05, max_retries=1, progress=False)
    assert statuses(study)[DIES_AT] is Status.FAILED
    assert study.trials[DIES_AT].params in seen
    assert len(seen) == 7
    assert set(statuses(study)) == {Status.COMPLETE, Status.FAILED}


def test_a_trial_that_its_process_has_lost_hold_of_takes_no_other_with_it(tmp_path, monkeypatch):
    study = Study(SPACE, "random", storage=tmp_path / "study.db", name="s")
    source = Source(study, False)
    source.heartbeat = 60.0
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(socket, "gethostname", lambda: "elsewhere")
        source.begin(1, {})
        let_pass(tmp_path, 1000)
        source.begin(1, {})  # of the same process, which lives
    assert study.fail_stale() == [0]
    assert statuses(study) == [Status.FAILED, Status.RUNNING]


def test_who_made_the_study_looks_for_the_silent_as_well(tmp_path):
    study = Study(SPACE, "random", storage=f"sqlite:///{tmp_path}/study.db", name="s")
    vanish(tmp_path, 60.0)
    let_pass(tmp_path, 1000)
    study.optimize(lambda params: params["x"], num_trials=1, heartbeat=60.0, max_retries=1)
    assert statuses(study) == [Status.COMPLETE] * DIES_AT + [Status.FAILED] + [Status.COMPLETE] * 2
    study.ask(1)
    assert study.fail_stale(everywhere=True) == [DIES_AT + 3]


def test_who_has_promised_nothing_is_not_missed(tmp_path):
    url = vanish(tmp_path, 0)
    assert query(tmp_path, "SELECT count(*) FROM trial_heartbeats") == [(0,)]
    study = Study(SPACE, "random", storage=url, name="s")
    study.optimize(lambda params: params["x"], num_trials=1, heartbeat=0.05, progress=False)
    assert statuses(study)[DIES_AT] is Status.RUNNING
    assert study.fail_stale(everywhere=True) == [DIES_AT]


def test_optuna_finds_the_same_ones(tmp_path):
    url = vanish(tmp_path, 60.0)
    let_pass(tmp_path, 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.RDBStorage(url, heartbeat_interval=60, grace_period=180)
        theirs = optuna.load_study(study_name="s", storage=storage)
        optuna.storages.fail_stale_trials(theirs)
    states = [trial.state.name for trial in theirs.trials]
    assert states == ["COMPLETE"] * DIES_AT + ["FAIL"]


def test_a_process_of_this_machine_is_asked_and_may_be_silent(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    study = Study(SPACE, "random", storage=url, name="s")

    def objective(params):
        let_pass(tmp_path, 1000)
        assert Study(SPACE, "random", storage=url, name="s").fail_stale() == []
        return params["x"]

    study.optimize(objective, num_trials=2, heartbeat=60.0, progress=False, catch=())
    assert statuses(study) == [Status.COMPLETE] * 2


def test_a_long_trial_gives_signs_of_life(tmp_path):
    study = Study(SPACE, "random", storage=tmp_path / "study.db")

    def objective(params):
        let_pass(tmp_path, 1000)
        [(old,)] = query(tmp_path, "SELECT heartbeat FROM trial_heartbeats")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.02)
            [(found,)] = query(tmp_path, "SELECT heartbeat FROM trial_heartbeats")
            if found != old:
                return 1.0
        return 0.0

    study.optimize(objective, num_trials=1, heartbeat=0.05, progress=False)
    assert study.best_value == 1.0


def test_what_goes_on_after_a_pause_is_not_as_silent_as_it_was(tmp_path, monkeypatch):
    def objective(params, checkpoint=None):
        for step in range(checkpoint["step"] if checkpoint else 0, 3):
            yield hpo.Report(1.0 / (step + 1), {"step": step + 1})
            if is_first and step == 1:
                raise KeyboardInterrupt

    url, is_first = f"sqlite:///{tmp_path}/study.db", True
    study = Study(SPACE, "random", storage=url, name="s")
    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, num_trials=1, heartbeat=60.0, progress=False)
    assert statuses(study) == [Status.WAITING]
    let_pass(tmp_path, 1000)
    for heartbeat in (60.0, None):
        [frozen] = study._store.trials()
        host = socket.gethostname
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        source = Source(study, True)
        source.heartbeat = heartbeat
        assert source.resume(frozen.number) is not None
        monkeypatch.setattr(socket, "gethostname", host)
        assert study.fail_stale() == []
        assert statuses(study) == [Status.RUNNING]
        study._store.release([frozen._trial_id], lambda owner: True)
        let_pass(tmp_path, 1000)


@pytest.mark.parametrize("storage", [None, "study.log"])
def test_only_a_database_has_a_clock_for_all(storage, tmp_path):
    study = Study(SPACE, "random", storage=storage and tmp_path / storage)
    with pytest.raises(ValueError, match="`heartbeat` must be None where the study's `storage` is"):
        study.optimize(lambda params: 0.0, num_trials=1, heartbeat=1.0)
    assert not study.trials


@pytest.mark.parametrize("heartbeat", [0.0, -1.0, math.nan, math.inf, "often", True])
def test_bad_intervals_are_named(heartbeat, tmp_path):
    study = Study(SPACE, "random", storage=tmp_path / "study.db")
    with pytest.raises((ValueError, TypeError), match="`heartbeat` must be"):
        study.optimize(lambda params: 0.0, num_trials=1, heartbeat=heartbeat)
    assert not study.trials
