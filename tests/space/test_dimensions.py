"""Each dimension against a closed form or SciPy: ends, steps, scales, probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxhpo as hpo

DTYPE = jnp.result_type(float)
RTOL = 1e-12 if jnp.float64 == DTYPE else 2e-6
UNIT = jnp.linspace(0.0, 1.0, 2001, dtype=DTYPE)


def test_uniform_is_affine():
    values = hpo.uniform(-3.0, 5.0).from_unit(UNIT)
    np.testing.assert_allclose(values, -3.0 + 8.0 * np.asarray(UNIT), rtol=RTOL, atol=1e-6)


def test_log_uniform_matches_scipy():
    values = hpo.log_uniform(1e-6, 10.0).from_unit(UNIT)
    expected = scipy.stats.loguniform(1e-6, 10.0).ppf(np.asarray(UNIT, np.float64))
    np.testing.assert_allclose(values, expected, rtol=10 * RTOL)


@pytest.mark.parametrize(("low", "high"), [(1e-4, 0.1), (1e-8, 1e8), (3.0, 7.0), (0.3, 0.3)])
@pytest.mark.parametrize("make", [hpo.uniform, hpo.log_uniform])
def test_both_ends_are_exact(make, low, high):
    dimension = make(low, high)
    ends = dimension.from_unit(jnp.asarray([0.0, 1.0], DTYPE))
    np.testing.assert_array_equal(ends, np.asarray([low, high], DTYPE))
    assert dimension.to_python(np.asarray(ends)) == [low, high]


@pytest.mark.parametrize(
    "dimension",
    [
        hpo.uniform(-1e30, 1e30),
        hpo.uniform(1e6, 1e6 + 1),
        hpo.log_uniform(1e-30, 1e30),
        hpo.normal(3.0, 0.5),
        hpo.log_normal(0.0, 1.0),
    ],
)
def test_continuous_values_stay_in_bounds_and_rise(dimension):
    values = np.asarray(dimension.from_unit(UNIT))
    assert np.all(np.isfinite(values))
    assert np.all(np.diff(values) >= 0)
    low, high = np.asarray([dimension.low, dimension.high], values.dtype)
    slack = 1e-5 * (high - low) if "normal" in dimension.describe()["kind"] else 0
    assert values.min() >= low - slack
    assert values.max() <= high + slack


@pytest.mark.parametrize(
    ("dimension", "oracle"),
    [
        (hpo.normal(2.0, 3.0), lambda u: scipy.stats.truncnorm(-4, 4, 2.0, 3.0).ppf(u)),
        (hpo.log_normal(-1.0, 0.5), lambda u: np.exp(scipy.stats.truncnorm(-4, 4, -1, 0.5).ppf(u))),
    ],
)
def test_normals_match_scipys_truncated_normal(dimension, oracle):
    # float32 keeps the tails to about 1e-3 standard deviations, float64 to rounding.
    tolerance = 1e-9 if jnp.float64 == DTYPE else 2e-3
    values = dimension.from_unit(UNIT)
    np.testing.assert_allclose(values, oracle(np.asarray(UNIT, np.float64)), rtol=tolerance)


@pytest.mark.parametrize(
    ("low", "high", "step", "grid"),
    [
        (0.0, 1.0, 0.1, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (-0.25, 0.6, 0.25, [-0.25, 0.0, 0.25, 0.5]),
        (5.0, 5.0, 1.0, [5.0]),
        (0.05, 0.95, 0.3, [0.05, 0.35, 0.65, 0.95]),
    ],
)
def test_quantized_visits_exactly_its_grid_equally_often(low, high, step, grid):
    dimension = hpo.quantized(low, high, step)
    unit = (np.arange(4400) + 0.5) / 4400
    found = dimension.to_python(np.asarray(dimension.from_unit(jnp.asarray(unit, DTYPE))))
    values, counts = np.unique(found, return_counts=True)
    assert values.tolist() == grid
    assert counts.max() - counts.min() <= 1


def test_quantized_arrays_never_exceed_the_last_grid_point():
    for step in (0.1, 0.3, 0.7, 1 / 3):
        dimension = hpo.quantized(0.0, 9 * step, step)
        values = dimension.from_unit(UNIT)
        assert float(values.max()) <= np.asarray(9 * step, values.dtype)


def test_integers_are_equally_likely_and_inclusive():
    values = np.asarray(hpo.integer(-2, 7, step=3).from_unit(UNIT))
    assert values.dtype == np.int32
    numbers, counts = np.unique(values, return_counts=True)
    assert numbers.tolist() == [-2, 1, 4, 7]
    assert counts.max() - counts.min() <= 1


def test_log_integers_get_the_log_length_of_their_cell():
    dimension = hpo.integer(1, 20, log=True)
    unit = (jnp.arange(200_000, dtype=DTYPE) + 0.5) / 200_000
    _, counts = np.unique(np.asarray(dimension.from_unit(unit)), return_counts=True)
    k = np.arange(1, 21)
    expected = np.log((k + 0.5) / (k - 0.5)) / np.log(20.5 / 0.5)
    np.testing.assert_allclose(counts / 200_000, expected, atol=2e-5)


def test_stepped_normal_is_the_rounded_normal():
    dimension = hpo.normal(1.0, 2.0, step=0.5)
    unit = (np.arange(100_000) + 0.5) / 100_000
    values = dimension.to_python(np.asarray(dimension.from_unit(jnp.asarray(unit, DTYPE))))
    numbers, counts = np.unique(values, return_counts=True)
    assert np.all(numbers % 0.5 == 0)
    law = scipy.stats.truncnorm(-4, 4, 1.0, 2.0)
    np.testing.assert_allclose(
        counts / 100_000, law.cdf(numbers + 0.25) - law.cdf(numbers - 0.25), atol=1e-4
    )


def test_choice_weights_are_probabilities():
    dimension = hpo.choice(["a", "b", "c"], weights=[1, 2, 7])
    unit = (jnp.arange(10_000, dtype=DTYPE) + 0.5) / 10_000
    counts = np.bincount(np.asarray(dimension.from_unit(unit)))
    np.testing.assert_allclose(counts / 10_000, [0.1, 0.2, 0.7], atol=2e-4)


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ([32, 64, 128], np.int32),
        ([0.1, 2, 0.3], DTYPE),
        ([True, False], np.bool_),
        (["a", None, True, 3], np.int32),
        ([2**40, 1], np.int32),
        ([1.0, 1.0 + 1e-9], np.int32),  # float32 cannot tell these apart: index form
    ],
)
def test_choice_array_forms(options, dtype):
    space = hpo.Space({"x": options})
    values = space.from_unit(space.from_levels(jnp.arange(len(options))[:, None]))
    assert values["x"].dtype == dtype
    decoded = [row["x"] for row in space.decode(values)]
    assert decoded == options
    assert [type(item) for item in decoded] == [type(item) for item in options]


def test_ordinal_features_keep_uneven_distances():
    space = hpo.Space({"batch": hpo.ordinal([1, 10, 1000]), "grade": hpo.ordinal(["c", "b", "a"])})
    unit = space.from_levels(jnp.asarray([[0, 0], [1, 1], [2, 2]]))
    expected = [[0.0, 0.0], [9 / 999, 0.5], [1.0, 1.0]]
    np.testing.assert_allclose(space.features(unit), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "dimension",
    [
        hpo.quantized(0.0, 1.0, 0.05),
        hpo.quantized(0.5, 64.5, 2.0, log=True),
        hpo.integer(-5, 40),
        hpo.integer(1, 4096, log=True),
        hpo.normal(0.0, 1.0, step=0.25),
        hpo.log_normal(2.0, 1.0, step=1.0),
        hpo.choice(["a", "b", "c"], weights=[0.001, 1, 1]),
        hpo.ordinal([1, 2, 8, 100]),
        hpo.static(["x", "y", "z"]),
    ],
)
def test_every_level_round_trips(dimension):
    levels = jnp.arange(dimension.num_levels, dtype=jnp.int32)
    unit = dimension.unit_of_level(levels, DTYPE)
    np.testing.assert_array_equal(dimension.level(unit), levels)
    value = dimension.value_of_level(levels, DTYPE)
    np.testing.assert_array_equal(dimension.level_of_value(value), levels)
    np.testing.assert_array_equal(dimension.snap(unit), unit)
    assert np.all(np.diff(np.asarray(unit)) > 0)


def test_bounds_may_be_traced():
    def midpoint(low, high):
        return hpo.Space({"x": hpo.uniform(low, high)}).from_unit(jnp.asarray([0.5], DTYPE))["x"]

    lows, highs = jnp.asarray([0.0, 1.0]), jnp.asarray([1.0, 5.0])
    np.testing.assert_allclose(jax.vmap(midpoint)(lows, highs), [0.5, 3.0])
