"""Displays of progress: a callable, a bar on a terminal, lines in a file, or nothing.

Whatever takes long opens a reporter first, before it traces or compiles anything:

    with make_reporter(where, progress, title, total, note="compiles first") as reporter:
        reporter.update(Progress(done, total, best, failed))
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from jaxhpo._checks import describe
from jaxhpo.progress._terminal import printable

LINE_SECONDS = 60.0
"""Time between two lines where the output is no terminal."""

SLOW_SECONDS = 2.0
"""Time after which silent work says what it is waiting for."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a running study, search, sweep or descent stands.

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
        """Receives the current progress."""

    def say(self, line: str) -> None:
        """Receives a line for people, from any thread."""

    def close(self) -> None:
        """Ends the display."""

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _CallableReporter(Reporter):
    def __init__(self, function: Callable[[Progress], Any]) -> None:
        self._function = function

    def update(self, progress: Progress) -> None:
        self._function(progress)


class _VisibleReporter(Reporter):
    """A display for people; work inside of displayed work shows nothing of its own.

    It opens where it is entered, so that one made for a call which then refuses an argument shows
    nothing and leaves nothing behind.
    """

    is_active = False

    def __enter__(self) -> Reporter:
        self._open()
        _VisibleReporter.is_active = True
        return self

    def close(self) -> None:
        _VisibleReporter.is_active = False

    def _open(self) -> None:
        raise NotImplementedError  # abstract


class _BarReporter(_VisibleReporter):
    """One live line on the terminal, drawn by rich."""

    def __init__(self, title: str, total: int, note: str) -> None:
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
        self._task = self._bar.add_task(printable(title), total=total, note=printable(note))

    def _open(self) -> None:
        self._bar.start()

    def update(self, progress: Progress) -> None:
        note = printable(" ".join(_state_of(progress)))
        self._bar.update(self._task, completed=progress.done, total=progress.total, note=note)

    def say(self, line: str) -> None:
        self._bar.console.print(printable(line), markup=False, highlight=False)

    def close(self) -> None:
        self._bar.stop()
        super().close()


class _LineReporter(_VisibleReporter):
    """One line at the start, and one per minute, from a thread: a compilation sends no update."""

    def __init__(self, title: str, total: int, unit: str, note: str) -> None:
        self._title, self._unit = title, unit
        self._first = f"{title}: {total} {unit}{f'; {note}' if note else ''}"
        self._last = Progress(0, total, None, 0)
        self._ended = threading.Event()

    def _open(self) -> None:
        _say(self._first)
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._every_minute, daemon=True)
        self._thread.start()

    def update(self, progress: Progress) -> None:
        self._last = progress

    def say(self, line: str) -> None:
        _say(f"{self._title}: {line}")

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        super().close()

    def _every_minute(self) -> None:
        while not self._ended.wait(LINE_SECONDS):
            last, spent = self._last, time.monotonic() - self._started
            parts = [f"{last.done} of {last.total} {self._unit} after {_duration(spent)}"]
            if 0 < last.done < last.total:
                left = spent * (last.total - last.done) / last.done
                parts.append(f"about {_duration(left)} left")
            _say(f"{self._title}: {', '.join(parts + _state_of(last))}")


def _state_of(progress: Progress) -> list[str]:
    """The best value, the failures and the message, as far as there are any."""
    found = [] if progress.best is None else [f"best {progress.best:.6g}"]
    found += [f"failed {progress.failed}"] if progress.failed else []
    return found + ([progress.message] if progress.message else [])


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _say(line: str) -> None:
    """Writes to standard error, unless that is gone: what is shown must not end the work."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def say_if_slow(line: str, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Says a line while what is inside takes long.

    Args:
        line: what is waited for.
        say: takes the line, in another thread; None writes it to standard error if nothing else is
            shown.
    """
    if say is None and _VisibleReporter.is_active:
        yield
        return
    timer = threading.Timer(SLOW_SECONDS, say or _say, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def make_reporter(
    where: str, progress: Any, title: str, total: int, *, unit: str = "trials", note: str = ""
) -> Reporter:
    """Chooses how progress is shown: at once, where the reporter is entered.

    Args:
        where: the public function, for the error.
        progress: False for silence, a callable that takes a `Progress`, or True: a bar where
            standard error is a terminal or the program a notebook, otherwise a line there at the
            start and one per minute. Inside of work that shows itself, True is silent.
        title: what the work is called.
        total: number of trials.
        unit: what is counted.
        note: what comes first, such as a compilation.

    Returns:
        The reporter, a context manager that opens and closes it.

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
    if _VisibleReporter.is_active or sys.stderr is None:
        return Reporter()
    if sys.stderr.isatty() or in_notebook():
        with contextlib.suppress(ImportError):
            return _BarReporter(title, total, note)
    return _LineReporter(title, total, unit, note)


def in_notebook() -> bool:
    """Whether the program runs in a notebook, where a bar is drawn below the cell."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _console() -> Any:
    from rich.console import Console

    return Console() if in_notebook() else Console(stderr=True)
