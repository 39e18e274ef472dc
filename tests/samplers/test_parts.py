"""The machinery below the samplers: bit sets, lattices, pending points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxhpo as hpo
from jaxhpo.samplers._parts import _bitset, _chunks, _configurations, _pending, _same
from jaxhpo.samplers._parts._observations import OBSERVED, PENDING, no_observations
from jaxhpo.samplers._parts._scatter import place_rows
from jaxhpo.samplers.evolutionary import _generation_buffer

_ranks = jax.jit(_generation_buffer._ranks)
_add = jax.jit(lambda visited, position, keep: visited.add(position, keep))
_nth = jax.jit(lambda visited: visited.nth_open(jnp.arange(70, dtype=jnp.int32)))
_contains = jax.jit(lambda visited, size: visited.contains(jnp.arange(size)), static_argnums=1)
_num_open = jax.jit(lambda visited: visited.num_open())


@given(
    size=st.sampled_from([1, 32, 70]),
    rows=st.lists(st.tuples(st.integers(0, 69), st.booleans()), min_size=6, max_size=6),
)
@settings(max_examples=40, deadline=None)
def test_visited_is_a_set(size, rows):
    position = np.asarray([row[0] % size for row in rows], np.int32)
    keep = np.asarray([row[1] for row in rows])
    visited = _bitset.all_open(size)
    for _ in range(2):  # adding again changes nothing
        visited = _add(visited, position, keep)
    closed = set(position[keep].tolist())
    expected = np.asarray([number in closed for number in range(size)])
    np.testing.assert_array_equal(_contains(visited, size), expected)
    left = np.flatnonzero(~expected)
    assert int(_num_open(visited)) == len(left)
    np.testing.assert_array_equal(_nth(visited)[: len(left)], left)


def test_closed_where_packs_bits():
    closed = np.arange(45) % 3 == 0
    visited = _bitset.closed_where(jnp.asarray(closed))
    np.testing.assert_array_equal(visited.contains(jnp.arange(45)), closed)
    assert int(visited.num_open()) == 30


@pytest.mark.parametrize("is_exact", [True, False])
def test_lattice_numbers_tell_configurations_apart(is_exact):
    space = hpo.Space({"a": hpo.integer(1, 4), "b": ["x", "y", "z"], "c": hpo.ordinal([1, 5])})
    lattice = _configurations.Lattice((4, 3, 2), (False,) * 3, is_exact)
    exact = _configurations.finite_lattice(space)
    assert exact.is_exact
    unit = exact.points(space, jnp.arange(24, dtype=jnp.int32))
    number, on_lattice = lattice.number(space, unit)
    assert on_lattice.all()
    assert len(np.unique(number)) == 24
    if is_exact:
        np.testing.assert_array_equal(number, np.arange(24))


def test_rows_off_the_lattice_or_nan_have_no_number():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "k": [1, 2]})
    lattice = _configurations.Lattice((5, 2), (True, False), True)
    unit = jnp.asarray([[0.25, 0.75], [0.3, 0.75], [jnp.nan, jnp.nan]])
    number, on_lattice = lattice.number(space, unit)
    assert on_lattice.tolist() == [True, False, False]
    assert number.tolist() == [3, 0, 0]


def test_large_spaces_are_enumerated_in_chunks():
    space = hpo.Space(
        {"x": hpo.integer(0, 299), "y": hpo.integer(0, 299)},
        constraints=[lambda values: values["x"] < values["y"]],
    )
    lattice = _configurations.finite_lattice(space)
    assert lattice.is_exact
    assert int(lattice.open_set(space).num_open()) == 300 * 299 // 2


_push = jax.jit(lambda pending, unit: pending.add(unit))
_resolve = jax.jit(lambda pending, unit: pending.resolve(unit))


def _rows(*numbers):
    column = jnp.asarray(numbers, jnp.result_type(float))
    return jnp.stack([column, column], axis=1)


def test_pending_resolves_each_point_once_in_any_order():
    pending = _push(_pending.empty_pending(1), _rows(0.1, 0.2, 0.2, jnp.nan))
    pending, unknown = _resolve(pending, _rows(0.2, 0.9, 0.1, jnp.nan))
    assert int(unknown) == 1
    # One of the two equal points is still out; a third one is a stranger.
    pending, unknown = _resolve(pending, _rows(0.2, 0.2, jnp.nan, jnp.nan))
    assert int(unknown) == 1
    assert not pending.is_set.any()


_by_loop = jax.jit(_pending._match_one_by_one)
_by_sort = jax.jit(_pending._match_sorted)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_loop_and_sort_pair_the_same(seed):
    rng = np.random.default_rng(seed)
    marks, told = (rng.integers(0, 3, (size, 2)).astype(np.uint32) for size in (9, 7))
    is_set, is_point = rng.uniform(size=9) < 0.7, rng.uniform(size=7) < 0.7
    results = [by(marks, is_set, told, is_point) for by in (_by_loop, _by_sort)]
    for is_resolved, is_known in results:
        left = [tuple(row) for row in marks[is_set & ~np.asarray(is_resolved)]]
        strangers = [tuple(row) for row in told[is_point & ~np.asarray(is_known)]]
        assert np.sum(is_resolved) == np.sum(is_known)
        assert not (np.asarray(is_resolved) & ~is_set).any()
        assert not (np.asarray(is_known) & ~is_point).any()
        assert not set(left) & set(strangers), "equal rows were left apart"
    # Which of equal rows is paired may differ; how many of each are may not.
    for side, rows in enumerate((marks, told)):
        pairs = [sorted(map(tuple, rows[np.asarray(result[side])])) for result in results]
        assert pairs[0] == pairs[1]


def test_more_pending_than_fit_are_all_counted_once():
    pending = _pending.empty_pending(1)
    n = pending.is_set.shape[0]
    points = (np.arange(3 * n) + 0.5) / (4 * n)
    for start in range(0, 3 * n, 4):
        pending = _push(pending, _rows(*points[start : start + 4]))
    assert int(pending.num_unmarked) == 2 * n
    total = 0
    order = np.random.default_rng(0).permutation(3 * n)
    for start in range(0, 3 * n, 4):
        pending, unknown = _resolve(pending, _rows(*points[order[start : start + 4]]))
        total += int(unknown)
    assert total == 0
    assert int(pending.num_unmarked) == 0
    assert not pending.is_set.any()
    _, unknown = _resolve(pending, _rows(0.97, 0.98, 0.99, jnp.nan))
    assert int(unknown) == 3


def test_fingerprints_differ():
    unit = jax.random.uniform(jax.random.key(0), (2000, 3), jnp.result_type(float))
    marks = np.asarray(jax.jit(_pending.fingerprint)(unit))
    assert len(np.unique(marks, axis=0)) == 2000
    # Either half alone is a good hash, too: about 2000^2 / 2^33 collisions are expected.
    assert min(len(np.unique(marks[:, half])) for half in (0, 1)) >= 1998
    zeros = jnp.asarray([[0.0, -0.0], [-0.0, 0.0]], jnp.result_type(float))
    marks = np.asarray(jax.jit(_pending.fingerprint)(zeros))
    np.testing.assert_array_equal(marks[0], marks[1])


@pytest.mark.parametrize(("n", "q"), [(6, 1), (6, 4), (90, 100)])
def test_rows_are_placed_as_by_a_loop(n, q):
    """One row, pairs compared, and one scatter; some places are out of range."""
    rng = np.random.default_rng(n + q)
    slot = rng.permutation(n + 20)[:q].astype(np.int32)
    buffer, rows = rng.normal(size=(n, 2)), rng.normal(size=(q, 2))
    expected = buffer.copy()
    for place, row in zip(slot, rows, strict=True):
        if place < n:
            expected[place] = row
    dtype = jnp.result_type(float)
    found = jax.jit(place_rows)(jnp.asarray(buffer, dtype), slot, jnp.asarray(rows, dtype))
    np.testing.assert_array_equal(found, np.asarray(expected, dtype))


def test_told_rows_resolve_pending_ones_one_each():
    """Twins, a stranger, padding and one point too many for the buffer, in one tell."""
    dtype = jnp.result_type(float)
    nan = np.nan
    rows = no_observations(5, 1).ask(jnp.asarray([[0.1], [nan], [0.2], [0.1]], dtype))
    assert int(rows.num_rows) == 3
    unit = jnp.asarray([[0.1], [0.7], [nan], [0.1], [0.1], [0.9]], dtype)
    value = jnp.arange(6, dtype=dtype)
    told = jax.jit(lambda rows: rows.tell(unit, hpo.Outcome(value)))(rows)
    np.testing.assert_allclose(told.unit[:, 0], [0.1, 0.2, 0.1, 0.7, 0.1], rtol=1e-6)
    assert told.value.tolist() == [0.0, 0.0, 3.0, 1.0, 4.0]
    assert told.status.tolist() == [OBSERVED, PENDING, OBSERVED, OBSERVED, OBSERVED]
    assert (int(told.num_rows), int(told.num_dropped)) == (5, 1)


def test_a_long_history_is_told_in_blocks_as_in_pieces():
    """150 points at once, some pending, some twins of others blocks away."""
    rng, dtype = np.random.default_rng(0), jnp.result_type(float)
    unit = jnp.asarray(np.round(rng.uniform(size=(150, 1)), 2), dtype)
    value = jnp.arange(150, dtype=dtype)
    asked = no_observations(160, 1).ask(unit[5:150:3])
    tell = jax.jit(lambda rows, unit, value: rows.tell(unit, hpo.Outcome(value)))
    at_once, in_pieces = tell(asked, unit, value), asked
    for i in range(0, 150, 30):
        in_pieces = tell(in_pieces, unit[i : i + 30], value[i : i + 30])
    for one, other in zip(jax.tree.leaves(at_once), jax.tree.leaves(in_pieces), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(at_once.num_observed) == 150


@given(
    size=st.sampled_from([1, 5, 8, 21, 40, 600]),
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([-1.5, 0.0, 2.0, 7.0])), max_size=40
    ),
)
@settings(max_examples=80, deadline=None)
def test_used_rows_are_ranked_as_by_a_stable_sort(size, rows):
    group, score = np.full(size, 3, np.int32), np.zeros(size)
    for i, row in enumerate(rows[:size]):
        group[i], score[i] = row
    expected = np.empty(size, np.int32)
    expected[np.lexsort((score, group))] = np.arange(size)
    is_used = group < 3
    found = np.asarray(_ranks(jnp.asarray(group), jnp.asarray(score, jnp.result_type(float))))
    np.testing.assert_array_equal(found[is_used], expected[is_used])


def test_each_told_row_takes_the_first_open_row_that_is_its_like():
    rows = jnp.asarray([[0.5], [0.2], [0.5], [0.5], [jnp.nan]])
    told = jnp.asarray([[0.5], [0.2 + 1e-7], [0.5], [0.2], [jnp.nan], [0.9]])
    is_open = jnp.asarray([True, True, False, True, True])
    slot = _same.take_first(is_open, told, lambda row: _same.are_same(rows, row[None]))
    assert slot.tolist() == [0, 1, 3, 5, 5, 5]


def test_points_are_one_up_to_rounding_in_every_coordinate():
    point, step = jnp.full((1, 2), 0.5), _same.SAME
    near = point + jnp.asarray([[0.5 * step, -0.5 * step], [0.0, 2 * step], [jnp.nan, 0.0]])
    assert _same.are_same(near, point).tolist() == [True, False, False]


@pytest.mark.parametrize("q", [1, 3, 4, 6])
def test_pieces_hold_all_rows_in_order(q):
    told = jnp.arange(q, dtype=float)

    def absorb(whole, piece, number):
        start = jnp.uint32(0) if number is None else number * 3
        assert (number is None) == (q <= 3)
        place = start + jnp.arange(piece.shape[0], dtype=jnp.uint32)
        return whole.at[place].set(piece, mode="drop")

    whole = _chunks.by_piece(absorb, jnp.full(q, -1.0), told, 3)
    np.testing.assert_array_equal(whole, told)
