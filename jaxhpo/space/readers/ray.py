"""A Ray Tune `param_space` as a `Space`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxhpo._checks import describe, fail
from jaxhpo.space._layout import choice
from jaxhpo.space._space import Space
from jaxhpo.space.dimensions._fixed import fixed
from jaxhpo.space.dimensions._normal import normal
from jaxhpo.space.dimensions._real import log_uniform, uniform
from jaxhpo.space.dimensions._stepped import integer, quantized
from jaxhpo.space.readers._common import (
    check_nonempty_mapping,
    class_names,
    entry,
    multiples,
)

_WHERE = "from_ray"


def from_ray(param_space: Mapping[str, Any]) -> Space:
    """Reads a Ray Tune `param_space` into a space whose `decode` gives Ray's config dicts.

    Ends are Ray's: `randint` and `lograndint` exclude their upper end; the quantized forms include
    it (except `q=1` on integers, which Ray leaves out). Two things differ. A quantized float draws
    every grid value alike, where Ray gives the two end values half the weight; and a log-uniform
    integer k weighs log((k + ½)/(k − ½)), where Ray rounds down and weighs log((k + 1)/k).
    `randn` is cut at 4 standard deviations. A list or tuple that holds domains becomes a tuple.

    Args:
        param_space: a dict, nested as you like, of `tune.*` domains, `tune.grid_search(values)`
            (read as a choice), and constants (read as fixed; a plain list is a constant in Ray).

    Returns:
        A space of the same nesting. An option of `tune.choice` that holds domains itself becomes a
        sub-space, active when it is chosen.

    Raises:
        TypeError: `param_space` is no dict.
        ValueError: it holds `tune.sample_from` (any Python code; use a nested choice or a
            constraint of `Space` instead), an unknown domain, or an interval with no grid value.

    Example:
        >>> from jaxhpo.space import from_ray
        >>> space = from_ray({"bs": {"grid_search": [16, 32]}, "opt": {"name": "adam"}})
        >>> space.cardinality
        2

    References:
        Liaw, Liang, Nishihara, Moritz, Gonzalez, Stoica, "Tune: A Research Platform for Distributed
        Model Selection and Training", 2018, https://arxiv.org/abs/1807.05118.
    """
    check_nonempty_mapping(_WHERE, "param_space", param_space, "Ray Tune domains or constants")
    return Space(_node("param_space", param_space))


def _node(argument: str, value: Any) -> Any:
    if _is_domain(value):
        with entry(_WHERE, argument):
            return _domain(argument, value)
    if isinstance(value, Mapping):
        if set(value) == {"grid_search"}:
            with entry(_WHERE, argument):
                return choice([_option(argument, option) for option in value["grid_search"]])
        if set(value) == {"eval"}:
            raise _refused(argument, value)
        return {name: _node(f"{argument}[{name!r}]", item) for name, item in value.items()}
    if _holds_domain(value):
        return tuple(_node(f"{argument}[{i}]", item) for i, item in enumerate(value))
    return fixed(value)


def _option(argument: str, option: Any) -> Any:
    return _node(argument, option) if _holds_domain(option) else option


def _is_domain(value: Any) -> bool:
    return "Domain" in class_names(value) and hasattr(value, "get_sampler")


def _holds_domain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return set(value) in ({"grid_search"}, {"eval"}) or any(map(_holds_domain, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_domain, value))
    return _is_domain(value)


def _refused(argument: str, value: Any) -> ValueError:
    return fail(
        _WHERE,
        argument,
        "free of Python code (instead of tune.sample_from, use a nested tune.choice, or a "
        "constraint of Space)",
        value,
    )


def _domain(argument: str, domain: Any) -> Any:
    kinds = class_names(domain)
    if "Function" in kinds:
        raise _refused(argument, domain)
    if "Categorical" in kinds:
        return choice([_option(argument, option) for option in domain.categories])
    sampler, q = domain.get_sampler(), None
    if "Quantized" in class_names(sampler):
        sampler, q = sampler.get_sampler(), sampler.q
    law = class_names(sampler)
    if "Integer" in kinds and law & {"Uniform", "LogUniform"}:
        return _integer(argument, domain, q, log="LogUniform" in law)
    if "Float" in kinds and "Normal" in law:
        return normal(sampler.mean, sampler.sd, step=q)
    if "Float" in kinds and law & {"Uniform", "LogUniform"}:
        return _float(argument, domain, q, log="LogUniform" in law)
    raise TypeError(
        f"{_WHERE}: `{argument}` must be a domain made by ray.tune's own functions, "
        f"got {describe(domain)} drawn by {describe(sampler)}."
    )


def _integer(argument: str, domain: Any, q: Any, log: bool) -> Any:
    if q is None or q == 1:
        return integer(domain.lower, domain.upper - 1, log=log)
    low, high = multiples(_WHERE, argument, domain.lower, domain.upper, q)
    return integer(int(low), int(high), step=int(q), log=log)


def _float(argument: str, domain: Any, q: Any, log: bool) -> Any:
    if q is None:
        return (log_uniform if log else uniform)(domain.lower, domain.upper)
    low, high = multiples(_WHERE, argument, domain.lower, domain.upper, q)
    return quantized(low, high, q, log=log)
