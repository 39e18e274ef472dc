"""A study's sweep under a scheduler: who ends early is pruned, with its curve."""

import dataclasses
import functools
import signal
import subprocess
import sys
import time

import numpy as np
import optuna
import pytest
from jax.tree_util import Partial

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from jaxhpo.study.storage._owner import this_process
from tests.study.sweep_worker import study_of
from tests.study.test_sweep import SPACE, TRAINING, facts

SETTINGS = {"num_steps": 8, "num_reports": 2, "scheduler": "halving", "progress": False}


def test_trials_that_end_early_are_pruned_with_their_curves(url):
    study = Study(SPACE, "random", storage=url, name="s")
    full = Study(SPACE, "random", storage=None)
    summary = study.sweep(TRAINING, num_trials=24, **SETTINGS)
    full.sweep(TRAINING, num_trials=24, num_steps=8, num_reports=8, progress=False)
    assert summary.num_trials == 24
    assert summary.num_batches == 1
    stored = optuna.load_study(study_name="s", storage=url).trials
    ended = {}
    for mine, theirs, whole in zip(study.trials, stored, full.trials, strict=True):
        ended[mine.status] = ended.get(mine.status, 0) + 1
        assert mine.params == whole.params
        if mine.status is Status.FAILED:
            continue
        assert theirs.state.name == mine.status.name
        assert mine.value == theirs.value == mine.curve[max(mine.curve)]
        assert mine.curve == theirs.intermediate_values
        for step, value in mine.curve.items():
            assert value == pytest.approx(whole.curve[step], rel=1e-6)
        assert (max(mine.curve) == 8) == (mine.status is Status.COMPLETE)
    assert ended[Status.COMPLETE] == 3  # 24, 12 at step 1, 6 at step 2, 3 at step 4
    assert ended[Status.PRUNED] + ended[Status.FAILED] == 21
    assert study.best.status is Status.COMPLETE
    assert study.best_value >= full.best_value


RUNGS = (12, 18, 21)  # of 24 trials, those that have ended


def states_at_rungs(study, url, seen):
    """A callback that notes which states the storage has as soon as trials have ended early."""

    def note(event):
        if event.done in RUNGS[len(seen) : len(seen) + 1]:
            stored = optuna.load_study(study_name=study.name, storage=url).trials
            seen.append([trial.state.name for trial in stored])

    return note


def test_each_rung_is_written_as_soon_as_it_is_judged(url):
    study, seen = Study(SPACE, "random", storage=url, name="s"), []
    note = states_at_rungs(study, url, seen)
    study.sweep(TRAINING, num_trials=24, **SETTINGS | {"progress": note})
    assert [states.count("RUNNING") for states in seen] == [12, 6, 3]
    ended = [t.status.name.replace("FAILED", "FAIL") for t in study.trials]
    for states in seen:  # and what was written stays
        assert all(now in ("RUNNING", end) for now, end in zip(states, ended, strict=True))


def test_a_rung_that_the_storage_refuses_is_written_with_the_batch(tmp_path, monkeypatch, caplog):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study, whole = (
        Study(SPACE, "random", storage=url, name="s"),
        Study(SPACE, "random", storage=None),
    )
    whole.sweep(TRAINING, num_trials=24, **SETTINGS)
    finish, calls = study._store._finish, []

    def refuse_once(*args):
        calls.append(args)
        if len(calls) == 2:
            raise optuna.exceptions.StorageInternalError("attempt to write a readonly database")
        return finish(*args)

    monkeypatch.setattr(study._store, "_finish", refuse_once)
    summary = study.sweep(TRAINING, num_trials=24, **SETTINGS)
    assert "the sweep goes on: Study: `storage` " in caplog.text
    assert summary.num_trials == 24
    assert facts(study) == facts(whole)
    assert not list(tmp_path.glob("*.unsaved-*"))


