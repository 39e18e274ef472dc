import functools
import json

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterSampler
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from jaxhpo.space import from_sklearn
from tests.space.readers.foreign_draws import draw, same_frequencies, same_law

DISTRIBUTIONS = {
    "uniform": stats.uniform(-2, 5),
    "loguniform": stats.loguniform(1e-4, 1e2),
    "reciprocal": stats.reciprocal(1, 10, scale=2),
    "norm": stats.norm(loc=1, scale=3),
    "lognorm": stats.lognorm(s=0.5, scale=np.exp(2.0)),
    "randint": stats.randint(3, 9),
    "shifted": stats.randint(0, 4, loc=10),
    "mixed": [None, True, False, "auto", 3, 0.5],
    "numbers": [10, 100, 1000],
    "array": np.logspace(-2, 2, 5),
    "tuples": [(50,), (100, 50)],
    "dicts": [None, {0: 1, 1: 10}],
}
CONTINUOUS = ("uniform", "loguniform", "reciprocal", "norm", "lognorm")


def test_draws_follow_parameter_sampler():
    ours = draw(from_sklearn(DISTRIBUTIONS))
    theirs = list(ParameterSampler(DISTRIBUTIONS, 4000, random_state=5))
    for name in CONTINUOUS:
        same_law([p[name] for p in ours], [p[name] for p in theirs])
    for name in set(DISTRIBUTIONS) - set(CONTINUOUS):
        same_frequencies(
            [p[name] for p in ours],
            [p[name].item() if isinstance(p[name], np.generic) else p[name] for p in theirs],
        )


def test_support_and_scale_are_exact():
    space = from_sklearn({name: DISTRIBUTIONS[name] for name in CONTINUOUS[:3]})
    for unit, expected in ((0.0, (-2.0, 1e-4, 2.0)), (1.0, (3.0, 1e2, 20.0))):
        params = space.decode(space.from_unit(np.full(3, unit)))
        assert tuple(params.values()) == expected
    middle = space.from_unit(np.full(3, 0.5))
    assert float(middle["loguniform"]) == pytest.approx(0.1, rel=1e-5)
    assert float(middle["reciprocal"]) == pytest.approx(40**0.5, rel=1e-5)


def test_numeric_lists_are_categoricals_and_distributions_are_not():
    space = from_sklearn(DISTRIBUTIONS)
    kinds = {leaf.name: leaf.dimension.is_categorical for leaf in space.leaves}
    assert {name for name in kinds if kinds[name]} == {
        "mixed", "numbers", "array", "tuples", "dicts",
    }  # fmt: skip


def test_a_list_of_dicts_draws_a_dict_first():
    grid = [
        {"kernel": ["linear"], "C": [1, 10, 100]},
        {"kernel": ["rbf"], "C": [0.5], "gamma": stats.loguniform(1e-3, 1.0)},
    ]
    space = from_sklearn(grid)
    ours = draw(space)
    theirs = list(ParameterSampler(grid, 4000, random_state=2))
    same_frequencies(*[[tuple(sorted(p)) for p in side] for side in (ours, theirs)])
    same_frequencies(*[[p["C"] for p in side] for side in (ours, theirs)])
    for params in ours[:50]:
        assert SVC().set_params(**params).get_params()["kernel"] == params["kernel"]
        assert space.decode(space.encode(params)) == pytest.approx(params)


def test_estimators_take_the_parameters_and_encode_takes_sklearns():
    space = from_sklearn(
        {
            "net__hidden_layer_sizes": DISTRIBUTIONS["tuples"],
            "net__alpha": stats.loguniform(1e-5, 1e-1),
            "net__early_stopping": [True, False],
        }
    )
    for params in draw(space, 20):
        pipeline = Pipeline([("net", MLPClassifier())]).set_params(**params)
        found = {name: pipeline.get_params()[name] for name in params}
        assert found == params
        assert space.decode(space.encode(found)) == params


