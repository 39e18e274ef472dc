"""Optuna distributions, and the trials and studies that hold them, as a `Space`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jaxhpo._checks import describe, fail
from jaxhpo.space._layout import choice
from jaxhpo.space._space import Space
from jaxhpo.space.dimensions._real import log_uniform, uniform
from jaxhpo.space.dimensions._stepped import integer, quantized
from jaxhpo.space.readers._common import check_nonempty_mapping, class_names, entry
from jaxhpo.space.readers._optuna_branches import branch_tree, deciding_values

_WHERE = "from_optuna"


def from_optuna(distributions: Any) -> Space:
    """Reads Optuna distributions into a space of the same ranges, scales, steps and choices.

    A study knows no conditions, only which parameters each trial had: from a study comes the union
    of its trials' parameters. One that its complete trials had under some values of a categorical
    (or of an integer of few values) only is a parameter of these branches, and the categorical a
    choice with one named option a value: {"model": {"svm": {"C": 1.0}}}.

    Args:
        distributions: a dict from names to `FloatDistribution`, `IntDistribution` or
            `CategoricalDistribution` (older classes derive from these); or a trial, frozen trial or
            study, whose distributions are taken.

    Returns:
        A space over a dict with the same names.

    Raises:
        TypeError: an entry is no Optuna distribution.
        ValueError: there are no parameters, or two trials gave one name different distributions.

    Example:
        >>> import jax, optuna
        >>> from jaxhpo.space import from_optuna
        >>> space = from_optuna({"lr": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
        ...                      "depth": optuna.distributions.IntDistribution(2, 8, step=2)})
        >>> space.names
        ('lr', 'depth')
        >>> space.decode(space.sample(jax.random.key(0), 1))[0]["depth"] in (2, 4, 6, 8)
        True

    References:
        Akiba, Sano, Yanase, Ohta, Koyama, "Optuna: A Next-generation Hyperparameter Optimization
        Framework", 2019, https://arxiv.org/abs/1907.10902.
    """
    found = _distributions_of(distributions)
    check_nonempty_mapping(_WHERE, "distributions", found, "Optuna distributions")

    def make(name: str) -> Any:
        argument = f"distributions[{name!r}]"
        with entry(_WHERE, argument):
            return _dimension(argument, found[name])

    ended = _complete_params(distributions)
    if len({frozenset(params) for params in ended}) < 2:
        return Space({name: make(name) for name in found})
    values = {name: v for name, one in found.items() if (v := deciding_values(one)) is not None}
    return Space(branch_tree(list(found), ended, values, make))


def _complete_params(source: Any) -> list[dict[str, Any]]:
    """Params of a study's complete trials, which had all that their branches ask for."""
    if isinstance(source, Mapping) or not hasattr(source, "get_trials"):
        return []
    trials = source.get_trials(deepcopy=False)
    return [trial.params for trial in trials if trial.state.name == "COMPLETE"]


def _distributions_of(source: Any) -> Any:
    if isinstance(source, Mapping):
        return source
    if hasattr(source, "get_trials"):
        return _union(source.get_trials(deepcopy=False))
    return getattr(source, "distributions", source)


def _union(trials: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if found.setdefault(name, distribution) != distribution:
                raise fail(
                    _WHERE,
                    "distributions",
                    f"a study whose trials agree about {name!r}",
                    (found[name], distribution),
                )
    return found


def _dimension(argument: str, distribution: Any) -> Any:
    names = class_names(distribution)
    if "CategoricalDistribution" in names:
        return choice(list(distribution.choices))
    if "IntDistribution" in names:
        return integer(
            distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    if "FloatDistribution" not in names:
        raise TypeError(
            f"{_WHERE}: `{argument}` must be a FloatDistribution, IntDistribution or "
            f"CategoricalDistribution, got {describe(distribution)}."
        )
    if distribution.step is not None:
        return quantized(distribution.low, distribution.high, distribution.step)
    dimension = log_uniform if distribution.log else uniform
    return dimension(distribution.low, distribution.high)
