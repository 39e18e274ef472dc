"""`load_study`: a study is read by its name alone, and its storage stays as it was."""

import json
import os
import pathlib
import stat
import subprocess
import sys

import jax
import numpy as np
import optuna
import pytest

import jaxhpo as hpo
from jaxhpo import Outcome
from jaxhpo.study import StorageError, StoredStudy, Study, StudyMismatchError
from jaxhpo.study.storage._meta import META_ATTR
from tests.study import objectives

X = {"x": hpo.uniform(-1.0, 3.0)}


def first(space, url, sampler="qmc", n=5, **settings):
    """A study with some trials."""
    study = Study(space, sampler, storage=url, name="s", **settings)
    study.optimize(objectives.score, num_trials=n, progress=False)
    study._store.checkpoint()
    return study


def contents(url):
    """What the file of a URL or a path holds, byte by byte."""
    return pathlib.Path(str(url).removeprefix("sqlite:///")).read_bytes()


@pytest.fixture(params=["sqlite", "journal"])
def storage(request, tmp_path):
    """A storage of each kind that is a file."""
    return {"sqlite": f"sqlite:///{tmp_path / 's.db'}", "journal": str(tmp_path / "s.journal")}[
        request.param
    ]


@pytest.mark.parametrize("space", objectives.SPACES)
def test_what_is_read_is_what_was_written(storage, space):
    study = first(objectives.SPACES[space](), storage, seed=3)
    study.enqueue(study.trials[0].params)
    study._store.checkpoint()
    before = contents(storage)
    loaded = hpo.load_study("s", storage)
    assert isinstance(loaded, StoredStudy)
    assert loaded.missing == ()
    assert (loaded.name, loaded.seed, loaded.direction) == ("s", 3, "minimize")
    assert loaded.sampler == study.sampler
    assert loaded.space.describe() == study.space.describe()
    assert jax.tree.structure(loaded.space) == jax.tree.structure(study.space)
    assert loaded.trials == study.trials
    assert loaded.best == study.best
    assert loaded.best_params == study.best_params
    assert loaded.best_value == study.best_value
    assert loaded.best_trials == study.best_trials
    np.testing.assert_array_equal(loaded.values, study.values)
    np.testing.assert_array_equal(loaded.pareto_front(), study.pareto_front())
    assert loaded.to_dataframe().equals(study.to_dataframe())
    assert len(loaded.to_optuna().trials) == 6
    assert "trials=6" in repr(loaded)
    assert contents(storage) == before


def test_trials_of_others_are_seen_while_it_is_open(storage):
    study = first(X, storage)
    loaded = hpo.load_study("s", storage)
    study.optimize(objectives.score, num_trials=2, progress=False)
    assert len(loaded.trials) == 7


def test_a_report_and_a_model_of_a_loaded_study(url, tmp_path):
    first({**X, "opt": ["adam", "sgd"]}, url, n=8)
    loaded = hpo.load_study("s", url)
    before = contents(url)
    path = loaded.report(tmp_path / "out" / "report.html", model=False, progress=False)
    assert "opt" in path.read_text()
    assert loaded.surrogate().columns
    assert contents(url) == before


def test_nothing_can_be_written_through_it(url):
    first(X, url)
    before = contents(url)
    loaded = hpo.load_study("s", url)
    with pytest.raises(optuna.exceptions.StorageInternalError):
        loaded.to_optuna().set_user_attr("a", 1)
    for name in ("optimize", "ask", "tell", "record", "enqueue", "sweep", "fail_stale"):
        with pytest.raises(AttributeError, match=rf"'{name}'; a Study has it, and `resume\(\)`"):
            getattr(loaded, name)
    assert contents(url) == before


def test_a_running_trial_of_a_dead_process_stays_as_it_is(url):
    code = (
        "import os, jaxhpo as hpo\nfrom jaxhpo.study import Study\n"
        f"s = Study({{'x': hpo.uniform(-1.0, 3.0)}}, 'qmc', storage={url!r}, name='s')\n"
        "s.optimize(lambda p: os._exit(0), num_trials=1, progress=False)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for _ in range(2):
        assert [t.status.name for t in hpo.load_study("s", url).trials] == ["RUNNING"]
    assert [t.status.name for t in Study(X, storage=url, name="s").trials] == ["FAILED"]


def run_as_nobody(code, folder):
    """Runs code as a user who may write nothing; root may write anything."""
    environment = {**os.environ, "JAXHPO_CACHE": "0", "HOME": str(folder)}
    settings = {"user": 65534, "group": 65534} if os.getuid() == 0 else {}
    try:
        return subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment,
            **settings,
        )
    except PermissionError:
        pytest.skip("another user cannot run this Python")


