"""The time that somebody waits for a sampler's programs, and the line that says what for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from jaxhpo._tracing import owned
from jaxhpo._tracing.compilation_cache import keeps_programs
from jaxhpo.progress import say_if_slow


class CompileClock:
    """Counts the seconds in which a sampler's owner waits for the compiler.

    Attributes:
        seconds: waited so far: tracing, compiling, or reading what an earlier process compiled.
        say: takes the line about a compilation that takes long; None writes it to standard error
            unless a display is open.
        where: begins that line, such as the name of an integration.
    """

    def __init__(self, where: str = "") -> None:
        """Starts at 0."""
        self.seconds = 0.0
        self.say: Callable[[str], None] | None = None
        self.where = where

    def call(self, name: str, capacity: int, program: owned.OwnedJit, *args: Any) -> Any:
        """Calls a program that may have to be compiled first.

        Args:
            name: of the sampler.
            capacity: observations that the program holds; 0 for any number.
            program: the program.
            args: its arguments.

        Returns:
            What it returns.
        """
        compiled = program.program(*args)
        before = compiled._cache_size()
        began = time.perf_counter()
        with self.waiting(name, capacity):
            result = compiled(*args)
        if compiled._cache_size() > before:
            self.seconds += time.perf_counter() - began
        return result

    @contextlib.contextmanager
    def saying(self, say: Callable[[str], None]) -> Iterator[None]:
        """Lets a display take the lines that are said inside."""
        before, self.say = self.say, say
        try:
            yield
        finally:
            self.say = before

    def waiting(self, name: str, capacity: int) -> Any:
        """A context that says what is waited for, if that takes long."""
        trials = f" for {capacity} trials" if capacity else ""
        often = "once per machine" if keeps_programs() else "in every process"
        where = f"{self.where}: " if self.where else ""
        return say_if_slow(f"{where}compiling {name}{trials}, {often}", self.say)

    def take(self) -> float:
        """The seconds since the last call of this."""
        taken, self.seconds = self.seconds, 0.0
        return taken
