"""The command line: `jaxhpo demo`, `tune`, `resume`, `studies`, `best`, `bench`, `doctor`."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Runs the command line; the entry point of the `jaxhpo` script."""
    from jaxhpo.cli._app import run

    run()
