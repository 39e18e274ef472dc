"""Trials that a scheduler has left: by another rule, by a process that is gone, by an interrupt."""

import os
import pathlib

import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from jaxhpo.study.running import _optimize
from jaxhpo.study.storage._rows import SYSTEM_ATTR
from tests.study.reporters import STEPS, X, facts, loss, reports, resumable

READY = hpo.schedulers.halving(12, STEPS)
QUIET = {"progress": False}


def arrays(params, checkpoint=None):
    """Its checkpoints are files."""
    for step in range(0 if checkpoint is None else int(checkpoint), STEPS):
        yield hpo.Report(loss(params["x"], step + 1), np.int64(step + 1))


def half_done(url=None, name="s"):
    """A study of which seven of twelve trials have begun, and wait."""
    study = Study(X, "qmc", storage=url, name=name)
    study.optimize(arrays, num_trials=7, scheduler=READY, **QUIET)
    assert [t.status for t in study.trials] == [Status.WAITING] * 7
    return study


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        (lambda params: params["x"], {}),
        (arrays, {}),
        (reports, {"scheduler": "asha", "num_steps": STEPS}),
        (arrays, {"scheduler": "halving", "num_steps": 27}),
    ],
    ids=["values", "no rule", "another rule", "other steps"],
)
def test_other_runs_say_how_many_wait_and_leave_them(objective, settings, caplog):
    study = half_done()
    caplog.clear()
    study.optimize(objective, num_trials=1, **settings, **QUIET)
    assert caplog.text.count("7 trials wait for another scheduler (halving)") == 1
    assert "`study.prune_waiting()`" in caplog.text
    assert [t.status for t in study.trials[:7]] == [Status.WAITING] * 7
    caplog.clear()
    study.optimize(arrays, num_trials=5, scheduler=READY, **QUIET)
    assert "wait for another" not in caplog.text
    assert Status.WAITING not in [t.status for t in study.trials]


def test_what_waits_can_be_ended_and_its_checkpoints_with_it(url, caplog):
    study = half_done(url)
    folder = pathlib.Path(f"{study._store.location}.checkpoints")
    assert len(list(folder.rglob("*.np*"))) == 7
    assert Study(X, "qmc", storage=url, name="s").prune_waiting() == list(range(7))
    assert not folder.exists() or not list(folder.rglob("*.np*"))
    for trial in study.trials:
        assert trial.status is Status.PRUNED
        assert trial.value == loss(trial.params["x"], 1)
    caplog.clear()
    study.optimize(lambda params: params["x"], num_trials=1, **QUIET)
    assert "wait" not in caplog.text
    assert study.prune_waiting() == []


def test_trials_that_an_interrupted_run_has_left_are_not_ended():
    study = Study(X, "qmc", storage=None)

    def objective(params, checkpoint=None):
        yield hpo.Report(1.0, np.int64(1))
        if checkpoint is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, num_trials=1, **QUIET)
    assert study.prune_waiting() == []
    study.optimize(objective, num_trials=0, **QUIET)
    assert [t.status for t in study.trials] == [Status.COMPLETE]


@pytest.mark.parametrize("scheduler", ["halving", None])
def test_an_interrupt_tells_ended_trials_from_those_that_wait(scheduler, caplog):
    study, calls = Study(X, "qmc", storage=None), []

    def objective(params, checkpoint=None):
        calls.append(params)
        if len(calls) == 6:
            raise KeyboardInterrupt
        yield from arrays(params, checkpoint)

    with pytest.raises(KeyboardInterrupt):
        study.optimize(
            objective, num_trials=4, scheduler=scheduler, num_steps=STEPS, **QUIET
        ) if scheduler else study.optimize(objective, num_trials=8, **QUIET)
    ended = [t for t in study.trials if t.status is not Status.WAITING]
    waiting = [t for t in study.trials if t.status is Status.WAITING]
    assert f"after {len(ended)} trials of this call; {len(waiting)} more" in caplog.text
    assert len(waiting) == (2 if scheduler else 1)


@pytest.mark.parametrize("objective", [arrays, resumable])
def test_trials_of_a_machine_that_is_gone_are_freed(url, objective, monkeypatch, caplog):
    study = Study(X, "qmc", storage=url, name="s")
    storage, waited = study._store.storage, []

    def vanish(params, checkpoint=None):
        if not os.environ.pop("VANISH", None):
            yield from objective(params, checkpoint)
            return
        raise KeyboardInterrupt

    monkeypatch.setenv("VANISH", "1")
    ready = hpo.schedulers.halving(6, STEPS)
    with pytest.raises(KeyboardInterrupt):
        study.optimize(vanish, num_trials=6, scheduler=ready, **QUIET)
    [trial] = storage.get_all_trials(study._store.study_id)
    elsewhere = ["elsewhere", 7, "1", "machine", "boot", "pid"]
    study._store.claim([trial._trial_id], {"owner": elsewhere})
    assert storage.get_trial(trial._trial_id).system_attrs[SYSTEM_ATTR]["owner"] == elsewhere

    def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            Study(X, "qmc", storage=url, name="s").fail_stale(everywhere=True)
        assert len(waited) < 20

    monkeypatch.setattr(_optimize, "interruptible_sleep", sleep)
    monkeypatch.setattr(_optimize, "_REMIND_SECONDS", 0.0)
    again = Study(X, "qmc", storage=url, name="s")
    again.optimize(vanish, num_trials=5, scheduler=ready, **QUIET)
    assert len(waited) >= 3
    assert caplog.text.count("waits for trials [0], which run on elsewhere (process 7)") == 1
    assert "`study.fail_stale(everywhere=True)`" in caplog.text
    whole = Study(X, "qmc", storage=None)
    whole.optimize(objective, num_trials=6, scheduler=ready, **QUIET)
    assert facts(again) == facts(whole)


@pytest.mark.parametrize(
    ("scheduler", "num_steps", "error", "said"),
    [
        ("ashaa", 9, ValueError, "one of asha, halving, hyperband, got 'ashaa'; did you mean"),
        ("none", None, ValueError, "one of asha, halving, hyperband, got 'none'"),
        (3, None, TypeError, "a name, a Scheduler or a function that makes one, got 3"),
        ("asha", None, TypeError, "`num_steps` must be the most reports"),
    ],
)
def test_what_is_no_scheduler_is_named_before_all_else(scheduler, num_steps, error, said):
    study = Study(X, "qmc", storage=None)
    with pytest.raises(error, match=said):
        study.optimize(arrays, num_trials=2, scheduler=scheduler, num_steps=num_steps, **QUIET)
    assert study.trials == []
