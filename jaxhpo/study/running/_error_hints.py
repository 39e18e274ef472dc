"""Which errors are the same, and what a user may have mistaken about the objective."""

from __future__ import annotations

import traceback
from typing import Any

# What Optuna's objectives ask of their trial.
_OPTUNA = ("suggest_", "report", "should_prune", "set_user_attr", "user_attrs", "number")


def error_kind_of(exception: BaseException) -> str:
    """What makes two exceptions the same error: their class and the line that raised them."""
    frames = traceback.extract_tb(exception.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(exception).__module__}.{type(exception).__qualname__} {place}"


def hint_for(exception: BaseException, params: Any) -> str:
    """What the user may have mistaken about the objective; empty if nothing shows it.

    Args:
        exception: what the objective raised.
        params: what it was called with.
    """
    call = "`objective` is called as objective(params)"
    name = getattr(exception, "name", None)
    if isinstance(exception, AttributeError) and getattr(exception, "obj", None) is params:
        if str(name).startswith(_OPTUNA):
            return (
                f"{call} with the parameters themselves, not with a trial; see "
                f"docs/coming-from-optuna.md, also for objectives that call trial.{name}"
            )
        if isinstance(params, dict) and name in params:
            return f"params are a dict: write params[{name!r}]"
    # One frame: the call itself failed, no line of the objective was reached.
    frame = exception.__traceback__
    if isinstance(exception, TypeError) and frame is not None and frame.tb_next is None:
        return f"{call}, with one argument"
    return ""
