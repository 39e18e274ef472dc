"""Corners of the space that random points hardly visit: widths, dtypes, traced settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo.space import (
    Space,
    choice,
    integer,
    log_normal,
    log_uniform,
    normal,
    quantized,
    uniform,
)

MIXED = Space({"x": uniform(0.0, 1.0), "n": integer(1, 9), "c": ["a", "b"]})
UNIT = np.random.default_rng(0).random((5, 3))


def test_a_float32_unit_stays_float32_in_either_mode():
    unit = jnp.asarray(UNIT, jnp.float32)
    views = (MIXED.to_unit(MIXED.from_unit(unit)), MIXED.snap(unit), MIXED.features(unit))
    assert {view.dtype for view in views} == {jnp.dtype("float32")}


def test_numpy_units_are_taken_like_jax_ones():
    # NumPy's float64 must not be asked of JAX in float32 mode: that warns, and warnings are errors.
    for view in (MIXED.from_unit, MIXED.snap, MIXED.levels, MIXED.active_columns, MIXED.features):
        ours, theirs = view(UNIT), view(jnp.asarray(UNIT))
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_numbers_of_another_dtype_find_their_level():
    space = Space({"q": quantized(0.0, 4.0, 0.5), "n": integer(0, 8, step=2)})
    found = space.levels(
        space.to_unit({"q": jnp.asarray([0, 2, 4]), "n": jnp.asarray([0.0, 4, 8])})
    )
    np.testing.assert_array_equal(found, [[0, 0], [4, 2], [8, 4]])
    space = Space(normal(0.0, 1.0, step=0.5))
    assert space.decode(space.from_unit(space.to_unit(jnp.asarray([-1, 0, 1])))) == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("step", [1, 3])
def test_integers_as_wide_as_int32(step):
    low, high = -(2**30) * step // 2, 2**30 * step // 2 - step
    space = Space({"x": integer(low, high, step=step)})
    for level in (0, 1, 2**29, 2**30 - 2, 2**30 - 1):
        params = {"x": low + level * step}
        values = space.encode(params)
        assert int(space.leaves[0].dimension.level_of_value(values["x"])) == level
        assert space.decode(values) == params
    ends = space.decode(space.from_unit(jnp.asarray([[0.0], [1.0]])))
    assert [params["x"] for params in ends] == [low, high]


@pytest.mark.parametrize("high", [100, 10**5, 10**7, 2**31 - 1])
def test_log_integers_reach_both_ends(high):
    space = Space(integer(1, high, log=True))
    assert space.decode(space.from_unit(jnp.asarray([[0.0], [1.0]]))) == [1, high]


def test_sixty_decades_round_trip():
    space = Space(log_uniform(1e-30, 1e30))
    unit = jnp.linspace(0, 1, 7)[:, None]
    np.testing.assert_allclose(space.to_unit(space.from_unit(unit)), unit, atol=1e-6)


def test_traced_weights_are_proportions_too():
    @jax.jit
    def draw(weights):
        space = Space(choice(["x", "y", "z"], weights=weights))
        return space.from_unit(jnp.asarray([[0.1], [0.4], [0.9]]))

    np.testing.assert_array_equal(draw(jnp.asarray([1.0, 1.0, 2.0])), [0, 1, 2])


def test_stepped_normals_of_traced_moments():
    @jax.jit
    def centre(mean, std):
        space = Space({"n": normal(mean, std), "l": log_normal(mean, std)})
        return space.to_unit(space.from_unit(jnp.full((1, 2), 0.5)))

    np.testing.assert_allclose(centre(2.0, 0.5), [[0.5, 0.5]], atol=1e-6)
    space = Space({"n": normal(2.0, 0.5, step=0.25), "l": log_normal(2.0, 0.5, step=0.25)})
    unit = jnp.asarray(np.random.default_rng(1).random((9, 2)))
    np.testing.assert_allclose(jax.jit(Space.snap)(space, unit), space.snap(unit), rtol=1e-5)


def test_one_nested_configuration_decodes_without_a_batch():
    space = Space(choice([{"a": uniform(0.0, 1.0)}, {"b": choice([{"c": integer(1, 3)}, None])}]))
    for params in ({"a": 0.5}, {"b": {"c": 2}}, {"b": None}):
        assert space.decode(space.encode(params)) == params


def test_twins_in_nested_branches_have_different_names():
    inner = [{"x": uniform(0.0, 1.0)}, {"x": integer(1, 3)}]
    space = Space(choice([{"c": choice(inner)}, {"c": choice(inner)}]))
    assert len(set(space.names)) == len(space.names) == 7
