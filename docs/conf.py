"""The documentation site; the README has its command, and every warning is an error."""

import importlib
import pathlib
import re

from sphinx.application import Sphinx

HERE = pathlib.Path(__file__).parent
# What the API reference covers: a page each, in this order.
ROOMS = (
    "space", "samplers", "study", "training", "population", "schedulers", "hypergrad",
    "hypergrad.bilevel", "gp", "acquisition", "pareto", "inspection", "plots", "problems",
    "benchmarking", "testing",
    "integrations.sklearn", "integrations.optuna", "integrations.ray", "integrations.scipy",
    "integrations.hyperopt", "integrations.gpyopt", "integrations.callbacks",
)  # fmt: skip

project = "jaxhpo"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "jaxhpo"
html_show_copyright = False
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
napoleon_use_ivar = True


def write_api_pages(app: Sphinx) -> None:
    """One page a room, and one for the names of the package itself; docstrings fill them."""
    folder = HERE / "api"
    folder.mkdir(exist_ok=True)
    for room in ("", *ROOMS):
        name = f"jaxhpo.{room}".rstrip(".")
        # A room's names are documented there, not once more where the package repeats them.
        module, prefix = importlib.import_module(name), "jaxhpo." if room else "jaxhpo._"
        text = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :no-members:\n"
        for key in getattr(module, "__all__", vars(module)):
            thing = getattr(module, key)
            if not key.startswith("_") and getattr(thing, "__module__", "").startswith(prefix):
                kind = "class" if isinstance(thing, type) else "function"
                text += f"\n.. auto{kind}:: {name}.{key}\n"
        page = folder / f"{name}.rst"
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def skip(app: Sphinx, what: str, name: str, thing: object, skips: bool, options: object) -> bool:
    """Leaves out a record's fields, which its docstring describes, and methods of base classes."""
    is_field = type(thing).__name__ in ("_tuplegetter", "member_descriptor")
    home = getattr(thing, "__module__", None) or "jaxhpo"
    return skips or is_field or not home.startswith("jaxhpo")


def prepare(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Makes backticks code, as in Markdown, and a colon in what is returned no type."""
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", "\n".join(lines))
    text = re.sub(r"^(Returns:\n +)(?=\S)", r"\1: ", text, flags=re.M)
    lines[:] = text.split("\n")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", write_api_pages)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-docstring", prepare, priority=100)  # before napoleon reads it
