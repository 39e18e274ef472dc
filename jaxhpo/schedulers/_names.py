"""Schedulers by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from jaxhpo import _checks
from jaxhpo.schedulers._asha import asha
from jaxhpo.schedulers._halving import halving
from jaxhpo.schedulers._hyperband import hyperband
from jaxhpo.schedulers._protocol import Scheduler
from jaxhpo.schedulers.population_based._pb2 import pb2
from jaxhpo.schedulers.population_based._pbt import pbt

_FACTORIES: dict[str, Callable[..., Scheduler]] = {
    "asha": asha,
    "halving": halving,
    "hyperband": hyperband,
    "pb2": pb2,
    "pbt": pbt,
}


def names() -> tuple[str, ...]:
    """Lists the names that `get` knows, in alphabetical order.

    Returns:
        The names.

    Example:
        >>> import jaxhpo as hpo
        >>> hpo.schedulers.names()
        ('asha', 'halving', 'hyperband', 'pb2', 'pbt')
    """
    return tuple(sorted(_FACTORIES))


def get(name: Any, num_trials: int, num_steps: int, **settings: Any) -> Scheduler:
    """Makes a scheduler from its name.

    Args:
        name: one of `names()`; a ready `Scheduler` is returned as it is, and a factory is called.
        num_trials: trials in all.
        num_steps: steps of a trial that is never stopped.
        **settings: settings of the factory of that name.

    Returns:
        The scheduler.

    Raises:
        TypeError: `name` is none of these, or settings come with a ready scheduler.
        ValueError: no scheduler has this name; the message lists those that exist.

    Example:
        >>> import jaxhpo as hpo
        >>> scheduler = hpo.schedulers.get("halving", 64, 100, eta=4)
    """
    return resolve("schedulers.get", "name", name, num_trials, num_steps, **settings)


def resolve(
    where: str,
    argument: str,
    name: Any,
    num_trials: int,
    num_steps: int,
    *,
    known_space: Any = None,
    **settings: Any,
) -> Scheduler:
    """`get` for a function that takes a scheduler: errors name it and its argument.

    Args:
        where: the function, for errors.
        argument: its argument.
        name: the scheduler, its name, or a function that makes it.
        num_trials: trials in all.
        num_steps: steps of a whole trial.
        known_space: the space of the points, which a rule of that name takes if it needs one.
        **settings: settings of the factory of that name.
    """
    if callable(name):
        _checks.check_takes(where, argument, name, "num_trials, num_steps")
        made = name(num_trials, num_steps, **settings)
        expected = "a function (num_trials, num_steps) that makes a Scheduler"
        checked: Scheduler = _checks.check_instance(where, argument, made, Scheduler, expected)
        return checked
    if isinstance(name, Scheduler):
        if settings:
            expected = "a name where settings are given"
            raise TypeError(f"{where}: `{argument}` must be {expected}, got a ready scheduler.")
        return name
    check_kind(where, argument, name)
    if makes_points(name) and "space" not in settings:
        if known_space is None:
            expected = f"the Space of the points, where {name!r} makes new ones"
            raise _checks.fail(where, "space", expected, None)
        settings["space"] = known_space
    return _FACTORIES[name](num_trials, num_steps, **settings)


def check_kind(where: str, argument: str, scheduler: Any, *, keeps_points: bool = False) -> None:
    """Refuses what is neither a scheduler nor a name of one nor a function.

    Args:
        where: the function, for errors.
        argument: its argument.
        scheduler: what it was given.
        keeps_points: whether only those names are meant that keep the points of trials.

    Raises:
        TypeError: anything else.
        ValueError: another name; the message lists those that are meant.
    """
    if callable(scheduler) or isinstance(scheduler, Scheduler):
        return
    if not isinstance(scheduler, str):
        got = _checks.describe(scheduler)
        expected = "a name, a Scheduler or a function that makes one"
        raise TypeError(f"{where}: `{argument}` must be {expected}, got {got}.")
    if scheduler not in _FACTORIES:
        known = [name for name in names() if not (keeps_points and makes_points(name))]
        raise _checks.unknown_name(where, argument, known, scheduler)


def makes_points(scheduler: Any) -> bool:
    """Whether a scheduler, or the one of a name, makes new points for its trials."""
    if isinstance(scheduler, Scheduler):
        return scheduler.space is not None
    # For which it needs the space; others take one where a sampler proposes.
    factory = _FACTORIES.get(scheduler) if isinstance(scheduler, str) else None
    space = None if factory is None else inspect.signature(factory).parameters.get("space")
    return space is not None and space.default is inspect.Parameter.empty


def least_trials(
    where: str, argument: str, name: Any, most: int, num_steps: int, *, known_space: Any = None
) -> int:
    """The fewest trials that a scheduler can be made for; arguments as of `resolve`.

    Args:
        where: the function, for errors.
        argument: its argument.
        name: the scheduler, its name, or a function that makes it.
        most: trials of which it must be possible.
        num_steps: steps of a whole trial.
        known_space: the space of the points.

    Raises:
        TypeError: no scheduler.
        ValueError: none for `most` trials.
    """
    resolve(where, argument, name, most, num_steps, known_space=known_space)
    for count in range(1, most):
        try:
            resolve(where, argument, name, count, num_steps, known_space=known_space)
        except ValueError:
            continue
        return count
    return most
