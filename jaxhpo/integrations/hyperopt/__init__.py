"""Hyperopt: our samplers as `algo=` of its `fmin`, and an `fmin` that returns values."""

from jaxhpo.integrations.hyperopt._fmin import fmin as fmin
from jaxhpo.integrations.hyperopt._fmin import suggest as suggest

__all__ = [
    "fmin",
    "suggest",
]
