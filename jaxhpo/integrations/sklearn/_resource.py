"""What a candidate of a scheduled search gets more of from rung to rung."""

from __future__ import annotations

import functools
import inspect
import numbers
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils.multiclass import type_of_target

from jaxhpo._checks import check_int, describe, fail
from jaxhpo.integrations.sklearn._folds import FoldFit
from jaxhpo.integrations.sklearn._task import Params, Task
from jaxhpo.schedulers.internal import makes_points
from jaxhpo.space import Space
from jaxhpo.study.internal import is_pruner

_WHERE = "SearchCV"

# The first rung gives one of so many parts where nobody says how much.
_SHARE = 27


class Resource(NamedTuple):
    """A resource, counted in whole units.

    Attributes:
        name: "folds", "n_samples" or a parameter of the estimator.
        least: units below which no candidate is judged.
        most: units of a candidate that is never stopped.
        task: what is fitted.
        orders: of rows, a fixed order of each fold's training rows; else empty.
    """

    name: str
    least: int | None
    most: int
    task: Task
    orders: tuple[np.ndarray, ...] = ()

    @property
    def is_folds(self) -> bool:
        """Whether candidates keep what they have got: fits of further folds are added."""
        return self.name == "folds"

    def params(self, params: Params) -> Params:
        """The parameters of a candidate as it is fitted in the end."""
        if self.name in ("folds", "n_samples"):
            return params
        return {**params, self.name: self.most}

    def fits(self, number: int, params: Params, reached: int, level: int) -> list[FoldFit]:
        """The fits that take a candidate from one level to another.

        Args:
            number: the candidate's.
            params: its parameters.
            reached: units that it has got, 0 at first.
            level: units that it is to have.
        """
        if self.is_folds:
            return [FoldFit(number, params, fold) for fold in range(reached, level)]
        folds = range(self.task.num_folds)
        if self.name != "n_samples":
            return [FoldFit(number, {**params, self.name: level}, fold) for fold in folds]
        return [FoldFit(number, params, fold, self._rows(fold, level)) for fold in folds]

    def _rows(self, fold: int, level: int) -> np.ndarray:
        """The first of a fold's training rows in its fixed order; a level holds those below it."""
        train = np.asarray(self.task.splits[fold][0])
        count = max(1, round(len(train) * level / self.most))
        return train[np.sort(self.orders[fold][:count])]


def resource_of(search: BaseSearchCV, space: Space, task: Task) -> Resource:
    """The resource of a search that has a scheduler.

    Raises:
        TypeError: `max_resources` is missing, or no integer; or a pruner of Optuna's.
        ValueError: no such parameter, one that is searched over or no number, a single fold to get
            more of, a number out of range, or a rule that does not compare candidates.
    """
    _check_scheduler(search.scheduler)
    name, given = search.resource, search.max_resources
    least = search.min_resources
    if name == "folds":
        if task.num_folds < 2:
            raise fail(_WHERE, "resource", "another than 'folds' where `cv` has but one", name)
        most, smallest = task.num_folds, 1
    elif name == "n_samples":
        most = min(len(train) for train, _ in task.splits)
        smallest = _fewest_rows(task)
    else:
        _check_parameter(search, space)
        if given is None:
            raise TypeError(
                f"{_WHERE}: `max_resources` must be the value of {name!r} that a candidate has in "
                "the end, got None."
            )
        most, smallest = check_int(_WHERE, "max_resources", given, 1), 1
    if given is not None:
        if check_int(_WHERE, "max_resources", given, 1) > most:
            raise fail(_WHERE, "max_resources", f"at most {most}, which there are", given)
        most = given
    if least is not None and check_int(_WHERE, "min_resources", least, 1) > most:
        raise fail(_WHERE, "min_resources", f"at most {most}", least)
    if least is None and name == "n_samples":
        least = min(max(smallest, -(-most // _SHARE)), most)
    folds = range(task.num_folds) if name == "n_samples" else ()
    return Resource(name, least, most, task, tuple(_order(task, fold) for fold in folds))


def _check_parameter(search: BaseSearchCV, space: Space) -> None:
    name, params = search.resource, search.estimator.get_params()
    if name not in params:
        expected = "'folds', 'n_samples' or a parameter of the estimator"
        raise fail(_WHERE, "resource", expected, name)
    usual = params[name]
    if usual is not None and (isinstance(usual, bool) or not isinstance(usual, numbers.Real)):
        raise fail(_WHERE, "resource", f"a parameter that counts something, not {usual!r}", name)
    if name in space.names:
        raise fail(_WHERE, "resource", "a parameter that is not searched over", name)


def _check_scheduler(scheduler: Any) -> None:
    """Refuses what ends trials without saying which rungs there are, or which are the better."""
    if is_pruner(scheduler):
        expected = "a name, a Scheduler or a function that makes one"
        got = f"{describe(scheduler)}, a pruner of Optuna's, which has no rungs"
        raise TypeError(f"{_WHERE}: `scheduler` must be {expected}, got {got}.")
    if scheduler == "patience":
        expected = "a rule that compares candidates, since whoever is stopped ranks behind"
        raise fail(_WHERE, "scheduler", expected, scheduler)


def _fewest_rows(task: Task) -> int:
    """Twice as many rows as folds, of each class where there are some: scikit-learn's choice."""
    is_split = is_classifier(task.estimator) and task.y is not None
    classes = len(np.unique(task.y)) if is_split and np.ndim(task.y) == 1 else 1
    return 2 * task.num_folds * classes


def _order(task: Task, fold: int) -> np.ndarray:
    """A fixed random order of a fold's training rows, in which all classes come in their shares."""
    train = np.asarray(task.splits[fold][0])
    rng = np.random.default_rng(fold)
    chance = rng.random(len(train))
    labels = np.zeros(len(train), int)
    if is_classifier(task.estimator) and type_of_target(task.y) in ("binary", "multiclass"):
        labels = np.unique(np.asarray(task.y)[train], return_inverse=True)[1].astype(int)
    place = np.empty(len(train))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        ranks = np.argsort(np.argsort(chance[rows]))
        place[rows] = (ranks + rng.random()) / len(rows)
    return np.argsort(place, kind="stable")


def scheduler_of(search: BaseSearchCV, resource: Resource) -> Any:
    """The search's scheduler; one that is named starts at the least resource.

    Raises:
        TypeError: `min_resources` with a scheduler that is not named.
    """
    from jaxhpo import schedulers

    name = search.scheduler
    if not isinstance(name, str):
        if search.min_resources is not None:
            raise TypeError(
                f"{_WHERE}: `min_resources` must be None unless `scheduler` is a name, got "
                f"{describe(search.min_resources)}."
            )
        return name
    factory = getattr(schedulers, name, None) if name in schedulers.names() else None
    if factory is None or makes_points(name):  # which the loop refuses
        return name
    if "first_rung" not in inspect.signature(factory).parameters:
        return functools.partial(schedulers.get, name, levels=_levels(resource))
    if resource.least is None:
        return name
    return functools.partial(schedulers.get, name, first_rung=resource.least)


def _levels(resource: Resource) -> tuple[int, ...]:
    """Levels of a rule that has no rungs of its own: every fold, or twice as much from one on.

    Each level of what is fitted anew costs as much as it holds, so that even ones together would
    cost a candidate many times what it costs without a rule.
    """
    level, most = resource.least or 1, resource.most
    if resource.is_folds:
        return tuple(range(level, most + 1))
    if resource.least is None:
        level = -(-most // _SHARE)
    levels = []
    while level < most:
        levels.append(level)
        level *= 2
    return (*levels, most)
