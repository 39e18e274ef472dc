"""The space as a whole: containers, nested choices, masks, features, constraints, transforms."""

import dataclasses
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.space import Branch, StaticValue

DTYPE = jnp.result_type(float)


def conditional_space():
    return hpo.Space(
        {
            "lr": hpo.log_uniform(1e-4, 1.0),
            "model": hpo.choice(
                {
                    "svm": {"C": hpo.log_uniform(1e-3, 1e3), "kernel": ["rbf", "linear"]},
                    "mlp": {
                        "layers": hpo.integer(1, 3),
                        "act": hpo.choice(
                            {"relu": None, "leaky": {"slope": hpo.uniform(0.0, 0.5)}}
                        ),
                    },
                    "mean": None,
                }
            ),
        }
    )


class Pair(NamedTuple):
    left: object
    right: object


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Config:
    lr: object
    units: object


def test_any_pytree_is_a_space(key):
    space = hpo.Space(
        Pair((hpo.uniform(0, 1), Config(hpo.log_uniform(0.1, 1), hpo.integer(1, 4))), {"z": [1, 2]})
    )
    assert space.names == ("left.0", "left.1.lr", "left.1.units", "right.z")
    values = space.sample(key, 3)
    assert isinstance(values, Pair)
    assert isinstance(values.left[1], Config)
    rows = space.decode(values)
    assert isinstance(rows[0].left[1], Config)
    jax.tree.map(np.testing.assert_array_equal, space.encode(rows), values)


def test_a_single_dimension_is_a_space(key):
    space = hpo.Space(hpo.uniform(0.0, 2.0))
    values = space.sample(key, 5)
    assert values.shape == (5,)
    assert space.names == ("value",)


def test_dict_order_is_the_users(key):
    space = hpo.Space({"z": hpo.uniform(0, 1), "a": hpo.uniform(5, 6)})
    assert list(space.decode(space.sample(key, 1))[0]) == ["z", "a"]
    assert list(space.decode(jax.jit(lambda: space.sample(key, 1))())[0]) == ["z", "a"]


def test_vector_leaves(key):
    space = hpo.Space({"w": hpo.uniform(-1, 1, shape=(2, 3)), "k": hpo.choice(["a", "b"], shape=2)})
    assert space.num_dims == 8
    values = space.sample(key, 4)
    assert values["w"].shape == (4, 2, 3)
    assert values["k"].shape == (4, 2)
    rows = space.decode(values)
    assert np.shape(rows[0]["w"]) == (2, 3)
    assert set(rows[0]["k"]) <= {"a", "b"}
    flat = space.flatten_params(rows[0])
    assert list(flat)[:2] == ["w[0][0]", "w[0][1]"]
    assert space.unflatten_params(flat) == rows[0]
    np.testing.assert_array_equal(space.encode(rows)["w"], values["w"])


def test_nested_choice_keeps_all_branches_and_decodes_the_active_one(key):
    space = conditional_space()
    values = space.sample(key, 64)
    branch = values["model"]
    assert isinstance(branch, Branch)
    assert branch.options[2] == ()
    for row, index in zip(space.decode(values), np.asarray(branch.index), strict=True):
        assert list(row["model"]) == [["svm", "mlp", "mean"][index]]
        assert (row["model"] == {"mean": None}) == (index == 2)
        assert space.unflatten_params(space.flatten_params(row)) == row


def test_activity_follows_nested_selectors(key):
    space = conditional_space()
    values = space.sample(key, 128)
    active = space.active(values)
    model = np.asarray(values["model"].index)
    act = np.asarray(values["model"].options[1]["act"].index)
    inner = active["model"].options[1]
    assert np.asarray(active["lr"]).all()
    np.testing.assert_array_equal(active["model"].options[0]["C"], model == 0)
    np.testing.assert_array_equal(inner["layers"], model == 1)
    np.testing.assert_array_equal(inner["act"].index, model == 1)
    np.testing.assert_array_equal(inner["act"].options[1]["slope"], (model == 1) & (act == 1))
    columns = space.active_columns(space.to_unit(values))
    np.testing.assert_array_equal(
        columns[:, space.names.index("model.mlp.act.leaky.slope")], (model == 1) & (act == 1)
    )


