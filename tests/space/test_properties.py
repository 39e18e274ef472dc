"""What must hold for every space, on spaces that hypothesis makes up (reproducibly)."""

import math

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo.space import (
    Space,
    choice,
    fixed,
    integer,
    log_normal,
    log_uniform,
    normal,
    ordinal,
    quantized,
    uniform,
)

NUM_POINTS = 12
EPS = float(jnp.finfo(jnp.result_type(float)).eps)
STORABLE = (type(None), bool, int, float, str)


def examples(number):
    """The same examples on every machine and every run."""
    return hypothesis.settings(
        derandomize=True, deadline=None, max_examples=number, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip


# -- spaces made up ------------------------------------------------------------------------------


def reals(low, high):
    return st.floats(low, high, allow_nan=False, width=32)


@st.composite
def bounded(draw):
    low = draw(reals(-1e3, 1e3))
    return uniform(low, low + draw(st.sampled_from([0.0, 0.125, 3.0, 1e3])))


@st.composite
def logarithmic(draw):
    low = draw(reals(2**-20, 1e3))
    return log_uniform(low, low * draw(st.sampled_from([1.0, 1.5, 1e3, 1e7])))


@st.composite
def stepped(draw):
    log, count = draw(st.booleans()), draw(st.integers(1, 40))
    low = draw(st.integers(1, 50) if log else st.integers(-50, 50))
    if draw(st.booleans()):
        step = draw(st.integers(1, 7))
        return integer(low, low + step * count - draw(st.integers(1, step)), step=step, log=log)
    step = draw(st.sampled_from([0.1, 0.25, 1 / 3, 2.0]))
    return quantized(low / 10, low / 10 + step * (count - 0.5), step, log=log)


@st.composite
def gaussian(draw):
    make = draw(st.sampled_from([normal, log_normal]))
    step = draw(st.sampled_from([None, 0.25]))
    return make(draw(reals(-2.0, 2.0)), draw(reals(0.5, 1.5)), step=step)


OPTIONS = ["a", "b", None, True, False, 3, 2.5, (1, 2), len]


@st.composite
def listed(draw):
    options = draw(st.lists(st.sampled_from(OPTIONS), min_size=1, max_size=5, unique_by=repr))
    if draw(st.booleans()):
        weights = draw(st.lists(reals(0.125, 5.0), min_size=len(options), max_size=len(options)))
        return choice(options, weights=weights)
    return choice(options)


@st.composite
def ordered(draw):
    numbers = st.one_of(st.integers(-99, 99), st.sampled_from([0.1, 0.5, 7.25]))
    return ordinal(sorted(draw(st.sets(numbers, min_size=1, max_size=6))))


def dimensions():
    return st.one_of(bounded(), logarithmic(), stepped(), gaussian(), listed(), ordered())


def trees(depth=2):
    leaves = st.one_of(dimensions(), st.builds(fixed, st.sampled_from(OPTIONS)))
    if depth == 0:
        return st.dictionaries(st.sampled_from("pqr"), leaves, min_size=1, max_size=3)
    inner = trees(depth - 1)
    nested = st.one_of(
        st.lists(st.one_of(inner, st.sampled_from(["plain", None])), min_size=1, max_size=3),
        st.dictionaries(st.sampled_from(["svm", "tree"]), inner, min_size=1, max_size=2),
    )
    return st.dictionaries(
        st.sampled_from("xyz"), st.one_of(leaves, inner, nested.map(as_choice)), min_size=1,
        max_size=3,
    )  # fmt: skip


def as_choice(options):
    """A nested choice; plain options are made distinct, as `choice` asks."""
    if isinstance(options, dict):
        return choice(options)
    plain = list(dict.fromkeys(o for o in options if not isinstance(o, dict)))
    # Two branches of equal content are one configuration twice: nothing could tell them apart.
    spaces = [{**o, "tag": number} for number, o in enumerate(options) if isinstance(o, dict)]
    return choice(spaces + plain)


def spaces():
    return trees().map(Space)


def points(space, seed=0):
    """Random unit points, with both corners and the centre."""
    unit = np.random.default_rng(seed).random((NUM_POINTS, space.num_dims))
    unit[0], unit[1], unit[2] = 0.0, 1.0, 0.5
    return jnp.asarray(unit, jnp.result_type(float))


def leaf_values(space, values):
    """The arrays of the table of leaves, in order."""
    return space._unpack(values)


# -- properties ----------------------------------------------------------------------------------


@hypothesis.given(dimension=st.one_of(bounded(), logarithmic()), seed=st.integers(0, 99))
@examples(60)
def test_real_values_stay_inside_and_both_ends_are_exact(dimension, seed):
    space = Space(dimension)
    decoded = space.decode(space.from_unit(points(space, seed)))
    assert (decoded[0], decoded[1]) == (dimension.low, dimension.high)
    assert all(dimension.low <= value <= dimension.high for value in decoded)


@hypothesis.given(dimension=stepped(), seed=st.integers(0, 99))
@examples(80)
def test_stepped_values_stay_on_the_grid(dimension, seed):
    space = Space(dimension)
    grid = [dimension._python_value(level) for level in range(dimension.num_levels)]
    decoded = space.decode(space.from_unit(points(space, seed)))
    assert set(decoded) <= set(grid)
    assert (decoded[0], decoded[1]) == (grid[0], grid[-1])
    for level, value in enumerate(grid):
        assert value == pytest.approx(float(dimension.low) + level * float(dimension.step))


@hypothesis.given(dimension=dimensions(), seed=st.integers(0, 99))
@examples(100)
def test_units_and_values_are_inverse(dimension, seed):
    space = Space({"x": dimension})
    values = space.from_unit(points(space, seed))
    again = space.from_unit(space.to_unit(values))
    if space.num_levels[0]:
        np.testing.assert_array_equal(again["x"], values["x"])
        return
    low, high = float(dimension.low), float(dimension.high)
    # A rounding error of the unit coordinate, seen through the quantile function.
    if hasattr(dimension, "std"):
        density = math.exp(-8) / math.sqrt(2 * math.pi)  # the normal's at 4 standard deviations
        relative, absolute = 4 * EPS / density, 4 * EPS / density
    elif dimension.log:
        relative, absolute = 8 * EPS * (1 + abs(math.log(low)) + abs(math.log(high))), 0.0
    else:
        relative, absolute = 0.0, 4 * EPS * max(abs(low), abs(high))
    np.testing.assert_allclose(again["x"], values["x"], rtol=relative, atol=absolute)


def rounding(dimension, value):
    """Two rounding errors of what a value is made of: its logarithm, or the bounds."""
    if getattr(dimension, "log", False) and not hasattr(dimension, "step"):
        return 2 * EPS * value * np.maximum(1, np.abs(np.log(value)))
    return 2 * EPS * max(abs(float(getattr(dimension, end, 0))) for end in ("low", "high"))


@hypothesis.given(space=spaces(), seed=st.integers(0, 99))
@examples(60)
def test_encode_and_decode_are_inverse(space, seed):
    values = space.from_unit(points(space, seed))
    decoded = space.decode(values)
    encoded = space.encode(decoded)
    assert jax.tree.structure(encoded) == jax.tree.structure(values)
    active = leaf_values(space, space.active(values))
    dimensions = [leaf.dimension for leaf in space.leaves]
    columns = (leaf_values(space, values), leaf_values(space, encoded), active)
    for dimension, value, back, mask in zip(dimensions, *columns, strict=True):
        assert back.dtype == value.dtype
        value, back = np.asarray(value)[mask], np.asarray(back)[mask]
        if jnp.issubdtype(back.dtype, jnp.floating):
            assert (np.abs(value - back) <= rounding(dimension, value)).all()
        else:
            np.testing.assert_array_equal(value, back)
    assert space.decode(encoded) == decoded
    assert [space.decode(space.encode(params)) for params in decoded[:3]] == decoded[:3]


@hypothesis.given(space=spaces(), seed=st.integers(0, 99))
@examples(25)
def test_snap_is_a_projection_that_changes_no_params(space, seed):
    unit = points(space, seed)
    snapped = space.snap(unit)
    np.testing.assert_array_equal(space.snap(snapped), snapped)
    assert bool(jnp.all((snapped >= 0) & (snapped <= 1)))
    assert space.decode(space.from_unit(snapped)) == space.decode(space.from_unit(unit))


@hypothesis.given(space=spaces(), seed=st.integers(0, 99))
@examples(40)
def test_flat_params_are_storable_and_hold_just_the_active_leaves(space, seed):
    values = space.from_unit(points(space, seed))
    active = leaf_values(space, space.active(values))
    for row, params in enumerate(space.decode(values)):
        flat = space.flatten_params(params)
        names = {leaf.name for leaf, mask in zip(space.leaves, active, strict=True) if mask[row]}
        assert set(flat) == names
        assert all(type(value) in STORABLE for value in flat.values())
        assert space.unflatten_params(flat) == params


@hypothesis.given(space=spaces(), seed=st.integers(0, 99))
@examples(40)
def test_inactive_columns_change_no_params(space, seed):
    unit = points(space, seed)
    active = space.active_columns(unit)
    other = jnp.where(active, unit, points(space, seed + 1)[::-1])
    np.testing.assert_array_equal(space.active_columns(other), active)
    assert space.decode(space.from_unit(other)) == space.decode(space.from_unit(unit))
    np.testing.assert_array_equal(space.snap(other), space.snap(unit))
    for categories in ("onehot", "index"):
        features = space.features(unit, categories)
        np.testing.assert_array_equal(space.features(other, categories), features)
        assert bool(jnp.all(jnp.isfinite(features)))


def views(space, unit):
    values = space.from_unit(unit)
    return values, space.to_unit(values), space.snap(unit), space.features(unit)


def assert_close(first, second):
    """Discrete arrays equal; reals to a few units in the last place of either form."""
    for left, right in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        if jnp.issubdtype(left.dtype, jnp.floating):
            np.testing.assert_allclose(left, right, rtol=2e3 * EPS, atol=2e3 * EPS)
        else:
            np.testing.assert_array_equal(left, right)


@hypothesis.given(space=spaces())
@examples(6)
def test_jit_is_eager_and_vmap_is_a_loop(space):
    unit = points(space)
    eager = views(space, unit)
    assert_close(jax.jit(views)(space, unit), eager)
    assert_close(jax.vmap(views, in_axes=(None, 0))(space, unit), eager)
    loop = [views(space, row) for row in unit]
    assert_close(jax.tree.map(lambda *rows: jnp.stack(rows), *loop), eager)


@hypothesis.given(data=st.data())
@examples(4)
def test_other_bounds_share_the_trace(data):
    def draw_space():
        low = data.draw(st.integers(1, 5))
        return Space(
            {
                "u": uniform(float(low), low + data.draw(reals(0.5, 9.0)), shape=2),
                "l": log_uniform(low * 1e-3, low + 1.0),
                "q": quantized(float(low), low + 3.0, data.draw(st.sampled_from([0.25, 0.5]))),
                "i": integer(low, low + data.draw(st.integers(1, 9)), log=True),
                "n": log_normal(float(low), 0.5, step=0.125),
                "c": choice({"a": {"z": normal(float(low), 1.0)}, "b": None}, weights=[low, 1.0]),
            }
        )

    traces = []

    @jax.jit
    def program(space, unit):
        traces.append(1)
        return views(space, unit)

    for space in (draw_space(), draw_space(), draw_space()):
        unit = points(space)
        assert_close(program(space, unit), views(space, unit))
    assert len(traces) == 1
