"""Names and texts from files of strangers, and folders whose modules have names of libraries."""

import json
import os
import pathlib
import subprocess
import sys

import optuna
import pytest

import jaxhpo as hpo
from jaxhpo.cli._tables import print_table, show
from jaxhpo.cli._tune import COMMAND_ATTR
from jaxhpo.study import Study

STORAGE = "sqlite:///s.db"
NAMES = [
    "net[1]",
    "[bold]x[/bold]",
    "[/]",
    "[red",
    "\x1b[31mred\x1b]0;title\x07",
    "a\rb",
    "\u202egpj",
]
SPACE = '{"x": {"kind": "uniform", "low": 0, "high": 1}}'


def stored(name, params, value=1.0):
    study = optuna.create_study(storage=STORAGE, study_name=name)
    distributions = {
        key: optuna.distributions.CategoricalDistribution([option])
        for key, option in params.items()
    }
    study.add_trial(
        optuna.trial.create_trial(value=value, params=params, distributions=distributions)
    )
    return study


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_text(jaxhpo, folder, name):
    stored(name, {name: name, "other": "[blue]sky[/blue]"})
    shown = repr(name)[1:-1] if "\x1b" in name or "\r" in name or "\u202e" in name else name
    for command in (["studies"], ["best", name], ["best", name, "--top", "3"]):
        done = jaxhpo(*command, "--storage", STORAGE)
        assert done.code == 0, done.err
        assert shown in done.out
        assert not set("\x1b\r\x07\u202e") & set(done.out + done.err)
    assert "[blue]sky[/blue]" in done.out
    record = json.loads(jaxhpo("best", name, "--storage", STORAGE, "--format", "json").out)
    assert record["params"][name] == name
    missing = jaxhpo("best", name + "\x1b[2J", "--storage", STORAGE)
    assert missing.code == 2
    assert "\x1b" not in missing.err


def test_csv_is_exact_for_programs(jaxhpo, folder):
    stored("s", {"x": '\x1b[31m,"\n'})
    import csv
    import io

    text = jaxhpo("best", "s", "--storage", STORAGE, "--format", "csv").out
    [row] = csv.DictReader(io.StringIO(text))
    assert row["params_x"] == '\x1b[31m,"\n'


def test_reasons_of_failures_are_shown_as_text(jaxhpo, folder):
    (folder / "evil.py").write_text("def f(params):\n    raise ValueError('[/red]\\x1b[2Jgone')\n")
    done = jaxhpo("tune", "evil:f", "--space", SPACE, "--sampler", "qmc", "--trials", "2")
    assert done.code != 0
    assert "\x1b" not in done.out + done.err
    assert "[/red]\\x1b[2Jgone" in done.err


def test_a_report_escapes_what_it_quotes(folder):
    evil = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'
    study = stored(evil, {evil: evil, "b": "c"})
    failed = optuna.trial.create_trial(
        state=optuna.trial.TrialState.FAIL, user_attrs={"reason": evil}
    )
    study.add_trial(failed)
    from jaxhpo.report import write_report

    text = write_report(study, folder / "r.html", model=False).read_text()
    assert evil not in text
    assert "<img src=x" not in text.replace("\\u003cimg", "")
    assert '<script>alert("x")' not in text


def test_a_bar_takes_a_name_as_text(monkeypatch):
    from jaxhpo.progress import _reporter

    bar = _reporter._BarReporter("[/red]\x1b[31m[1]", 3, "[/b]")
    bar.update(_reporter.Progress(1, 3, 0.5, 0, "[/]"))
    bar._bar.refresh()
    bar.close()
    assert bar._bar.tasks[0].description == "[/red]\\x1b[31m[1]"


def test_a_table_of_anything(capsys):
    print_table("[/x]", ["[a]", "b\x1b"], [["[1]", None], [0.123456789, ":smile:"]])
    out = capsys.readouterr().out
    assert "[/x]" in out
    assert "[a]" in out
    assert ":smile:" in out
    assert "\x1b" not in out
    assert show("\x00") == "\\x00"


# -- resume ------------------------------------------------------------------------------------


@pytest.fixture
def stranger(folder):
    """A study whose file names a module that must not be imported."""
    (folder / "trap.py").write_text(
        "import pathlib\npathlib.Path('sprung').touch()\n"
        "import jaxhpo\nSPACE = {'x': jaxhpo.uniform(0.0, 1.0)}\n"
        "def f(params):\n    return params['x']\n"
    )
    space = {"x": hpo.uniform(0.0, 1.0)}
    study = Study(space, "random", storage=STORAGE, name="gift")
    sys.modules.pop("trap", None)

    def command(objective="trap:f", space="trap:SPACE", sampler="random"):
        found = {"objective": objective, "space": space, "sampler": sampler}
        study.to_optuna().set_user_attr(COMMAND_ATTR, found)

    command()
    return command


def test_resume_imports_nothing_that_only_the_file_names(jaxhpo, folder, stranger):
    done = jaxhpo("resume", "gift", "--storage", STORAGE, "--trials", "1")
    assert done.code == 2
    assert "--objective trap:f --space trap:SPACE" in done.err
    assert not (folder / "sprung").exists()
    # One half named by the user is no leave for the other one.
    stranger(objective="work:score")
    done = jaxhpo("resume", "gift", "--storage", STORAGE, "--objective", "work:score")
    assert done.code == 2
    assert not (folder / "sprung").exists()


