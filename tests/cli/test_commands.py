"""The commands end to end, on a SQLite file, and every error as one line."""

import contextlib
import csv
import importlib.metadata
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import optuna
import pytest

SPACE = '{"x": {"kind": "uniform", "low": -2, "high": 3}, "opt": ["adam", "sgd"]}'
STORAGE = "sqlite:///s.db"
QMC = ("--sampler", "qmc")  # compiles in no time


def tune(jaxhpo, *more, trials=12):
    return jaxhpo(
        "tune",
        "work:score",
        "--space",
        SPACE,
        "--trials",
        trials,
        "--storage",
        STORAGE,
        *QMC,
        *more,
    )


def resume(jaxhpo, name, *more):
    return jaxhpo("resume", name, "--storage", STORAGE, "--objective", name, *more)


def best(jaxhpo, name="work:score"):
    return json.loads(jaxhpo("best", name, "--storage", STORAGE, "--format", "json").out)


def test_tune_then_look(jaxhpo):
    done = tune(jaxhpo)
    assert done.code == 0, done.err
    assert "12 trials, 0 failed" in done.out
    record = best(jaxhpo)
    assert record["params"]["opt"] == "adam"
    assert record["value"] == pytest.approx((record["params"]["x"] - 1.0) ** 2)
    table = jaxhpo("best", "work:score", "--storage", STORAGE, "--top", 3).out
    assert "adam" in table
    listing = jaxhpo("studies", "--storage", STORAGE).out
    assert "score" in listing
    assert "12" in listing


