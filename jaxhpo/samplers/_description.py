"""A sampler in words: its name and its settings, as studies remember it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxhpo import _checks
from jaxhpo._base import Sampler, name_of, settings_of
from jaxhpo.gp import Kernel


def describe(sampler: Sampler, name: str | None = None) -> str:
    """Names a sampler and its settings, the space left out.

    Args:
        sampler: any sampler.
        name: what to call it, if not by its own name.

    Returns:
        Such as "qmc(batch_size=1, sequence=sobol)": the arguments of its factory, or the fields of
        a stranger's settings, that are numbers, texts, flags, or samplers themselves.
    """
    from jaxhpo import samplers

    own, settings = name_of(sampler), settings_of(sampler)
    if own in samplers.__all__:
        names = list(inspect.signature(getattr(samplers, own)).parameters)
    elif dataclasses.is_dataclass(settings):
        names = [field.name for field in dataclasses.fields(settings)]
    else:
        return name or own
    found = {key: value for key, value in _fields(settings) if key in names}
    shown = ((key, _shown(found[key])) for key in names if key in found)
    parts = [f"{key}={text}" for key, text in shown if text is not None]
    return f"{name or own}({', '.join(parts)})"


def _fields(settings: Any) -> Iterator[tuple[str, Any]]:
    """All fields of a settings record and of the records in it; an outer one comes last."""
    if isinstance(settings, Sampler):
        return
    if dataclasses.is_dataclass(settings):
        pairs = [(f.name, getattr(settings, f.name)) for f in dataclasses.fields(settings)]
    elif hasattr(settings, "_fields"):
        pairs = list(zip(settings._fields, settings, strict=True))
    else:
        return
    for _, value in pairs:
        yield from _fields(value)
    yield from pairs


def _shown(value: Any) -> str | None:
    """A setting as text; None for what is no plain setting."""
    if isinstance(value, Sampler):
        return name_of(value)
    if isinstance(value, tuple) and value and all(isinstance(one, Sampler) for one in value):
        return "+".join(map(name_of, value))
    if value is None or isinstance(value, bool | int | str):
        return str(value)
    if isinstance(value, Kernel):
        return value.profile
    is_number = isinstance(value, float | np.generic | np.ndarray | jax.Array)
    if not is_number or _checks.is_traced(value) or np.ndim(value) != 0:
        return None
    # As many digits as either precision has, so that a study may go on in the other one.
    return f"{float(value):.6g}"