def test_other_distributions_need_quantiles():
    given = {"C": stats.expon(scale=100), "k": stats.binom(4, 0.3), "x": stats.lognorm(1, loc=2)}
    for name in given:
        with pytest.raises(
            ValueError,
            match=rf"from_sklearn: `param_distributions\['{name}'\]` must be one of uniform, logun"
            rf".*num_quantiles.*got .{given[name].dist.name}",
        ):
            from_sklearn({name: given[name]})
    space = from_sklearn(given, num_quantiles=2000)
    ours = draw(space)
    theirs = list(ParameterSampler(given, 4000, random_state=1))
    for name in ("C", "x"):
        same_law([p[name] for p in ours], [p[name] for p in theirs])
    same_frequencies([p["k"] for p in ours], [int(p["k"]) for p in theirs])
    assert isinstance(draw(space, 1)[0]["k"], int)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (3, TypeError, "`param_distributions` must be a dict or a list of dicts, got 3"),
        ("C", TypeError, "`param_distributions` must be a dict or a list of dicts, got 'C'"),
        ([], ValueError, "`param_distributions` must be at least one dict"),
        ({}, ValueError, "`param_distributions` must be a dict with at least one entry"),
        ([{"C": [1]}, 3], TypeError, r"`param_distributions\[1\]` must be a dict from names"),
        ({"C": 3}, TypeError, r"`param_distributions\['C'\]` must be a list, .*got 3"),
        ({"C": "abc"}, TypeError, r"`param_distributions\['C'\]` must be a list, .*got 'abc'"),
        ({"C": np.ones((2, 2))}, TypeError, r"`param_distributions\['C'\]` must be a list, "),
        ({"C": []}, ValueError, r"`param_distributions\['C'\]` cannot be read: choice: `options`"),
        ({"C": stats.randint(1.5, 4)}, TypeError, r"integer: `low` must be an integer"),
        ({3: [1, 2]}, TypeError, "must have strings as keys, got 3"),
    ],
)
def test_bad_input_is_named(given, kind, message):
    with pytest.raises(kind, match=r"from_sklearn: .*" + message.lstrip("`")):
        from_sklearn(given)


def test_a_bad_number_of_quantiles_is_named():
    with pytest.raises(
        ValueError, match=r"from_sklearn: `num_quantiles` must be at least 2, got 1"
    ):
        from_sklearn({"C": [1, 2]}, num_quantiles=1)


class Law:
    """Anything with `rvs` that is not of scipy.stats."""

    def __init__(self, draw):
        self.draw = draw

    def rvs(self, random_state=None):
        return self.draw(random_state)


def shares(space, name, count=4000):
    params = space.decode(space.sample(jax.random.key(0), count))
    found = {}
    for one in params:
        found[one[name]] = found.get(one[name], 0) + 1 / count
    return found


@pytest.mark.parametrize(
    "values",
    [
        [1, 1, 1, 2, 3, 5],
        np.array([1, 1, 1, 2, 3, 5]),
        pd.Series([1, 1, 1, 2, 3, 5]),
        (1, 1, 1, 2, 3, 5),
    ],
    ids=["list", "array", "series", "tuple"],
)
def test_a_value_that_repeats_is_as_much_more_likely(values):
    found = shares(from_sklearn({"a": values}), "a")
    assert found == pytest.approx({1: 1 / 2, 2: 1 / 6, 3: 1 / 6, 5: 1 / 6}, abs=0.03)
    assert all(type(value) is int for value in found)


def test_all_repeating_alike_is_no_prior():
    [leaf] = from_sklearn({"a": [1, 2, 1, 2]}).leaves
    assert leaf.dimension.weights is None


def test_ranges_and_objects_are_options():
    estimators = [LogisticRegression(), LogisticRegression(C=2.0), None, np.nan, "passthrough"]
    space = from_sklearn({"a": range(3), "b": estimators, "c": [None, {0: 1, 1: 2}, {0: 1, 1: 2}]})
    drawn = space.decode(space.sample(jax.random.key(0), 200))
    assert {one["a"] for one in drawn} == {0, 1, 2}
    assert {id(one["b"]) for one in drawn} == {id(value) for value in estimators}
    assert {repr(one["c"]) for one in drawn} == {"None", "{0: 1, 1: 2}"}
    for one in drawn[:20]:
        again = space.unflatten_params(json.loads(json.dumps(space.flatten_params(one))))
        assert (again["b"] is one["b"], again["c"]) == (True, one["c"])


def test_an_object_with_rvs_alone_is_drawn_from():
    from_law = functools.partial(from_sklearn, num_quantiles=64)
    real = from_law({"a": Law(lambda random: random.normal(3.0, 2.0))})
    values = [one["a"] for one in real.decode(real.sample(jax.random.key(0), 2000))]
    assert np.mean(values) == pytest.approx(3.0, abs=0.3)
    assert np.std(values) == pytest.approx(2.0, abs=0.3)
    again = from_law({"a": Law(lambda random: random.normal(3.0, 2.0))})
    assert again.describe() == real.describe()  # a search that goes on has the same space
    whole = shares(from_law({"a": Law(lambda random: int(random.binomial(2, 0.5)))}), "a")
    assert whole == pytest.approx({0: 0.25, 1: 0.5, 2: 0.25}, abs=0.06)
    text = shares(from_law({"a": Law(lambda random: "xy"[int(random.rand() < 0.75)])}), "a")
    assert text == pytest.approx({"x": 0.25, "y": 0.75}, abs=0.08)
    with pytest.raises(ValueError, match="num_quantiles"):
        from_sklearn({"a": Law(lambda random: 1.0)})
