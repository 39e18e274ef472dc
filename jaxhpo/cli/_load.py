"""From what a person types to objects: `module:name`, JSON files, JSON text."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jaxhpo
from jaxhpo.cli._errors import UserError

_KINDS = (
    "uniform", "log_uniform", "quantized", "integer", "normal", "log_normal",
    "choice", "ordinal", "fixed",
)  # fmt: skip


def load_object(reference: str, option: str) -> Any:
    """Imports `module:name`; modules of the working folder are found.

    Args:
        reference: `package.module:attribute`; a path `file.py:attribute` works too.
        option: what the user typed it for, for the error.

    Returns:
        The object.

    Raises:
        UserError: it does not have this form, or cannot be imported; the message says why.
    """
    module_name, colon, attribute = reference.rpartition(":")
    if not colon or not module_name or not attribute:
        raise UserError(f"{option} must look like module:name, got {reference!r}.")
    if module_name.endswith(".py"):
        path = pathlib.Path(module_name)
        folder, module_name = str(path.parent), path.stem
    else:
        folder = os.getcwd()
    from jaxhpo.study.internal import import_from

    try:
        module = import_from(folder, module_name)
    except Exception as error:
        raise UserError(
            f"{option}: importing {module_name!r} failed: {type(error).__name__}: {error}"
        ) from error
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [name for name in vars(module) if not name.startswith("_")]
            raise UserError(f"{option}: {module_name!r} has no {attribute!r}; it has {names}.")
        found = getattr(found, part)
    return found


def load_objective(reference: str) -> Callable[..., Any]:
    """Imports the objective and requires that it can be called."""
    objective = load_object(reference, "OBJECTIVE")
    if not callable(objective):
        raise UserError(f"OBJECTIVE must be a function, {reference} is {type(objective).__name__}.")
    found: Callable[..., Any] = objective
    return found


def load_space(reference: str) -> jaxhpo.Space:
    """Reads a space from `module:name`, from a JSON file or from JSON text.

    In JSON a list is a choice and `{"kind": "log_uniform", "low": 1e-4, "high": 1}` is a dimension;
    other objects nest, also as the options of `{"kind": "choice", "options": {"svm": {...}}}`.

    Raises:
        UserError: the text is none of these.
        ValueError: the dimensions do not make a space; the message names the one at fault.
    """
    text = reference.strip()
    if text.endswith(".json"):
        path = pathlib.Path(text)
        if not path.is_file():
            raise UserError(f"--space: the file {text} does not exist.")
        text = path.read_text()
    elif not text.startswith("{"):
        found = load_object(text, "--space")
        return found if isinstance(found, jaxhpo.Space) else jaxhpo.Space(found)
    try:
        tree = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise UserError(f"--space must be JSON or module:name; the JSON has {error}.") from error
    return jaxhpo.Space(_from_json(tree, ""))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twins := [name for name in names if names.count(name) > 1]:
        raise UserError(f"--space: names must be unique, `{twins[0]}` comes twice.")
    return dict(pairs)


def _from_json(node: Any, path: str) -> Any:
    if isinstance(node, dict) and isinstance(node.get("kind"), str) and path:
        return _dimension(node, path)
    if isinstance(node, dict):
        return {key: _from_json(value, f"{path}.{key}".strip(".")) for key, value in node.items()}
    if isinstance(node, list):
        return [_from_json(item, path) if isinstance(item, dict) else item for item in node]
    return node


def _dimension(node: dict[str, Any], path: str) -> Any:
    settings = {key: value for key, value in node.items() if key != "kind"}
    if node["kind"] not in _KINDS:
        raise UserError(f"--space: `{path}`: kind must be one of {_KINDS}, got {node['kind']!r}.")
    if node["kind"] == "choice" and "options" in settings:
        # Options may be spaces themselves: by name, or in a list where they are objects.
        options = settings["options"]
        if isinstance(options, dict):
            options = {key: _from_json(part, f"{path}.{key}") for key, part in options.items()}
        elif isinstance(options, list):
            options = [_from_json(part, "") if isinstance(part, dict) else part for part in options]
        settings["options"] = options
    try:
        return getattr(jaxhpo, node["kind"])(**settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"--space: `{path}`: {error}") from error
