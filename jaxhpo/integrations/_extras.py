"""What to say where a library is missing."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, extra: str) -> Any:
    """Imports a library that an extra brings.

    Args:
        module: the library's module.
        extra: the extra of jaxhpo that installs it.

    Returns:
        The module.

    Raises:
        ImportError: it is not installed; the message names the command that installs it.

    Example:
        >>> require("json", "sklearn").__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:
            raise
        raise ImportError(
            f"jaxhpo.integrations: {module.split('.')[0]} is not installed; "
            f'install it with: pip install "jaxhpo[{extra}]"'
        ) from error
