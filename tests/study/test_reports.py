"""Objectives that are generators: what is recorded, what they come to, and what is refused."""

import contextlib
import os
import signal

import numpy as np
import optuna
import pytest
import sqlalchemy

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from jaxhpo.study.reporting._packed import pack
from jaxhpo.study.reporting._source import Source
from jaxhpo.study.reporting._tasks import Recorder
from jaxhpo.study.running._results import ObjectiveResult
from jaxhpo.study.storage._records import Records
from jaxhpo.study.storage._reports import report
from tests.study import reporters
from tests.study.reporters import STEPS, X

SETTINGS = {"progress": False}


def test_each_report_is_recorded_at_once(url):
    seen = []

    def objective(params):
        for step in range(1, 4):
            yield reporters.loss(params["x"], step)
            # Another program reads the file.
            [*_, last] = optuna.load_study(study_name="s", storage=url).trials
            seen.append((last.state.name, last.intermediate_values))

    study = Study(X, "qmc", storage=url, name="s")
    study.optimize(objective, num_trials=2, **SETTINGS)
    for trial, states in zip(study.trials, (seen[:3], seen[3:]), strict=True):
        curve = reporters.curve(trial.params["x"], 3)
        assert states == [("RUNNING", reporters.curve(trial.params["x"], k)) for k in (1, 2, 3)]
        assert trial.curve == curve
        assert (trial.status, trial.value) == (Status.COMPLETE, curve[3])


@pytest.mark.parametrize("storage", ["url", None, "journal"])
def test_a_generator_gives_the_trials_of_a_plain_objective(url, storage, tmp_path):
    storage = {"url": url, "journal": str(tmp_path / "s.log")}.get(storage)
    one, two = Study(X, "tpe", storage=storage, name="one"), Study(X, "tpe", storage=None)
    one.optimize(reporters.reports, num_trials=6, **SETTINGS)
    two.optimize(lambda p: reporters.loss(p["x"], STEPS), num_trials=6, **SETTINGS)
    assert [(t.params, t.value) for t in one.trials] == [(t.params, t.value) for t in two.trials]
    assert [t.curve for t in one.trials] == [reporters.curve(t.params["x"]) for t in one.trials]


def test_workers_report_what_one_process_does(url):
    one, two = Study(X, "qmc", storage=None), Study(X, "qmc", storage=url)
    one.optimize(reporters.reports, num_trials=5, **SETTINGS)
    two.optimize(reporters.reports, num_trials=5, num_workers=2, **SETTINGS)
    assert reporters.facts(one) == reporters.facts(two)


def test_what_a_generator_returns_is_its_value():
    def objective(params):
        yield 5.0
        return hpo.Outcome(params["x"], violation=0.5 - params["x"])

    study = Study(X, "qmc", storage=None)
    study.optimize(objective, num_trials=4, **SETTINGS)
    for trial in study.trials:
        is_feasible = trial.params["x"] >= 0.5
        assert trial.status is (Status.COMPLETE if is_feasible else Status.INFEASIBLE)
        assert (trial.value, trial.curve) == (trial.params["x"], {1: 5.0})


def test_the_surplus_report_is_not_recorded_and_the_generator_closed():
    closed = []

    def objective(params):
        try:
            step = 0
            while True:
                step += 1
                yield np.float32(step)
        finally:
            closed.append(step)

    study = Study(X, "qmc", storage=None)
    study.optimize(objective, num_trials=2, num_steps=3, **SETTINGS)
    assert [t.curve for t in study.trials] == [{1: 1.0, 2: 2.0, 3: 3.0}] * 2
    assert [(t.status, t.value) for t in study.trials] == [(Status.COMPLETE, 3.0)] * 2
    assert closed == [4, 4]


