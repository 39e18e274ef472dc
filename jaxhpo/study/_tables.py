"""Trials as a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxhpo.study._trial import Trial

if TYPE_CHECKING:
    import pandas


def to_columns(trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Trials column by column, in Optuna's names where it has one.

    Args:
        trials: the trials.

    Returns:
        `number`, `state`, `value`, one `params_<name>` a parameter (None where it is inactive),
        `seconds` and `reason`.
    """
    flats = [trial.flat for trial in trials]
    names = list(dict.fromkeys(name for flat in flats for name in flat))
    columns: dict[str, list[Any]] = {
        "number": [trial.number for trial in trials],
        "state": [trial.status.name for trial in trials],
        "value": [trial.value for trial in trials],
    }
    for name in names:
        columns[f"params_{name}"] = [flat.get(name) for flat in flats]
    columns["seconds"] = [trial.seconds for trial in trials]
    columns["reason"] = [trial.reason for trial in trials]
    return columns


def to_dataframe(trials: Sequence[Trial]) -> pandas.DataFrame:
    """Trials as a pandas data frame with the columns of `to_columns`.

    Raises:
        ImportError: pandas is not installed; the message says how to install it.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            'Study.to_dataframe needs pandas, which is not installed: pip install "jaxhpo[plot]" '
            "(or pip install pandas)."
        ) from error
    frame = pandas.DataFrame(to_columns(trials))
    return frame.astype({"value": float, "seconds": float})
