"""What is compared: estimators and tasks by name, or a user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from jaxhpo import problems
from jaxhpo._checks import describe, fail
from jaxhpo._checks.suggest import did_you_mean
from jaxhpo.benchmarking.leaderboard import _methods
from jaxhpo.benchmarking.leaderboard.peers._registry import PEERS
from jaxhpo.hypergrad import Estimator
from jaxhpo.problems import Task

WHERE = "hypergradients"


class Method(NamedTuple):
    """An estimator under its label.

    Attributes:
        name: the label.
        build: `build(task) -> Estimator`.
        source: what it is, in a word: its name in the package, or `module:name` of a function.
        like: another one whose operations count for the budget, where its own cannot be counted.
        peer: name of another library's estimator, which has a process of its own; or None.
    """

    name: str
    build: Callable[[Task], Estimator]
    source: str
    like: Callable[[Task], Estimator] | None = None
    peer: str | None = None


class Case(NamedTuple):
    """A task under its label.

    Attributes:
        name: the label.
        build: `build() -> Task`, called again where float64 is on.
        source: as of a `Method`.
        known: its name in `problems.TASKS`, or None.
    """

    name: str
    build: Callable[[], Task]
    source: str
    known: str | None = None


def methods_of(given: Any) -> list[Method]:
    """Reads the argument `estimators`.

    Raises:
        TypeError: something that is no name and no factory.
        ValueError: an unknown name, a label given twice, or nothing at all.
    """
    found = []
    for label, one in _labelled("estimators", given, tuple(_methods.ESTIMATORS)):
        if isinstance(one, str):
            if one in PEERS:
                like = _methods.ESTIMATORS[PEERS[one].like]
                found.append(Method(label, like, one, peer=one))
                continue
            if one not in _methods.ESTIMATORS:
                raise _unknown("estimators", one, [*_methods.ESTIMATORS, *PEERS])
            found.append(Method(label, _methods.ESTIMATORS[one], one))
        elif callable(one) and not isinstance(one, Estimator):
            found.append(Method(label, _from_factory(one), _source_of(one)))
        else:
            raise TypeError(
                f"{WHERE}: `estimators` must be names or functions "
                f"`(training, *, num_steps) -> Estimator`, got {describe(one)}."
            )
    return found


def cases_of(given: Any) -> list[Case]:
    """Reads the argument `tasks`.

    Raises:
        TypeError: something that is no name, no Task and no function.
        ValueError: an unknown name, a label given twice, or nothing at all.
    """
    found = []
    for label, one in _labelled("tasks", given, tuple(problems.TASKS)):
        if isinstance(one, str):
            if one not in problems.TASKS:
                raise _unknown("tasks", one, problems.TASKS)
            found.append(Case(label, problems.TASKS[one], one, one))
        elif isinstance(one, Task):
            found.append(Case(label, _always(one), "a Task object"))
        elif callable(one):
            found.append(Case(label, _checked(one, label), _source_of(one)))
        else:
            raise TypeError(
                f"{WHERE}: `tasks` must be names, `problems.Task` objects or functions that return "
                f"one, got {describe(one)}."
            )
    return found


def _from_factory(factory: Callable[..., Any]) -> Callable[[Task], Estimator]:
    """A factory of the house's form, with the settings that a task decides."""

    def build(task: Task) -> Estimator:
        made = factory(task.training, num_steps=task.num_steps)
        if not isinstance(made, Estimator):
            raise TypeError(
                f"{WHERE}: `estimators`: {_name_of(factory)} must return a hypergrad.Estimator, "
                f"got {describe(made)}."
            )
        return made

    return build


def _always(task: Task) -> Callable[[], Task]:
    return lambda: task


def _checked(build: Callable[[], Any], label: str) -> Callable[[], Task]:
    def checked() -> Task:
        made = build()
        if not isinstance(made, Task):
            raise TypeError(
                f"{WHERE}: `tasks`: {label} must return a problems.Task, got {describe(made)}."
            )
        return made

    return checked


def _labelled(argument: str, given: Any, every: tuple[str, ...]) -> list[tuple[str, Any]]:
    """`(label, entry)` of all entries; all that are known for None."""
    if given is None:
        return [(name, name) for name in every]
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif isinstance(given, str | Task) or not isinstance(given, Iterable):
        raise TypeError(
            f"{WHERE}: `{argument}` must be a list, a dict of labels, or None, got "
            f"{describe(given)}."
        )
    else:
        pairs = [(_name_of(one), one) for one in given]
    labels = [label for label, _ in pairs]
    if not labels:
        raise fail(WHERE, argument, "at least one", given)
    for label in labels:
        if not isinstance(label, str) or not label:
            raise TypeError(f"{WHERE}: labels of `{argument}` must be text, got {describe(label)}.")
        if labels.count(label) > 1:
            raise ValueError(
                f"{WHERE}: labels of `{argument}` must differ, got {label!r} twice; give a dict "
                "with a label for each."
            )
    return pairs


def _name_of(one: Any) -> Any:
    if isinstance(one, str):
        return one
    return "task" if isinstance(one, Task) else getattr(one, "__name__", type(one).__name__)


def _source_of(function: Any) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', None) or type(function).__module__}:{name}"


def _unknown(argument: str, name: str, known: Iterable[str]) -> ValueError:
    return ValueError(
        f"{WHERE}: `{argument}` must be among {', '.join(known)}, got {name!r}"
        f"{did_you_mean(name, known) or '.'}"
    )
