"""A space survives the way through JSON as it was, or says what of it does not."""

import collections
import enum
import json

import jax
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.space._stored import rebuild, tree_of

Pair = collections.namedtuple("Pair", ["a", "b"])


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 2


U, L = hpo.uniform, hpo.log_uniform
EXACT = {
    "one": U(0.0, 1.0),
    "real": {"x": U(-1.0, 3.0), "lr": L(1e-7, 0.1), "w": U(0.0, 1.0, shape=(2, 3))},
    "stepped": {
        "q": hpo.quantized(0.0, 1.0, 0.1),
        "lq": hpo.quantized(0.1, 2.0, 0.1, log=True),
        "n": hpo.integer(-3, 17, step=3),
        "ln": hpo.integer(1, 1000, log=True),
    },
    "normal": {"m": hpo.normal(0.3, 2.0), "s": hpo.normal(1.0, 0.5, step=0.25),
               "l": hpo.log_normal(0.0, 1.0)},
    "listed": {"c": ["adam", None, True, 1, 2.5], "o": hpo.ordinal([8, 32, 128]),
               "k": hpo.static([32, 64]), "w": hpo.choice(["a", "b", "c"], weights=[1, 2, 4]),
               "v": hpo.choice([1, 2], shape=2), "f": hpo.fixed("digits")},
    "plain objects": {"layers": hpo.choice([(64,), (64, 64)]),
                      "d": hpo.choice([np.float32(0.1), np.float32(0.2)]),
                      "s": hpo.static([(1, 2), (3, 4)]), "f": hpo.fixed((1, 2))},
    "unhashable": {"layers": hpo.choice([[1, 2], [], {"a": (1, None)}])},
    "containers": {"t": (U(0.0, 1.0), {"y": L(1.0, 2.0)}), 3: ["p", "q"]},
    "dots": {"a.b": U(0.0, 1.0), "a": {"c": U(0.0, 2.0)}},
    "keyed": {"model": hpo.choice({"svm": {"C": L(0.1, 10.0), "kernel": ["rbf", "poly"]},
                                   "knn": {"k": hpo.integer(1, 9)}, "none": None,
                                   "const": {"a": 1}, "bare": U(0.0, 1.0)}),
              "w": U(0.0, 1.0, shape=2)},
    "listed branches": {"m": hpo.choice([{"kind": "svm", "C": L(0.1, 10.0)}, {"kind": "mean"},
                                         "none", U(5.0, 6.0)], weights=[3, 1, 1, 1])},
    "deep": {"m": hpo.choice({"a": {"n": hpo.choice({"b": {"x": U(0.0, 1.0)},
                                                     "c": (U(2.0, 3.0), 7)}),
                                    "lr": L(0.1, 1.0)}, "z": 1})},
    "twins": {"m": hpo.choice([{"lr": L(0.1, 1.0)}, {"lr": L(1.0, 10.0)}])},
}  # fmt: skip


def through_json(space):
    records = json.loads(json.dumps(space.describe()))
    return rebuild(records, json.loads(json.dumps(tree_of(space))))


@pytest.mark.parametrize("name", EXACT)
def test_a_space_comes_back_as_it_was(name):
    space = hpo.Space(EXACT[name])
    again, missing = through_json(space)
    assert missing == []
    if name not in ("unhashable", "listed branches"):  # dicts are told apart by identity
        assert jax.tree.structure(again) == jax.tree.structure(space)
    assert again.describe() == space.describe()
    unit = jax.random.uniform(jax.random.key(0), (64, space.num_dims))
    decoded = space.decode(space.from_unit(unit))
    assert again.decode(again.from_unit(unit)) == decoded
    assert [again.unflatten_params(space.flatten_params(one)) for one in decoded] == decoded


@pytest.mark.parametrize("name", sorted(EXACT.keys() - {"plain objects", "unhashable"}))
def test_a_file_without_the_tree_is_read_by_its_names(name):
    space = hpo.Space(EXACT[name])
    again, missing = rebuild(space.describe(), None)
    assert "containers" in missing[0]
    assert again.describe() == space.describe()


def test_what_json_cannot_hold_is_named_and_stands_in_by_its_label():
    tree = {
        "act": hpo.choice([jax.nn.relu, jax.numpy.tanh]),
        "pair": Pair(U(0.0, 1.0), hpo.choice(list(Colour))),
        "mixed": hpo.choice([(1, jax.nn.relu), (2, None)]),
    }
    space = hpo.Space(tree)
    again, missing = through_json(space)
    assert again.describe() == space.describe()
    text = "; ".join(missing)
    for part in ("relu", "Pair", "`pair.b`", "`mixed`"):
        assert part in text
    unit = jax.random.uniform(jax.random.key(0), (16, space.num_dims))
    for theirs, ours in zip(
        space.decode(space.from_unit(unit)), again.decode(again.from_unit(unit)), strict=True
    ):
        assert again.flatten_params(ours) == space.flatten_params(theirs)
        assert isinstance(ours["act"], str)


@pytest.mark.parametrize("records", [[{}], [{"name": "x"}], [{"name": "x", "kind": "gauss"}]])
def test_records_that_make_no_space(records):
    with pytest.raises(ValueError, match="stored"):
        rebuild(records, None)
