"""SIGTERM is handled like Ctrl-C, by every loop, and nobody's own handler is touched."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from jaxhpo.study.running._interrupts import DeferredInterrupts, Terminated, interruptible_sleep
from tests.study import objectives
from tests.study.test_sweep import SPACE, TRAINING

X = {"x": hpo.uniform(-1.0, 3.0)}
SCRIPT = str(pathlib.Path(objectives.__file__))


@pytest.fixture(autouse=True)
def usual_handlers():
    """Ray, started by a test before in this process, leaves a handler of its own behind."""
    usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_process_that_is_told_to_end_leaves_no_running_trial(url):
    command = [sys.executable, SCRIPT, url, "continuous", "qmc", "100000", "-1", "5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 60
        space = objectives.SPACES["continuous"]()
        while time.monotonic() < deadline and not _num_trials(url, space):
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143
    assert f"storage={url!r}, name='study'" in error
    assert "Traceback" not in error
    trials = Study(space, "qmc", storage=url, name="study", seed=5).trials
    assert Status.RUNNING not in {trial.status for trial in trials}
    assert {t.reason for t in trials if t.status is Status.FAILED} <= {"interrupted"}


def _num_trials(url, space):
    return len(Study(space, "qmc", storage=url, name="study", seed=5).trials)


def test_the_trial_that_ran_is_recorded_and_handlers_come_back(url):
    study = Study(X, "qmc", storage=url, name="s")

    def objective(params):
        if len(study.trials) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        return params["x"]

    with pytest.raises(KeyboardInterrupt) as caught:
        study.optimize(objective, num_trials=10)
    assert isinstance(caught.value, Terminated)
    assert caught.value.code == 143
    assert [t.status for t in study.trials] == [Status.COMPLETE, Status.FAILED]
    assert study.trials[1].reason == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_sweep_that_is_told_to_end_passes_it_on(url):
    study = Study(SPACE, "random", storage=url, name="s")

    def stop(progress):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        study.sweep(TRAINING, num_trials=8, num_steps=20, progress=stop)
    assert study.stop_reason == "interrupted"
    assert Status.RUNNING not in {trial.status for trial in study.trials}
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_workers_end_with_the_run(url):
    study = Study(X, "qmc", storage=url, name="s")
    timer = threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    began = time.monotonic()
    with pytest.raises(Terminated):
        study.optimize(objectives.sleeps, num_trials=4, num_workers=2)
    assert time.monotonic() - began < 30
    assert {t.status for t in study.trials} == {Status.FAILED}


def test_a_handler_of_the_program_stays_in_charge(url):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *arguments: seen.append(1))
    try:
        study = Study(X, "qmc", storage=url, name="s")

        def objective(params):
            os.kill(os.getpid(), signal.SIGTERM)
            return params["x"]

        study.optimize(objective, num_trials=2)
        assert (len(seen), len(study.trials)) == (2, 2)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_touches_no_handler(url):
    found = []

    def run():
        study = Study(X, "qmc", storage=None)
        study.optimize(
            lambda p: found.append(signal.getsignal(signal.SIGTERM)) or 0.0, num_trials=1
        )

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


def test_an_order_that_comes_during_the_last_write_is_not_forgotten():
    def write():
        with DeferredInterrupts():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    with pytest.raises(Terminated):
        write()


def test_a_pause_is_cut_by_what_is_held_back():
    began = time.monotonic()
    with DeferredInterrupts():
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(Terminated):
            interruptible_sleep(30.0)
    assert time.monotonic() - began < 5


def test_the_command_line_ends_with_143(tmp_path):
    (tmp_path / "slow.py").write_text(
        textwrap.dedent("""
            import time
            def f(params):
                print("running", flush=True)
                time.sleep(60)
                return params["x"]
        """)
    )
    space = '{"x": {"kind": "uniform", "low": 0, "high": 1}}'
    command = [sys.executable, "-m", "jaxhpo", "tune", "slow:f", "--space", space]
    process = subprocess.Popen(
        [*command, "--sampler", "qmc", "--storage", "s.db"], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143
    assert "jaxhpo resume slow:f" in out
    assert "Traceback" not in err
    study = Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=tmp_path / "s.db", name="slow:f")
    assert [t.reason for t in study.trials] == ["interrupted"]
