"""Executors: nobody waits for the slowest, a lost worker costs a trial at most, reports arrive."""

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import pathlib
import threading
import time
import warnings

import optuna
import pytest
from loky import get_reusable_executor

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from tests.study import objectives

X = {"x": hpo.uniform(-1.0, 3.0)}


def threads(count):
    return concurrent.futures.ThreadPoolExecutor(count)


def processes(count):
    return concurrent.futures.ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def two_processes():
    """A process takes longer to start than any trial here; those that no test ends are shared."""
    with processes(2) as executor:
        yield executor


def opened(kind, two_processes):
    """An executor of two workers, as a context that leaves the shared one open."""
    if kind == "processes":
        return contextlib.nullcontext(two_processes)
    return threads(2) if kind == "threads" else get_reusable_executor(2)


def facts(study):
    return [(trial.number, trial.params, trial.value, trial.status) for trial in study.trials]


def test_a_worker_that_is_done_gets_the_next_trial_at_once():
    third = threading.Event()

    def objective(params):
        with lock:
            number = len(begun)
            begun.append(number)
        if number == 3:
            third.set()
        if number == 0:  # ends after the fourth trial has begun: never, if rounds are waited for
            assert third.wait(30)
        return params["x"]

    for count in (2, 3):
        begun, lock = [], threading.Lock()
        third.clear()
        study = Study(X, "qmc", storage=None)
        with threads(count) as executor:
            study.optimize(objective, num_trials=6, executor=executor)
        assert [trial.status for trial in study.trials] == [Status.COMPLETE] * 6


def test_own_workers_do_not_wait_for_each_other_either(tmp_path):
    study = Study(X, "qmc", storage=None)
    study.optimize(Chain(str(tmp_path)), num_trials=5, num_workers=2)
    assert [trial.status for trial in study.trials] == [Status.COMPLETE] * 5


class Chain:
    """The first trial ends after the fourth has begun."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, params):
        number = claim(self.folder)
        deadline = time.monotonic() + 60
        while number == 0 and not (pathlib.Path(self.folder) / "3").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return params["x"]


def claim(folder):
    """The number of a call, over all processes."""
    for number in range(1000):
        try:
            (pathlib.Path(folder) / str(number)).touch(exist_ok=False)
        except FileExistsError:
            continue
        return number
    raise AssertionError


@pytest.mark.parametrize(
    "kind", ["threads", "processes", pytest.param("loky", marks=pytest.mark.slow)]
)
def test_every_executor_gives_the_trials_of_one_process(kind, two_processes):
    one, two = (Study(X, "qmc", storage=None) for _ in range(2))
    one.optimize(objectives.score, num_trials=7)
    with opened(kind, two_processes) as executor:
        two.optimize(objectives.score, num_trials=7, executor=executor, num_workers=2)
    assert facts(two) == facts(one)


@pytest.mark.parametrize("name", ["tpe", pytest.param("de", marks=pytest.mark.slow)])
def test_a_synchronous_run_is_the_same_whatever_the_timing(name):
    def optimized(delays):
        study = Study(X, name, storage=None, seed=1)
        left = iter(delays)

        def objective(params):
            time.sleep(next(left))
            return objectives.score(params)

        with threads(3) as executor:
            study.optimize(objective, num_trials=24, executor=executor, synchronous=True)
        return facts(study)

    assert optimized([0.0, 0.01, 0.02] * 8) == optimized([0.02, 0.0, 0.01] * 8)


def test_proposals_differ_from_those_that_still_run():
    gate, asked, lock = threading.Event(), [], threading.Lock()

    def objective(params):
        with lock:
            asked.append(params["x"])
            if len(asked) == 12:
                gate.set()
        if len(asked) > 8:
            gate.wait(60)
        return (params["x"] - 1.0) ** 2

    study = Study(X, "gp", storage=None, seed=0)
    with threads(4) as executor:
        study.optimize(objective, num_trials=12, executor=executor)
    last = sorted(asked[8:])
    assert min(b - a for a, b in itertools.pairwise(last)) > 1e-3


def falling(params):
    for step in range(1, 10):
        yield (params["x"] - 1.0) ** 2 + 1.0 / step


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_reports_are_recorded_wherever_they_come_from(kind, two_processes):
    study = Study(X, "qmc", storage=None)
    with opened(kind, two_processes) as executor:
        study.optimize(falling, num_trials=3, executor=executor, num_steps=4)
    for trial in study.trials:
        loss = (trial.params["x"] - 1.0) ** 2
        assert trial.curve == {step: loss + 1.0 / step for step in (1, 2, 3, 4)}
        assert trial.value == trial.curve[4]


def test_threads_are_stopped_by_a_scheduler():
    study = Study(X, "qmc", storage=None)
    closed = []

    def objective(params):
        try:
            yield from falling(params)
        finally:
            closed.append(params["x"])

    with threads(3) as executor:
        study.optimize(objective, num_trials=18, executor=executor, scheduler="asha", num_steps=9)
    statuses = [trial.status for trial in study.trials]
    assert set(statuses) == {Status.COMPLETE, Status.PRUNED}
    assert len(closed) == 18


class DiesAtFirst:
    """Its process ends in the middle of the second call."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, params):
        if claim(self.folder) == 1:
            os._exit(3)
        return params["x"]


