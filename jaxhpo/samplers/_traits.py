"""What each sampler can do: one record beside each factory, all of them in one registry."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from jaxhpo._base import Outcome, Sampler


class Traits(NamedTuple):
    """What a sampler can do, as far as its callers have to know.

    Attributes:
        several_objectives: it learns from several objectives, and takes `num_objectives`.
        several_only: it takes no fewer than two.
        models_constraints: it models how much a trial violates constraints if it is made so; others
            rank infeasible trials behind feasible ones, or take them for failed.
        ignores_values: it does not learn from values, and so takes any number of objectives.
        needs_gradients: trials must come with a gradient.
        plans_ahead: its points fill the space evenly, in an order that nothing changes.
        resumes_exactly: telling the history to a fresh state continues the uninterrupted run.
        is_finite: it ends, on continuous spaces too.
        has_cheap_rows: an empty row of its buffers costs next to nothing.
        takes_columns: a plain space may be given as its `Columns`, some of them unused.
        has_many_kernels: compiling it takes long, and how its kernels are made hardly matters.
    """

    several_objectives: bool = False
    several_only: bool = False
    models_constraints: bool = False
    ignores_values: bool = False
    needs_gradients: bool = False
    plans_ahead: bool = False
    resumes_exactly: bool = True
    is_finite: bool = False
    has_cheap_rows: bool = False
    takes_columns: bool = False
    has_many_kernels: bool = False


class Entry(NamedTuple):
    """A sampler of this package: its factory, and what it can do."""

    factory: Callable[..., Sampler]
    traits: Traits


REGISTRY: dict[str, Entry] = {}
"""The samplers by name; each factory enters itself by `register`."""

_F = TypeVar("_F", bound=Callable[..., Sampler])


def register(**traits: bool) -> Callable[[_F], _F]:
    """Enters a factory under its own name, with what its sampler can do."""

    def enter(factory: _F) -> _F:
        REGISTRY[factory.__name__] = Entry(factory, Traits(**traits))
        return factory

    return enter


def traits_of(name: object) -> Traits:
    """The traits of a sampler, given by name; the defaults for one that is not registered."""
    entry = REGISTRY.get(name) if isinstance(name, str) else None
    return Traits() if entry is None else entry.traits


def names_with(trait: str) -> tuple[str, ...]:
    """Names of the samplers that have a trait, in alphabetical order; "auto" is none of them."""
    listed = sorted(REGISTRY.items())
    return tuple(n for n, entry in listed if n != "auto" and getattr(entry.traits, trait))


def check_objectives(where: str, sampler: Sampler, num_objectives: int) -> None:
    """Refuses a sampler that does not take so many objectives; nothing is computed.

    Args:
        where: the public function, for the error.
        sampler: any sampler.
        num_objectives: values of one trial.

    Raises:
        ValueError: the sampler refuses such values; the message names samplers that take them.
    """

    def round_(sampler: Sampler) -> None:
        key_init, key_ask, key_tell = jax.random.split(jax.random.key(0), 3)
        state, unit = sampler.ask(key_ask, sampler.init(key_init))
        shape = (unit.shape[0], num_objectives)[: 1 if num_objectives == 1 else 2]
        sampler.tell(key_tell, state, unit, Outcome(jnp.zeros(shape, unit.dtype)))

    try:
        jax.eval_shape(round_, sampler)
    except ValueError as error:
        hint = "."
        if num_objectives > 1:
            learning, other = names_with("several_objectives"), names_with("ignores_values")
            hint = (
                f", such as {' or '.join(learning)}; {', '.join(other)} take any number and learn "
                "from none."
            )
        count = "one objective" if num_objectives == 1 else f"{num_objectives} objectives"
        raise ValueError(
            f"{where}: `sampler` must take {count}{hint} This one says: {error}"
        ) from error


def needs_outcome_structure(name: object) -> bool:
    """Whether `settings_for` gives a sampler, named by `name`, settings that depend on outcomes."""
    traits = traits_of(name)
    return traits.several_objectives or traits.models_constraints


def settings_for(
    name: object, num_objectives: int, has_constraints: bool = False
) -> dict[str, Any]:
    """Settings that a sampler, given by name, needs for such an objective.

    Args:
        name: what the user passed; a ready sampler needs no settings.
        num_objectives: values of one trial.
        has_constraints: whether trials say by how much they violate constraints.

    Returns:
        Keyword arguments for its factory.
    """
    several = {"num_objectives": num_objectives} if traits_of(name).several_objectives else {}
    return {**several, **(constraint_settings(name) if has_constraints else {})}


def constraint_settings(name: object) -> dict[str, bool]:
    """Settings with which a sampler, given by name, models constraints; empty if it does not."""
    if not isinstance(name, str) or not traits_of(name).models_constraints:
        return {}
    known = inspect.signature(REGISTRY[name].factory).parameters
    return {key: True for key in ("constrained", "has_constraints") if key in known}
