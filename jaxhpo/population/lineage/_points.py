"""The hyperparameters of a population that a scheduler changes: to the unit cube, and back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhpo._checks import fail
from jaxhpo.population._groups import Group
from jaxhpo.schedulers.internal import real_columns
from jaxhpo.space import Space
from jaxhpo.space.internal import StaticValue, is_static_value
from jaxhpo.training.internal import is_inexact


class Points:
    """The points of a sweep's trials, of which a scheduler makes new ones.

    Attributes:
        unit: `[n, d]` coordinates of the values that the sweep was given.
        real: `[s]` coordinates by which a loss can be differentiated.
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
        self.real = np.flatnonzero(real_columns(space))

    def _of_another(self, hparams: Any) -> ValueError:
        expected = f"made for the space of `hparams`, {jax.tree.structure(hparams)}"
        return fail(self._where, "scheduler", expected, f"one for {self._space!r}")

    def values(self, unit: np.ndarray) -> Any:
        """The values of points `[k, d]`, on the host."""
        return self._space.host_values(unit)

    def directions(self, unit: np.ndarray) -> list[np.ndarray]:
        """How values change with each real coordinate.

        Args:
            unit: `[k, d]` points.

        Returns:
            The derivatives of the real values that are traced, leaves `[k, s, ...]`.
        """
        along = np.eye(unit.shape[1])[self.real].astype(unit.dtype)
        return [np.asarray(leaf) for leaf in _derivatives(self._space, unit, along)]

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


@jax.jit
def _derivatives(space: Space, unit: Any, along: Any) -> Any:
    """Derivatives of values along directions `[s, d]`; at bounds those just inside."""
    edge = 4 * jnp.finfo(unit.dtype).eps
    unit = jnp.clip(unit, edge, 1 - edge)

    def real(unit: Any) -> list[Any]:
        return [a for a in jax.tree.leaves(space.from_unit(unit)) if is_inexact(a)]

    def derive(direction: Any) -> Any:
        return jax.jvp(real, (unit,), (jnp.broadcast_to(direction, unit.shape),))[1]

    return jax.vmap(derive, out_axes=1)(along)


def _on_host(node: Any) -> Any:
    if isinstance(node, StaticValue):
        return StaticValue(np.asarray(node.index), node.options)
    return np.asarray(node)
