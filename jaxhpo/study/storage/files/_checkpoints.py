"""Checkpoints of trials that may go on later: arrays in files beside the study, without pickle."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import zipfile
from typing import Any

import numpy as np

from jaxhpo._checks import fail
from jaxhpo.study.reporting._packed import Packed, unpack
from jaxhpo.study.storage._errors import StorageError, StudyMismatchError

_FORMAT = 1
_HEADER = "header"


class Checkpoints:
    """The checkpoints of one study.

    A study in memory keeps them in memory, one in a file in the folder `FILE.checkpoints`.
    """

    def __init__(self, location: str | None, name: str, space_hash: str) -> None:
        """Nothing is made before the first `save`.

        Args:
            location: the study's file, its URL, or None if it lives in memory.
            name: the study's name.
            space_hash: identifies its space.
        """
        self._space_hash = space_hash
        self._memory: dict[str, Packed] | None = {} if location is None else None
        self._is_remote = location is not None and "://" in location
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:60]
        folder = f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        self._folder = pathlib.Path(f"{location}.checkpoints") / folder

    def save(
        self, number: int, step: int, checkpoint: str | Packed, attempt: str | None = None
    ) -> dict[str, Any]:
        """Keeps a checkpoint.

        Args:
            number: the trial's number.
            step: reports before it.
            checkpoint: a path, which is not looked at, or arrays.
            attempt: at the trial; each has files of its own.

        Returns:
            What to store with the trial: `load` finds the checkpoint by it.

        Raises:
            TypeError: arrays, where the study's storage is no file.
            StorageError: the file cannot be written.
        """
        if isinstance(checkpoint, str):
            return {"step": step, "path": checkpoint}
        name = "-".join(str(part) for part in (number, step, attempt) if part is not None) + ".npz"
        if self._memory is not None:
            self._memory[name] = checkpoint
        elif self._is_remote:
            raise TypeError(
                "Study.optimize: `objective` must yield a path as its checkpoint where the study "
                "is on a server, which has no folder for arrays."
            )
        else:
            self._write(name, checkpoint)
        return {"step": step, "file": name}

    def load(self, found: dict[str, Any]) -> Any:
        """Gives a checkpoint back.

        Args:
            found: what `save` returned.

        Returns:
            The path, or the tree with NumPy arrays.

        Raises:
            StudyMismatchError: the file is of another space or format.
            StorageError: it is gone or damaged.
        """
        if "path" in found:
            return found["path"]
        if self._memory is not None:
            if found["file"] not in self._memory:
                raise StorageError(
                    f"Study.optimize: `checkpoint` {found['file']} was kept in the memory of "
                    "another study object, and is gone."
                )
            packed = self._memory[found["file"]]
            return unpack(Packed(packed.structure, [leaf.copy() for leaf in packed.leaves]))
        path = self._folder / found["file"]
        try:
            return unpack(self._read(path))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            if isinstance(error, StudyMismatchError):
                raise
            what = "is gone" if isinstance(error, FileNotFoundError) else f"is damaged: {error}"
            raise StorageError(f"Study.optimize: `checkpoint` {str(path)!r} {what}.") from error

    def remove(self, found: dict[str, Any] | None) -> None:
        """Deletes a checkpoint that is not needed any more; a path is the user's own."""
        if found is None or "file" not in found:
            return
        if self._memory is not None:
            self._memory.pop(found["file"], None)
            return
        with contextlib.suppress(OSError):
            (self._folder / found["file"]).unlink()
            self._folder.rmdir()
            self._folder.parent.rmdir()

    def folder_of(self, number: int) -> pathlib.Path:
        """Where a batch keeps the checkpoints of its training.

        Args:
            number: its lowest trial number.

        Raises:
            ValueError: the study is not in a file.
        """
        if self._memory is not None or self._is_remote:
            expected = "False where the study is in memory or on a server, which has no folder"
            raise fail("Study.sweep", "checkpoint", expected, True)
        return self._folder / f"batch-{number}"

    def remove_folder(self, number: int) -> None:
        """Deletes what a batch has kept."""
        shutil.rmtree(self.folder_of(number), ignore_errors=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()
            self._folder.parent.rmdir()

    def _write(self, name: str, packed: Packed) -> None:
        """Writes a file as a whole: a killed process leaves the one before."""
        header = {
            "format": _FORMAT,
            "space": self._space_hash,
            "structure": packed.structure,
            "dtypes": [leaf.dtype.name for leaf in packed.leaves],
        }
        columns = {f"leaf{i}": _plain(leaf) for i, leaf in enumerate(packed.leaves)}
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **{_HEADER: np.asarray(json.dumps(header)), **columns})
        part = self._folder / f".{name}.{os.getpid()}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(stream.getvalue())
            part.replace(self._folder / name)
        except OSError as error:
            raise StorageError(
                f"Study.optimize: `checkpoint` cannot be written to {str(part.parent)!r}: {error}."
            ) from error

    def _read(self, path: pathlib.Path) -> Packed:
        # Read as a whole: NumPy leaves a file open that it finds damaged.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            header = json.loads(str(stored[_HEADER]))
            for entry, own in (("format", _FORMAT), ("space", self._space_hash)):
                if header.get(entry) != own:
                    raise StudyMismatchError(
                        f"Study.optimize: `checkpoint` {str(path)!r} must be of the {entry} "
                        f"{own}, got {header.get(entry)}."
                    )
            names = header["dtypes"]
            leaves = [stored[f"leaf{i}"].view(_dtype(name)) for i, name in enumerate(names)]
            if len(stored.files) != len(leaves) + 1:
                raise ValueError(f"it has {len(stored.files) - 1} leaves, saved as {len(leaves)}")
        return Packed(header["structure"], leaves)


def _plain(leaf: np.ndarray) -> np.ndarray:
    """An array of a kind that NumPy stores; bfloat16 and its like go by their bits."""
    return leaf.view(f"u{leaf.dtype.itemsize}") if leaf.dtype.kind == "V" else leaf


def _dtype(name: str) -> np.dtype[Any]:
    import jax.numpy as jnp

    return jnp.dtype(name)
