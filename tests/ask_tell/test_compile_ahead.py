"""The next capacity is compiled by another process, and no point depends on it."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import jaxhpo as hpo
from jaxhpo.ask_tell import _compile_ahead
from jaxhpo.ask_tell._compile_ahead import CompileAhead

# A study of objectives that take long as far as `CompileAhead` can tell.
START = """
import os, sys, time
import jax
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
import jaxhpo as hpo
from jaxhpo.ask_tell import _compile_ahead
_compile_ahead.MIN_SECONDS = {seconds}
study = hpo.Study({{"x": hpo.uniform(0.0, 1.0)}}, "tpe", storage=None)
ahead = study._sampler._proposer._driver._ahead
def run(count, called=lambda: None):
    def objective(params):
        called()
        return params["x"]
    study.optimize(objective, num_trials=count, progress=False)
def await_process():
    while ahead.is_running:
        time.sleep(0.02)
"""
SWITCH = """
begun = 0
def called():
    global begun
    begun += 1
    await_process()
    if begun == 250:
        ahead.wait()
        events.clear()
run(280, called)
# Not the misses: a program that compiles in no time is none.
requests = sum("compile_requests" in name for name in events)
print(requests, sum("cache_hits" in name for name in events), study.trials[256].compile_seconds > 0)
print([trial.params["x"] for trial in study.trials])
"""
LEAVE = """
begun = 0
def called():
    global begun
    begun += 1
    if begun > 200:
        study.stop()
run(300, called)
print(ahead.is_running, ahead._process.pid, flush=True)
{last}
"""


def start(script, folder, seconds=0.0, **fields):
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("JAXHPO", "JAX_", "XLA_"))
    }
    environment |= {"JAXHPO_CACHE_DIR": str(folder), "JAX_PLATFORMS": "cpu"}
    code = START.format(seconds=seconds) + textwrap.dedent(script.format(**fields))
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def output_of(process):
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out.splitlines()


def has_ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_no_program_is_compiled_where_the_room_ends(tmp_path):
    ahead = output_of(start(SWITCH, tmp_path / "ahead"))
    late = output_of(start(SWITCH, tmp_path / "late", seconds=1e9))
    assert ahead[0] == "0 0 False"  # the thread has read what the other process has compiled
    assert late[0] == "2 0 True"
    assert ahead[1] == late[1]


@pytest.mark.slow
def test_the_end_does_not_wait_for_it(tmp_path):
    process = start(LEAVE, tmp_path, last="")
    [line] = output_of(process)
    is_running, pid = line.split()
    assert is_running == "True"
    assert has_ended(int(pid))


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_it(tmp_path):
    process = start(LEAVE, tmp_path, last="run(1, lambda: time.sleep(600))")
    is_running, pid = process.stdout.readline().split()
    assert is_running == "True"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert has_ended(int(pid))


def test_it_is_due_near_the_end_of_room_that_lasts(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ahead, due = CompileAhead(), []
    for count in range(1, 65):
        if ahead.is_due(count, 64):
            due.append(count)
        now[0] += 1.0 if count > 30 else 0.0
    assert due[0] == 48
    assert due[-1] < 59  # less than MIN_SECONDS are left at half a second each


def test_nothing_is_compiled_for_more_trials_than_there_will_be(monkeypatch):
    started = []
    monkeypatch.setattr(_compile_ahead, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(_compile_ahead, "_started", lambda capacity, *_: started.append(capacity))
    study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "tpe", storage=None)
    study.optimize(lambda params: params["x"], num_trials=256, progress=False)
    assert not started
    study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "tpe", storage=None)
    study.optimize(lambda params: params["x"], num_trials=200, progress=False)
    study.optimize(lambda params: params["x"], num_trials=57, progress=False)
    assert started == [2048]


def test_a_fast_study_starts_no_process():
    ahead = CompileAhead()
    assert not any(ahead.is_due(count, 64) for count in range(65))
