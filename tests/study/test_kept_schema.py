"""A study file of each released form is kept in `kept/`, and opens for ever.

`python -m tests.study.test_kept_schema` writes that of this version, if it is to have a new one.
"""

import pathlib
import re
import sqlite3

import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study

FOLDER = pathlib.Path(__file__).with_name("kept")
SPACE = {
    "lr": hpo.log_uniform(1e-4, 1.0),
    "n": hpo.integer(1, 9),
    "kind": hpo.choice({"a": {"w": hpo.uniform(0.0, 1.0)}, "b": {}}),
}


def objective(params):
    if params["n"] == 9:
        raise RuntimeError("too many")
    value = params["lr"] + params["n"]
    yield value + 1.0
    yield value


def write(path):
    """A study with ended, failed and waiting trials, as SQL text."""
    file = path.with_suffix(".db")
    study = Study(SPACE, "qmc", storage=file, name="kept", seed=3)
    study.optimize(objective, num_trials=12, progress=False)
    study.record([{"lr": 0.5, "n": 2, "kind": {"b": {}}}], [0.25])
    study.enqueue({"lr": 0.25, "n": 3, "kind": {"b": {}}})
    study._store._finalizer()
    with sqlite3.connect(file) as connection:
        text = "\n".join(connection.iterdump())
    connection.close()
    text = text.replace(str(pathlib.Path(hpo.__file__).parents[1]), "")
    path.write_text(re.sub(r'"owner": \[.*?"\]', '"owner": ["host", 1, "2", "m", "b", "n"]', text))
    for one in path.parent.glob(file.name + "*"):
        one.unlink()


def opened(path, tmp_path):
    """The file that the text stands for."""
    connection = sqlite3.connect(tmp_path / "study.db")
    connection.executescript(path.read_text())
    connection.close()
    return tmp_path / "study.db"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sql")), ids=lambda path: path.stem)
def test_a_file_of_an_earlier_version_opens_and_goes_on(path, tmp_path):
    file = opened(path, tmp_path)
    again = Study(SPACE, "qmc", storage=file, name="kept", seed=3)
    trials = again.trials
    assert len(trials) == 14
    assert trials[12].value == again.best_value == 0.25
    assert trials[13].status is Status.WAITING
    whole = Study(SPACE, "qmc", storage=None, seed=3)
    whole.optimize(objective, num_trials=12, progress=False)
    for then, now in zip(trials, whole.trials, strict=False):
        assert (then.status, then.value, then.curve) == (now.status, now.value, now.curve)
        assert then.params == now.params
    again.optimize(objective, num_trials=2, progress=False)
    assert again.trials[13].params["lr"] == 0.25
    assert [trial.number for trial in again.trials] == list(range(15))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sql")), ids=lambda path: path.stem)
def test_it_is_read_without_its_space(path, tmp_path):
    shown = hpo.load_study("kept", opened(path, tmp_path))
    assert shown.best_value == 0.25


def test_there_is_one_of_the_present_schema():
    from jaxhpo.study.storage._bulk import TESTED_SCHEMA_REVISION

    assert any(TESTED_SCHEMA_REVISION in path.read_text() for path in FOLDER.glob("*.sql"))


if __name__ == "__main__":
    write(FOLDER / "0.1.0.sql")
