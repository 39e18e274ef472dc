"""GPyOpt is not installed here: it has had no release since 2020 and needs an old NumPy.

The format is that of `GPyOpt/core/task/{space,variables}.py` at version 1.2.6, whose defaults and
rules the expected values below restate.
"""

import numpy as np
import pytest

from jaxhpo.space import from_gpyopt
from tests.space.readers.foreign_draws import draw, same_frequencies, same_law

DOMAIN = [
    {"name": "x", "type": "continuous", "domain": (-3, 1), "dimensionality": 2},
    {"name": "units", "type": "discrete", "domain": (64, 16, 32)},
    {"name": "kind", "type": "categorical", "domain": (0, 1, 2)},
    {"name": "arm", "type": "bandit", "domain": [(-1, 1), (1, 0), (0, 1)]},
]


def test_the_mixed_domain_of_the_manual():
    space = from_gpyopt(DOMAIN)
    assert space.num_dims == 2 + 1 + 1 + 1
    ours, rng = draw(space), np.random.default_rng(1)
    for i in range(2):
        same_law([p["x"][i] for p in ours], rng.uniform(-3, 1, 4000))
    for name, values in (
        ("units", (16, 32, 64)),
        ("kind", (0, 1, 2)),
        ("arm", DOMAIN[3]["domain"]),
    ):
        expected = [values[i] for i in rng.integers(len(values), size=4000)]
        same_frequencies([p[name] for p in ours], expected)


def test_discrete_is_ordered_and_categorical_is_not():
    space = from_gpyopt(DOMAIN)
    categorical = {
        leaf.name: bool(np.any(space.is_categorical[leaf.start : leaf.stop]))
        for leaf in space.leaves
    }
    assert categorical == {"x": False, "units": False, "kind": True, "arm": True}
    low = space.decode(space.from_unit(np.zeros(space.num_dims)))
    assert low["units"] == 16


def test_defaults_are_gpyopts():
    space = from_gpyopt([{"domain": (0, 1)}, {"domain": np.asarray([0.0, 2.0])}])
    assert space.names == ("var_0", "var_1")
    assert space.decode(space.from_unit(np.ones(2))) == {"var_0": 1.0, "var_1": 2.0}


def test_vectors_of_discrete_and_categorical_variables():
    space = from_gpyopt(
        [
            {"name": "d", "type": "discrete", "domain": (1, 3), "dimensionality": 3},
            {"name": "c", "type": "categorical", "domain": ("a", "b"), "dimensionality": 2},
        ]
    )
    for params in draw(space, 20):
        assert np.shape(params["d"]) == (3,)
        assert set(np.ravel(params["d"]).tolist()) <= {1, 3}
        assert len(params["c"]) == 2
        assert set(params["c"]) <= {"a", "b"}


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ([], "`domain` must be a list of at least one"),
        ([{"name": "x"}], r"`domain\[0\]` must be a dict with a 'domain'"),
        ([{"domain": (0, 1), "bounds": 1}], r"`domain\[0\]` must be a dict with keys among"),
        ([{"domain": (0, 1), "type": "log"}], r"`domain\[0\]\['type'\]` must be continuous, disc"),
        ([{"domain": (0, 1, 2)}], r"`domain\[0\]\['domain'\]` must be a pair"),
        ([{"domain": (1, 0)}], r"`domain\[0\]` cannot be read: uniform: `low` must not exceed"),
        ([{"domain": (0, float("inf"))}], r"`domain\[0\]\['domain'\]` must be finite, got inf"),
        ([{"domain": (), "type": "discrete"}], "must be a non-empty list or tuple"),
        ([{"domain": (0, 1), "dimensionality": 0}], r"\['dimensionality'\]` must be at least 1"),
        ([{"name": "x", "domain": (0, 1)}] * 2, r"`domain\[1\]\['name'\]` must be unique, got 'x'"),
        ([{"type": "bandit", "domain": [(1, 2), (1,)]}], "must be arms that all have 2 numbers"),
        ([{"type": "bandit", "domain": [1, 2]}], "must be a list of arms"),
    ],
)
def test_bad_domains_are_named(domain, message):
    with pytest.raises(ValueError, match=r"from_gpyopt: .*" + message.lstrip("`")):
        from_gpyopt(domain)


def test_wrong_types_are_named():
    with pytest.raises(TypeError, match=r"from_gpyopt: `domain` must be a list of dicts, got None"):
        from_gpyopt(None)
    with pytest.raises(TypeError, match=r"from_gpyopt: `domain\[0\]` must be a dict, got 3"):
        from_gpyopt([3])
    with pytest.raises(
        TypeError, match=r"`domain\[0\]\['domain'\]` must be a real number, got 'a'"
    ):
        from_gpyopt([{"type": "discrete", "domain": ["a", 1]}])
