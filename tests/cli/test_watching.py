"""`jaxhpo report` and `jaxhpo dashboard`, as a person types them."""

import importlib.util
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

import jaxhpo as hpo
from tests.browser import open_browser, picture_path

pytest.importorskip("plotly")


@pytest.fixture
def study(folder):
    study = hpo.Study({"x": hpo.uniform(-2.0, 3.0)}, "qmc", storage="sqlite:///s.db", name="bowl")
    study.optimize(lambda p: (p["x"] - 1.0) ** 2, num_trials=12, progress=False)
    return study


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_report_writes_one_file(jaxhpo, study):
    done = jaxhpo("report", "bowl", "-o", "out/r.html", "--storage", "sqlite:///s.db", "--no-model")
    assert done.code == 0, done.err
    assert "out/r.html" in done.out
    assert "Study bowl" in pathlib.Path("out/r.html").read_text()


def test_report_says_in_one_line_what_is_wrong(jaxhpo, study):
    done = jaxhpo("report", "bow", "--storage", "sqlite:///s.db")
    assert done.code == 2
    assert "has no study 'bow'; it has: bowl" in done.err
    done = jaxhpo("report", "bowl", "--storage", "sqlite:///none.db")
    assert "does not exist" in done.err
    hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", storage="sqlite:///s.db", name="empty")
    done = jaxhpo("report", "empty", "--storage", "sqlite:///s.db")
    assert (done.code, done.err.count("\n")) == (3, 1)


def test_dashboard_says_in_one_line_what_is_wrong(jaxhpo, study, monkeypatch):
    pytest.importorskip("optuna_dashboard")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = jaxhpo("dashboard", "sqlite:///s.db", "--port", port)
        again = jaxhpo("dashboard", "--storage", "sqlite:///s.db", "--port", port)
    assert again.err == done.err
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "cannot be listened on" in done.err
    assert "--port" in done.err
    done = jaxhpo("dashboard", "sqlite:///s.db", "--storage", "sqlite:///t.db")
    assert done.code == 2
    assert "given twice" in done.err
    done = jaxhpo("dashboard", "sqlite:///none.db")
    assert "the file none.db does not exist" in done.err
    assert jaxhpo("dashboard", "sqlite:///s.db", "--port", 0).code == 2
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if "dashboard" in n else found(n, *a)
    )
    done = jaxhpo("dashboard", "sqlite:///s.db")
    assert 'pip install "jaxhpo[dashboard]"' in done.err


def test_a_database_that_is_not_there_is_one_line(jaxhpo, port):
    pytest.importorskip("psycopg")
    url = f"postgresql+psycopg://me:secret@127.0.0.1:{port}/none"
    for command in (("dashboard", url), ("report", "s", "--storage", url)):
        done = jaxhpo(*command)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "cannot be reached: no server answers there" in done.err
        assert "secret" not in done.err


def get(url, seconds=120):
    """The answer of a server that is still starting."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.read()
        except OSError:
            assert time.monotonic() < deadline, f"no answer from {url} in {seconds} s"
            time.sleep(0.5)


@pytest.mark.slow
def test_dashboard_shows_our_study(study, port, tmp_path):
    pytest.importorskip("optuna_dashboard")
    command = [sys.executable, "-m", "jaxhpo", "dashboard", "sqlite:///s.db", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        listed = json.loads(get(f"http://127.0.0.1:{port}/api/studies"))
        (summary,) = listed["study_summaries"]
        assert summary["study_name"] == "bowl"
        number = summary["study_id"]
        detail = json.loads(get(f"http://127.0.0.1:{port}/api/studies/{number}?after=0"))
        assert len(detail["trials"]) == 12
        with open_browser(tmp_path) as browser:
            url = f"http://127.0.0.1:{port}/dashboard/studies/{number}"
            browser.go(url, "document.querySelectorAll('.main-svg').length >= 2", seconds=120)
            assert "bowl" in browser.ask("document.body.innerText")
            time.sleep(2)  # the figures fade in
            browser.picture(picture_path("dashboard.png", tmp_path))
            assert browser.errors == []
    finally:
        os.kill(server.pid, signal.SIGINT)
        out, err = server.communicate(timeout=30)
    assert f"http://127.0.0.1:{port}/dashboard" in out
    assert "Traceback" not in err
