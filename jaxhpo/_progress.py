"""How long work tells what it is doing: a callable, a bar on a terminal, or silence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxhpo._checks import describe
from jaxhpo._terminal import printable


class Progress(NamedTuple):
    """Where a running study, search or descent stands.

    Attributes:
        done: trials (of a descent: steps) that ended in this call.
        total: trials that this call was asked for.
        best: best value of the whole study so far, in the user's sign, or None.
        failed: trials that failed in this call.
        message: what is going on where that is not plain, such as a compilation; else empty.
    """

    done: int
    total: int
    best: float | None
    failed: int
    message: str = ""


class Reporter:
    """Passes progress on; the base class is silent."""

    def update(self, progress: Progress) -> None:
        """Takes note of where the work stands."""

    def close(self) -> None:
        """Ends the display."""


class _CallableReporter(Reporter):
    def __init__(self, function: Callable[[Progress], Any]) -> None:
        self._function = function

    def update(self, progress: Progress) -> None:
        self._function(progress)


class _BarReporter(Reporter):
    """One live line on the terminal, drawn by rich; work inside of work draws none of its own."""

    is_shown = False

    def __init__(self, title: str, total: int) -> None:
        from rich import progress

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}", style="bold", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[note]}", markup=False),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=_console(),
        )
        self._task = self._bar.add_task(printable(title), total=total, note="")
        self._bar.start()
        _BarReporter.is_shown = True

    def update(self, progress: Progress) -> None:
        note = "" if progress.best is None else f"best {progress.best:.6g}"
        note += f" failed {progress.failed}" if progress.failed else ""
        note += f" {progress.message}" if progress.message else ""
        self._bar.update(self._task, completed=progress.done, total=progress.total, note=note)

    def close(self) -> None:
        self._bar.stop()
        _BarReporter.is_shown = False


def make_reporter(where: str, progress: Any, title: str, total: int) -> Reporter:
    """Chooses how progress is shown.

    Args:
        where: the public function, for the error.
        progress: False for silence, True for a bar where standard error is a terminal or the
            program a notebook (silence where it is piped), or a callable that takes a `Progress`.
        title: what the bar is called.
        total: number of trials.

    Returns:
        The reporter.

    Raises:
        TypeError: `progress` is none of these.
    """
    if callable(progress):
        return _CallableReporter(progress)
    if progress is None or progress is False:
        return Reporter()
    if progress is not True:
        raise TypeError(
            f"{where}: `progress` must be True, False or a callable, got {describe(progress)}."
        )
    if _BarReporter.is_shown or not (sys.stderr.isatty() or in_notebook()):
        return Reporter()
    try:
        return _BarReporter(title, total)
    except ImportError:
        return Reporter()


def in_notebook() -> bool:
    """Whether the program runs in a notebook, where a bar is drawn below the cell."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _console() -> Any:
    from rich.console import Console

    return Console() if in_notebook() else Console(stderr=True)
