"""The user's own modules, whose folder comes last: it must not shadow what libraries import."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any, NamedTuple


class ModuleLocation(NamedTuple):
    """Where the top module of an object was imported from."""

    folder: str
    name: str


def import_from(folder: str, name: str) -> ModuleType:
    """Imports a module that a folder holds; other modules of the folder are found last.

    Args:
        folder: where to look first for the module, and last for what it imports.
        name: the module, perhaps with dots.

    Returns:
        The module.

    Raises:
        ImportError: it is not there, or another module of its name has been imported already.
    """
    importlib.invalidate_caches()
    if folder not in sys.path:
        sys.path.append(folder)
    first = name.partition(".")[0]
    spec = importlib.machinery.PathFinder.find_spec(first, [folder])
    if spec is None or spec.loader is None:
        return importlib.import_module(name)
    loaded = sys.modules.get(first)
    if loaded is None:
        module = importlib.util.module_from_spec(spec)
        sys.modules[first] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(first, None)
            raise
    elif not _is_same(getattr(loaded, "__file__", None), spec.origin):
        raise ImportError(
            f"{spec.origin} has the name of a module that is already in use "
            f"({getattr(loaded, '__file__', None) or 'built in'}); give it another name"
        )
    return importlib.import_module(name)


def locate_module(thing: Any) -> ModuleLocation | None:
    """Where the module of a function or of an object's class lies; None if in no file."""
    name = getattr(thing, "__module__", None) or type(thing).__module__
    first = str(name).partition(".")[0]
    origin = getattr(sys.modules.get(first), "__file__", None)
    if origin is None or first == "__main__":
        return None
    folder = os.path.dirname(os.path.abspath(origin))
    if hasattr(sys.modules[first], "__path__"):
        folder = os.path.dirname(folder)
    return ModuleLocation(folder, first)


def ensure_imported(location: ModuleLocation | None) -> None:
    """Imports a located module in another process, whatever its `sys.path` would find."""
    if location is not None and location.name not in sys.modules and os.path.isdir(location.folder):
        import_from(*location)


def _is_same(one: str | None, other: str | None) -> bool:
    return None not in (one, other) and os.path.realpath(str(one)) == os.path.realpath(str(other))
