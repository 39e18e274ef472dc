"""Worker processes: the same trials as one process makes, whatever a worker does."""

import os
import subprocess
import sys
import textwrap

import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study, Trial
from jaxhpo.study.reporting._tasks import Task
from jaxhpo.study.running._interrupts import DeferredInterrupts
from jaxhpo.study.running.engines._workers import WorkerPool
from tests.study import objectives

X = {"x": hpo.uniform(-1.0, 3.0)}


def pid_of(params):
    return float(os.getpid())


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def raises_unpicklable(params):
    raise Unpicklable("one", "two")


def test_workers_give_the_trials_of_one_process():
    one, two = (Study(X, "qmc", storage=None) for _ in range(2))
    one.optimize(objectives.score, num_trials=7)
    two.optimize(objectives.score, num_trials=7, num_workers=2)
    assert [(t.params, t.value) for t in two.trials] == [(t.params, t.value) for t in one.trials]


def test_the_objective_runs_in_other_processes():
    study = Study(X, "qmc", storage=None)
    study.optimize(pid_of, num_trials=4, num_workers=2)
    pids = set(study.values.astype(int))
    assert len(pids) == 2
    assert os.getpid() not in pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_a_worker_raises_is_kept_with_its_traceback():
    study = Study(X, "qmc", storage=None)
    study.optimize(objectives.raises, num_trials=2, num_workers=2)
    for trial in study.trials:
        assert trial.reason == "LookupError: no luck with ['x']"
        assert "in raises" in trial.error
    with pytest.raises(LookupError, match="no luck"):
        study.optimize(objectives.raises, num_trials=2, num_workers=2, catch=())
    with pytest.raises(RuntimeError, match="Unpicklable: one"):
        study.optimize(raises_unpicklable, num_trials=2, num_workers=2, catch=())
    assert len(study.trials) == 6


def test_a_worker_that_dies_fails_its_own_trial_only():
    study = Study(X, "qmc", storage=None)
    study.optimize(objectives.dies, num_trials=6, num_workers=2)
    for trial in study.trials:
        is_fatal = trial.params["x"] > 1.0
        assert trial.status is (Status.FAILED if is_fatal else Status.COMPLETE)
        assert ("exit code 7" in (trial.reason or "")) is is_fatal
    assert {t.status for t in study.trials} == {Status.FAILED, Status.COMPLETE}


def test_a_wrong_return_is_an_error_from_a_worker_too():
    study = Study(X, "qmc", storage=None)
    with pytest.raises(TypeError, match="`objective` must return a real number"):
        study.optimize(objectives.returns_none, num_trials=2, num_workers=2)
    assert [t.status for t in study.trials] == [Status.FAILED] * 2


def test_an_objective_that_cannot_be_pickled_is_named_before_anything_runs():
    study = Study(X, "qmc", storage=None)
    with pytest.raises(TypeError, match=r"`objective` must be picklable .*num_workers=2"):
        study.optimize(lambda p: 0.0, num_trials=2, num_workers=2)
    assert study.trials == []


def test_an_objective_that_a_worker_cannot_load_is_an_error(tmp_path):
    script = textwrap.dedent("""
        import jaxhpo as hpo
        def objective(params):
            return params["x"]
        study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=None)
        study.optimize(objective, num_trials=2, num_workers=2)
    """)
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert result.returncode != 0
    assert "could not load `objective`" in result.stderr


def test_a_script_without_a_main_guard_gets_a_hint(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import jaxhpo as hpo
            def objective(params):
                return params["x"]
            study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage=None)
            study.optimize(objective, num_trials=2, num_workers=2)
            print(study.trials[0].reason)
        """)
    )
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120
    )
    assert "if __name__ == '__main__':" in result.stdout


def test_a_pool_starts_no_more_workers_than_it_has_work():
    pool = WorkerPool(objectives.score, 8, None, DeferredInterrupts())
    pool.start(Task(Trial(0, {"x": 0.5}), 0))
    assert [result.value for _, result in pool.wait()] == [0.0]
    assert sum(worker is not None for worker in pool._workers) == 1
    pool.close()