def test_resume_imports_what_the_user_names(jaxhpo, folder, stranger):
    done = jaxhpo("resume", "gift", "--storage", STORAGE, "--trials", "1", "--objective", "trap:f")
    assert done.code == 0, done.err
    assert "1 trials" in done.out
    stranger(space=SPACE)
    again = ("resume", "gift", "--storage", STORAGE, "--trials", "1", "--objective", "trap:f")
    assert jaxhpo(*again).code == 0


@pytest.mark.parametrize(("answer", "code"), [("n", 2), ("y", 0)])
def test_resume_asks_on_a_terminal(jaxhpo, folder, stranger, monkeypatch, answer, code):
    import typer

    asked = []
    monkeypatch.setattr(typer, "confirm", lambda text: asked.append(text) or answer == "y")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    done = jaxhpo("resume", "gift", "--storage", STORAGE, "--trials", "1")
    assert done.code == code, done.err
    assert len(asked) == 1
    assert (folder / "sprung").exists() is (answer == "y")


@pytest.mark.parametrize("command", ["text", 3, {"objective": 3, "space": [], "sampler": None}, {}])
def test_a_command_that_is_none_is_refused(jaxhpo, folder, command):
    study = Study({"x": hpo.uniform(0.0, 1.0)}, "random", storage=STORAGE, name="odd")
    study.to_optuna().set_user_attr(COMMAND_ATTR, command)
    done = jaxhpo("resume", "odd", "--storage", STORAGE)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "was not begun by `jaxhpo tune`" in done.err


def test_a_hint_can_be_pasted_into_a_shell(jaxhpo, folder):
    name = "x; touch pwned"
    command = ("tune", "work:score", "--space", "work:SPACE", "--trials", "1", "--sampler", "qmc")
    done = jaxhpo(*command, "--name", name)
    assert done.code == 0, done.err
    assert "jaxhpo best 'x; touch pwned' --storage" in done.out


# -- passwords -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sesame@127.0.0.1:1/base",
        "postgresql://127.0.0.1:1/base?password=sesame&user=me",
        "postgresql://me:ses@sesame@127.0.0.1:1/base",
        " postgresql://:sesame@127.0.0.1:1/base",
        "redis://:sesame@127.0.0.1:1/0",
        "postgresql:/me:sesame@127.0.0.1:1/base",
    ],
)
@pytest.mark.parametrize(
    "command",
    [["studies"], ["best", "s"], ["resume", "s"], ["report", "s"],
     ["tune", "work:score", "--space", SPACE, "--sampler", "qmc"]],
)  # fmt: skip
def test_no_command_prints_a_password(jaxhpo, command, url):
    done = jaxhpo(*command, "--storage", url)
    assert done.code == 2
    assert "sesame" not in done.out + done.err


# -- modules in the working folder ---------------------------------------------------------------


SHADOWS = ("typing_extensions", "random", "optuna", "tempfile", "typing", "rich", "jax", "queue")


@pytest.fixture
def traps(tmp_path):
    """A folder whose modules have the names of those that the libraries import."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("open('sprung', 'w').close()\nraise SystemExit(9)\n")
    (tmp_path / "helper.py").write_text("def square(x):\n    return x * x\n")
    (tmp_path / "mine.py").write_text(
        "import helper\ndef score(params):\n    return helper.square(params['x'])\n"
    )
    # The standard library and site-packages have modules of these names.
    for name in ("test", "pip"):
        (tmp_path / f"{name}.py").write_text((tmp_path / "mine.py").read_text())
    return tmp_path


ROOT = str(pathlib.Path(hpo.__file__).parents[1])
SCRIPT = "import sys\nfrom jaxhpo.cli import main\nif __name__ == '__main__':\n    main()\n"


@pytest.mark.parametrize("way", ["module", "script"])
@pytest.mark.parametrize(("objective", "workers"), [("mine:score", 1), ("test:score", 2)])
def test_the_working_folder_shadows_nothing(traps, tmp_path_factory, way, objective, workers):
    script = tmp_path_factory.mktemp("bin") / "jaxhpo"
    script.write_text(SCRIPT)
    start = ["-m", "jaxhpo"] if way == "module" else [str(script)]
    run = subprocess.run(
        [sys.executable, *start, "tune", objective, "--space", SPACE, "--trials", "2",
         "--sampler", "qmc", "--workers", str(workers)],
        cwd=traps, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "2 trials, 0 failed" in run.stdout
    assert not (traps / "sprung").exists()


def test_an_objective_in_a_file_with_a_taken_name_is_told(traps):
    run = subprocess.run(
        [sys.executable, "-m", "jaxhpo", "tune", "random:score", "--space", SPACE],
        cwd=traps, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT},
    )  # fmt: skip
    assert run.returncode == 2
    assert "has the name of a module that is already in use" in run.stderr
    assert not (traps / "sprung").exists()


def test_importing_jaxhpo_leaves_the_path_of_other_programs_alone(tmp_path):
    code = "import sys; before = list(sys.path); import jaxhpo; print(before == sys.path)"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": ROOT})  # fmt: skip
    assert run.stdout == "True\n", run.stderr
