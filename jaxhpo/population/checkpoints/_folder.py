"""The folder of a sweep's checkpoints, which orbax writes beside the training."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np

from jaxhpo._checks import fail
from jaxhpo.population.checkpoints._arrays import Arrays
from jaxhpo.population.checkpoints._fingerprint import CheckpointMismatchError

_ARRAYS, _ABOUT = "arrays", "about"
_ENTRIES = {"fingerprint", "plans", "is_finished", "empty"}


class CheckpointFolder:
    """The last whole checkpoint of one sweep, and the next one while it is written.

    A checkpoint is written into a folder of another name, which gets its own when it is whole, and
    then the one before is removed: a killed process leaves one or the other.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Makes the folder, and removes what a killed process left unfinished.

        Raises:
            ValueError: it cannot be made, or not be written to.
        """
        import orbax.checkpoint as ocp  # Half a second that no other sweep need pay.

        self.path = pathlib.Path(directory).absolute()
        _make_writable(self.path)
        options = ocp.CheckpointManagerOptions(max_to_keep=1, cleanup_tmp_directories=True)
        self._ocp, self._manager = ocp, ocp.CheckpointManager(self.path, options=options)
        self._last: int | None = self._manager.latest_step()

    @property
    def about(self) -> dict[str, Any] | None:
        """What the last checkpoint says of itself; None if there is none.

        Raises:
            CheckpointMismatchError: it is damaged, or no checkpoint of a sweep.
        """
        if self._last is None:
            return None
        about = self._read(_ABOUT, self._ocp.args.JsonRestore())
        if not isinstance(about, dict) or not about.keys() >= _ENTRIES:
            raise self._unreadable("it does not say of which sweep it is")
        return about

    @property
    def arrays(self) -> Arrays:
        """The arrays of the last checkpoint.

        Raises:
            CheckpointMismatchError: it is damaged.
        """
        found: Arrays = self._read(_ARRAYS, self._ocp.args.StandardRestore())
        about = self.about
        assert about is not None
        # Orbax stores no array without elements.
        empty = {key: np.zeros(shape, dtype) for key, (shape, dtype) in about["empty"].items()}
        return {key: np.array(array) for key, array in found.items()} | empty

    @property
    def is_busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return bool(self._manager.is_saving_in_progress())

    def save(self, arrays: Arrays, about: dict[str, Any]) -> None:
        """Begins to write a checkpoint.

        Args:
            arrays: by name; they are copied before this returns.
            about: what to write beside them, as JSON.
        """
        args = self._ocp.args
        held = {key: np.array(array) for key, array in arrays.items()}
        empty = {key: (a.shape, a.dtype.name) for key, a in held.items() if not a.size}
        whole = {key: a for key, a in held.items() if a.size}
        self._last = 0 if self._last is None else self._last + 1
        items = {
            _ARRAYS: args.StandardSave(whole),
            _ABOUT: args.JsonSave({**about, "empty": empty}),
        }
        self._manager.save(self._last, args=args.Composite(**items), force=True)

    def close(self) -> None:
        """Waits until what was begun is written."""
        self._manager.close()

    def _read(self, item: str, how: Any) -> Any:
        args = self._ocp.args.Composite(**{item: how})
        try:
            return self._manager.restore(self._last, args=args)[item]
        except Exception as error:  # files that are missing or torn raise all kinds
            raise self._unreadable(f"{type(error).__name__}: {error}") from error

    def _unreadable(self, why: str) -> CheckpointMismatchError:
        return CheckpointMismatchError(
            f"sweep: `checkpoint_dir` must hold whole checkpoints of a sweep, or none; number "
            f"{self._last} in {str(self.path)!r} cannot be read ({why}). Use another folder, or "
            "remove it."
        )


def _make_writable(path: pathlib.Path) -> None:
    """Makes a folder before orbax does, whose errors come from a thread and name no argument."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(f"{str(path)!r} is read-only")
    except OSError as error:
        expected = f"a folder that can be made and written to ({error})"
        raise fail("sweep", "checkpoint_dir", expected, str(path)) from error