@pytest.mark.parametrize(
    "executor", [None, pytest.param(lambda: get_reusable_executor(1), marks=pytest.mark.slow)]
)
def test_the_params_of_a_lost_worker_run_again(executor, tmp_path, caplog):
    study = Study(X, "qmc", storage=f"sqlite:///{tmp_path / 's.db'}", name="s")
    (tmp_path / "calls").mkdir()
    dies = DiesAtFirst(str(tmp_path / "calls"))
    # With one worker nothing else is lost with it.
    workers = 2 if executor is None else 1
    study.optimize(dies, num_trials=4, num_workers=workers, executor=executor, max_retries=1)
    lost = [trial for trial in study.trials if trial.status is Status.FAILED]
    assert len(lost) == 1
    assert len(study.trials) == 5
    (retry,) = [one for one in study.to_optuna().trials if "retry_history" in one.system_attrs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental
        number = optuna.storages.RetryFailedTrialCallback.retried_trial_number(retry)
    assert number == lost[0].number
    assert retry.params == lost[0].params
    assert retry.state.name == "COMPLETE"
    assert f"the worker of trial {lost[0].number} was lost" in caplog.text


def test_params_that_end_every_worker_are_given_up():
    study = Study(X, "qmc", storage=None)
    study.optimize(dies_always, num_trials=1, num_workers=2, max_retries=2, max_first_failures=None)
    trials = study.trials
    assert [trial.status for trial in trials] == [Status.FAILED] * 3
    assert len({trial.params["x"] for trial in trials}) == 1


def test_what_still_runs_when_the_first_have_all_failed_ends_with_the_run():
    study = Study(X, "qmc", storage=None)
    with pytest.raises(LookupError):
        study.optimize(objectives.raises, num_trials=50, num_workers=2, max_first_failures=4)
    reasons = [trial.reason for trial in study.trials]
    assert reasons.count("LookupError: no luck with ['x']") >= 4
    assert set(reasons) <= {"LookupError: no luck with ['x']", "the study stopped: LookupError"}
    assert len(reasons) <= 5


def dies_always(params):
    os._exit(3)


def test_an_executor_that_stays_broken_ends_the_run_and_nothing_is_lost():
    study = Study(X, "qmc", storage=None)
    with processes(1) as executor, pytest.raises(concurrent.futures.BrokenExecutor) as caught:
        study.optimize(dies_always, num_trials=3, executor=executor)
    assert "Given a function that makes an executor" in caught.value.__notes__[0]
    assert {trial.status for trial in study.trials} == {Status.FAILED}
    assert "the worker was lost" in study.trials[0].reason
    assert "`if __name__ == '__main__':`" in study.trials[0].reason
    study.optimize(objectives.score, num_trials=2)
    assert study.best.status is Status.COMPLETE


def test_what_an_objective_raises_is_its_trial_s(two_processes):
    study = Study(X, "qmc", storage=None)
    study.optimize(objectives.raises, num_trials=2, executor=two_processes)
    for trial in study.trials:
        assert trial.reason == "LookupError: no luck with ['x']"
        assert "in raises" in trial.error
    with pytest.raises(LookupError, match="no luck"):
        study.optimize(objectives.raises, num_trials=2, executor=two_processes, catch=())


def test_a_class_makes_an_executor():
    study = Study(X, "qmc", storage=None)
    settings = {"executor": concurrent.futures.ThreadPoolExecutor, "num_workers": 2}
    study.optimize(objectives.score, num_trials=3, **settings)
    assert [trial.status for trial in study.trials] == [Status.COMPLETE] * 3
    with pytest.raises(TypeError, match="`num_workers` must say how many trials Mute may run"):
        study.optimize(objectives.score, num_trials=3, executor=Mute)


class Mute(concurrent.futures.Executor):
    """Does not say how many workers it has."""


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"executor": 3}, TypeError, "`executor` must be a concurrent.futures.Executor"),
        ({"executor": lambda: 3}, TypeError, "`executor` must be a concurrent.futures.Executor"),
        ({"executor": Mute()}, TypeError, "`num_workers` must say how many trials Mute may run"),
        ({"num_workers": 0}, ValueError, "`num_workers` must be at least 1"),
        ({"max_retries": -1}, ValueError, "`max_retries` must be at least 0"),
        ({"synchronous": 1}, TypeError, "`synchronous` must be True or False"),
        (
            {"executor": Mute(), "scheduler": "asha", "num_steps": 3}, ValueError,
            "`scheduler` must be None where `executor` runs trials outside",
        ),
    ],
)  # fmt: skip
def test_bad_settings_are_named(settings, error, message):
    study = Study(X, "qmc", storage=None)
    with pytest.raises(error, match=message):
        study.optimize(objectives.score, num_trials=2, **settings)
    assert not study.trials


def test_an_objective_that_cannot_be_sent_is_named(two_processes):
    study = Study(X, "qmc", storage=None)
    with pytest.raises(TypeError, match="`objective` must be one that"):
        study.optimize(lambda params: 0.0, num_trials=2, executor=two_processes)
