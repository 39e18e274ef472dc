"""Several processes on one study: a sampler that ignores values passes over the others' trials."""

import itertools

import optuna
import pytest

import jaxhpo as hpo
from jaxhpo.study import _stored_sampler

SPACE = {"x": hpo.uniform(0.0, 1.0), "k": hpo.integer(1, 40)}


def open_study(folder, name, ending):
    return hpo.Study(SPACE, name, storage=f"{folder}/study{ending}", name="s", seed=1)


def alone(name, num_trials):
    study = hpo.Study(SPACE, name, storage=None, seed=1)
    study.optimize(lambda params: params["x"], num_trials=num_trials, progress=False)
    return [trial.flat for trial in study.trials]


@pytest.fixture
def refreshes(monkeypatch):
    """How often a history was read again, one entry each."""
    found, refresh = [], _stored_sampler.StoredSampler.refresh

    def counted(self):
        found.append(self)
        refresh(self)

    monkeypatch.setattr(_stored_sampler.StoredSampler, "refresh", counted)
    return found


@pytest.mark.parametrize("ending", [".db", ".log"])
@pytest.mark.parametrize("name", ["random", "qmc", "grid"])
def test_several_propose_what_one_alone_does(name, ending, tmp_path, refreshes):
    studies = [open_study(tmp_path, name, ending) for _ in range(3)]
    first = [study.ask(1) for study in studies]
    read = len(refreshes)
    for study, count in zip(itertools.cycle(studies), [1, 4, 40, 2, 1, 1, 7], strict=False):
        trials = study.ask(count)
        study.tell(trials, [trial.params["x"] for trial in trials])
    assert len(refreshes) == read  # nobody had to
    for study, trials in zip(studies, first, strict=True):
        study.tell(trials, [0.5])
    found = [trial.flat for trial in studies[0].trials]
    assert found == alone(name, len(found))
    assert len(found) == 59


@pytest.mark.parametrize("kind", ["memory", "journal"])
@pytest.mark.parametrize("name", ["random", "qmc", "grid", "tpe"])
def test_several_on_one_storage_object_do_as_well(name, kind, tmp_path):
    if kind == "memory":
        storage = optuna.storages.InMemoryStorage()
    else:
        backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.log"))
        storage = optuna.storages.JournalStorage(backend)
    studies = [hpo.Study(SPACE, name, storage=storage, name="s", seed=1) for _ in range(2)]
    for study in itertools.islice(itertools.cycle(studies), 14):
        study.tell(study.ask(1), [0.5])
    single = hpo.Study(SPACE, name, storage=None, seed=1)
    for _ in range(14):
        single.tell(single.ask(1), [0.5])
    assert [trial.flat for trial in studies[0].trials] == [trial.flat for trial in single.trials]


@pytest.mark.parametrize("ending", [".db", ".log"])
def test_points_of_the_users_own_are_not_passed_over(ending, tmp_path, refreshes):
    one, other = (open_study(tmp_path, "qmc", ending) for _ in range(2))
    one.ask(1), other.ask(1)
    other.record([{"x": 0.25, "k": 3}], [0.1])
    read = len(refreshes)
    [trial] = one.ask(1)
    assert len(refreshes) > read
    assert trial.number == 3
    assert trial.flat == alone("qmc", 4)[3]  # a point of the user's takes the place of one


def test_trials_that_wait_are_not_passed_over(tmp_path):
    one, other = (open_study(tmp_path, "random", ".db") for _ in range(2))
    one.ask(1), other.ask(1)
    other.enqueue({"x": 0.125, "k": 7})
    [trial] = one.ask(1)
    assert (trial.number, trial.flat) == (2, {"x": 0.125, "k": 7})


def test_a_lost_answer_makes_no_second_trial(tmp_path, monkeypatch):
    one, other = (open_study(tmp_path, "random", ".db") for _ in range(2))
    one.ask(1)
    other.ask(1)
    from jaxhpo.study.storage import _bulk

    append, lost = _bulk.append, [ConnectionResetError("server closed the connection")]

    def losing(*args):
        written = append(*args)
        if lost:
            raise lost.pop()
        return written

    monkeypatch.setattr(_bulk, "append", losing)
    [trial] = one.ask(1)
    assert not lost
    assert trial.number == 2
    assert len(one.trials) == 3
    one.tell([trial], [0.5])
    assert one.trials[2].value == 0.5
