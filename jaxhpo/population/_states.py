"""Where the states of trials wait between two rungs: on the host, or where they are.

A worker loads the states of the trials that it goes on with into its carry, and saves them when it
has reached the rung. Padding lanes are never alive, so that they take no step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jaxhpo.population._compile import Program, place_carry
from jaxhpo.population._kernel import Carry
from jaxhpo.population.checkpoints._arrays import Arrays, listed, numbered


class HostStates:
    """States of all trials of a group in host memory, one row a trial.

    Attributes:
        leaves: state leaves `[g, ...]`; rows of trials that have not begun are undefined.
        alive: `[g]` bool, trials that have not failed.
    """

    def __init__(self, program: Program, num_trials: int) -> None:
        self._program = program
        state = program.traced.state
        self.leaves = [np.empty((num_trials, *a.shape), a.dtype) for a in state]
        self.alive = np.zeros(num_trials, bool)

    def pick(self, rows: np.ndarray) -> Arrays:
        """The states of `rows`, as arrays of a checkpoint."""
        leaves = numbered("leaf", [leaf[rows] for leaf in self.leaves])
        return {"rows": rows, "alive": self.alive[rows], **leaves}

    def put(self, found: Arrays) -> None:
        """Takes up what `pick` gave."""
        rows = found["rows"]
        self.alive[rows] = found["alive"]
        for leaf, stored in zip(self.leaves, listed("leaf", found), strict=True):
            leaf[rows] = stored

    def copy(self, rows: np.ndarray, source: np.ndarray) -> None:
        """Gives `rows` the states of `source`, all at once."""
        for leaf in (*self.leaves, self.alive):
            leaf[rows] = leaf[source]

    def load(self, carry: Carry, rows: np.ndarray, place: np.ndarray) -> Carry:
        """Puts the states of `rows` at the lanes `place` of a carry."""

        def spread(leaf: np.ndarray, like: Any) -> np.ndarray:
            lanes = np.zeros(like.shape, leaf.dtype)
            lanes.reshape(math.prod(like.shape[:2]), *leaf.shape[1:])[place] = leaf[rows]
            return lanes

        state = [spread(a, b) for a, b in zip(self.leaves, carry.state, strict=True)]
        alive = spread(self.alive, carry.alive)
        state, alive = place_carry(self._program, (state, alive))
        return Carry(state, alive, carry.best)

    def save(self, carry: Carry, rows: np.ndarray, place: np.ndarray) -> None:
        """Copies the states at the lanes `place` back; workers save different rows."""
        for leaf, lanes in zip(self.leaves, take_lanes(carry.state, place), strict=True):
            leaf[rows] = lanes
        (self.alive[rows],) = take_lanes([carry.alive], place)


class DeviceStates:
    """States that stay in the one carry of a group whose trials fit in one call.

    A rung is one gather on the device that puts those that go on first. Who is left behind is
    gone, so `spill` moves all to the host where a scheduler may come back to a paused trial.
    """

    def __init__(self, program: Program, num_trials: int) -> None:
        self._program, self._num_trials = program, num_trials
        self._place = np.full(num_trials, -1)

    @property
    def rows(self) -> np.ndarray:
        """Places in the group of the trials whose states are here."""
        return np.flatnonzero(self._place >= 0)

    def copy(self, rows: np.ndarray, source: np.ndarray) -> None:
        """Lets `rows` have the lanes of `source`, from which the next `load` takes them."""
        self._place[rows] = self._place[source]

    def load(self, carry: Carry, rows: np.ndarray, place: np.ndarray) -> Carry:
        """Gathers the lanes of `rows` to `place`; the carry's buffers are donated."""
        now = self._place[rows]
        if np.array_equal(now, place) and len(rows) == len(self.rows):
            return carry
        source = np.full(math.prod(carry.alive.shape), -1, np.int32)
        source[place] = now
        state, alive = self._program.gather((carry.state, carry.alive), source)
        return Carry(state, alive, carry.best)

    def save(self, carry: Carry, rows: np.ndarray, place: np.ndarray) -> None:
        """Notes at which lanes the states of `rows` are."""
        del carry
        self._place[:] = -1
        self._place[rows] = place

    def spill(self, carry: Carry) -> HostStates:
        """Copies all states to the host."""
        states = HostStates(self._program, self._num_trials)
        states.save(carry, self.rows, self._place[self.rows])
        return states


def fit_twice(program: Program, num_trials: int) -> bool:
    """Whether a group's states stay on the devices: one call holds all, and a gather's copy fits.

    Args:
        program: of the group.
        num_trials: trials of the group.
    """
    plan, on_cpu = program.plan, program.split.mesh.devices.flat[0].platform == "cpu"
    lanes = plan.chunk if on_cpu else plan.width * plan.groups
    copy = program.traced.state_bytes * lanes
    fits = plan.program_bytes + copy <= plan.memory_budget
    return num_trials <= plan.chunk and plan.num_workers == 1 and fits


def take_lanes(leaves: Any, place: np.ndarray) -> list[np.ndarray]:
    """Copies lanes of leaves `[groups, width, ...]` to the host, before a call reuses the buffers.

    Args:
        leaves: the leaves.
        place: `[k]` lanes, counted through all groups.

    Returns:
        Leaves `[k, ...]`.
    """
    return [np.asarray(a).reshape((math.prod(a.shape[:2]), *a.shape[2:]))[place] for a in leaves]
