"""Grid search: every point once, in order, whatever the batches."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.testing import _case, _spaces


def _rows(sampler, rounds):
    _, unit = _case.drive(sampler, jax.random.key(0), rounds)
    rows = unit.reshape(-1, unit.shape[-1])
    is_point = ~np.isnan(rows).any(axis=1)
    assert is_point[: is_point.sum()].all(), "a point after the end"
    return rows[is_point]


@pytest.mark.parametrize("q", [1, 7, 16])
def test_a_mixed_grid_is_the_product_in_order(q):
    space = hpo.Space({"x": hpo.log_uniform(1e-2, 1e2), "k": ["a", "b"], "n": hpo.integer(3, 5)})
    rows = _rows(hpo.samplers.grid(space, points_per_dim=3, batch_size=q), 18 // q + 2)
    found = space.decode(space.from_unit(jnp.asarray(rows)))
    expected = [
        {"x": x, "k": k, "n": n}
        for x, k, n in itertools.product([1e-2, 1.0, 1e2], ["a", "b"], [3, 4, 5])
    ]
    assert [(p["k"], p["n"]) for p in found] == [(p["k"], p["n"]) for p in expected]
    np.testing.assert_allclose([p["x"] for p in found], [p["x"] for p in expected], rtol=1e-5)
    ends = {p["x"] for p in found}
    assert {1e-2, 1e2} <= ends, "the ends are exact"


def test_inactive_branches_are_not_multiplied():
    space = _spaces.conditional()
    rows = _rows(hpo.samplers.grid(space, points_per_dim=4, batch_size=10), 8)
    # (4 C times 2 kernels, plus 9 depths) times 4 scales
    assert len(rows) == (4 * 2 + 9) * 4
    params = space.decode(space.from_unit(jnp.asarray(rows)))
    assert len({repr(p) for p in params}) == len(rows)


def test_constraints_leave_points_out():
    rows = _rows(hpo.samplers.grid(_spaces.constrained(), points_per_dim=6, batch_size=4), 6)
    assert len(rows) == 15


def test_points_per_dim_by_name_and_single_points():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0, shape=(2,))})
    sampler = hpo.samplers.grid(space, points_per_dim={"x": 1, "y": 2}, batch_size=5)
    rows = _rows(sampler, 2)
    assert len(rows) == 4
    assert (rows[:, 0] == 0.5).all()
    default = hpo.samplers.grid(space, points_per_dim={"y": 1}, batch_size=8)
    assert len(_rows(default, 2)) == 5


def test_told_grid_points_are_not_asked_and_others_change_nothing():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 4.0)})
    sampler = hpo.samplers.grid(space, points_per_dim=3)
    told = jnp.asarray([[0.5, 0.0], [0.3, 0.0], [1.0, 1.0]], jnp.result_type(float))
    state = _case.init(sampler, jax.random.key(0))
    state, _ = _case.tell(sampler, jax.random.key(0), state, told, _case.value_of(told))
    _, unit = _case.drive(sampler, jax.random.key(0), 8, state=state)
    rows = [tuple(row) for row in unit[:, 0].tolist()]
    left = [p for p in itertools.product([0.0, 0.5, 1.0], repeat=2)]
    left.remove((0.5, 0.0))
    left.remove((1.0, 1.0))
    assert rows[:7] == left
    assert np.isnan(unit[7]).all()


def test_values_that_went_through_python_are_still_on_the_grid():
    space = hpo.Space({"x": hpo.log_uniform(1e-5, 1.0), "s": hpo.quantized(0.1, 0.9, 0.1)})
    sampler = hpo.samplers.grid(space, points_per_dim=7, batch_size=21)
    _, unit = _case.drive(sampler, jax.random.key(0), 1)
    params = space.decode(space.from_unit(jnp.asarray(unit[0])))
    told = space.to_unit(jax.tree.map(jnp.asarray, space.encode(params)))
    state = _case.init(sampler, jax.random.key(0))
    state, _ = _case.tell(sampler, jax.random.key(0), state, told, _case.value_of(told))
    assert len(_rows_left(sampler, state)) == 63 - 21


def _rows_left(sampler, state):
    _, unit = _case.drive(sampler, jax.random.key(0), 3, state=state)
    rows = unit.reshape(-1, unit.shape[-1])
    return rows[~np.isnan(rows).any(axis=1)]


def test_bad_arguments():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(9,)), "k": [1, 2]})
    with pytest.raises(ValueError, match=f"at most 16777216 points, got {2 * 10**9}; lower"):
        hpo.samplers.grid(space, points_per_dim=10)
    with pytest.raises(ValueError, match="`points_per_dim` must be at least 1, got 0"):
        hpo.samplers.grid(space, points_per_dim=0)
    with pytest.raises(ValueError, match=r"`points_per_dim` must be keyed by leaves among \['x'\]"):
        hpo.samplers.grid(space, points_per_dim={"k": 2})
    with pytest.raises(ValueError, match=r"`points_per_dim` must be keyed by leaves among \['x'\]"):
        hpo.samplers.grid(space, points_per_dim={"z": 2})
    with pytest.raises(TypeError, match="must be an integer of at least 1, got 1.5"):
        hpo.samplers.grid(space, points_per_dim={"x": 1.5})
