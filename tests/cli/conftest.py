"""Runs commands in this process, as a person would type them."""

import sys
from typing import NamedTuple

import pytest

from jaxhpo.cli import main

OBJECTIVE = '''
"""An objective that a user might have."""

def score(params):
    return (params["x"] - 1.0) ** 2 + (params["opt"] == "sgd")

def broken(params):
    raise RuntimeError("no data")

def text(params):
    return "good"

SPACE = {"x": __import__("jaxhpo").uniform(-2.0, 3.0), "opt": ["adam", "sgd"]}
'''


class Finished(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with `work.py` in it."""
    (tmp_path / "work.py").write_text(OBJECTIVE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "work", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def jaxhpo(folder, monkeypatch, capsys):
    """`jaxhpo("tune", …)` runs the command and returns code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["jaxhpo", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code or 0
        out, err = capsys.readouterr()
        return Finished(code, out, err)

    return call
