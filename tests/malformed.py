"""Calls of public functions with one argument that makes no sense, and what becomes of them."""

import decimal
import inspect
import warnings

import jax
import numpy as np


class Nothing:
    """An object that is of no use for anything."""

    def __repr__(self):
        return "Nothing()"


VALUES = {
    "None": None,
    "text": "a",
    "1.5": 1.5,
    "-1": -1,
    "0": 0,
    "nan": float("nan"),
    "inf": float("inf"),
    "list": [],
    "dict": {},
    "object": Nothing(),
    "huge": 2**70,
    "True": True,
    "Decimal": decimal.Decimal("1"),
    "array": np.ones((2, 3)),
    "texts": np.array(["a", "b"]),
    "objects": np.array([None, "a"], object),
    "complex": 1 + 2j,
    "function": lambda *args, **keywords: None,
}
"""What is put in the place of an argument."""


def parameters(function, given):
    """Names of a function's parameters; those of `**settings` are the ones that are given."""
    names = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL or parameter.kind is parameter.VAR_KEYWORD:
            continue
        names.append(name)
    return list(dict.fromkeys([*names, *given]))


def call(function, arguments):
    """Calls by name where possible."""
    found = inspect.signature(function).parameters.items()
    positional = [arguments[n] for n, p in found if p.kind is p.POSITIONAL_ONLY]
    others = {n: v for n, v in arguments.items() if n not in [
        n for n, p in found if p.kind is p.POSITIONAL_ONLY]}  # fmt: skip
    return function(*positional, **others)


def complaint(function, given, name, value, traces):
    """What is wrong with how a malformed call ends; None where it works or names its argument."""
    arguments = {**given, name: value}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if traces:
                jax.eval_shape(lambda: jax.tree.map(_kept, call(function, arguments)))
            else:
                call(function, arguments)
    except (ValueError, TypeError) as error:
        # Arrays that do not fit each other: the error may name the other one.
        others = [name, *given] if isinstance(value, np.ndarray | list) else [name]
        return (
            None
            if any(f"`{other}" in _said(error) for other in others)
            else f"{type(error).__name__}: {error}"
        )
    except (KeyError, IndexError, AttributeError) as error:
        # A user's function may stumble over what it was given; then a note says what that was.
        notes = "".join(getattr(error, "__notes__", ()))
        return None if f"`{name}" in notes else f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _said(error):
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def _kept(leaf):
    """Only arrays come out of a trace."""
    return leaf if isinstance(leaf, jax.Array) else np.zeros(())
