"""The house stays as drawn: imports go downwards, and `import jaxhpo` stays light."""

import ast
import pathlib
import subprocess
import sys

import pytest

import jaxhpo

ROOT = pathlib.Path(jaxhpo.__file__).parent

# Each room may import itself and the rooms that stand in its row, nothing else.
BASE = {"_base", "_checks", "_direction", "_linalg", "_status", "_tracing", "progress"}
ALLOWED = {
    "_status": set(),
    "_checks": set(),
    "_folder": set(),
    "_direction": {"_checks"},
    "_base": {"_status", "_checks"},
    "_linalg": {"_base"},
    "_tracing": {"_checks"},
    "progress": {"_checks"},
    "space": BASE,
    "inspection": BASE | {"space", "gp", "acquisition"},
    "plots": BASE | {"space", "inspection", "pareto"},
    "report": BASE | {"space", "inspection", "samplers", "pareto"},
    "problems": BASE | {"space", "training", "pareto"},
    "gp": BASE,
    "acquisition": BASE | {"space", "gp"},
    "pareto": BASE,
    "samplers": BASE | {"space", "gp", "acquisition", "pareto"},
    "ask_tell": BASE | {"space", "samplers"},
    "search": BASE | {"space", "samplers", "pareto"},
    "benchmarking": BASE
    | {"space", "pareto", "samplers", "problems", "search", "training", "hypergrad", "report"},
    "training": BASE | {"space"},
    "hypergrad": BASE | {"space", "training"},
    "schedulers": BASE | {"space", "gp", "acquisition", "samplers"},
    "population": BASE | {"space", "training", "schedulers"},
    "testing": BASE | {"space", "samplers", "schedulers", "search", "pareto"},
    "study": BASE
    | {
        "space",
        "samplers",
        "ask_tell",
        "search",
        "training",
        "schedulers",
        "population",
        "inspection",
        "pareto",
        "report",
    },
}
FREE = {"cli", "integrations", "__init__", "__main__"}  # they know everything, nobody knows them

HEAVY = [
    "flax", "optuna", "sqlalchemy", "alembic", "plotly", "sklearn", "ray", "pandas",
    "matplotlib", "rich", "typer", "scipy.stats", "hyperopt", "torch", "orbax",
]  # fmt: skip


PATHS = sorted(ROOT.rglob("*.py"))
# The private files beside `__init__`: what every room needs. The house has no other ones.
MOST_TOP_LEVEL_FILES = 5
# Files of one folder, `__init__` not counted: more than that is two rooms.
MOST_FILES = 15


def room(path):
    """The first part of a module's path inside the package."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def module(path):
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for path in PATHS}


def imports(path):
    """Modules of this package that a file imports, at any depth, each with the name taken."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{path.relative_to(ROOT)} imports relatively; write the full name")
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


IMPORTS = {
    name: {one for one in imports(path) if one in MODULES and one != name}
    for name, path in MODULES.items()
}


def circles(imports):
    """Modules that import each other, directly or by others, `TYPE_CHECKING` included."""
    reach = {name: set(found) for name, found in imports.items()}
    grows = True
    while grows:
        grows = False
        for found in reach.values():
            more = set().union(*(reach[one] for one in found)) - found if found else set()
            if more:
                found |= more
                grows = True
    return sorted(name for name, found in reach.items() if name in found)


def is_private(name):
    """Whether a module is a room's own: a file or folder in it whose name has an underscore."""
    return any(part.startswith("_") for part in name.split(".")[2:])


@pytest.mark.parametrize("path", PATHS, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards(path):
    here = room(path)
    if here in FREE:
        return
    assert here in ALLOWED, f"{here} is a new room: give it a row in ALLOWED"
    rooms = {name.split(".")[1] for name in IMPORTS[module(path)] if "." in name}
    wrong = rooms - ALLOWED[here] - {here}
    assert not wrong, f"{path.relative_to(ROOT)} must not import {sorted(wrong)}"


def test_no_files_import_each_other():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circles(IMPORTS) == []


def test_no_room_reaches_into_another():
    """What a neighbour needs stands in the room's `internal`, or in its `__init__`."""
    wrong = [
        (name, one)
        for name, found in IMPORTS.items()
        for one in found
        if is_private(one) and room(MODULES[one]) != room(MODULES[name])
    ]
    assert not wrong


def test_folders_stay_small():
    top = [p.name for p in ROOT.glob("_*.py") if not p.name.startswith("__")]
    assert len(top) <= MOST_TOP_LEVEL_FILES, top
    folders = {path.parent for path in PATHS}
    large = {
        str(folder.relative_to(ROOT)): count
        for folder in folders
        if (count := sum(p.name != "__init__.py" for p in folder.glob("*.py"))) > MOST_FILES
    }
    assert not large


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
