"""Programs on disk as `jax.export` writes them: a second process traces and lowers nothing.

JAX's compilation cache spares the compiler. What it cannot spare is running a sampler's Python code
and lowering it, for the name of an entry is made from the lowered program. Here the name is made
from what the program is traced from: its arguments, this package's source and JAX's settings.
Whatever has no stable name, such as a user's function, is traced as ever. So is everything where
the folder cannot be used.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jaxlib
import numpy as np
from jax import export

from jaxhpo._tracing import compilation_cache
from jaxhpo.ask_tell._stable_text import NoStableTextError, structure_text

logger = logging.getLogger("jaxhpo")

MAX_BYTES = 256 * 2**20
"""What the folder holds at most; the oldest files go first."""

_FOLDER = "exported"
_DIGEST_BYTES = 32
_IMPORTED = time.time()


def stored(
    fun: Callable[..., Any],
    like: Callable[..., Any] | None = None,
    static_argnums: tuple[int, ...] = (),
) -> Callable[..., Any]:
    """A function to be compiled that is read from disk where another process has traced it.

    Inside `jax.jit` it is looked for once a program, when that would be traced. Called from disk it
    computes the same values, on a device that they are bound to (JAX compiles again for arguments
    that are not); what tracing does beside that, such as warnings, is left out.

    Args:
        fun: a module's function of positional arguments.
        like: of the same arguments; gives a pytree of the structure that `fun` returns. By default
            `fun` is traced for it, though not lowered.
        static_argnums: the arguments that are no pytrees of arrays; their text is their value.

    Returns:
        The function for `jax.jit`, with the same static arguments.
    """

    @functools.wraps(fun)
    def run(*args: Any) -> Any:
        call = _Call(fun, like, args, static_argnums)
        program = _program(call)
        if program is None:
            return fun(*args)
        return jax.tree.unflatten(call.result, program.call(*call.leaves))

    return run


def folder() -> pathlib.Path | None:
    """Where programs are kept: beside what JAX keeps, or nowhere if that is off."""
    configured: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    is_on = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    if not configured or not is_on or compilation_cache.is_switched_off() or "://" in configured:
        return None
    return pathlib.Path(configured) / _FOLDER


def size() -> tuple[int, int]:
    """Number of files in the folder, and their bytes together."""
    directory = folder()
    files = [] if directory is None else list(_files(directory))
    return len(files), sum(facts.st_size for _, facts in files)


class _Call:
    """A function and the arguments of one of its programs."""

    def __init__(
        self,
        fun: Callable[..., Any],
        like: Callable[..., Any] | None,
        args: tuple[Any, ...],
        static: tuple[int, ...],
    ) -> None:
        self.fun, self._like = fun, like
        self._args, self._dynamic = args, [i for i in range(len(args)) if i not in static]
        self.leaves, self._structure = jax.tree.flatten([args[i] for i in self._dynamic])

    @functools.cached_property
    def result(self) -> Any:
        """Structure of what the function returns."""
        if self._like is None:
            return jax.tree.structure(jax.eval_shape(lambda: self.fun(*self._args)))
        return jax.tree.structure(self._like(*self._args))

    def flat(self, *leaves: Any) -> list[Any]:
        """The function from leaves to leaves."""
        args = list(self._args)
        parts = jax.tree.unflatten(self._structure, leaves)
        for i, part in zip(self._dynamic, parts, strict=True):
            args[i] = part
        found, structure = jax.tree.flatten(self.fun(*args))
        if structure != self.result:
            raise TypeError(f"{self.fun.__name__} returns {structure}, not {self.result}")
        return found

    def shapes(self) -> list[jax.ShapeDtypeStruct]:
        """What is known of the leaves before they are."""
        return [
            jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, weak_type=getattr(leaf, "weak_type", False)
            )
            for leaf in self.leaves
        ]

    def text(self) -> str:
        """Everything that decides the program.

        Raises:
            NoStableTextError: something in the arguments has no name that outlives the process.
        """
        static = [part for i, part in enumerate(self._args) if i not in self._dynamic]
        leaves = [(x.shape, str(x.dtype), getattr(x, "weak_type", False)) for x in self.leaves]
        return "\n".join(
            (
                f"{self.fun.__module__}.{self.fun.__qualname__}{static!r}",
                structure_text(self._structure),
                repr(leaves),
                surroundings(),
            )
        )


def _program(call: _Call) -> export.Exported | None:
    """From disk, or traced now and put there; None where this is not possible."""
    directory = folder()
    is_plain = (
        all(isinstance(leaf, jax.core.Tracer) for leaf in call.leaves)
        and jax.config.jax_default_device is None  # type: ignore[attr-defined]
        and jax.sharding.get_abstract_mesh().empty
    )
    if directory is None or not is_plain or not source_digest():
        return None
    try:
        text = call.text()
    except NoStableTextError as error:
        logger.debug("%s is not kept on disk: %s", call.fun.__name__, error)
        return None
    path = directory / hashlib.sha256(text.encode()).hexdigest()
    program = _read(path, text)
    if program is None:
        module = _exported(call)
        if module is None:
            return None
        _write(path, text, module)
        program = _loaded(module)
    return program


def _exported(call: _Call) -> bytes | None:
    """Traces and lowers; None if the program cannot be kept.

    An error that tracing raises, and whatever cannot be exported, shows when it is traced as ever.
    """
    try:
        program = export.export(jax.jit(call.flat))(*call.shapes())
        if any(getattr(aval, "weak_type", False) for aval in program.out_avals):
            raise TypeError("weak types, which a file does not keep")
        return bytes(program.serialize())
    except Exception as error:
        logger.debug("%s is not kept on disk: %s", call.fun.__name__, error)
        return None


def _read(path: pathlib.Path, text: str) -> export.Exported | None:
    """The program in a file; None if there is none, or another one, or what is left of one."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, module = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if digest != _digest(text, module):
        return None
    try:
        return _loaded(module)
    except Exception as error:  # whatever it does not like in what this very JAX has written
        logger.debug("%s cannot be read: %s", path, error)
        return None


