"""A study that was stopped, in whatever way, goes on as if it had not been."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import optuna
import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study, StudyMismatchError
from jaxhpo.study.storage import _owner
from jaxhpo.study.storage._owner import is_dead, this_process
from tests.study import objectives

SCRIPT = str(pathlib.Path(objectives.__file__))
X = {"x": hpo.uniform(-1.0, 3.0)}


def start(url, space, sampler, num_trials, kill_at=-1, seed=5):
    command = [sys.executable, SCRIPT, url, space, sampler, num_trials, kill_at, seed]
    return subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def facts(study, without=()):
    return [(t.params, t.value, t.unit.tolist()) for t in study.trials if t.number not in without]


def sampler_of(name, space):
    # A grid over continuous dimensions is large enough to run 50 trials of it.
    return hpo.samplers.grid(space, points_per_dim=8) if name == "grid" else name


@pytest.mark.parametrize("space", list(objectives.SPACES))
@pytest.mark.parametrize("sampler", ["random", "qmc", "grid"])
def test_25_and_25_resumed_are_50_uninterrupted(url, space, sampler):
    def study(storage):
        made = objectives.SPACES[space]()
        return Study(made, sampler_of(sampler, made), storage=storage, name="s", seed=5)

    whole = study(None)
    whole.optimize(objectives.score, num_trials=50)
    for _ in range(2):
        study(url).optimize(objectives.score, num_trials=25)
    assert len(whole.trials) == 50
    assert facts(study(url)) == facts(whole)


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_a_batch_sampler_resumes_inside_its_batch(url, sampler):
    def study(storage):
        space = objectives.SPACES["discrete"]()
        made = getattr(hpo.samplers, sampler)(space, batch_size=8)
        return Study(space, made, storage=storage, name="s", seed=5)

    whole = study(None)
    whole.optimize(objectives.score, num_trials=40)
    for part in (3, 9, 12, 16):
        study(url).optimize(objectives.score, num_trials=part)
    assert facts(study(url)) == facts(whole)


@pytest.mark.parametrize(
    ("space", "sampler"), [("continuous", "random"), ("discrete", "qmc"), ("conditional", "grid")]
)
def test_killed_by_the_system_and_resumed(url, space, sampler):
    process = start(url, space, sampler, 50, kill_at=25)
    assert process.wait(timeout=120) == -signal.SIGKILL
    process.communicate()
    before = optuna.load_study(study_name="study", storage=url).trials
    assert [t.state.name for t in before] == ["COMPLETE"] * 25 + ["RUNNING"]

    resumed = Study(objectives.SPACES[space](), sampler, storage=url, name="study", seed=5)
    killed = resumed.trials[25]
    assert killed.status is Status.FAILED
    assert killed.reason == "the process that ran it ended before it told a value"
    resumed.optimize(objectives.score, num_trials=24)

    whole = Study(objectives.SPACES[space](), sampler, storage=None, seed=5)
    whole.optimize(objectives.score, num_trials=50)
    assert facts(resumed, without=[25]) == facts(whole, without=[25])
    assert killed.params == whole.trials[25].params


def test_a_living_process_keeps_its_running_trial(url):
    study = Study(X, "qmc", storage=url, name="s")
    seen = []

    def objective(params):
        other = Study(X, "qmc", storage=url, name="s")
        seen.append([t.status for t in other.trials])
        return params["x"]

    study.optimize(objective, num_trials=2)
    assert seen == [[Status.RUNNING], [Status.COMPLETE, Status.RUNNING]]
    assert [t.status for t in study.trials] == [Status.COMPLETE] * 2


def test_ctrl_c_leaves_a_consistent_study_and_says_how_to_go_on(url):
    process = start(url, "continuous", "qmc", 100_000)
    try:
        assert process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not count(url):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    assert "KeyboardInterrupt" in error
    assert f"storage={url!r}, name='study'" in error

    trials = optuna.load_study(study_name="study", storage=url).trials
    assert len(trials) >= 2
    assert {t.state.name for t in trials[:-1]} == {"COMPLETE"}
    # The signal falls into the objective but for a lucky moment between two trials.
    if trials[-1].state.name == "FAIL":
        assert trials[-1].user_attrs["reason"] == "interrupted"
    whole = Study(objectives.SPACES["continuous"](), "qmc", storage=None, seed=5)
    whole.optimize(objectives.score, num_trials=len(trials))
    study = Study(objectives.SPACES["continuous"](), "qmc", storage=url, name="study")
    assert facts(study)[:-1] == facts(whole)[:-1]


def count(url):
    try:
        return len(optuna.load_study(study_name="study", storage=url).trials) > 3
    except KeyError:
        return False


def test_an_interrupt_inside_the_objective_fails_that_trial_only(url, caplog):
    study = Study(X, "qmc", storage=url, name="s")

    def objective(params):
        if len(study.trials) == 3:
            raise KeyboardInterrupt
        return params["x"]

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, num_trials=10)
    assert [t.status for t in study.trials] == [Status.COMPLETE] * 2 + [Status.FAILED]
    assert study.trials[2].reason == "interrupted"
    assert study.stop_reason == "interrupted"
    assert "2 trials of this call, all of them recorded" in caplog.text
    study.optimize(objectives.score, num_trials=1)
    whole = Study(X, "qmc", storage=None)
    whole.optimize(objectives.score, num_trials=4)
    assert study.trials[3].params == whole.trials[3].params


def test_an_interrupt_during_a_write_waits_for_its_end(url):
    study = Study(X, "qmc", storage=url, name="s")
    finish = study._store.finish

    def interrupted_finish(endings):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        return finish(endings)

    study._store.finish = interrupted_finish
    with pytest.raises(KeyboardInterrupt):
        study.optimize(lambda p: p["x"], num_trials=10)
    assert [t.status for t in study.trials] == [Status.COMPLETE]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_exception_that_is_none_of_ours_fails_the_trial(url):
    study = Study(X, "qmc", storage=url, name="s")
    with pytest.raises(SystemExit):
        study.optimize(lambda p: sys.exit(3), num_trials=10)
    assert study.trials[0].status is Status.FAILED
    assert study.trials[0].reason == "the study stopped: SystemExit"


def test_two_processes_share_a_study_and_propose_what_one_would(url):
    Study(objectives.SPACES["discrete"](), "random", storage=url, name="study", seed=5)
    processes = [start(url, "discrete", "random", 20) for _ in range(2)]
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    shared = Study(objectives.SPACES["discrete"](), "random", storage=url, name="study")
    whole = Study(objectives.SPACES["discrete"](), "random", storage=None, seed=5)
    whole.optimize(objectives.score, num_trials=40)
    assert [t.number for t in shared.trials] == list(range(40))
    assert facts(shared) == facts(whole)


def test_a_stored_seed_is_taken_up_and_another_one_refused(url):
    Study(X, "qmc", storage=url, name="s", seed=7).optimize(objectives.score, num_trials=3)
    assert Study(X, "qmc", storage=url, name="s").seed == 7
    with pytest.raises(StudyMismatchError, match=r"`seed` must be that of .* 7, got 8"):
        Study(X, "qmc", storage=url, name="s", seed=8)


def test_another_seed_proposes_otherwise():
    params = [Study(X, "qmc", storage=None, seed=seed).ask(1)[0].params for seed in range(3)]
    assert len({p["x"] for p in params}) == 3


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_trial_i_has_the_key_of_i(sampler):
    space = hpo.Space(X)
    study = Study(space, sampler, storage=None, seed=9)
    trials = study.ask(3)
    made = hpo.samplers.get(sampler, space)
    key = jax.random.key(9)
    state = made.init(jax.random.fold_in(key, 2**32 - 1))
    for trial in trials:
        state, unit = made.ask(jax.random.fold_in(key, trial.number), state)
        assert unit[0].tolist() == trial.unit.tolist()


def test_another_space_is_refused_with_the_difference(url):
    old = {"a": hpo.uniform(0.0, 1.0), "b": hpo.integer(1, 4), "c": ["x", "y"]}
    new = {"a": hpo.uniform(0.0, 2.0), "c": ["x", "y"], "d": hpo.uniform(0.0, 1.0)}
    Study(old, "qmc", storage=url, name="s").optimize(lambda p: p["a"], num_trials=2)
    with pytest.raises(StudyMismatchError) as caught:
        Study(new, "qmc", storage=url, name="s")
    message = str(caught.value)
    assert "`space`" in message
    assert "added: d; removed: b; changed: a (high: 1.0 stored, 2.0 given)" in message
    assert "\n" not in message
    assert len(Study(old, "qmc", storage=url, name="s").trials) == 2


def test_another_direction_is_refused(url):
    Study(X, "qmc", storage=url, name="s")
    with pytest.raises(StudyMismatchError, match=r"`direction` .* minimize, got 'maximize'"):
        Study(X, "qmc", storage=url, name="s", direction="maximize")


def test_another_sampler_goes_on_with_what_is_known(url, caplog):
    space = {"a": [1, 2, 3], "b": ["x", "y", "z"]}
    Study(space, "random", storage=url, name="s").optimize(lambda p: p["a"], num_trials=5)
    with pytest.raises(StudyMismatchError, match=r"`sampler` must be .*random.*got grid.*change_s"):
        Study(space, "grid", storage=url, name="s")
    assert hpo.load_study("s", url).sampler.startswith("random")
    study = Study(space, "grid", storage=url, name="s", change_sampler=True)
    assert "continues with sampler grid" in caplog.text
    study.optimize(lambda p: p["a"], num_trials=100)
    assert len(study.trials) == 9
    assert len({str(t.params) for t in study.trials}) == 9


def test_a_study_made_by_optuna_is_continued_if_it_fits(url):
    foreign = optuna.create_study(storage=url, study_name="theirs")

    def objective(trial):
        x = trial.suggest_float("x", -1.0, 3.0)
        if trial.number == 2:
            raise optuna.TrialPruned
        return x + len(trial.suggest_categorical("opt", ["adam", "sgd"]))

    foreign.optimize(objective, n_trials=4)
    study = Study({**X, "opt": ["adam", "sgd"]}, "qmc", storage=url, name="theirs")
    assert study.best_value == foreign.best_value
    assert study.best_params == foreign.best_params
    assert [t.status for t in study.trials] == [
        Status.COMPLETE, Status.COMPLETE, Status.PRUNED, Status.COMPLETE
    ]  # fmt: skip
    study.optimize(lambda p: p["x"], num_trials=2)
    assert [t.number for t in study.trials] == list(range(6))
    assert len(study.to_dataframe()) == 6


def test_a_study_made_by_optuna_elsewhere_is_refused(url):
    far = optuna.create_study(storage=url, study_name="far")
    far.optimize(lambda t: t.suggest_float("x", 10.0, 11.0), n_trials=1)
    with pytest.raises(StudyMismatchError, match=r"`name` 'far'.*trial 0 .* `x`"):
        Study(X, "qmc", storage=url, name="far")
    with pytest.raises(StudyMismatchError, match=r"trial 0 .*`y` is missing"):
        Study({"x": hpo.uniform(0.0, 20.0), "y": [1, 2]}, "qmc", storage=url, name="far")


def test_a_process_that_is_gone_is_told_from_one_that_is_not():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    mine = this_process()
    host, _, _, *place = mine
    assert not is_dead(mine)
    assert not is_dead([host, process.pid, "", *place])
    process.kill()
    process.wait()
    assert is_dead([host, process.pid, "", *place])
    assert not is_dead(["elsewhere", process.pid, "", *place])
    assert not is_dead(None)
    assert not is_dead([host, "x", "", *place])
    # The same number with another start time is another process.
    assert is_dead([host, mine[1], "1", *place]) is bool(mine[2])
    # An older version did not say in which container it ran: nothing is known.
    assert not is_dead([host, process.pid, ""])


@pytest.mark.skipif(not pathlib.Path("/proc/self/ns/pid").exists(), reason="no namespaces")
def test_a_process_of_another_container_is_not_known_to_be_dead(monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    host, _, _, machine, boot, namespace = this_process()
    gone = [host, process.pid, "1"]
    assert is_dead([*gone, machine, boot, namespace])
    assert not is_dead([*gone, machine, boot, "pid:[4026532999]"])
    assert not is_dead([*gone, "another image", boot, namespace])
    # After a boot of this machine nothing of before is alive; a container has no boot of its own.
    monkeypatch.setattr(_owner, "_place", lambda pid: (machine, boot, "pid:[4026531836]"))
    assert is_dead([*gone, machine, "a boot before", "pid:[4026531836]"])
    monkeypatch.setattr(_owner, "_place", lambda pid: (machine, boot, "pid:[4026532999]"))
    assert not is_dead([*gone, machine, "a boot before", "pid:[4026532999]"])