def test_several_objectives_are_returned_beside_the_reports():
    def objective(params):
        yield 1.0
        return params["x"], 1.0 - params["x"]

    study = Study(X, "nsga2", storage=None, direction=["minimize", "maximize"])
    study.optimize(objective, num_trials=3, **SETTINGS)
    assert all(t.value == (t.params["x"], 1.0 - t.params["x"]) for t in study.trials)
    with pytest.raises(ValueError, match="`scheduler` must be None where there are several"):
        study.optimize(objective, num_trials=1, scheduler="asha", num_steps=3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_report_that_is_not_finite_fails_the_trial_and_the_curve_stays(bad):
    closed = []

    def objective(params):
        try:
            yield 2.0
            yield bad
            yield 1.0
        finally:
            closed.append(True)

    study = Study(X, "qmc", storage=None)
    study.optimize(objective, num_trials=2, **SETTINGS)
    for trial in study.trials:
        assert (trial.status, trial.curve) == (Status.FAILED, {1: 2.0})
        assert "the loss that it yielded was" in trial.reason
    assert closed == [True, True]


def nothing(params):
    return
    yield


def text(params):
    yield "0.5"


def boolean(params):
    yield True


def pair(params):
    yield 1.0, 2.0


def array(params):
    yield np.zeros(2)


@pytest.mark.parametrize(
    ("objective", "got"),
    [
        (nothing, "must yield a loss or return one, got a generator that did neither"),
        (text, "must yield a real number or an hpo.Report of one, got '0.5'"),
        (boolean, "must yield a real number or an hpo.Report of one, got True"),
        (pair, "must yield a real number"),
        (array, "must yield a real number"),
    ],
)
def test_what_is_no_report_is_an_error_that_says_so(objective, got):
    study = Study(X, "qmc", storage=None)
    with pytest.raises(TypeError, match=got):
        study.optimize(objective, num_trials=3, **SETTINGS)
    assert [t.status for t in study.trials] == [Status.FAILED]
    assert got in study.trials[0].reason


def test_what_a_generator_raises_is_its_failure():
    def objective(params):
        yield 1.0
        raise LookupError("gone")

    study = Study(X, "qmc", storage=None)
    study.optimize(objective, num_trials=2, **SETTINGS)
    for trial in study.trials:
        assert (trial.status, trial.reason, trial.curve) == (
            Status.FAILED,
            "LookupError: gone",
            {1: 1.0},
        )
        assert "in objective" in trial.error
    with pytest.raises(LookupError):
        study.optimize(objective, num_trials=2, catch=(), **SETTINGS)


def test_a_generator_that_ignores_close_is_named_and_its_trial_kept():
    def objective(params):
        for _ in range(4):  # the end comes before Python itself closes it once more
            with contextlib.suppress(GeneratorExit):
                yield 1.0

    study = Study(X, "qmc", storage=None)
    with pytest.raises(TypeError, match="`objective` must end when it is closed"):
        study.optimize(objective, num_trials=3, num_steps=2, **SETTINGS)
    [trial] = study.trials
    assert (trial.status, trial.value, trial.curve) == (Status.COMPLETE, 1.0, {1: 1.0, 2: 1.0})


def test_what_is_raised_while_closing_is_kept_with_the_trial(caplog):
    def objective(params):
        try:
            yield 1.0
            yield 1.0
        finally:
            raise OSError("disk")

    study = Study(X, "qmc", storage=None)
    study.optimize(objective, num_trials=1, num_steps=1, **SETTINGS)
    [trial] = study.trials
    assert (trial.status, trial.value) == (Status.COMPLETE, 1.0)
    assert trial.reason == "OSError: disk (while it was closed)"
    assert "OSError: disk" in caplog.text
    with pytest.raises(OSError, match="disk"):
        study.optimize(objective, num_trials=1, num_steps=1, catch=(), **SETTINGS)
    assert len(study.trials) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_closes_the_generator_and_keeps_what_it_reported(number, url):
    closed = []

    def objective(params):
        try:
            yield 3.0
            os.kill(os.getpid(), number)
            yield 2.0
        finally:
            closed.append(True)

    study = Study(X, "qmc", storage=url, name="s")
    before = signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else
                           signal.default_int_handler)  # fmt: skip
    try:
        with pytest.raises(KeyboardInterrupt):
            study.optimize(objective, num_trials=3, **SETTINGS)
    finally:
        signal.signal(number, before)
    [trial] = study.trials
    assert closed == [True]
    assert (trial.status, trial.reason, trial.curve) == (Status.FAILED, "interrupted", {1: 3.0})


def test_an_error_of_the_storage_is_no_failure_of_the_objective(monkeypatch):
    study = Study(X, "qmc", storage=None)

    def broken(*args):
        raise hpo.study.StorageError("the disk is full")

    closed = []

    def objective(params):
        try:
            yield 1.0
        finally:
            closed.append(True)

    monkeypatch.setattr(study._store.storage, "set_trial_intermediate_value", broken)
    with pytest.raises(hpo.study.StorageError, match="disk is full"):
        study.optimize(objective, num_trials=3, **SETTINGS)
    assert closed == [True]
    assert [t.status for t in study.trials] == [Status.FAILED]