def test_a_file_in_a_folder_that_cannot_be_written(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    url = f"sqlite:///{folder / 's.db'}"
    study = first(X, url)
    study._store._sqlite.dispose()
    for path in [*tmp_path.parents][:3]:
        os.chmod(path, os.stat(path).st_mode | stat.S_IXOTH | stat.S_IROTH)
    os.chmod(folder / "s.db", 0o444)
    os.chmod(folder, 0o555)
    try:
        before = contents(url)
        done = run_as_nobody(
            f"import jaxhpo; s = jaxhpo.load_study('s', {url!r}); print(len(s.trials))", tmp_path
        )
        if "PermissionError" in done.stderr or "ModuleNotFoundError" in done.stderr:
            pytest.skip("another user cannot read this installation")
        assert done.stdout.strip() == "5", done.stderr
        assert contents(url) == before
        assert sorted(path.name for path in folder.iterdir()) == ["s.db"]
    finally:
        os.chmod(folder, 0o755)


def test_resume_goes_on_as_if_it_had_never_stopped(url):
    first(objectives.SPACES["conditional"](), url, "random", n=4, seed=5)
    again = hpo.load_study("s", url).resume()
    again.optimize(objectives.score, num_trials=3, progress=False)
    whole = Study(objectives.SPACES["conditional"](), "random", storage=None, seed=5)
    whole.optimize(objectives.score, num_trials=7, progress=False)
    assert [t.params for t in again.trials] == [t.params for t in whole.trials]


def test_resume_with_another_sampler_keeps_a_record_of_both(url):
    first(X, url)
    again = hpo.load_study("s", url).resume(sampler="random")
    again.optimize(objectives.score, num_trials=1, progress=False)
    meta = hpo.load_study("s", url)._meta
    assert [first_trial for first_trial, _ in meta["samplers"]] == [0, 5]
    assert [text.split("(")[0] for _, text in meta["samplers"]] == ["qmc", "random"]


def test_what_the_file_cannot_hold_is_named_and_asked_for(url):
    space = hpo.Space(
        {**X, "act": hpo.choice([jax.nn.relu, jax.numpy.tanh])},
        constraints=[hpo.forbid({"x": 0.5}), lambda values: values["x"] < 2.0],
    )
    Study(space, "random", storage=url, name="s").optimize(
        lambda p: p["x"], num_trials=3, progress=False
    )
    loaded = hpo.load_study("s", url)
    text = "; ".join(loaded.missing)
    for part in ("relu", "forbid({'x': 0.5})", "lambda"):
        assert part in text
    assert {trial.params["act"] for trial in loaded.trials} <= {"relu", "tanh"}
    with pytest.raises(ValueError, match=r"`space` must be given.*relu"):
        loaded.resume()
    assert len(loaded.resume(space).trials) == 3


def test_several_objectives_violations_and_curves_are_read(url):
    study = Study(X, "random", storage=url, name="s", direction=["minimize", "maximize"])
    study.optimize(
        lambda p: Outcome((p["x"], p["x"]), violation=p["x"] - 2.0), num_trials=6, progress=False
    )
    study.record([{"x": 0.0}], [[1.0, 2.0]], curves=[[3.0, 2.0]], curve_steps=[1, 2])
    loaded = hpo.load_study("s", url)
    assert loaded.directions == ("minimize", "maximize")
    assert loaded.trials == study.trials
    assert len(loaded.resume().trials) == 7


def test_a_study_of_optuna_is_read(url):
    foreign = optuna.create_study(storage=url, study_name="theirs")
    with pytest.raises(ValueError, match=r"StoredStudy\.space: .* no trial yet"):
        _ = hpo.load_study("theirs", url).space

    def objective(trial):
        if trial.suggest_categorical("model", ["svm", "knn"]) == "svm":
            return trial.suggest_float("C", 0.1, 10.0, log=True)
        return float(trial.suggest_int("k", 1, 9))

    foreign.optimize(objective, n_trials=8)
    before = contents(url)
    loaded = hpo.load_study("theirs", url)
    assert [t.value for t in loaded.trials] == [t.value for t in foreign.trials]
    assert [t.flat for t in loaded.trials] == [t.params for t in foreign.trials]
    assert loaded.best_value == foreign.best_value
    assert set(loaded.space.names) == {"model", "C", "k"}
    assert (loaded.sampler, loaded.seed) == ("", 0)
    with pytest.raises(ValueError, match="`space` must be given"):
        loaded.resume()
    assert contents(url) == before


def older(url, **changes):
    """Makes a study's description that of an older version."""
    study = optuna.load_study(study_name="s", storage=url)
    meta = dict(study.user_attrs[META_ATTR])
    for key in ("tree", "sampler_name", "samplers", *changes):
        meta.pop(key, None)
    study.set_user_attr(META_ATTR, {**meta, **changes})


@pytest.mark.parametrize("space", objectives.SPACES)
def test_a_study_of_an_older_version_is_read_and_goes_on(url, space):
    study = first(objectives.SPACES[space](), url, "random")
    older(url)
    loaded = hpo.load_study("s", url)
    assert loaded.trials == study.trials
    assert "containers" in loaded.missing[0]
    again = Study(objectives.SPACES[space](), storage=url, name="s")
    assert again.sampler.startswith("random")
    assert hpo.load_study("s", url).missing == ()


def test_a_description_that_makes_no_space_still_shows_its_trials(url):
    study = first(X, url)
    older(url, space=[{"name": "x", "kind": "gauss", "shape": [], "conditions": []}])
    loaded = hpo.load_study("s", url)
    assert [t.value for t in loaded.trials] == [t.value for t in study.trials]
    assert [t.params for t in loaded.trials] == [t.flat for t in study.trials]
    with pytest.raises(ValueError, match="gauss"):
        _ = loaded.space


# -- the sampler of a stored study ---------------------------------------------------------------


def test_auto_goes_on_with_the_sampler_of_the_study(url):
    first(X, url, "random")
    for sampler in ({}, {"sampler": "auto"}, {"sampler": "random"}):
        assert Study(X, storage=url, name="s", **sampler).sampler.startswith("random")
    assert hpo.load_study("s", url).sampler.startswith("random")


def test_a_study_begun_by_auto_goes_on_by_auto(url):
    first(X, url, "auto", n=2)
    description = json.dumps(hpo.load_study("s", url)._meta)
    Study(X, storage=url, name="s")
    assert json.dumps(hpo.load_study("s", url)._meta) == description


def test_another_sampler_is_refused_and_nothing_is_rewritten(url):
    first(X, url, "qmc")
    before = hpo.load_study("s", url)._meta
    space = hpo.Space(X)
    others = ["random", "tpe", hpo.samplers.qmc(space, sequence="halton"), hpo.samplers.de(space)]
    for other in others:
        with pytest.raises(StudyMismatchError, match=r"`sampler` must be .*change_sampler=True"):
            Study(X, other, storage=url, name="s")
    assert hpo.load_study("s", url)._meta == before
    assert Study(X, hpo.samplers.qmc(space), storage=url, name="s").sampler == before["sampler"]


def test_a_ready_made_sampler_is_asked_for_again(url):
    space = hpo.Space(X)
    first(X, url, hpo.samplers.qmc(space, sequence="halton"))
    with pytest.raises(StudyMismatchError, match=r"`sampler` must be given .*sequence=halton"):
        Study(X, storage=url, name="s")
    again = Study(X, hpo.samplers.qmc(space, sequence="halton"), storage=url, name="s")
    assert "halton" in again.sampler
    assert Study(X, "random", storage=url, name="s", change_sampler=True).sampler[:6] == "random"


def test_settings_that_a_newer_version_adds_do_not_matter(url):
    study = first(X, url, hpo.samplers.qmc(hpo.Space(X)))
    meta = hpo.load_study("s", url)._meta
    older(url, sampler=study.sampler.replace("scramble=True, ", ""), sampler_name=None)
    again = Study(X, hpo.samplers.qmc(hpo.Space(X)), storage=url, name="s")
    assert again.sampler == meta["sampler"]


# -- what is not there ---------------------------------------------------------------------------


def test_an_unknown_name_lists_those_there_are(url):
    first(X, url)
    Study(X, "qmc", storage=url, name="resnet")
    with pytest.raises(ValueError, match=r"`name` .*'s', 'resnet'.* got 'resnets'; did you mean"):
        hpo.load_study("resnets", url)


@pytest.mark.parametrize("name", ["no.db", "no.journal", "sqlite:///no.db"])
def test_a_file_that_is_not_there_is_not_made(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="no such file"):
        hpo.load_study("s", name)
    assert not list(tmp_path.iterdir())


def test_other_files_are_named_and_left_alone(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("create table books (title text)")
    (tmp_path / "text.db").write_text("to do: buy milk\n" * 10)
    for name, message in [("other.db", "holds no studies"), ("text.db", "SQLite database")]:
        before = (tmp_path / name).read_bytes()
        with pytest.raises(StorageError, match=message):
            hpo.load_study("s", tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    with pytest.raises(TypeError, match="`storage` must be"):
        hpo.load_study("s", None)
