"""A space as a sampler sees it: the unit cube, without names, bounds and options."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax

from jaxhpo import _checks
from jaxhpo.space._layout import Leaf
from jaxhpo.space._space import Space
from jaxhpo.space.dimensions._choice import Choice
from jaxhpo.space.dimensions._dimension import Dimension
from jaxhpo.space.dimensions._normal import Normal
from jaxhpo.space.dimensions._options import Options
from jaxhpo.space.dimensions._real import Real, uniform


def nameless(space: Space) -> Space:
    """A space of the same unit cube that more spaces have in common. Host side.

    Names, the scale of a continuous dimension, the shape of a vector and the options of a choice
    belong to the structure of a program, and say nothing to a sampler of points of the unit cube.

    Args:
        space: the space.

    Returns:
        Another space, whose coordinates have the same levels and cells; `space` itself where it is
        conditional, has constraints, is traced, or is a part of larger configurations.
    """
    is_traced = any(map(_checks.is_traced, jax.tree.leaves(space)))
    if type(space) is not Space or is_traced or space.is_conditional or space.has_constraints:
        return space
    if not space.num_dims:
        return space
    bare = [one for leaf in space.leaves if leaf.start < leaf.stop for one in _bare(leaf)]
    return Space({f"{i:04}": dimension for i, dimension in enumerate(bare)})


def _bare(leaf: Leaf) -> Iterator[Dimension]:
    """Dimensions that give the columns of a leaf the same levels."""
    dimension = leaf.dimension
    if isinstance(dimension, Real | Normal):
        for _ in range(leaf.start, leaf.stop):
            yield uniform(0.0, 1.0)
    elif type(dimension) is Choice:
        numbers = Options(tuple(range(len(dimension.options.items))))
        yield dataclasses.replace(dimension, options=numbers)
    else:
        yield dimension