def test_snap_is_the_same_just_for_equal_params(key):
    space = hpo.Space({"m": hpo.choice({"a": {"k": [1, 2]}, "b": None}), "i": hpo.integer(0, 1)})
    unit = jax.random.uniform(key, (200, space.num_dims), DTYPE)
    snapped = np.asarray(space.snap(unit))
    labels = [str(row) for row in space.decode(space.from_unit(unit))]
    for i, j in itertools.combinations(range(60), 2):
        assert (labels[i] == labels[j]) == np.array_equal(snapped[i], snapped[j])
    np.testing.assert_array_equal(space.snap(jnp.asarray(snapped)), snapped)


def test_snap_keeps_rows_without_a_proposal():
    space = conditional_space()
    unit = jnp.full((2, space.num_dims), jnp.nan, DTYPE).at[0].set(0.3)
    assert np.isnan(np.asarray(space.snap(unit))).all(axis=-1).tolist() == [False, True]


def test_features_of_categories_and_inactive_columns():
    space = conditional_space()
    unit = jnp.full((1, space.num_dims), 0.9, DTYPE)  # chooses "mean": all branches inactive
    onehot = np.asarray(space.features(unit))[0]
    np.testing.assert_allclose(onehot[:4], [0.9, 0, 0, 1], rtol=1e-6)
    assert onehot[4] == 0.5  # svm.C
    assert onehot[5:7].tolist() == [0, 0]  # svm.kernel
    index = np.asarray(space.features(unit, "index"))
    assert index.shape == (1, space.num_dims)
    assert index[0, 1] == 2


def test_features_widen_discrete_numbers_by_half_a_step():
    space = hpo.Space({"i": hpo.integer(1, 4)})
    unit = space.from_levels(jnp.arange(4)[:, None])
    np.testing.assert_allclose(space.features(unit)[:, 0], [0.125, 0.375, 0.625, 0.875])


@pytest.mark.parametrize(
    "space",
    [
        conditional_space(),
        hpo.Space({"a": [1, 2, 3], "b": hpo.integer(0, 4), "c": hpo.fixed("x")}),
        hpo.Space({"m": hpo.choice({"a": {"k": [1, 2], "l": [3, 4]}, "b": None}), "i": [0, 1]}),
        hpo.Space({"v": hpo.integer(0, 1, shape=(3,)), "s": hpo.static([1, 2])}),
    ],
)
def test_cardinality_counts_distinct_params(space):
    if space.cardinality is None:
        assert (space.num_levels == 0).any()
        return
    grids = [np.arange(count) for count in space.num_levels]
    levels = jnp.asarray(list(itertools.product(*grids)), jnp.int32)
    rows = space.decode(space.from_unit(space.from_levels(levels)))
    assert space.cardinality == len({str(row) for row in rows})


def test_constraints_hold_in_every_sample(key):
    space = hpo.Space(
        {
            "x": hpo.uniform(0, 1),
            "y": hpo.uniform(0, 1),
            "opt": ["adam", "sgd"],
            "n": [True, False],
        },
        constraints=[lambda v: v["x"] < v["y"], hpo.forbid({"opt": "adam", "n": True})],
    )
    values = space.sample(key, 500)
    rows = space.decode(values)
    assert all(row["x"] < row["y"] for row in rows)
    assert not any(row["opt"] == "adam" and row["n"] for row in rows)
    assert {(row["opt"], row["n"]) for row in rows} == {
        ("adam", False),
        ("sgd", True),
        ("sgd", False),
    }
    assert bool(space.feasible(values).all())
    raw = space.from_unit(jax.random.uniform(key, (500, space.num_dims), DTYPE))
    expected = [
        row["x"] < row["y"] and not (row["opt"] == "adam" and row["n"]) for row in space.decode(raw)
    ]
    np.testing.assert_array_equal(space.feasible(raw), expected)


def test_a_forbidden_combination_ignores_inactive_parameters():
    space = hpo.Space(
        {"m": hpo.choice({"a": {"k": [1, 2]}, "b": None})},
        constraints=[hpo.forbid({"m.a.k": 2})],
    )
    assert space.cardinality == 2
    assert bool(space.feasible(space.encode({"m": {"b": None}})))
    assert not bool(space.feasible(space.encode({"m": {"a": {"k": 2}}})))


@pytest.mark.parametrize(
    ("dimension", "forbidden", "others"),
    [
        (hpo.integer(1, 200_000), 100_000, [99_999, 100_001]),
        (hpo.quantized(1e5, 2e5, 1.0), 150_000.0, [149_999.0, 150_001.0]),
        (hpo.log_uniform(1e-10, 1.0), 1e-9, [5e-9, 1.1e-9]),
    ],
)
def test_neighbours_of_a_forbidden_value_are_allowed(dimension, forbidden, others):
    space = hpo.Space({"x": dimension}, constraints=[hpo.forbid({"x": forbidden})])
    rows = space.encode([{"x": value} for value in [forbidden, *others]])
    assert np.asarray(space.feasible(rows)).tolist() == [False, True, True]


