"""The hyperparameters of a population that a scheduler changes: to the unit cube, and back."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxhpo._checks import fail
from jaxhpo.population._groups import Group
from jaxhpo.space import Space
from jaxhpo.space.internal import StaticValue, is_static_value


class Points:
    """The points of a sweep's trials, of which a scheduler makes new ones.

    Attributes:
        unit: `[n, d]` coordinates of the values that the sweep was given.
    """

    def __init__(self, where: str, space: Space, hparams: Any) -> None:
        """Reads the values as points of the scheduler's space.

        Raises:
            ValueError: they are of another space.
        """
        self._where, self._space = where, space
        try:
            given = jax.tree.map(_on_host, hparams, is_leaf=is_static_value)
            unit = np.asarray(space.to_unit(given))
            made: Any = jax.tree.structure(space.host_values(unit))
        except (ValueError, TypeError) as error:
            raise self._of_another(hparams) from error
        if made != jax.tree.structure(given):
            raise self._of_another(hparams)
        # Who is trained with NaN fails, and goes on from another's point.
        self.unit = np.where(np.isnan(unit), 0.5, unit)

    def _of_another(self, hparams: Any) -> ValueError:
        expected = f"made for the space of `hparams`, {jax.tree.structure(hparams)}"
        return fail(self._where, "scheduler", expected, f"one for {self._space!r}")

    def values(self, unit: np.ndarray) -> Any:
        """The values of points `[k, d]`, on the host."""
        return self._space.host_values(unit)

    def move(self, group: Group, rows: np.ndarray, values: Any) -> None:
        """Gives trials of a group other values, in place.

        Args:
            group: the group.
            rows: `[k]` places in it.
            values: their new values.

        Raises:
            ValueError: another static value.
        """
        nodes = jax.tree.leaves(values, is_leaf=is_static_value)
        statics = [node for node in nodes if isinstance(node, StaticValue)]
        for node, value in zip(statics, group.statics, strict=True):
            if any(node.options[int(index)] != value for index in node.index):
                expected = "one that keeps the static values of a trial"
                raise fail(self._where, "scheduler", expected, node.index)
        traced = [node for node in nodes if not isinstance(node, StaticValue)]
        for leaf, value in zip(group.leaves, traced, strict=True):
            leaf[rows] = value.astype(leaf.dtype)


def _on_host(node: Any) -> Any:
    if isinstance(node, StaticValue):
        return StaticValue(np.asarray(node.index), node.options)
    return np.asarray(node)
