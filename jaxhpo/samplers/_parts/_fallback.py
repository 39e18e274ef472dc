"""What every sampler that draws candidates needs: refuse what is known, fall back on random search.

A candidate is refused if it breaks a constraint or, on a finite space, was proposed or told before.
Samplers whose candidates can hit the same point twice although a coordinate is continuous (steps
from a point, recombined parents, line searches that end on a bound) keep account of all points.
Where all candidates are refused, random search finds what is left.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxhpo._base import Array, Outcome, Record, Sampler, has_proposal, static_field
from jaxhpo.samplers._parts._bitset import Visited
from jaxhpo.samplers._parts._configurations import Lattice, Prints, finite_lattice, prints_of
from jaxhpo.samplers._parts._pending import TellInfo
from jaxhpo.samplers.space_filling._random import RandomState, random
from jaxhpo.space import Space


class Guard(Record):
    """Settings of the guard; its state is that of random search."""

    space: Space
    start: Sampler
    lattice: Lattice | Prints | None = static_field()

    @property
    def may_refuse(self) -> bool:
        """Whether a candidate may be refused at all."""
        return self.lattice is not None or self.space.has_constraints

    def init(self, key: Array) -> RandomState:
        """Starts with nothing known."""
        state: RandomState = self.start.init(key)
        if isinstance(self.lattice, Prints):
            state = dataclasses.replace(state, visited=self.lattice.open_set(self.space))
        return state

    def allowed(self, state: RandomState, unit: Array) -> Array:
        """Which snapped candidates `[c, d]` are feasible and, where account is kept, new."""
        allowed = jnp.ones(unit.shape[0], bool)
        if self.space.has_constraints:
            allowed &= self.space.allows(unit)
        if self.lattice is not None and state.visited is not None:
            allowed &= ~state.visited.contains(self.lattice.number(self.space, unit)[0])
        return allowed

    def settle(self, state: RandomState, key: Array, unit: Array) -> tuple[RandomState, Array]:
        """Closes a proposal `[d]`, or finds one at random where it is NaN.

        Args:
            state: what is known.
            key: consumed by the random search.
            unit: `[d]` an allowed point or NaN.

        Returns:
            The state, and the point; NaN where nothing is left.
        """
        return jax.lax.cond(
            has_proposal(unit),
            lambda: (self._close(state, unit), unit),
            lambda: self._follow(state, key),
        )

    def tell(
        self, state: RandomState, key: Array, unit: Array, outcome: Outcome
    ) -> tuple[RandomState, TellInfo]:
        """Closes and counts observed points."""
        result: tuple[RandomState, TellInfo] = self.start.tell(key, state, unit, outcome)
        if isinstance(self.lattice, Prints):
            return self._close_all(result[0], unit), result[1]
        return result

    def _close(self, state: RandomState, unit: Array) -> RandomState:
        return self._close_all(state, unit[None])

    def _close_all(self, state: RandomState, unit: Array) -> RandomState:
        if self.lattice is None or not isinstance(state.visited, Visited):
            return state
        visited = state.visited.add(*self.lattice.number(self.space, unit))
        return dataclasses.replace(state, visited=visited)

    def _follow(self, state: RandomState, key: Array) -> tuple[RandomState, Array]:
        state, unit = self.start.ask(key, state)
        if isinstance(self.lattice, Prints):
            state = self._close_all(state, unit)
        return state, unit[0]


class GuardedState(Record):
    """What the states of all samplers with a guard begin with.

    Attributes:
        known: state of the random search, which also keeps count of a finite space.
    """

    known: RandomState


class GuardedSettings(Record):
    """What the settings of all samplers with a guard begin with; the space is traced."""

    space: Space
    guard: Guard
    batch_size: int = static_field()


def make_guard(space: Space, *, keeps_account: bool = False) -> Guard:
    """Makes the guard of a space. Host side.

    Args:
        space: the space.
        keeps_account: whether to refuse what is known on a space that is not finite, too.

    Returns:
        The guard.
    """
    lattice: Lattice | Prints | None = finite_lattice(space)
    if keeps_account and any(count == 0 for count in space.num_levels):
        lattice = prints_of(space)
    return Guard(space, random(space), lattice)


def has_levels(space: Space) -> bool:
    """Whether a coordinate is discrete. Host side."""
    return any(count > 0 for count in space.num_levels)
