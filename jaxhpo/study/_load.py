"""`load_study`: a stored study by its name, without its space, and without a change to its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxhpo import _checks
from jaxhpo._checks.suggest import did_you_mean, named_arguments
from jaxhpo.space.internal import rebuild
from jaxhpo.study._base_study import BaseStudy
from jaxhpo.study.storage._meta import META_ATTR
from jaxhpo.study.storage._store import Store
from jaxhpo.study.storage.files._read_store import ReadStore

if TYPE_CHECKING:
    from jaxhpo.space import Space
    from jaxhpo.study._study import Study

_WHERE = "load_study"


class StoredStudy(BaseStudy):
    """A stored study to look at, as `load_study` opens it: nothing in its storage changes.

    Trials that another process adds in the meantime are seen. `resume` opens the study for more.

    Attributes:
        missing: what the storage does not hold of the space, in words: constraints, functions and
            classes among the options, whose names stand in. Empty where the space is complete.
    """

    _store: ReadStore

    def __init__(self, store: ReadStore) -> None:
        """Reads the description of a study; `load_study` finds it."""
        listed = store.directions()
        self._store = store
        self._direction = listed[0] if len(listed) == 1 else listed
        self._cache = {}
        self._meta = _read_meta(store)
        self._space, missing = _read_space(store, self._meta)
        self.missing = tuple(missing)

    @property
    def space(self) -> Space:
        """What is searched, as far as the storage holds it (see `missing`).

        Raises:
            ValueError: another program made the study, and no trial of it says what is searched.
        """
        if self._space is None:
            raise ValueError(
                f"StoredStudy.space: {self.storage} does not hold {'; '.join(self.missing)}."
            )
        return self._space

    def _attribute_hint(self, name: str) -> str:
        from jaxhpo.study._study import Study

        if not name.startswith("_") and hasattr(Study, name):
            return "; a Study has it, and `resume()` returns one"
        return did_you_mean(name, {*dir(type(self)), *dir(Study)})

    @named_arguments
    def resume(self, space: Any = None, sampler: Any = None) -> Study:
        """Opens the study for more trials, with the space and the sampler that it was run with.

        Args:
            space: the study's space; needed where `missing` names a part that the file does not
                hold.
            sampler: another sampler, by name or as a `Sampler`; None keeps the study's.

        Returns:
            The study, open for writing.

        Raises:
            ValueError: `space` must be given, for the reasons in the message.
            StudyMismatchError: another space, or a sampler that only its maker can make again.
            StorageError: the storage cannot be written.

        Example:
            >>> import jaxhpo as hpo
            >>> study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", name="resumed")
            >>> study.optimize(lambda params: params["x"], num_trials=3, progress=False)
            >>> again = hpo.load_study("resumed").resume()
            >>> again.optimize(lambda params: params["x"], num_trials=2, progress=False)
            >>> len(again.trials)
            5
        """
        from jaxhpo.study._study import Study

        if space is None and self.missing:
            raise ValueError(
                f"StoredStudy.resume: `space` must be given, because {self.storage} does not hold "
                f"{'; '.join(self.missing)}."
            )
        return Study(
            self.space if space is None else space,
            "auto" if sampler is None else sampler,
            storage=self._store.given,
            name=self.name,
            direction=self.directions,
            change_sampler=sampler is not None,
        )


@named_arguments
def load_study(name: str, storage: Any = "sqlite:///jaxhpo.db") -> StoredStudy:
    """Opens a stored study to look at it: no space is needed, and nothing in the storage changes.

    Trials, `best`, `to_dataframe`, `report`, `to_optuna`, `surrogate` and the figures of
    `jaxhpo.plots` work on what it returns; `resume()` opens the study for more trials. Files that
    cannot be written, and studies that Optuna made, can be read as well.

    Args:
        name: the study's name.
        storage: a URL, a path or an Optuna storage, as for `Study`.

    Returns:
        The study. Its space is rebuilt from the storage, exactly, but for what `missing` names.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: there is no study of this name (the message lists those there are), or a storage
            that is no URL and no known path.
        StorageError: the storage does not exist or cannot be read.

    Example:
        >>> import jaxhpo as hpo
        >>> study = hpo.Study({"x": hpo.uniform(0.0, 1.0)}, "qmc", name="first")
        >>> study.optimize(lambda params: params["x"], num_trials=3, progress=False)
        >>> hpo.load_study("first").best_value == study.best_value
        True
    """
    if not isinstance(name, str):
        raise TypeError(f"{_WHERE}: `name` must be a string, got {_checks.describe(name)}.")
    return StoredStudy(ReadStore(storage, name))


def _read_meta(store: Store) -> dict[str, Any]:
    """What a study says of itself; empty where another program made it."""
    found = store.attrs().get(META_ATTR)
    return found if isinstance(found, dict) else {}


def _read_space(store: Store, meta: dict[str, Any]) -> tuple[Space | None, list[str]]:
    """The space of a stored study and what is missing of it; None if it cannot be told."""
    if not meta:
        return _space_of_trials(store)
    try:
        space, missing = rebuild(meta["space"], meta.get("tree"))
    except (ValueError, KeyError) as error:
        return None, [f"its space in a form that this version can read ({error})"]
    missing += [f"the constraint {text}" for text in meta.get("constraints", [])]
    return space, missing


def _space_of_trials(store: Store) -> tuple[Space | None, list[str]]:
    """What the trials of another program search, all together."""
    from jaxhpo.space import from_optuna

    found: dict[str, Any] = {}
    for trial in store.trials():
        found.update(trial.distributions)
    if not found:
        return None, ["its space, because another program made the study and it has no trial yet"]
    try:
        space = from_optuna(found)
    except (ValueError, TypeError) as error:
        return None, [f"its space in a form that a Space can express ({error})"]
    return space, ["its space beyond the parameters of its trials (Optuna stores no more)"]