def _loaded(module: bytes) -> export.Exported:
    """A program that holds nothing of what it was traced from.

    Calling one for the CPU imports SciPy for LAPACK's sake. That is spared where there is no LAPACK
    in it: a platform of another name, and no check of it.
    """
    program = export.deserialize(bytearray(module))
    if program.platforms != ("cpu",) or b"lapack" in module:
        return program
    checks = (*program.disabled_safety_checks, export.DisabledSafetyCheck.platform())
    return dataclasses.replace(program, platforms=("any",), disabled_safety_checks=checks)


def _write(path: pathlib.Path, text: str, module: bytes) -> None:
    """Puts a file in its place at once, so that nobody reads half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(text, module) + module)
            os.replace(name, path)
        except BaseException:
            pathlib.Path(name).unlink(missing_ok=True)
            raise
        _make_room(path.parent)
    except OSError as error:
        _say_once(f"programs are not kept for the next process, which traces them again: {error}")


def _make_room(directory: pathlib.Path) -> None:
    files = sorted(_files(directory), key=lambda file: file[1].st_mtime)
    excess = sum(facts.st_size for _, facts in files) - MAX_BYTES
    for path, facts in files:
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= facts.st_size


def _files(directory: pathlib.Path) -> Iterator[tuple[pathlib.Path, os.stat_result]]:
    """What is there; another process may be taking files away."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    yield pathlib.Path(entry.path), entry.stat()
                except FileNotFoundError:
                    continue
    except OSError:
        return


def _digest(text: str, module: bytes) -> bytes:
    """Differs for every file: a whole one under another's name is as good as a damaged one."""
    return hashlib.sha256(text.encode() + module).digest()


def surroundings() -> str:
    """What decides a program beside its arguments."""
    values = jax.config.values
    settings = {
        name: getattr(jax.config, name, values[name])
        for name in sorted(values)
        # The platforms to choose from do not matter, the one that was chosen does.
        if "cache" not in name and "log" not in name and name != "jax_platforms"
    }
    versions = (jax.__version__, jaxlib.__version__, np.__version__, source_digest())
    device = (jax.default_backend(), jax.devices()[0].device_kind)
    return repr((versions, device, settings, os.environ.get("XLA_FLAGS", "")))


@functools.cache
def source_digest() -> str:
    """This package's source in one word; empty if it may not be what this process runs."""
    digest, root = hashlib.sha256(), pathlib.Path(__file__).parent.parent
    try:
        paths = sorted(root.rglob("*.py"))
        for path in paths:
            facts = path.stat()
            if max(facts.st_mtime, facts.st_ctime) > _IMPORTED:
                _say_once("programs are not kept on disk: this package has changed since it began")
                return ""
            digest.update(f"{path.relative_to(root)} {facts.st_size} ".encode() + path.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest() if paths else ""


@functools.cache
def _say_once(line: str) -> None:
    logger.info(line)
