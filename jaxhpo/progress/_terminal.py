"""Text of studies, files and users on its way to a terminal."""

from __future__ import annotations

import unicodedata

# Control characters, and those that turn the direction of the text around or hide in it.
_KINDS = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Joiners of scripts and of emoji, which are text.
_ALLOWED = "\n\t\u200c\u200d"


def printable(text: str) -> str:
    r"""Shows control characters as escapes, so that a name cannot take over the terminal.

    Args:
        text: anything that came from a study, a file or a user.

    Returns:
        The text with each control character as it is written in Python; tabs and ends of line stay.

    Example:
        >>> print(printable("a\x1b[31mb"))
        a\x1b[31mb
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) in _KINDS and char not in _ALLOWED else char
        for char in text
    )
