import math

import hyperopt
import numpy as np
import pytest
from hyperopt import hp
from hyperopt.pyll import scope
from hyperopt.pyll.stochastic import sample

from jaxhpo.space import from_hyperopt
from tests.space.readers.foreign_draws import draw, same_frequencies, same_law

NESTED = {
    "shared": hp.loguniform("shared", -5.0, 2.0),
    "pair": [hp.randint("r", 3), ("const", hp.uniform("u", -1, 1))],
    "model": hp.choice(
        "model",
        [
            {"kind": "svm", "C": hp.loguniform("C", -3, 3), "kernel": hp.choice("k", ["l", "r"])},
            {"kind": "tree", "depth": hp.uniformint("depth", 2, 6), "layers": (1, 2)},
            {"kind": "mean"},
            hp.normal("bare", 0, 1),
            None,
        ],
    ),
}


# Hyperopt 0.3.0's own `categorical` on NumPy 2.5.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")


def hyperopt_draws(space, num_draws, seed=0):
    graph, rng = hyperopt.pyll.as_apply(space), np.random.default_rng(seed)
    return [sample(graph, rng) for _ in range(num_draws)]


CONTINUOUS = {
    "uniform": hp.uniform("x", -2, 3),
    "loguniform": hp.loguniform("x", math.log(1e-4), math.log(10.0)),
    "normal": hp.normal("x", 1.0, 2.0),
    "lognormal": hp.lognormal("x", -1.0, 0.5),
}


@pytest.mark.parametrize("law", list(CONTINUOUS))
def test_continuous_laws(law):
    ours = draw(from_hyperopt(CONTINUOUS[law]))
    same_law(ours, hyperopt_draws(CONTINUOUS[law], 4000))


def test_the_bounds_of_log_laws_are_logarithms():
    space = from_hyperopt(CONTINUOUS["loguniform"])
    ends = [space.decode(space.from_unit(np.asarray([unit]))) for unit in (0.0, 1.0)]
    assert ends == pytest.approx([1e-4, 10.0], rel=1e-12)


# Law, and the values whose frequency may differ: Hyperopt gives the ends of a q-grid half weight.
DISCRETE = {
    "randint": (hp.randint("x", 4), ()),
    "randint low high": (hp.randint("x", 2, 5), ()),
    "uniformint": (hp.uniformint("x", -2, 3), (-2, 3)),
    "quniform": (hp.quniform("x", 0, 1, 0.25), (0.0, 1.0)),
    "int quniform": (scope.int(hp.quniform("x", 10, 50, 10)), (10, 50)),
    "qloguniform": (
        hp.qloguniform("x", math.log(1.0), math.log(5.0), 1),
        (1.0, 2.0, 3.0, 4.0, 5.0),
    ),
    "qnormal": (hp.qnormal("x", 0.7, 0.8, 0.5), ()),
    "choice": (hp.choice("x", ["a", None, True, 1.5, (1, 2)]), ()),
    "pchoice": (hp.pchoice("x", [(0.2, "a"), (0.7, "b"), (0.1, "c")]), ()),
}


@pytest.mark.parametrize("law", list(DISCRETE))
def test_discrete_laws_have_the_same_values(law):
    graph, ignoring = DISCRETE[law]
    ours, theirs = draw(from_hyperopt(graph)), hyperopt_draws(graph, 4000)
    if law == "qnormal":  # tails: both are within the 4 standard deviations that we keep
        low, high = 0.7 - 4 * 0.8, 0.7 + 4 * 0.8
        theirs = [value + 0.0 for value in theirs if low <= value <= high]  # no -0.0
        common = set(ours) & set(theirs)
        ours, theirs = ([v for v in side if v in common] for side in (ours, theirs))
    same_frequencies(ours, [v.item() if isinstance(v, np.generic) else v for v in theirs], ignoring)


def test_quantized_grids_never_leave_the_bounds():
    space = from_hyperopt(hp.quniform("x", 0.25, 2.2, 0.5))
    values = {space.decode(space.from_unit(np.asarray([u]))) for u in np.linspace(0, 1, 201)}
    assert values == {0.5, 1.0, 1.5, 2.0}
    # Hyperopt itself leaves them: round(0.25 / 0.5) * 0.5 = 0.
    assert 0.0 in set(map(float, hyperopt_draws(hp.quniform("x", 0.2, 2.2, 0.5), 500)))


def test_log_grids_are_log_scaled():
    law = hp.qloguniform("x", 0.0, math.log(1000.0), 1)
    ours, theirs = draw(from_hyperopt(law)), hyperopt_draws(law, 4000)
    # Hyperopt cuts the first cell in half: compare above it.
    same_law(*[np.log([v for v in side if v > 1]) for side in (ours, theirs)])
    assert {type(v) for v in draw(from_hyperopt(scope.int(law)), 5)} == {int}


