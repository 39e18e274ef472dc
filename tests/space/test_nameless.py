"""Spaces of one unit cube, whatever their names, bounds and options, are one structure."""

import jax
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.ask_tell import Repeatable
from jaxhpo.ask_tell._compiled import Driver
from jaxhpo.space.internal import nameless

FIRST = {
    "x": hpo.uniform(-1.0, 2.0),
    "lr": hpo.log_uniform(1e-4, 1.0),
    "k": hpo.integer(1, 9),
    "n": hpo.integer(4, 500, log=True),
    "c": hpo.choice(["a", "b", "c"], weights=[0.5, 0.2, 0.3]),
    "f": hpo.fixed(3),
}
OTHER = {
    "v": hpo.normal(0.0, 1.0, shape=(2,)),
    "steps": hpo.integer(0, 30),
    "size": hpo.integer(1, 7000, log=True),
    "fun": hpo.choice([print, len, None], weights=[0.1, 0.8, 0.1]),
}


def test_the_unit_cube_stays():
    space = hpo.Space(FIRST)
    bare = nameless(space)
    unit = jax.random.uniform(jax.random.key(0), (200, space.num_dims))
    assert bare.num_dims == space.num_dims
    assert bare.cardinality == space.cardinality
    np.testing.assert_array_equal(bare.num_levels, space.num_levels)
    np.testing.assert_array_equal(bare.is_categorical, space.is_categorical)
    np.testing.assert_array_equal(bare.levels(unit), space.levels(unit))
    np.testing.assert_array_equal(bare.snap(unit), space.snap(unit))
    for found, expected in zip(bare.cell_ends(unit), space.cell_ends(unit), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_others_of_the_same_kinds_are_the_same_structure():
    one, other = (nameless(hpo.Space(tree)) for tree in (FIRST, OTHER))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(space)] for space in (one, other)]
    assert shapes[0] == shapes[1]
    assert not any(getattr(leaf, "weak_type", False) for leaf in jax.tree.leaves(one))


@pytest.mark.parametrize(
    "space",
    [
        hpo.Space({"c": hpo.choice({"a": {"x": hpo.uniform(0, 1)}, "b": None})}),
        hpo.Space({"x": hpo.uniform(0, 1)}, constraints=[lambda v: v["x"] < 1]),
        hpo.Space({"f": hpo.fixed(1)}),
        Repeatable({"k": hpo.integer(1, 9)}),
    ],
    ids=["conditional", "constrained", "fixed", "repeatable"],
)
def test_what_a_sampler_has_to_know_stays(space):
    assert nameless(space) is space


@pytest.mark.parametrize(
    "name",
    ["random", "qmc", "grid", "tpe", "de", "cma_es", pytest.param("gp", marks=pytest.mark.slow)],
)
def test_the_same_points_are_proposed(name):
    space, found = hpo.Space(FIRST), []
    for searched in (space, nameless(space)):
        driver, points = Driver(hpo.samplers.get(name, searched), space, (5,), 1), []
        for number in range(14):
            driver.ensure_capacity(number + 1)
            unit, _ = driver.ask(number)
            driver.tell(number + 1, unit, np.sum((unit - 0.3) ** 2, axis=1), None)
            points.append(unit)
        found.append(np.concatenate(points))
    np.testing.assert_array_equal(found[1], found[0])
