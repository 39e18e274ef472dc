"""A living trial of another container with the same host name stays; a dead one here does not."""

import os
import subprocess
import sys
import time

import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study

X = {"x": hpo.uniform(0.0, 1.0)}
UNSHARE = ["unshare", "--pid", "--uts", "--fork", "--mount-proc"]
SCRIPT = """
import pathlib, sys, time
import jaxhpo as hpo
from jaxhpo.study import Study
def objective(params):
    print("running", flush=True)
    sys.stdin.readline()
    return 0.25
study = Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=sys.argv[1], name="s")
study.optimize(objective, num_trials=1, progress=False)
"""


@pytest.fixture(autouse=True)
def can_unshare():
    if os.name == "nt" or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces can be made here")


def container(storage):
    process = subprocess.Popen(
        [*UNSHARE, sys.executable, "-c", SCRIPT, storage], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "JAXHPO_CACHE": "0"},
    )  # fmt: skip
    assert process.stdout.readline() == "running\n"
    return process


@pytest.mark.parametrize("name", ["s.db", "s.journal"])
def test_a_living_trial_of_another_container_keeps_its_value(tmp_path, name):
    storage = str(tmp_path / name)
    process = container(storage)
    try:
        # Another container with the same host name, and this machine itself.
        check = f"""
import jaxhpo as hpo
from jaxhpo.study import Study
study = Study({{"x": hpo.uniform(0.0, 1.0)}}, "qmc", storage={storage!r}, name="s")
print(study.trials[0].status.name)
"""
        other = subprocess.run(
            [*UNSHARE, sys.executable, "-c", check], capture_output=True, text=True
        )
        assert other.stdout == "RUNNING\n", other.stderr
        assert Study(X, "qmc", storage=storage, name="s").trials[0].status is Status.RUNNING
        process.stdin.write("\n")
        process.stdin.flush()
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
    assert [t.value for t in Study(X, "qmc", storage=storage, name="s").trials] == [0.25]


def test_a_dead_process_of_this_namespace_is_known_to_be_dead(tmp_path):
    storage = str(tmp_path / "s.db")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, storage], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == "running\n"
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    time.sleep(0.1)
    assert Study(X, "qmc", storage=storage, name="s").trials[0].status is Status.FAILED
