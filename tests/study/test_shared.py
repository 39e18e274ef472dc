"""Four processes on one study: no trial is lost, none comes twice, whatever the storage."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from tests.study.test_postgres import server  # noqa: F401

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
SPACE = {"x": hpo.uniform(0.0, 1e6)}


def check(storage, num_workers, num_trials):
    """Lets processes run, and compares what they ran with what is stored."""
    command = [sys.executable, "-m", "tests.study.shared_worker", storage, str(num_trials)]
    environment = {**os.environ, "JAXHPO_CACHE": "0"}
    workers = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(num_workers)
    ]  # fmt: skip
    ended = [worker.communicate(timeout=800) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * num_workers, ended
    ran = [x for out, _ in ended for x in json.loads(out.splitlines()[-1])]
    trials = Study(SPACE, "random", storage=storage, name="shared").trials
    total = num_workers * num_trials
    assert [trial.number for trial in trials] == list(range(total))
    assert {trial.status for trial in trials} == {Status.COMPLETE}
    assert sorted(trial.params["x"] for trial in trials) == sorted(ran)
    assert len(set(ran)) == total
    assert all(trial.value == trial.params["x"] ** 2 for trial in trials)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_journal_file_of_four_processes(tmp_path):
    check(str(tmp_path / "study.journal"), 4, 250)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_of_four_processes(server):  # noqa: F811
    pytest.importorskip("psycopg")
    check(f"postgresql+psycopg://tester@{server}", 4, 250)
