"""Compiled programs that survive the process: the second run of a study starts warm."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pathlib
import platform

import jax
from jax.experimental.compilation_cache import compilation_cache

logger = logging.getLogger("jaxhpo")

# Where the programs go, if not the user's cache folder; and how to have none.
DIRECTORY_VARIABLE = "JAXHPO_CACHE_DIR"
SWITCH_VARIABLE = "JAXHPO_CACHE"
_OFF = ("0", "off", "false", "no")
# Programs that took less time to compile are not worth a file.
_MIN_COMPILE_SECONDS = 0.02


def default_cache_directory() -> pathlib.Path:
    """The user's folder for compiled programs, one per JAX version and kind of processor.

    Returns:
        `$JAXHPO_CACHE_DIR`, or `jaxhpo` in the system's cache folder, with a subfolder that no
        other JAX version or processor shares: a program compiled for one processor may use
        instructions that another one lacks.
    """
    chosen = os.environ.get(DIRECTORY_VARIABLE)
    if chosen:
        base = pathlib.Path(chosen).expanduser()
    elif os.name == "nt":
        base = pathlib.Path(os.environ.get("LOCALAPPDATA", pathlib.Path.home())) / "jaxhpo"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        base = pathlib.Path(cache) / "jaxhpo"
    return base / f"jax-{jax.__version__}-{_processor_tag()}"


def is_switched_off() -> bool:
    """Tells whether `$JAXHPO_CACHE` says that nothing is kept."""
    return os.environ.get(SWITCH_VARIABLE, "").strip().lower() in _OFF


def keeps_programs() -> bool:
    """Whether what is compiled now is there for the next process."""
    is_on = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    return bool(is_on and jax.config.jax_compilation_cache_dir)  # type: ignore[attr-defined]


def enable_compilation_cache() -> pathlib.Path | None:
    """Turns on JAX's persistent compilation cache, unless the user has decided otherwise.

    A cache that is already configured (`JAX_COMPILATION_CACHE_DIR` or `jax.config`) is left as it
    is. `JAXHPO_CACHE=0` switches this off, `JAXHPO_CACHE_DIR` chooses the folder. A folder that
    cannot be written is not an error: programs are compiled as usual.

    Returns:
        The folder in use, or None.
    """
    configured: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if configured:
        return pathlib.Path(configured)
    if is_switched_off():
        return None
    try:
        directory = default_cache_directory()
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK):
            raise PermissionError(f"{directory} cannot be written")
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        _say_once(f"compiled programs are not cached: {error}")
        return None
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_SECONDS)
    # JAX decides at its first compilation whether there is a cache; this makes it look again.
    compilation_cache.reset_cache()
    return directory


@functools.cache
def _say_once(line: str) -> None:
    logger.info(line)


@functools.cache
def _processor_tag() -> str:
    """A short name for this kind of processor and its instruction set."""
    text = platform.machine() + platform.processor()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "flags", "Features")):
                text += line
            elif not line.strip():
                break
    except OSError:
        pass
    return hashlib.sha256(text.encode()).hexdigest()[:12]
