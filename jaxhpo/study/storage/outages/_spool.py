"""Results that could not be written: saved in a file, and recorded when the study is opened.

Hours of training may stand behind one number. Where the storage refuses it for longer than anybody
waits, it goes into a small JSON file; the next process that opens the study writes it where it
belongs, once, and removes the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import logging
import os
import pathlib
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo._status import Status
from jaxhpo.study.storage._rows import Ending, Row

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

logger = logging.getLogger("jaxhpo")

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class SpooledResults:
    """The results in one file.

    Attributes:
        path: the file.
        token: names these results; a row that was made of one carries it.
        endings: of trials that were running.
        rows: trials that were to be written whole.
    """

    path: pathlib.Path
    token: str
    endings: tuple[Ending, ...]
    rows: tuple[Row, ...]


def spool_results(
    location: str, display_name: str, study: str, endings: Sequence[Ending], rows: Sequence[Row]
) -> pathlib.Path | None:
    """Writes results into a file.

    Args:
        location: the storage's own file, or its URL without secrets.
        display_name: the storage's name for people.
        study: the study's name.
        endings: of running trials.
        rows: whole trials.

    Returns:
        The file; None where no folder takes it.
    """
    record = {
        "format": _FORMAT,
        "storage": display_name,
        "study": study,
        "token": secrets.token_hex(8),
        "endings": [_to_json(ending) for ending in endings],
        "rows": [_to_json(row) for row in rows],
    }
    text = json.dumps(record)
    for folder in _folders(location):
        path = folder / f"{_stem(location, study)}{record['token']}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(path, text)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            continue
        return path
    return None


def said_of(path: pathlib.Path | None, endings: Sequence[Ending], rows: Sequence[Row]) -> str:
    """What to say of results that were saved in a file, or could not be."""
    count = len(endings) + len(rows)
    what = "the result of 1 trial" if count == 1 else f"the results of {count} trials"
    if path is None:
        values = [one.value for one in endings] + [one.value for one in rows]
        return f"Could not save {what} in a file either; the values were {values}."
    return f"Saved {what} in {path}, to be recorded when the study is next opened."


def spooled_results(location: str, study: str) -> Iterator[SpooledResults]:
    """The saved results of a study, each file locked against other processes.

    Args:
        location: see `spool_results`.
        study: the study's name.

    Yields:
        The contents. The caller removes the file once all of it is written.
    """
    for folder in _folders(location):
        try:
            paths = sorted(folder.glob(f"{_stem(location, study)}*.json"))
        except OSError:
            continue
        for path in paths:
            with _claimed(path) as text:
                if text is None:
                    continue
                found = _read(path, text, study)
                if found is not None:
                    yield found


def _folders(location: str) -> Iterator[pathlib.Path]:
    """Where results may be kept: beside the storage's file, with the user, among passing files."""
    if "://" not in location:
        yield pathlib.Path(location).resolve().parent
    with contextlib.suppress(RuntimeError):  # the user has no home
        state = os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local" / "state"
        yield pathlib.Path(state) / "jaxhpo"
    who = os.getuid() if hasattr(os, "getuid") else "user"
    yield pathlib.Path(tempfile.gettempdir()) / f"jaxhpo-{who}"


def _stem(location: str, study: str) -> str:
    """How the names of a study's files begin."""
    whole = location if "://" in location else str(pathlib.Path(location).resolve())
    short = hashlib.sha256(f"{whole}\n{study}".encode()).hexdigest()[:12]
    name = "server" if "://" in location else pathlib.Path(location).name
    return f"{name}.unsaved-{short}-"


def _write(path: pathlib.Path, text: str) -> None:
    with open(path, "x", encoding="utf-8") as file:
        path.chmod(0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _claimed(path: pathlib.Path) -> Iterator[str | None]:
    """The text of a file that no other process reads meanwhile; None if one does, or has."""
    try:
        file = open(path, encoding="utf-8")  # noqa: SIM115
    except OSError:
        yield None
        return
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except OSError:
            yield None
            return
        status = os.fstat(file.fileno())
        is_mine = not hasattr(os, "getuid") or status.st_uid in (os.getuid(), 0)
        is_there = status.st_nlink > 0 and path.exists()
        yield file.read() if is_mine and is_there else None


def _read(path: pathlib.Path, text: str, study: str) -> SpooledResults | None:
    try:
        record = json.loads(text)
        if record["format"] != _FORMAT or record["study"] != study:
            return None
        endings = tuple(_from_json(Ending, one) for one in record["endings"])
        rows = tuple(_from_json(Row, one) for one in record["rows"])
        return SpooledResults(path, str(record["token"]), endings, rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s cannot be read, and its results are not recorded: %s", path, error)
        return None


def _to_json(record: Ending | Row) -> dict[str, Any]:
    from optuna.distributions import distribution_to_json

    found = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    found["status"] = record.status.name
    for name in ("start", "end"):
        if found.get(name) is not None:
            found[name] = found[name].astimezone(datetime.UTC).isoformat()
    if "distributions" in found:
        known: dict[str, BaseDistribution] = found["distributions"]
        found["distributions"] = {k: distribution_to_json(known[k]) for k in found["params"]}
    return found


def _from_json(kind: Any, found: dict[str, Any]) -> Any:
    from optuna.distributions import json_to_distribution

    found = {**found, "status": Status[found["status"]]}
    for name in ("start", "end"):
        if found.get(name) is not None:
            found[name] = _local(found[name])
    if isinstance(found.get("value"), list):
        found["value"] = tuple(found["value"])
    if "distributions" in found:
        found["distributions"] = {
            name: json_to_distribution(text) for name, text in found["distributions"].items()
        }
    if "curve" in found:
        found["curve"] = {int(step): value for step, value in found["curve"].items()}
    return kind(**found)


def _local(text: str) -> datetime.datetime:
    """A moment as the rows have it: local time without a zone."""
    return datetime.datetime.fromisoformat(text).astimezone().replace(tzinfo=None)