def test_rare_allowed_points_are_found(key):
    space = hpo.Space(
        {"x": hpo.integer(1, 5000), "y": hpo.integer(1, 5000)},
        constraints=[lambda v: v["x"] == v["y"]],
    )
    values = space.sample(key, 3)
    np.testing.assert_array_equal(values["x"], values["y"])


def test_a_vector_alone_is_a_space(key):
    space = hpo.Space(hpo.uniform(0, 1, shape=3))
    values = space.sample(key, 2)
    rows = space.decode(values)
    np.testing.assert_array_equal(space.encode(rows), values)
    np.testing.assert_array_equal(space.encode(rows[0]), values[0])


def test_a_forbidden_real_value():
    space = hpo.Space({"x": hpo.quantized(0, 1, 0.1)}, constraints=[hpo.forbid({"x": 0.3})])
    assert space.cardinality == 10


def test_jit_and_vmap_change_nothing(key):
    space = conditional_space()
    unit = jax.random.uniform(key, (16, space.num_dims), DTYPE)
    eager = space.from_unit(unit)
    jitted = jax.jit(lambda s, u: s.from_unit(u))(space, unit)
    mapped = jax.vmap(space.from_unit)(unit)
    for other in (jitted, mapped):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), eager, other)
    np.testing.assert_allclose(
        jax.jit(lambda s, v: s.to_unit(v))(space, eager), space.to_unit(eager), rtol=1e-5, atol=1e-6
    )


def test_spaces_of_equal_structure_share_a_trace(key):
    traces = []

    @jax.jit
    def draw(space, key):
        traces.append(1)
        return space.sample(key, 4)

    def make(low, high, count, step):
        return hpo.Space(
            {
                "x": hpo.uniform(low, high),
                "l": hpo.log_uniform(0.1, high + 1),
                "i": hpo.integer(1, count),
                "q": hpo.quantized(low, high, step),
                "n": hpo.normal(low, high),
                "c": hpo.choice(["a", "b"], weights=[1, high]),
            }
        )

    first = draw(make(0, 1, 5, 0.1), key)
    second = draw(make(2.5, 3.5, 50, 0.25), key)
    assert len(traces) == 1
    assert float(first["x"].max()) <= 1
    assert float(second["x"].min()) >= 2.5
    draw(hpo.Space({"x": hpo.uniform(0, 1)}), key)
    assert len(traces) == 2


def test_sampling_follows_weights_and_log_scale(key):
    space = hpo.Space(
        {"c": hpo.choice(["a", "b"], weights=[3, 1]), "l": hpo.log_uniform(1e-4, 1.0)}
    )
    values = space.sample(key, 4000)
    assert abs(float(jnp.mean(values["c"] == 0)) - 0.75) < 0.03
    assert abs(float(jnp.mean(values["l"] < 1e-2)) - 0.5) < 0.04


def test_static_values_survive_tree_map(key):
    space = hpo.Space({"width": hpo.static([[32], [64, 64]]), "x": hpo.uniform(0, 1)})
    values = jax.tree.map(lambda leaf: leaf[:2], space.sample(key, 6))
    assert isinstance(values["width"], StaticValue)
    assert values["width"].index.shape == (2,)
    assert space.decode(values)[0]["width"] in ([32], [64, 64])
    assert space.has_static


def test_unbatched_values_decode_to_one_params(key):
    space = conditional_space()
    one = jax.tree.map(lambda leaf: leaf[0], space.sample(key, 2))
    assert isinstance(space.decode(one), dict)


def test_decoding_float32_gives_short_exact_decimals():
    space = hpo.Space({"lr": hpo.uniform(0.0, 1.0)})
    assert space.decode({"lr": np.float32(0.1)}) == {"lr": 0.1}


def test_describe_tells_equal_spaces_and_different_ones():
    assert conditional_space().describe() == conditional_space().describe()
    other = hpo.Space({"lr": hpo.log_uniform(1e-4, 2.0)})
    assert other.describe() != hpo.Space({"lr": hpo.log_uniform(1e-4, 1.0)}).describe()
    assert "log_uniform" in repr(other)
