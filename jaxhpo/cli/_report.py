"""`jaxhpo report`: one HTML file about a stored study."""

from __future__ import annotations

import pathlib

from jaxhpo.cli._errors import NO_RESULT, UserError
from jaxhpo.cli._inspect import load_study
from jaxhpo.cli._tables import say


def write(name: str, out: pathlib.Path, storage: str, model: bool) -> None:
    """Writes the report and says where it is.

    Raises:
        UserError: no such study, one without trials, a file that cannot be written, or no plotly.
    """
    study = load_study(name, storage)
    if not study.trials:
        raise UserError(f"study {name!r} has no trial yet.", NO_RESULT)
    try:
        written = study.report(out, model=model)
    except ModuleNotFoundError as error:
        raise UserError(str(error)) from error
    say(f"{written} ({written.stat().st_size / 1e6:.1f} MB) opens in any browser.")