def test_decode_has_the_structure_of_space_eval():
    space = from_hyperopt(NESTED)
    ours, theirs = draw(space, 2000), hyperopt_draws(NESTED, 2000)

    def shape_of(value):
        if isinstance(value, dict):
            return tuple((key, shape_of(value[key])) for key in sorted(value))
        if isinstance(value, tuple):
            return tuple(map(shape_of, value))
        return value if isinstance(value, str) or value is None else type(value).__name__

    same_frequencies(*[[shape_of(params) for params in side] for side in (ours, theirs)])


def test_encode_takes_what_space_eval_gives():
    space = from_hyperopt(NESTED)
    trials = hyperopt.Trials()
    hyperopt.fmin(
        lambda params: 0.0, NESTED, hyperopt.rand.suggest, 30, trials=trials,
        rstate=np.random.default_rng(4), show_progressbar=False, verbose=False,
    )  # fmt: skip
    for trial in trials:
        labels = {k: v[0] for k, v in trial["misc"]["vals"].items() if v}
        params = hyperopt.space_eval(NESTED, labels)
        again = space.decode(space.encode(params))
        first, second = _flat(again), _flat(params)
        assert set(first) == set(second)
        for name, value in second.items():
            is_float = isinstance(value, float)
            assert first[name] == (pytest.approx(value, rel=1e-5) if is_float else value), name
        assert type(again["model"]) is type(params["model"])


def _flat(value, path=""):
    if isinstance(value, dict):
        return {k: v for key in value for k, v in _flat(value[key], f"{path}.{key}").items()}
    if isinstance(value, tuple):
        return {k: v for i, item in enumerate(value) for k, v in _flat(item, f"{path}.{i}").items()}
    return {path: value}


def test_one_parameter_may_serve_two_branches_but_not_one_configuration():
    rate = hp.uniform("rate", 0, 1)
    space = from_hyperopt(hp.choice("m", [{"a": rate}, {"b": rate, "c": 1}]))
    assert {tuple(params) for params in draw(space, 50)} == {("a",), ("b", "c")}
    with pytest.raises(
        ValueError, match=r"from_hyperopt: `space\['b'\]` must be a space that uses "
    ):
        from_hyperopt({"a": rate, "b": rate})


def test_nested_choices_of_nested_choices():
    def inner(label):
        return hp.choice(
            label, [{"x": hp.uniform(label + "0", 0, 1)}, {"x": hp.randint(label + "1", 4)}]
        )

    graph = hp.choice("outer", [{"c": inner("p")}, {"c": inner("q")}])
    kinds = {type(params["c"]["x"]) for params in draw(from_hyperopt(graph), 60)}
    assert kinds == {float, int}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: {"a": hp.uniform("x", 0, 1), "b": hp.uniform("x", 0, 2)},
            r"`space\['b'\]` must be a space whose labels are unique, got 'x'",
        ),
        (
            lambda: {"a": hp.uniform("x", 0, 1) * 2},
            r"`space\['a'\]` must be one of hp.uniform.*mul",
        ),
        (
            lambda: {"a": hp.uniform("x", 0, hp.uniform("y", 1, 2))},
            r"`space\['a'\]\.high` must be a constant",
        ),
        (lambda: {"a": hp.uniform("x", 0, 1, size=3)}, r"`space\['a'\]` must be one of hp.uniform"),
        (
            lambda: scope.int(hp.uniform("x", 0, 9)),
            "`space` must be a quantized law under scope.int, got 'a continuous one'",
        ),
        (lambda: scope.int(hp.qnormal("x", 0, 9, 1)), "`space` must be free of scope.int over a n"),
        (lambda: scope.int(hp.quniform("x", 0, 9, 0.5)), "`space` must be quantized by an integer"),
        (lambda: hp.uniform("x", 0, float("inf")), r"`space\.high` must be finite, got inf"),
        (lambda: hp.loguniform("x", 0, 1e5), "`space` must be bounded by logarithms within"),
        (lambda: hp.quniform("x", 0.1, 0.4, 0.5), "`space` must be an interval that holds a multi"),
        (lambda: hp.quniform("x", 0, 1, 0), "`space` must be quantized by a `q` greater than 0"),
        (lambda: hp.normal("x", 0, 0), "`space` cannot be read: normal: `std` must be greater"),
        (lambda: hp.choice("x", []), "`space` cannot be read: choice: `options` must be"),
    ],
)
def test_bad_input_is_named(build, message):
    with pytest.raises(ValueError, match=r"from_hyperopt: " + message):
        from_hyperopt(build())


def test_a_bound_that_is_no_number_is_named():
    with pytest.raises(
        TypeError, match=r"from_hyperopt: `space\.low` must be a real number, got 'a"
    ):
        from_hyperopt(hp.uniform("x", "a", "b"))
