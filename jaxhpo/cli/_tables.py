"""Tables on the terminal; plain and narrow when the output is piped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from jaxhpo.progress import printable


def say(text: str, file: TextIO | None = None) -> None:
    """Prints a text that may hold names of studies, files and users.

    Args:
        text: the text; control characters in it are shown as escapes.
        file: where to; standard output if None.
    """
    print(printable(text), file=file, flush=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints one table.

    Args:
        title: its heading.
        columns: heading of each column.
        rows: one sequence of cells a row; None is shown as a dash.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # As text objects, so that rich takes no "[…]" of a name for markup.
    table = Table(title=Text(printable(title)), title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(Text(printable(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(show(cell)) for cell in row))
    Console(soft_wrap=False, emoji=False, highlight=False).print(table)


def show(cell: Any) -> str:
    """A cell as text: numbers to five digits, None as a dash, control characters as escapes."""
    if cell is None:
        return "–"
    if not isinstance(cell, float):
        return printable(str(cell))
    # Large numbers in full: a timestamp says nothing in five digits.
    return f"{cell:.{5 if abs(cell) < 1e5 else 15}g}"


def show_params(flat: dict[str, Any]) -> str:
    """Flat params in one cell."""
    return "  ".join(f"{name}={show(value)}" for name, value in flat.items())
