"""The house stays as drawn: imports go downwards, and `import jaxhpo` stays light."""

import ast
import pathlib
import subprocess
import sys

import pytest

import jaxhpo

ROOT = pathlib.Path(jaxhpo.__file__).parent

# Each room may import itself and the rooms that stand in its row, nothing else.
BASE = {
    "_status", "_suggest", "_checks", "_terminal", "_concrete", "_manual", "_base", "_linalg",
    "_progress", "_owned", "_watch",
}  # fmt: skip
ALLOWED = {
    "_status": set(),
    "_suggest": set(),
    "_checks": {"_suggest"},
    "_terminal": set(),
    "_folder": set(),
    "_concrete": {"_checks"},
    "_manual": set(),
    "_base": {"_status", "_checks"},
    "_linalg": {"_base"},
    "_owned": set(),
    "_progress": {"_checks", "_terminal"},
    "_cache": set(),
    "_watch": {"_checks", "_progress"},
    "space": BASE,
    "inspection": BASE | {"space", "gp", "acquisition"},
    "plots": BASE | {"space", "inspection", "pareto"},
    "report": BASE | {"space", "inspection", "samplers"},
    "problems": BASE | {"space", "training", "pareto"},
    "gp": BASE,
    "acquisition": BASE | {"space", "gp"},
    "pareto": BASE,
    "samplers": BASE | {"space", "gp", "acquisition", "pareto"},
    "_driver": BASE | {"space", "samplers", "_cache"},
    "_evaluate": BASE | {"space"},
    "_minimize": BASE | {"space", "samplers", "_evaluate", "pareto"},
    "_many": BASE | {"space", "samplers", "_minimize"},
    "_gradient": BASE | {"space", "_minimize"},
    "_replicates": BASE | {"_minimize"},
    "benchmarking": BASE
    | {"space", "pareto", "samplers", "problems", "_gradient", "_many", "_minimize"},
    "training": BASE | {"space"},
    "hypergrad": BASE | {"space", "training"},
    "population": BASE | {"space", "training"},
    "testing": BASE | {"space", "samplers", "_minimize", "_gradient", "pareto"},
    "study": BASE
    | {
        "space",
        "samplers",
        "_driver",
        "_cache",
        "_minimize",
        "training",
        "population",
        "inspection",
        "pareto",
        "report",
    },
}
FREE = {"cli", "integrations", "__init__", "__main__"}  # they know everything, nobody knows them

HEAVY = [
    "flax", "optuna", "sqlalchemy", "alembic", "plotly", "sklearn", "ray", "pandas",
    "matplotlib", "rich", "typer", "scipy.stats", "hyperopt", "torch",
]  # fmt: skip


def room(path):
    """The first part of a module's path inside the package."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path):
    """Rooms of this package that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{path.relative_to(ROOT)} imports relatively; write the full name")
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "jaxhpo" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards(path):
    here = room(path)
    if here in FREE:
        return
    assert here in ALLOWED, f"{here} is a new room: give it a row in ALLOWED"
    rooms = {name for name in ALLOWED.keys() | FREE}
    wrong = {name for name in imported_rooms(path) if name in rooms} - ALLOWED[here] - {here}
    assert not wrong, f"{path.relative_to(ROOT)} must not import {sorted(wrong)}"


def test_importing_jaxhpo_stays_light():
    touch = "[getattr(jaxhpo, name) for name in dir(jaxhpo)]"
    code = f"import jaxhpo, sys; {touch}; print([m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_command_line_answers_without_jax():
    code = "import jaxhpo.cli, sys; print('flax' in sys.modules, 'sqlalchemy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False False"


def test_no_file_has_outgrown_its_room():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in ROOT.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 450
    }
    assert not long


def test_every_public_name_is_there():
    for name in dir(jaxhpo):
        assert getattr(jaxhpo, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'bayes'"):
        _ = jaxhpo.bayes