def test_a_trial_that_others_have_ended_is_closed(url):
    study = Study(X, "qmc", storage=url, name="s")

    def objective(params):
        yield 1.0
        Study(X, "qmc", storage=url, name="s").fail_stale(everywhere=True)
        yield 2.0
        raise AssertionError("it should have been closed")

    study.optimize(objective, num_trials=1, **SETTINGS)
    [trial] = study.trials
    assert (trial.status, trial.curve) == (Status.FAILED, {1: 1.0})


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
def test_a_pruner_of_optuna_ends_the_trials_that_it_ends_there(url, pruner):
    def make():
        return {
            "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=3),
            "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1),
            "hyperband": lambda: optuna.pruners.HyperbandPruner(max_resource=STEPS),
        }[pruner]()

    study = Study(X, "qmc", storage=url, name="s")
    study.optimize(reporters.reports, num_trials=20, scheduler=make(), **SETTINGS)
    theirs = optuna.create_study(study_name="s", pruner=make())
    for trial in study.trials:
        theirs.enqueue_trial(trial.params)

    def objective(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        for step in range(1, STEPS + 1):
            trial.report(reporters.loss(x, step), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return reporters.loss(x, STEPS)

    theirs.optimize(objective, n_trials=20)
    mine = [(t.status.name, t.value, t.curve) for t in study.trials]
    assert mine == [(t.state.name, t.value, t.intermediate_values) for t in theirs.trials]
    assert {"COMPLETE", "PRUNED"} == {status for status, _, _ in mine}


def test_bad_settings_are_named():
    study = Study(X, "qmc", storage=None)
    run = study.optimize
    with pytest.raises(TypeError, match="`num_steps` must be the most reports of a trial"):
        run(reporters.resumable, num_trials=9, scheduler="asha")
    with pytest.raises(ValueError, match="`num_steps` must be at least 1"):
        run(reporters.resumable, num_trials=9, num_steps=0)
    with pytest.raises(ValueError, match="`scheduler` must be one of.*'ashe'"):
        run(reporters.resumable, num_trials=9, num_steps=9, scheduler="ashe")
    with pytest.raises(TypeError, match="`scheduler` must be a name, a Scheduler or a function"):
        run(reporters.resumable, num_trials=9, num_steps=9, scheduler=3)
    ready = hpo.schedulers.asha(9, 27)
    with pytest.raises(ValueError, match="`scheduler` must be made for 9 steps, got .*27"):
        run(reporters.resumable, num_trials=9, num_steps=9, scheduler=ready)
    ready = hpo.schedulers.asha(9, 9, unit=np.zeros((9, 1)))
    with pytest.raises(ValueError, match="`scheduler` must be made without `unit`"):
        run(reporters.resumable, num_trials=9, scheduler=ready)
    for rule in ("halving", "hyperband"):
        with pytest.raises(ValueError, match="`scheduler` must be 'asha'.*takes `checkpoint`"):
            run(reporters.reports, num_trials=9, num_steps=9, scheduler=rule)
    assert not study.trials


def test_a_scheduler_with_nothing_to_judge_says_so_once(caplog):
    study = Study(X, "qmc", storage=None)
    study.optimize(lambda p: p["x"], num_trials=4, scheduler="asha", num_steps=3, **SETTINGS)
    assert [t.status for t in study.trials] == [Status.COMPLETE] * 4
    assert caplog.text.count("`scheduler` has nothing to judge") == 1


def test_what_a_trial_reports_that_begins_between_two_queries_is_read_later(url):
    study = Study(X, "random", storage=url, name="s")
    records, begun = Records(study._store), []

    def begin(connection, cursor, statement, *_):
        if "FROM trials" in statement and not begun:
            begun.append(True)
            [trial] = study.ask(1)
            assert report(study._store, study._sampler.trial_id(trial.number), 1, 2.5)

    engine = study._store._database.engine
    sqlalchemy.event.listen(engine, "after_cursor_execute", begin)
    try:
        records.refresh()
    finally:
        sqlalchemy.event.remove(engine, "after_cursor_execute", begin)
    assert begun
    [record] = records.refresh()
    assert (record.number, record.curve) == (0, {1: 2.5})


@pytest.mark.parametrize("ending", [".db", ".log"])
def test_what_is_left_of_an_attempt_touches_no_later_one(ending, tmp_path):
    """Its worker goes on, where the driver was interrupted or taken for silent."""
    one, other = (Study(X, "qmc", storage=tmp_path / f"s{ending}", name="s") for _ in range(2))
    sources = [Source(study, is_resumable=True) for study in (one, other)]
    tell = [
        Recorder(study._store, source.checkpoints, contextlib.nullcontext, None, None).tell
        for study, source in zip((one, other), sources, strict=True)
    ]
    saved = pack({"w": np.zeros(2)})
    [first] = sources[0].begin(1, {})
    assert tell[0](first, 4.0, saved) is None
    one._store.release([first.trial_id], lambda owner: True)
    assert tell[0](first, 3.5, saved) is Status.FAILED  # it waits
    second = sources[1].resume(first.trial.number)
    assert tell[0](first, 3.0, saved) is Status.FAILED
    assert tell[0](first, 3.0, None, step=1) is Status.FAILED  # the step is there already
    for result in (ObjectiveResult(Status.FAILED), ObjectiveResult(Status.COMPLETE, 3.0)):
        assert sources[0].end([first], [result]) == []
        one._sampler.attach(first.trial.number, first.trial_id)
        one._sampler._resumable[first.trial.number] = first.attempt
    sources[0].end([first], [ObjectiveResult(Status.WAITING)])
    assert [(t.status, t.curve) for t in one.trials] == [(Status.RUNNING, {1: 4.0})]
    np.testing.assert_array_equal(sources[1].checkpoints.load(second.checkpoint)["w"], [0.0, 0.0])
    assert tell[1](second, 2.0, saved) is None
    [ended] = sources[1].end([second], [ObjectiveResult(Status.COMPLETE, 2.0)])
    assert (ended.number, ended.value) == (0, 2.0)
    assert [(t.value, t.curve) for t in one.trials] == [(2.0, {1: 4.0, 2: 2.0})]
    assert not (tmp_path / f"s{ending}.checkpoints").exists()
