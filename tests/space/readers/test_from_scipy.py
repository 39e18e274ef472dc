import numpy as np
import pytest
from scipy import optimize

from jaxhpo.space import from_scipy
from tests.space.readers.foreign_draws import draw, same_law

PAIRS = [(-5.0, 10.0), (0.0, 15.0)]


@pytest.mark.parametrize(
    "bounds", [PAIRS, np.asarray(PAIRS), optimize.Bounds([-5.0, 0.0], [10.0, 15.0])]
)
def test_every_form_of_bounds_gives_scipys_x(bounds):
    x = np.asarray(draw(from_scipy(bounds)))
    assert x.shape == (4000, 2)
    rng = np.random.default_rng(0)
    for column, (low, high) in zip(x.T, PAIRS, strict=True):
        same_law(column, rng.uniform(low, high, 4000))
        assert low <= column.min()
        assert column.max() <= high


def test_the_ends_are_scipys_ends():
    space = from_scipy(PAIRS)
    assert space.decode(space.from_unit(np.zeros(2))) == (-5.0, 0.0)
    assert space.decode(space.from_unit(np.ones(2))) == (10.0, 15.0)
    solution = optimize.minimize(lambda x: -x.sum(), [0.0, 1.0], bounds=PAIRS, method="L-BFGS-B")
    assert space.decode(space.encode(tuple(solution.x))) == tuple(solution.x) == (10.0, 15.0)


def test_names_make_a_dict_and_bounds_broadcast():
    space = from_scipy(optimize.Bounds(0.0, [1.0, 2.0]), names=["x", "y"])
    assert space.names == ("x", "y")
    assert space.decode(space.from_unit(np.ones(2))) == {"x": 1.0, "y": 2.0}


def test_integrality_rounds_inwards_as_differential_evolution_does():
    bounds = [(0.5, 3.5), (-1.5, 1.5)]
    ours = draw(from_scipy(bounds, integrality=[True, False]))
    assert {x[0] for x in ours} == {1, 2, 3}
    seen = []
    optimize.differential_evolution(
        lambda x: seen.append(x[0]) or 0.0, bounds, integrality=[True, False], maxiter=3, seed=0
    )
    assert set(seen) == {1.0, 2.0, 3.0}
    assert {type(v) for x in draw(from_scipy([(0, 9)] * 2, integrality=1), 9) for v in x} == {int}


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (
            [(0, None)],
            r"`bounds\[0\]` must be bounded on both sides .*finite high.*got \(0, None\)",
        ),
        ([(0, 1), (-np.inf, 1)], r"`bounds\[1\]` must be bounded on both sides .*finite low"),
        ([(0, np.nan)], r"`bounds\[0\]` must be finite, got nan"),
        ([(2, 1)], r"`bounds\[0\]` cannot be read: uniform: `low` must not exceed `high`"),
        ([(0, 1, 2)], r"`bounds\[0\]` must be a \(low, high\) pair, got \(0, 1, 2\)"),
        ([], "`bounds` must be at least one"),
        (optimize.Bounds([0.0], [np.inf]), r"`bounds\[0\]` must be bounded on both sides"),
    ],
)
def test_bad_bounds_are_named(bounds, message):
    with pytest.raises(ValueError, match=r"from_scipy: " + message):
        from_scipy(bounds)


def test_other_bad_input_is_named():
    with pytest.raises(TypeError, match=r"from_scipy: `bounds` must be a sequence.*got 3"):
        from_scipy(3)
    with pytest.raises(
        TypeError, match=r"from_scipy: `bounds\[0\]` must be a real number, got 'a'"
    ):
        from_scipy([("a", 1)])
    with pytest.raises(ValueError, match=r"from_scipy: `names` must be 2 distinct strings"):
        from_scipy(PAIRS, names=["x", "x"])
    with pytest.raises(TypeError, match=r"from_scipy: `names` must be a list of strings"):
        from_scipy(PAIRS, names="xy")
    with pytest.raises(ValueError, match=r"from_scipy: `integrality` must be 2 booleans"):
        from_scipy(PAIRS, integrality=[1, 2])
    with pytest.raises(
        ValueError, match=r"`bounds\[0\]` must be an interval that holds an integer"
    ):
        from_scipy([(0.2, 0.8)], integrality=True)
