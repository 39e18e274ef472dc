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
        `number`, `state`, `value` (or `values_0`, `values_1`, … of several objectives), one
        `params_<name>` a parameter (None where it is inactive), `seconds`, `compile_seconds`
        and `reason`.
    """
    flats = [trial.flat for trial in trials]
    names = list(dict.fromkeys(name for flat in flats for name in flat))
    columns: dict[str, list[Any]] = {
        "number": [trial.number for trial in trials],
        "state": [trial.status.name for trial in trials],
    }
    values = [trial.values for trial in trials]
    m = max((len(value) for value in values if value is not None), default=1)
    for i in range(m):
        name = "value" if m == 1 else f"values_{i}"
        columns[name] = [None if value is None else value[i] for value in values]
    for name in names:
        columns[f"params_{name}"] = [flat.get(name) for flat in flats]
    columns["seconds"] = [trial.seconds for trial in trials]
    columns["compile_seconds"] = [trial.compile_seconds for trial in trials]
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
    columns = to_columns(trials)
    frame = pandas.DataFrame(columns)
    numbers = [name for name in columns if name == "value" or name.startswith("values_")]
    return frame.astype({name: float for name in [*numbers, "seconds", "compile_seconds"]})