def test_csv_holds_every_trial(jaxhpo):
    tune(jaxhpo)
    text = jaxhpo("best", "work:score", "--storage", STORAGE, "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["number"]) for row in rows] == list(range(12))
    assert {row["params_opt"] for row in rows} == {"adam", "sgd"}
    for row in rows:
        expected = (float(row["params_x"]) - 1.0) ** 2 + (row["params_opt"] == "sgd")
        assert float(row["value"]) == pytest.approx(expected)


def test_resume_goes_on_as_if_never_stopped(jaxhpo):
    tune(jaxhpo, "--seed", 3, trials=5)
    assert resume(jaxhpo, "work:score", "--trials", 7).code == 0
    tune(jaxhpo, "--seed", 3, "--name", "whole")
    stored = "sqlite:///s.db"
    halves = optuna.load_study(study_name="work:score", storage=stored).trials
    whole = optuna.load_study(study_name="whole", storage=stored).trials
    assert [trial.params for trial in halves] == [trial.params for trial in whole]


def test_maximize(jaxhpo):
    tune(jaxhpo, "--maximize")
    assert best(jaxhpo)["value"] > 3.0


def test_space_from_a_module_and_from_a_file(jaxhpo, folder):
    (folder / "space.json").write_text(SPACE)
    for space in ("work:SPACE", "space.json"):
        done = jaxhpo(
            "tune", "work:score", "--space", space, "--trials", 2, "--storage", STORAGE, *QMC
        )
        assert done.code == 0, done.err
    assert "4 trials" in done.out


def test_nested_choices_in_json(jaxhpo, folder):
    (folder / "nested.py").write_text("def f(params):\n    return params['m']['svm']['C']\n")
    options = '{"svm": {"C": {"kind": "uniform", "low": 1, "high": 2}}}'
    space = f'{{"m": {{"kind": "choice", "options": {options}}}}}'
    done = jaxhpo("tune", "nested:f", "--space", space, "--trials", 3, "--storage", STORAGE, *QMC)
    assert done.code == 0, done.err
    assert set(best(jaxhpo, "nested:f")["params"]) == {"m", "m.svm.C"}


def test_a_parameter_may_be_called_kind(jaxhpo, folder):
    (folder / "kinds.py").write_text("def f(params):\n    return float(params['kind'] == 'a')\n")
    done = jaxhpo(
        "tune",
        "kinds:f",
        "--space",
        '{"kind": ["a", "b"]}',
        "--trials",
        2,
        "--storage",
        STORAGE,
        *QMC,
    )
    assert done.code == 0, done.err
    assert best(jaxhpo, "kinds:f")["params"] == {"kind": "b"}


def test_a_foreign_database_stays_as_it_was(jaxhpo, folder):
    with contextlib.closing(sqlite3.connect(folder / "other.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.commit()
    before = (folder / "other.db").read_bytes()
    done = jaxhpo("studies", "--storage", "sqlite:///other.db")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert (folder / "other.db").read_bytes() == before


def test_ctrl_c_keeps_the_trials_and_tells_by_its_code(folder):
    (folder / "slow.py").write_text(
        "import time\n\ndef f(params):\n    time.sleep(0.2)\n    return params['x']\n"
    )
    command = [sys.executable, "-m", "jaxhpo", "tune", "slow:f", "--space", "work:SPACE", *QMC]
    process = subprocess.Popen(
        [*command, "--trials", "1000", "--storage", STORAGE],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not (folder / "s.db").exists() or not _complete(folder):
            assert process.poll() is None
            time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "jaxhpo resume slow:f --storage sqlite:///s.db --objective slow:f" in out
    assert _complete(folder) >= 1


def _complete(folder):
    query = "SELECT count(*) FROM trials WHERE state = 'COMPLETE'"
    with contextlib.closing(sqlite3.connect(folder / "s.db")) as connection:
        try:
            return connection.execute(query).fetchone()[0]
        except sqlite3.OperationalError:  # the tables are not there yet
            return 0


def test_a_failing_objective_is_kept_and_told(jaxhpo):
    done = jaxhpo(
        "tune", "work:broken", "--space", SPACE, "--trials", 3, "--storage", STORAGE, *QMC
    )
    assert done.code == 3
    assert "no trial has a finite value" in done.err
    assert "no data" in done.err
    trials = optuna.load_study(study_name="work:broken", storage=STORAGE).trials
    assert [trial.state.name for trial in trials] == ["FAIL"] * 3


def test_doctor_reports_and_succeeds(jaxhpo):
    done = jaxhpo("doctor")
    assert done.code == 0
    assert "optuna" in done.out
    assert "devices" in done.out
    assert "exported programs in it" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune", "work", "--space", SPACE], "OBJECTIVE must look like module:name, got 'work'"),
        (["tune", "absent:f", "--space", SPACE], "importing 'absent' failed: ModuleNotFoundError"),
        (["tune", "work:absent", "--space", SPACE], "has no 'absent'; it has"),
        (["tune", "work:SPACE", "--space", SPACE], "OBJECTIVE must be a function"),
        (["tune", "work:score"], "Missing option '--space'"),
        (["tune", "work:score", "--space", "{bad"], "--space must be JSON or module:name"),
        (["tune", "work:score", "--space", '{"x": [1], "x": [2]}'], "`x` comes twice"),
        (["tune", "work:score", "--space", "no.json"], "the file no.json does not exist"),
        (
            ["tune", "work:score", "--space", '{"x": {"kind": "gauss"}}'],
            "`x`: kind must be one of",
        ),
        (
            ["tune", "work:score", "--space", '{"x": {"kind": "uniform", "low": 2, "high": 1}}'],
            "`x`: uniform: `low` must not exceed `high`",
        ),
        (
            ["tune", "work:score", "--space", SPACE, "--sampler", "magic"],
            "must be one of",
        ),
        (
            ["tune", "work:score", "--space", SPACE, "--storage", "sqlite:////nowhere/x/s.db"],
            "`storage`",
        ),
        (["best", "score", "--storage", "sqlite:///no.db"], "the file no.db does not exist"),
        (["resume", "score", "--storage", "no.journal"], "the file no.journal does not exist"),
        (["demo", "--trials", "0"], "--trials"),
    ],
)
def test_errors_are_one_line(jaxhpo, arguments, message):
    done = jaxhpo(*arguments)
    assert done.code == 2
    assert message in done.err
    assert done.err.startswith("jaxhpo: error: ")
    assert done.err.count("\n") == 1


def test_errors_about_stored_studies_are_one_line(jaxhpo, folder):
    tune(jaxhpo, trials=2)
    other = '{"y": {"kind": "uniform", "low": 0, "high": 1}}'
    for arguments, message in [
        (["best", "other", "--storage", STORAGE], "has no study 'other'; it has: work:score"),
        (
            ["best", "work:score", "--storage", STORAGE, "--format", "xml"],
            "--format must be one of",
        ),
        (
            ["tune", "work:score", "--space", other, "--storage", STORAGE],
            "added: y; removed: x, opt",
        ),
    ]:
        done = jaxhpo(*arguments)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert message in done.err
    assert len(optuna.load_study(study_name="work:score", storage=STORAGE).trials) == 2
    (folder / "bad.db").write_bytes(b"this is no database" * 100)
    done = jaxhpo("studies", "--storage", "sqlite:///bad.db")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "not" in done.err


def test_wrong_return_type_names_it(jaxhpo):
    done = jaxhpo("tune", "work:text", "--space", SPACE, "--trials", 2, "--storage", STORAGE, *QMC)
    assert done.code == 2
    assert "'good'" in done.err


def test_debug_shows_the_traceback(jaxhpo, monkeypatch):
    monkeypatch.setenv("JAXHPO_DEBUG", "")
    done = jaxhpo("--debug", "best", "x", "--storage", "sqlite:///no.db")
    assert "Traceback" in done.err


def test_runs_as_a_module(folder):
    run = subprocess.run(
        [sys.executable, "-m", "jaxhpo", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("demo", "tune", "resume", "studies", "best", "doctor"):
        assert command in run.stdout


def test_several_objectives_have_a_front(jaxhpo, folder):
    text = (folder / "work.py").read_text()
    (folder / "work.py").write_text(
        text + "def two(params): return params['x'] ** 2, params['x']\n"
    )
    space = json.dumps({"x": {"kind": "uniform", "low": -2, "high": 3}})
    command = ("tune", "work:two", "--space", space, "--storage", STORAGE)
    options = ("--sampler", "random", "--directions", "minimize, maximize", "--trials", 12)
    done = jaxhpo(*command, *options)
    assert done.code == 0, done.err
    assert "values_0" in done.out
    assert "front of " in jaxhpo("studies", "--storage", STORAGE).out
    table = jaxhpo("best", "work:two", "--storage", STORAGE, "--top", 3).out
    assert "minimized, maximized" in table
    records = json.loads(
        jaxhpo("best", "work:two", "--storage", STORAGE, "--format", "json", "--top", 99).out
    )
    assert all(record["value"][0] == pytest.approx(record["value"][1] ** 2) for record in records)
    csv_text = jaxhpo("best", "work:two", "--storage", STORAGE, "--format", "csv").out
    assert len(list(csv.DictReader(io.StringIO(csv_text)))) == 12
    assert resume(jaxhpo, "work:two", "--trials", 3).code == 0
    assert "exclude each other" in jaxhpo(*command, *options, "--maximize").err


def test_version_and_completion(jaxhpo, monkeypatch):
    assert jaxhpo("--version").out.split() == ["jaxhpo", importlib.metadata.version("jaxhpo")]
    help_ = jaxhpo("--help").out
    assert "--install-completion" in help_
    code = "import sys; from jaxhpo.cli import main; sys.argv = ['jaxhpo']; main()"
    asked = {"_JAXHPO_COMPLETE": "complete_bash", "COMP_WORDS": "jaxhpo st", "COMP_CWORD": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked}
    )
    assert run.stdout.split() == ["studies"]


def test_the_help_of_the_demo_tells_of_its_acts(jaxhpo):
    text = jaxhpo("demo", "--help").out
    assert "three acts" in text
    for word in ("random search", "Bayesian optimization", "hypergradients"):
        assert word in " ".join(text.split())
