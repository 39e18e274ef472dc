"""Journal files after a crash or a full disk: the torn end is set aside, a torn middle is named."""

import logging
import os

import optuna
import pytest

import jaxhpo as hpo
from jaxhpo.study import StorageError, Study
from tests.study import objectives

X = {"x": hpo.uniform(-1.0, 3.0)}


@pytest.fixture
def journal(tmp_path):
    """A journal with a study of four trials."""
    path = tmp_path / "study.journal"
    Study(X, "qmc", storage=path, name="s").optimize(objectives.score, num_trials=4)
    return path


def reopened(path):
    return Study(X, "qmc", storage=path, name="s")


def whole(num_trials):
    study = Study(X, "qmc", storage=None)
    study.optimize(objectives.score, num_trials=num_trials)
    return study.values.tolist()


def optuna_study(path):
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    return optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))


@pytest.mark.parametrize("rest", [1, 10, 200])
def test_a_last_line_that_was_cut_is_set_aside(journal, caplog, rest):
    whole_text = journal.read_bytes()
    lines = whole_text.splitlines(keepends=True)
    torn = lines[3][: min(rest, len(lines[3]) - 2)]
    journal.write_bytes(whole_text + torn)
    study = reopened(journal)
    assert "cut short" in caplog.text
    [kept] = journal.parent.glob("study.journal.torn-*")
    assert kept.read_bytes() == torn
    study.optimize(objectives.score, num_trials=2)
    assert reopened(journal).values.tolist() == whole(6)
    assert len(optuna_study(journal).trials) == 6


def test_optuna_goes_on_with_a_mended_file(journal):
    with journal.open("ab") as file:
        file.write(b'{"op_code":5,"wor')
    reopened(journal)
    theirs = optuna_study(journal)
    theirs.optimize(lambda trial: trial.suggest_float("x", -1.0, 3.0), n_trials=3)
    assert len(reopened(journal).trials) == len(optuna_study(journal).trials) == 7


def test_a_record_that_lacks_nothing_but_its_end_is_kept(journal):
    journal.write_bytes(journal.read_bytes()[:-1])
    study = reopened(journal)
    assert not list(journal.parent.glob("*.torn-*"))
    assert study.values.tolist() == whole(4)
    study.optimize(objectives.score, num_trials=1)
    assert reopened(journal).values.tolist() == whole(5)


@pytest.mark.parametrize("rest", [b"\0" * 512, b"\0" * 64 + b"\n", b"\xff\xfe{\n", b"{]\n"])
def test_a_last_line_of_rubbish_is_set_aside(journal, rest):
    with journal.open("ab") as file:
        file.write(rest)
    study = reopened(journal)
    study.optimize(objectives.score, num_trials=1)
    assert reopened(journal).values.tolist() == whole(5)


def test_another_process_that_dies_in_its_line_swallows_none_of_ours(journal):
    study = reopened(journal)
    study.optimize(objectives.score, num_trials=1)
    with journal.open("ab") as file:
        file.write(b'{"op_code":6,"tri')
    study.optimize(objectives.score, num_trials=1)
    assert reopened(journal).values.tolist() == whole(6)
    assert len(optuna_study(journal).trials) == 6


def test_a_damaged_line_in_the_middle_is_named(journal):
    lines = journal.read_bytes().splitlines(keepends=True)
    damaged = [*lines[:6], lines[6][:20] + lines[7], *lines[8:]]
    journal.write_bytes(b"".join(damaged))
    with pytest.raises(
        StorageError, match=rf"damaged: line 7 of {len(damaged)} is not a journal record"
    ):
        reopened(journal)
    assert journal.read_bytes() == b"".join(damaged)


@pytest.mark.parametrize("text", [b"hello\n", b"hello\nworld", b"hello", b"[1]\n[2]\n"])
def test_a_file_that_is_no_journal_stays_as_it_is(tmp_path, text):
    path = tmp_path / "notes.log"
    path.write_bytes(text)
    with pytest.raises(StorageError, match="must be an Optuna journal, but the file is not one"):
        reopened(path)
    assert path.read_bytes() == text
    assert os.listdir(tmp_path) == ["notes.log"]


def test_a_file_that_was_cut_in_its_first_line_begins_anew(tmp_path):
    path = tmp_path / "s.journal"
    path.write_bytes(b'{"op_code":0,"work')
    study = reopened(path)
    study.optimize(objectives.score, num_trials=2)
    assert reopened(path).values.tolist() == whole(2)


def test_a_write_that_fails_leaves_no_half_line(journal, monkeypatch, caplog):
    from jaxhpo.study.storage.files import _journal

    study = reopened(journal)
    before = journal.read_bytes()

    def half(file, data):
        file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_journal, "_write_all", half)
    with pytest.raises(StorageError, match="the disk is full"):
        study.optimize(objectives.score, num_trials=1)
    assert journal.read_bytes() == before
    monkeypatch.undo()
    with caplog.at_level(logging.ERROR):
        study.optimize(objectives.score, num_trials=1)
    assert reopened(journal).values.tolist() == whole(5)
