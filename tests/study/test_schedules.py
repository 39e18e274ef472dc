"""Schedulers over Python objectives: who goes on, and that a kill changes nothing of it."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import optuna
import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from jaxhpo.study.storage._rows import SYSTEM_ATTR
from tests.study import reporters
from tests.study.reporters import STEPS, X, facts, loss

SETTINGS = {"progress": False, "num_steps": STEPS}
SCRIPT = str(pathlib.Path(reporters.__file__))
ROOT = str(pathlib.Path(__file__).parents[2])


def plain(params, checkpoint=None):
    """Goes on, and what it reports depends on the step alone."""
    for step in range(checkpoint or 0, STEPS):
        yield hpo.Report(loss(params["x"], step + 1), np.int64(step + 1))


def halved(points, levels, eta):
    """Steps that successive halving lets each trial take."""
    steps, alive = np.zeros(len(points), int), list(range(len(points)))
    for level, after in zip(levels, [*levels[1:], None], strict=True):
        steps[alive] = level
        if after is not None:
            order = sorted(alive, key=lambda i: (loss(points[i], level), i))
            alive = sorted(order[: max(1, len(alive) // eta)])
    return steps.tolist()


def promoted(points, levels, eta):
    """Steps that ASHA of one worker lets each trial take."""
    stands, begun = [0] * len(points), 0

    def at(k):
        return [i for i in range(begun) if stands[i] > k]

    def promotable(is_idle):
        for k in range(len(levels) - 2, -1, -1):
            ranked = sorted(at(k), key=lambda i: (loss(points[i], levels[k]), i))
            keep = max(len(ranked) // eta, int(is_idle))
            for i in ranked[:keep]:
                if stands[i] == k + 1:
                    return i
        return None

    while True:
        i = promotable(begun == len(points))
        if i is None and begun == len(points):
            return [levels[s - 1] for s in stands]
        if i is None:
            i, begun = begun, begun + 1
        stands[i] += 1


def stopped(points, levels, eta):
    """Steps of trials that are run one after another, and go on while among the best."""
    seen, steps = [[] for _ in levels], []
    for x in points:
        for rung, level in zip(seen, levels, strict=True):
            rung.append(loss(x, level))
            reached = level
            if level < levels[-1] and sum(one < rung[-1] for one in rung) >= max(
                1, len(rung) // eta
            ):
                break
        steps.append(reached)
    return steps


def run(objective, scheduler, storage=None, num_trials=18, **settings):
    study = Study(X, "qmc", storage=storage, name="s")
    study.optimize(
        objective, num_trials=num_trials, scheduler=scheduler, **{**SETTINGS, **settings}
    )
    points = [trial.params["x"] for trial in study.trials]
    return study, points, [max(trial.curve) for trial in study.trials]


def check_endings(study):
    """Trials that came to the end are complete, all others pruned, with their curves."""
    for trial in study.trials:
        last = max(trial.curve)
        expected = {s: loss(trial.params["x"], s) for s in range(1, last + 1)}
        assert trial.curve == expected
        assert trial.status is (Status.COMPLETE if last == STEPS else Status.PRUNED)
        assert trial.value == expected[last]
    assert study.best.status is Status.COMPLETE


def test_halving_pauses_whole_rungs(url):
    study, points, steps = run(plain, "halving", url)
    assert steps == halved(points, (1, 2, 4, 8, 9), 2)
    check_endings(study)
    stored = optuna.load_study(study_name="s", storage=url).trials
    assert [t.state.name for t in stored] == [t.status.name for t in study.trials]
    assert [t.intermediate_values for t in stored] == [t.curve for t in study.trials]
    assert not list(pathlib.Path(study._store.location).parent.glob("*.checkpoints"))


def test_asha_promotes_and_prunes_what_is_left_in_the_end():
    study, points, steps = run(plain, "asha")
    assert steps == promoted(points, (1, 3, 9), 3)
    assert len(set(steps)) == 3
    check_endings(study)


def test_asha_stops_trials_that_cannot_go_on():
    study, points, steps = run(reporters.reports, "asha", num_trials=40)
    assert steps == stopped(points, (1, 3, 9), 3)
    assert len(set(steps)) == 3
    check_endings(study)


def test_a_study_that_maximises_is_the_mirror_image():
    def negative(params, checkpoint=None):
        for report in plain(params, checkpoint):
            yield hpo.Report(-report.loss, report.checkpoint)

    one, _, steps = run(plain, "asha")
    two = Study(X, "qmc", storage=None, direction="maximize")
    two.optimize(negative, num_trials=18, scheduler="asha", **SETTINGS)
    assert [max(t.curve) for t in two.trials] == steps
    assert [-t.value for t in two.trials] == [t.value for t in one.trials]


def test_paused_trials_wait_in_the_storage_and_nobody_else_takes_them(url):
    ready = hpo.schedulers.halving(18, STEPS)
    study, _, _ = run(plain, ready, url, num_trials=10)
    assert study.stop_reason == "all 10 trials were run"
    assert [t.status for t in study.trials] == [Status.WAITING] * 10
    assert [t.curve for t in study.trials] == [{1: loss(t.params["x"], 1)} for t in study.trials]
    again = Study(X, "qmc", storage=url, name="s")
    again.optimize(lambda p: p["x"], num_trials=2, progress=False)
    [eleven, twelve] = again.ask(2)
    assert (eleven.number, twelve.number) == (12, 13)
    again.tell([eleven, twelve], [0.0, 0.0])
    again.optimize(plain, num_trials=8, scheduler=ready, progress=False)
    own = [t for t in again.trials if t.number not in (10, 11, 12, 13)]
    points = [t.params["x"] for t in own]
    assert [max(t.curve) for t in own] == halved(points, (1, 2, 4, 8, 9), 2)


def test_populations_follow_each_other():
    ready = hpo.schedulers.halving(6, STEPS)
    study, points, steps = run(plain, ready, num_trials=12)
    rule = (1, 2, 4, 8, 9), 2
    assert steps == halved(points[:6], *rule) + halved(points[6:], *rule)
    check_endings(study)


def test_failures_never_go_on_and_a_rung_of_them_is_the_last():
    def broken(params, checkpoint=None):
        yield 1.0
        raise LookupError("gone")

    study = Study(X, "qmc", storage=None)
    study.optimize(broken, num_trials=6, scheduler="halving", max_first_failures=None, **SETTINGS)
    status = [t.status for t in study.trials]
    assert status.count(Status.FAILED) == 3  # the three that were let go on to step 2
    assert status.count(Status.PRUNED) == 3

    def diverges(params):
        yield np.nan

    study = Study(X, "qmc", storage=None)
    study.optimize(diverges, num_trials=6, scheduler="asha", **SETTINGS)
    assert [t.status for t in study.trials] == [Status.FAILED] * 6


def test_a_trial_that_ends_sooner_stands_where_it_ended():
    def short(params, checkpoint=None):
        last = 2 if params["x"] < 0.5 else STEPS
        for step in range(checkpoint or 0, last):
            yield hpo.Report(loss(params["x"], step + 1), np.int64(step + 1))

    study, points, steps = run(short, "asha", num_trials=12)
    for x, trial, last in zip(points, study.trials, steps, strict=True):
        is_whole = last == (2 if x < 0.5 else STEPS)
        assert trial.status is (Status.COMPLETE if is_whole else Status.PRUNED)
        assert trial.value == loss(x, last)
    assert 2 in steps


def test_callbacks_hear_of_every_trial_that_ends():
    heard = []
    study, _, _ = run(plain, "halving", callbacks=[lambda _, trial: heard.append(trial.number)])
    assert sorted(heard) == [t.number for t in study.trials]


def test_a_run_that_is_stopped_leaves_its_trials_waiting():
    study = Study(X, "qmc", storage=None)

    def stop(study, trial):
        study.stop()

    study.optimize(plain, num_trials=18, scheduler="asha", callbacks=[stop], **SETTINGS)
    assert study.stop_reason == "stop() was called"
    assert {t.status for t in study.trials} == {Status.WAITING, Status.COMPLETE}
    begun = len(study.trials)
    study.optimize(plain, num_trials=18 - begun, scheduler="asha", **SETTINGS)
    points = [t.params["x"] for t in study.trials]
    assert [max(t.curve) for t in study.trials] == promoted(points, (1, 3, 9), 3)


@pytest.mark.parametrize("scheduler", ["asha", None])
def test_an_interrupt_lets_a_trial_wait_that_can_go_on(url, scheduler):
    def objective(params, checkpoint=None):
        for report in plain(params, checkpoint):
            if os.environ.pop("INTERRUPT", None):
                raise KeyboardInterrupt
            yield report
            if report.checkpoint == 2:
                os.environ["INTERRUPT"] = "1"
                interrupted.append(params["x"])

    interrupted = []
    study = Study(X, "qmc", storage=url, name="s")
    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, num_trials=6, scheduler=scheduler, **SETTINGS)
    waiting = [t for t in study.trials if t.status is Status.WAITING]
    assert interrupted[0] in [t.params["x"] for t in waiting]
    left = 6 - len(study.trials)
    again = Study(X, "qmc", storage=url, name="s")
    again.optimize(plain, num_trials=left, scheduler=scheduler, **SETTINGS)
    whole = Study(X, "qmc", storage=None)
    whole.optimize(plain, num_trials=6, scheduler=scheduler, **SETTINGS)
    assert facts(again) == facts(whole)


def script(url, name, sampler, scheduler, num_trials, size, at=0):
    arguments = [url, name, sampler, scheduler, str(num_trials), str(size), str(at)]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    return subprocess.Popen([sys.executable, SCRIPT, *arguments], env=environment, cwd=ROOT)


KILLS = [
    ("asha", "qmc", 25),
    pytest.param("asha", "tpe", 31, marks=pytest.mark.slow),
    pytest.param("halving", "tpe", 1, marks=pytest.mark.slow),
    pytest.param("halving", "qmc", 30, marks=pytest.mark.slow),
    pytest.param("hyperband", "qmc", 22, marks=pytest.mark.slow),
    pytest.param("none", "tpe", 40, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("scheduler", "sampler", "at"), KILLS)
def test_a_killed_study_goes_on_as_if_it_had_not_been(url, scheduler, sampler, at):
    process = script(url, "killed", sampler, scheduler, 18, 18, at)
    assert process.wait(timeout=300) == -signal.SIGKILL
    killed = Study(X, sampler, storage=url, name="killed")
    assert Status.WAITING in [t.status for t in killed.trials]
    whole = Study(X, sampler, storage=None)
    for study, count in ((killed, 18 - len(killed.trials)), (whole, 18)):
        rule = None if scheduler == "none" else hpo.schedulers.get(scheduler, 18, STEPS)
        study.optimize(reporters.resumable, num_trials=count, scheduler=rule, progress=False)
    assert facts(killed) == facts(whole)


def test_a_trial_without_checkpoint_fails_with_its_process(url):
    process = script(url, "killed", "qmc", "none", 3, 1, 4)
    assert process.wait(timeout=300) == -signal.SIGKILL
    study = Study(X, "qmc", storage=url, name="killed")
    [trial] = study.trials
    assert (trial.status, len(trial.curve)) == (Status.WAITING, 3)
    # An objective that cannot go on leaves it alone.
    study.optimize(reporters.reports, num_trials=1, progress=False)
    assert [t.status for t in study.trials] == [Status.WAITING, Status.COMPLETE]


def test_processes_share_one_rule(url):
    ready = hpo.schedulers.halving(18, STEPS)
    Study(X, "qmc", storage=url, name="s")
    other = script(url, "s", "qmc", "halving", 9, 18)
    study = Study(X, "qmc", storage=url, name="s")
    study.optimize(reporters.resumable, num_trials=9, scheduler=ready, progress=False)
    assert other.wait(timeout=300) == 0
    alone = Study(X, "qmc", storage=None)
    alone.optimize(reporters.resumable, num_trials=18, scheduler=ready, progress=False)
    assert facts(study) == facts(alone)


def test_workers_share_one_rule(url):
    study = Study(X, "qmc", storage=url, name="s")
    study.optimize(
        reporters.resumable, num_trials=12, num_workers=2, scheduler="halving", **SETTINGS
    )
    alone = Study(X, "qmc", storage=None)
    alone.optimize(reporters.resumable, num_trials=12, scheduler="halving", **SETTINGS)
    assert facts(study) == facts(alone)
    study.optimize(reporters.reports, num_trials=9, num_workers=2, scheduler="asha", **SETTINGS)
    status = [t.status for t in study.trials[12:]]
    assert len(status) == 9
    assert {Status.COMPLETE, Status.PRUNED} == set(status)
    assert all(max(t.curve) in (1, 3, 9) for t in study.trials[12:])


def test_a_worker_closes_its_generator_where_the_study_is_told_to_end(url, tmp_path):
    code = (
        "from tests.study import reporters; from jaxhpo.study import Study\n"
        "if __name__ == '__main__':\n"
        f"    study = Study(reporters.X, 'qmc', storage={url!r}, name='s')\n"
        "    study.optimize(reporters.trace_of, num_trials=2, num_workers=2, progress=False)\n"
    )
    (tmp_path / "main.py").write_text(code)
    trace = tmp_path / "trace"
    environment = {**os.environ, "PYTHONPATH": ROOT, "TRACE": str(trace)}
    command = [sys.executable, str(tmp_path / "main.py")]
    process = subprocess.run(command, env=environment, timeout=300, check=False)
    assert process.returncode == 128 + signal.SIGTERM
    deadline = time.monotonic() + 30
    while not trace.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert trace.read_text() == "closed"
    study = Study(X, "qmc", storage=url, name="s")
    assert {t.reason for t in study.trials} == {"interrupted"}
    assert any(t.curve == {1: 1.0} for t in study.trials)


@pytest.mark.parametrize("scheduler", ["pbt", "pb2", "ready", "made"])
def test_population_based_training_is_refused_by_its_name_before_any_trial(scheduler):
    space = hpo.Space(X)
    known = {
        "ready": hpo.schedulers.pbt(4, STEPS, space=space),
        "made": lambda n, steps: hpo.schedulers.pb2(n, steps, space=space),
    }
    study = Study(X, "qmc", storage=None)
    expected = "Study.optimize: `scheduler` must be one that keeps the params of a trial"
    for num_steps in (STEPS, None) if scheduler != "made" else (STEPS,):
        with pytest.raises(ValueError, match=expected):
            study.optimize(
                plain,
                num_trials=4,
                num_steps=num_steps,
                scheduler=known.get(scheduler, scheduler),
                progress=False,
            )
    assert study.trials == []


def test_trials_that_wait_for_others_are_mentioned(caplog):
    study, _, _ = run(plain, hpo.schedulers.halving(18, STEPS), num_trials=10)
    assert "10 trials wait for the rest of their population, of which 8 of 18" in caplog.text
    caplog.clear()
    study.optimize(plain, num_trials=8, scheduler=hpo.schedulers.halving(18, STEPS), **SETTINGS)
    assert "trials wait" not in caplog.text


def test_silence_is_not_what_is_wrong_with_an_objective_that_failed(caplog):
    def text(params):
        yield "loss"

    study = Study(X, "qmc", storage=None)
    with pytest.raises(TypeError, match="must yield a real number"):
        study.optimize(text, num_trials=2, scheduler="asha", **SETTINGS)
    assert "yielded none" not in caplog.text


@pytest.mark.parametrize("is_resumable", [True, False])
def test_a_trial_whose_place_another_process_has_taken_is_pruned(is_resumable):
    study = Study(X, "qmc", storage=None)
    [asked] = study.ask(1)
    storage = study._store.storage

    def objective(params, checkpoint=None):
        for report in plain(params):
            if len(study.trials) == 5:  # the last of four: a smaller number joins before it
                trial, other = (storage.get_all_trials(study._store.study_id)[i] for i in (4, 0))
                entry = {**trial.system_attrs[SYSTEM_ATTR], "owner": None}
                storage.set_trial_system_attr(other._trial_id, SYSTEM_ATTR, entry)
            yield report

    def stopping(params):
        yield from objective(params)

    def stop(study, trial):
        if trial.number == 4:
            study.stop()  # nobody runs the other one

    chosen = objective if is_resumable else stopping
    study.optimize(chosen, num_trials=4, scheduler="asha", callbacks=[stop], **SETTINGS)
    assert study.trials[4].status is Status.PRUNED
    assert study.trials[asked.number].status is Status.RUNNING