@pytest.mark.parametrize("rung", [0, 1, 2])
@pytest.mark.parametrize("sampler", ["random", pytest.param("tpe", marks=pytest.mark.slow)])
def test_a_population_is_judged_as_a_whole_after_a_stop_between_rungs(url, rung, sampler):
    settings = SETTINGS | {"batch_size": 24}
    whole = Study(SPACE, sampler, storage=url, name="whole", seed=3)
    whole.sweep(TRAINING, num_trials=24, **settings)

    def stop(event):
        if event.done == RUNGS[rung]:
            raise KeyboardInterrupt

    study = Study(SPACE, sampler, storage=url, name="cut", seed=3)
    with pytest.raises(KeyboardInterrupt):
        study.sweep(TRAINING, num_trials=24, **settings | {"progress": stop})
    states = [trial.status for trial in study.trials]
    assert (states.count(Status.WAITING), states.count(Status.RUNNING)) == (12 // 2**rung, 0)
    again = Study(SPACE, sampler, storage=url, name="cut", seed=3)
    again.sweep(TRAINING, num_trials=12 // 2**rung, **settings)
    assert facts(again) == facts(whole)


def cut_after_a_rung(url, seed=0, **settings):
    """A study whose sweep of a population of 24 was interrupted at its first rung."""

    def stop(event):
        if event.done == RUNGS[0]:
            raise KeyboardInterrupt

    study = Study(SPACE, "random", storage=url, name="cut", seed=seed)
    with pytest.raises(KeyboardInterrupt):
        study.sweep(TRAINING, **SETTINGS | {"num_trials": 24} | settings | {"progress": stop})
    return study


@pytest.mark.parametrize("seed", range(2))
def test_trials_that_had_ended_before_are_not_counted_again(url, seed):
    study, events = cut_after_a_rung(url, seed), []
    failed = sum(trial.status is Status.FAILED for trial in study.trials)
    summary = study.sweep(TRAINING, num_trials=12, **SETTINGS | {"progress": events.append})
    done = [event.done for event in events]
    assert done == sorted(done)
    assert {0, 6, 9, 12} <= set(done)
    assert max(done) == 12
    assert events[-1].failed == summary.num_failed
    assert failed + summary.num_failed == sum(t.status is Status.FAILED for t in study.trials)


def test_a_ready_scheduler_goes_on_with_its_population(url):
    settings = {**SETTINGS, "scheduler": hpo.schedulers.halving(24, 8)}
    whole = Study(SPACE, "random", storage=None)
    whole.sweep(TRAINING, num_trials=48, **settings)
    study = cut_after_a_rung(url, num_trials=48, scheduler=settings["scheduler"])
    with pytest.raises(ValueError, match="`num_trials` must be a multiple of the 24 trials"):
        study.sweep(TRAINING, num_trials=30, **settings)
    summary = study.sweep(TRAINING, num_trials=36, **settings)
    assert (summary.num_trials, summary.num_batches) == (36, 2)
    assert facts(study) == facts(whole)


@pytest.mark.parametrize(
    ("scheduler", "num_trials"),
    [(hpo.schedulers.halving(24, 8), 24), (hpo.schedulers.halving(6, 8), 12), ("pbt", 14)],
)
def test_a_population_that_does_not_fit_is_not_taken_up_as_a_whole(url, scheduler, num_trials):
    study = cut_after_a_rung(url)
    summary = study.sweep(TRAINING, num_trials=num_trials, **{**SETTINGS, "scheduler": scheduler})
    assert summary.num_trials == num_trials
    assert num_ended(study) == len(study.trials) == 12 + num_trials


def test_who_failed_goes_on_from_a_copy_after_a_stop(url, monkeypatch):
    settings = {**SETTINGS, "num_steps": 40, "scheduler": "pbt"}
    whole = Study(SPACE, "random", storage=None)
    whole.sweep(TRAINING, num_trials=24, **settings)
    sweep = hpo.population.sweep

    def stopped(training, hparams, *, progress, **others):
        def stop(event):
            progress(event)
            if Status.FAILED in event.snapshot().status:
                raise KeyboardInterrupt

        return sweep(training, hparams, progress=stop, **others)

    study = Study(SPACE, "random", storage=url, name="cut")
    with monkeypatch.context() as patch:
        patch.setattr("jaxhpo.population.sweep", stopped)
        with pytest.raises(KeyboardInterrupt):
            study.sweep(TRAINING, num_trials=24, **settings)
    assert {trial.status for trial in study.trials} == {Status.WAITING}
    study.sweep(TRAINING, num_trials=24, **settings)
    assert facts(study) == facts(whole)


def test_a_part_of_a_population_is_one_of_its_own(url):
    study = cut_after_a_rung(url)
    summary = study.sweep(TRAINING, num_trials=4, **SETTINGS)
    assert summary.num_trials == 4
    summary = study.sweep(TRAINING, num_trials=8, **SETTINGS)
    assert (summary.num_trials, summary.num_batches) == (8, 1)
    assert num_ended(study) == len(study.trials) == 24


def test_each_batch_is_a_population_of_its_own():
    study = Study(SPACE, "random", storage=None)
    make = functools.partial(hpo.schedulers.halving, levels=[2, 8])
    summary = study.sweep(TRAINING, num_trials=20, batch_size=12, **{**SETTINGS, "scheduler": make})
    assert summary.num_batches == 2
    is_complete = [trial.status is Status.COMPLETE for trial in study.trials]
    assert (sum(is_complete[:12]), sum(is_complete[12:])) == (6, 4)


def test_a_sweep_resumed_after_a_batch_is_the_uninterrupted_one(url):
    one = Study(SPACE, "random", storage=url, name="one", seed=4)
    one.sweep(TRAINING, num_trials=16, batch_size=8, **SETTINGS)
    two = Study(SPACE, "random", storage=url, name="two", seed=4)
    two.sweep(TRAINING, num_trials=8, batch_size=8, **SETTINGS)
    again = Study(SPACE, "random", storage=url, name="two", seed=4)
    again.sweep(TRAINING, num_trials=8, batch_size=8, **SETTINGS)
    assert facts(again) == facts(one)


def test_a_pruned_trial_is_trained_again_up_to_its_last_step(url, caplog):
    study = Study(SPACE, "random", storage=url, name="s")
    study.sweep(TRAINING, num_trials=12, **SETTINGS)
    pruned = next(t for t in study.trials if t.status is Status.PRUNED)
    state = study.retrain(TRAINING, pruned.number)
    assert "retraining gave" not in caplog.text
    np.testing.assert_allclose(np.sum(np.asarray(state) ** 2), pruned.value, rtol=1e-5)


def _one_begins(num_trials, num_steps):
    """A scheduler that ends all trials but one before they begin."""
    good = hpo.schedulers.halving(num_trials, num_steps)

    def init(good, key):
        state = good.init(key)
        status = state.table.status.at[1:].set(int(Status.PRUNED))
        return dataclasses.replace(state, table=dataclasses.replace(state.table, status=status))

    return good._replace(init=Partial(init, good))


def test_a_trial_that_was_ended_before_its_first_step_has_no_state():
    study = Study(SPACE, "random", storage=None)
    study.sweep(TRAINING, num_trials=4, **{**SETTINGS, "scheduler": _one_begins})
    assert study.trials[3].status is Status.PRUNED
    assert study.trials[3].curve == {}
    with pytest.raises(ValueError, match="Study.retrain: `number` must be .* took a step .* 3"):
        study.retrain(TRAINING, 3)


def test_samplers_learn_from_pruned_trials():
    study = Study(SPACE, "tpe", storage=None)
    study.sweep(TRAINING, num_trials=24, **SETTINGS)
    assert len(study.trials) == 24
    assert {t.status for t in study.trials} >= {Status.COMPLETE, Status.PRUNED}


def test_a_bad_scheduler_is_named_before_any_trial(url):
    study = Study(SPACE, "random", storage=url, name="s")
    with pytest.raises(ValueError, match="Study.sweep: `scheduler` must be one of asha, halving"):
        study.sweep(TRAINING, num_trials=12, **{**SETTINGS, "scheduler": "successive"})
    assert study.trials == []


def test_a_study_records_the_schedules_of_population_based_training(url):
    study = Study(SPACE, "random", storage=url, name="s")
    settings = {**SETTINGS, "num_steps": 40, "scheduler": "pbt"}
    summary = study.sweep(TRAINING, num_trials=24, **settings)
    assert (summary.num_trials, summary.num_failed) == (24, 0)
    stored = optuna.load_study(study_name="s", storage=url).trials
    whole = Study(SPACE, "random", storage=None)
    whole.sweep(TRAINING, num_trials=24, num_steps=1, num_reports=1, progress=False)
    num_changed = 0
    for mine, theirs, start in zip(study.trials, stored, whole.trials, strict=True):
        assert mine.params == start.params
        assert mine.status is Status.COMPLETE
        schedule = theirs.user_attrs["schedule"]
        assert schedule[-1]["until"] == 40
        assert schedule[-1]["trial"] == mine.number
        # From its own draw on, what the rates of its ancestors leave of a state.
        first = study.trials[schedule[0]["trial"]]
        assert schedule[0]["params"]["lr"] == pytest.approx(first.params["lr"], rel=1e-6)
        begin, factor = 0, 1.0
        for piece in schedule:
            assert piece["params"]["width"] == first.params["width"]
            factor *= (1 - piece["params"]["lr"]) ** (piece["until"] - begin)
            begin = piece["until"]
        key = hpo.training.internal.trial_keys(study.trial_key(first.number))[0]
        state = factor * np.asarray(TRAINING.init(key, first.params))
        assert mine.value == pytest.approx(float(np.sum(state**2)), rel=1e-2, abs=1e-30)
        num_changed += len(schedule) > 1
    assert num_changed > 4
    with pytest.raises(ValueError, match="Study.retrain: `number` must be that of a trial whose"):
        study.retrain(TRAINING, 0)
    assert study.best_state is not None


def test_a_batch_too_small_for_a_population_is_named(url):
    study = Study(SPACE, "random", storage=url, name="s")
    with pytest.raises(ValueError, match="pbt: `num_trials` must be at least 4, got 3"):
        study.sweep(TRAINING, num_trials=3, **{**SETTINGS, "scheduler": "pbt"})
    assert study.trials == []


@pytest.mark.parametrize(
    ("num_trials", "size", "batches"),
    [(10, 4, [4, 6]), (9, 8, [5, 4]), (8, 4, [4, 4]), (7, 4, [7]), (18, 8, [8, 6, 4])],
)
def test_no_batch_is_too_small_for_a_population(num_trials, size, batches, monkeypatch):
    sizes = []
    sweep = hpo.population.sweep

    def spy(training, hparams, **settings):
        sizes.append(len(settings["first_trial"]))
        return sweep(training, hparams, **settings)

    monkeypatch.setattr("jaxhpo.population.sweep", spy)
    study = Study(SPACE, "random", storage=None)
    settings = {**SETTINGS, "scheduler": "pbt"}
    study.sweep(TRAINING, num_trials=num_trials, batch_size=size, **settings)
    assert sizes == batches
    assert {trial.status for trial in study.trials} == {Status.COMPLETE}


def test_trials_that_wait_are_joined_by_new_ones_to_a_population(url):
    study = Study(SPACE, "random", storage=url, name="s")
    two = study._sampler.reserve(2, 2, this_process())
    study._sampler.release(two)
    summary = study.sweep(TRAINING, num_trials=6, **{**SETTINGS, "scheduler": "pbt"})
    assert (summary.num_trials, summary.num_batches) == (6, 1)
    whole = Study(SPACE, "random", storage=None)
    whole.sweep(TRAINING, num_trials=6, **{**SETTINGS, "scheduler": "pbt"})
    assert facts(study) == facts(whole)


def test_a_sweep_of_no_trials_needs_no_population():
    study = Study(SPACE, "random", storage=None)
    study.sweep(TRAINING, num_trials=0, **{**SETTINGS, "scheduler": "pbt"})
    assert study.trials == []


class Stopped(Exception):
    pass


def num_ended(study):
    return sum(t.status not in (Status.RUNNING, Status.WAITING) for t in study.trials)


class StopsAfter:
    """A callback that raises at one of its calls, and knows how many there were."""

    def __init__(self, most):
        self.seen, self.most = 0, most

    def __call__(self, event):
        if "compiling" in event.message:  # said again and again while it takes long
            return
        time.sleep(0.02)  # the disk keeps up
        self.seen += 1
        if self.seen == self.most:
            raise Stopped


@pytest.mark.parametrize(
    "scheduler", ["halving", None, pytest.param("pbt", marks=pytest.mark.slow)]
)
def test_a_batch_goes_on_from_its_checkpoint(tmp_path, scheduler):
    settings = {**SETTINGS, "num_trials": 24, "num_reports": 4, "scheduler": scheduler}
    url = f"sqlite:///{tmp_path / 'study.db'}"
    whole = Study(SPACE, "random", storage=url, name="whole")
    counted = StopsAfter(None)
    whole.sweep(TRAINING, **settings | {"progress": counted, "checkpoint": True})
    study = Study(SPACE, "random", storage=url, name="cut")
    cut = settings | {"progress": StopsAfter(counted.seen - 2), "checkpoint": True}
    with pytest.raises(Stopped):
        study.sweep(TRAINING, **cut)
    [folder] = (tmp_path / "study.db.checkpoints").glob("*/batch-0")
    assert len(list(folder.iterdir())) == 1
    again, resumed = Study(SPACE, "random", storage=url, name="cut"), StopsAfter(None)
    left = {"num_trials": 24 - num_ended(again)}
    again.sweep(TRAINING, **settings | {"progress": resumed, "checkpoint": True} | left)
    assert resumed.seen < counted.seen
    assert facts(again) == facts(whole)
    assert not (tmp_path / "study.db.checkpoints").exists()


def test_another_batch_begins_anew(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = Study(SPACE, "random", storage=url, name="s")
    settings = {**SETTINGS, "checkpoint": True}
    with pytest.raises(Stopped):
        study.sweep(TRAINING, num_trials=24, **settings | {"progress": StopsAfter(2)})
    study.sweep(TRAINING, num_trials=12, **settings)
    alone = Study(SPACE, "random", storage=None)
    alone.sweep(TRAINING, num_trials=12, **SETTINGS)
    assert facts(study)[:12] == facts(alone)
    assert not (tmp_path / "study.db.checkpoints").exists()


def test_a_damaged_checkpoint_is_left_and_the_batch_begins_anew(tmp_path, caplog):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = Study(SPACE, "random", storage=url, name="s")
    settings = {**SETTINGS, "num_trials": 12, "num_reports": 4, "checkpoint": True}
    counted = StopsAfter(None)
    Study(SPACE, "random", storage=None).sweep(
        TRAINING, **settings | {"progress": counted, "checkpoint": False}
    )
    with pytest.raises(Stopped):
        study.sweep(TRAINING, **settings | {"progress": StopsAfter(counted.seen)})
    [about] = tmp_path.glob("study.db.checkpoints/*/batch-0/*/about/metadata")
    about.write_text("{")
    study.sweep(TRAINING, **settings | {"num_trials": 12 - num_ended(study)})
    assert "the batch of trial 0 begins anew: sweep: `checkpoint_dir`" in caplog.text
    alone = Study(SPACE, "random", storage=None)
    alone.sweep(TRAINING, **settings | {"checkpoint": False})
    assert facts(study) == facts(alone)


def test_a_study_without_a_folder_keeps_no_checkpoints():
    study = Study(SPACE, "random", storage=None)
    with pytest.raises(ValueError, match="Study.sweep: `checkpoint` must be False where the study"):
        study.sweep(TRAINING, num_trials=4, checkpoint=True, **SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["halving", "hyperband", "asha", "pbt"])
def test_a_killed_study_ends_as_if_nothing_had_happened(tmp_path, scheduler):
    def start(name, report):
        storage = f"sqlite:///{tmp_path / name}.db"
        command = [sys.executable, "-m", "tests.study.checkpoint_worker", storage, scheduler]
        done = subprocess.run([*command, str(report)], capture_output=True, text=True, timeout=280)
        return study_of(storage), done

    whole, done = start("whole", 0)
    assert done.returncode == 0, done.stderr
    total = int(done.stdout)
    _, done = start("killed", int(0.3 * total))
    assert done.returncode == -signal.SIGKILL
    for share in (0.5, 0.2):  # which it reaches if it has not ended before
        _, done = start("killed", int(share * total))
        assert done.returncode in (0, -signal.SIGKILL)
    killed, done = start("killed", 0)
    assert done.returncode == 0, done.stderr
    assert facts(killed) == facts(whole)
    curves = [[trial.curve for trial in study.trials] for study in (killed, whole)]
    assert curves[0] == curves[1]
    assert not (tmp_path / "killed.db.checkpoints").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 8}, "`scheduler` must be made for 8 trials .*, got 'one for 6'"),
        (
            {"scheduler": lambda n, steps: hpo.schedulers.halving(8, steps), "batch_size": 8},
            "`scheduler` must be made for 4 trials, got 'one for 8'",
        ),
        ({"num_trials": 16}, "`num_trials` must be a multiple of the 6 trials that `scheduler`"),
        ({"num_steps": 4}, "`scheduler` must be made for 4 steps, got 'one for 8'"),
    ],
)
def test_a_ready_scheduler_that_does_not_fit_is_refused_before_any_trial(settings, said):
    study = Study(SPACE, "random", storage=None)
    ready = hpo.schedulers.halving(6, 8)
    with pytest.raises(ValueError, match=said):
        study.sweep(TRAINING, **{"num_trials": 12, **SETTINGS, "scheduler": ready, **settings})
    assert study.trials == []


def test_a_ready_scheduler_runs_batches_of_its_own_size():
    study, named = (Study(SPACE, "random", storage=None) for _ in range(2))
    ready = hpo.schedulers.halving(6, 8)
    summary = study.sweep(TRAINING, num_trials=12, **{**SETTINGS, "scheduler": ready})
    assert summary.num_batches == 2
    named.sweep(TRAINING, num_trials=12, batch_size=6, **SETTINGS)
    assert facts(study) == facts(named)
