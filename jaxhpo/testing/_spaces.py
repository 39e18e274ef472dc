"""The spaces that the checks search: small, asymmetric, and each with one difficulty."""

from __future__ import annotations

from typing import Any

from jaxhpo import space as hps
from jaxhpo.space import Space


def continuous(shift: float = 0.0, scale: float = 1.0) -> Space:
    """Two real dimensions, one of them logarithmic; its box can be moved and stretched."""
    x = hps.uniform(2.0 + shift, 2.0 + shift + 7.0 * scale)
    return Space({"x": x, "y": hps.log_uniform(1e-3, 1e-3 * 10 ** (4 * scale))})


def mixed() -> Space:
    """Every kind of dimension beside a vector and a dimension with a single value."""
    return Space(
        {
            "real": hps.uniform(-3.0, -1.0),
            "vector": hps.log_uniform(1e-4, 1e2, shape=(2,)),
            "step": hps.quantized(0.25, 2.0, 0.25),
            "count": hps.integer(1, 1000, log=True),
            "normal": hps.normal(5.0, 2.0),
            "kind": hps.choice(["a", None, True, 3], weights=[4, 1, 2, 1]),
            "order": hps.ordinal([1, 2, 10]),
            "single": hps.integer(7, 7),
            "only": ["one"],
            "constant": hps.fixed(0.5),
        }
    )


def few_levels() -> Space:
    """One real dimension beside discrete ones of few levels."""
    return Space(
        {
            "x": hps.uniform(0.0, 1.0),
            "count": hps.integer(1, 5),
            "kind": ["a", "b", "c"],
        }
    )


def conditional() -> Space:
    """A nested choice beside a real dimension."""
    return Space(
        {
            "model": hps.choice(
                {
                    "svm": {"C": hps.log_uniform(1e-3, 1e3), "kernel": ["linear", "rbf"]},
                    "tree": {"depth": hps.integer(1, 9)},
                }
            ),
            "scale": hps.uniform(0.0, 4.0),
        }
    )


def constrained() -> Space:
    """Two real dimensions of which a third of the square is allowed."""
    box = {"low": hps.uniform(-1.0, 2.0), "high": hps.uniform(-1.0, 2.0)}
    return Space(box, constraints=[_is_ordered])


def discrete() -> Space:
    """24 configurations, unevenly likely."""
    return Space(
        {
            "count": hps.integer(3, 6),
            "kind": hps.choice(["a", "b", "c"], weights=[1, 2, 9]),
            "flag": [True, False],
        }
    )


def discrete_constrained() -> Space:
    """10 allowed configurations out of 25."""
    box = {"low": hps.integer(-2, 2), "high": hps.integer(-2, 2)}
    return Space(box, constraints=[_is_ordered])


def discrete_conditional() -> Space:
    """11 configurations: 3 of one branch and 8 of the other."""
    options = {"a": {"k": hps.integer(1, 3)}, "b": {"z": ["u", "v"], "w": hps.integer(0, 3)}}
    return Space({"model": hps.choice(options)})


def single() -> Space:
    """One configuration."""
    return Space({"value": hps.integer(4, 4), "only": ["one"]})


def _is_ordered(values: Any) -> Any:
    return values["low"] < values["high"]


ENDLESS = {
    "continuous": continuous,
    "mixed": mixed,
    "conditional": conditional,
    "constrained": constrained,
}

FINITE = {
    "discrete": discrete,
    "discrete_constrained": discrete_constrained,
    "discrete_conditional": discrete_conditional,
    "single": single,
}
