"""Fronts, ranks, crowding and volumes: against definitions written out, and against Optuna's."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo import pareto

N = 24


def dominates(a, b):
    return (a <= b).all() and (a < b).any()


def brute_ranks(value, violation):
    """Front by front, pair by pair; failed points come last."""
    violation = np.maximum(violation, 0)
    left = {i for i in range(len(value)) if np.isfinite(value[i]).all()}
    rank = np.full(len(value), len(value))

    def beats(i, j):
        if violation[i] != violation[j]:
            return violation[i] < violation[j]
        return violation[i] == 0 and dominates(value[i], value[j])

    for number in itertools.count():
        if not left:
            return rank
        front = {j for j in left if not any(beats(i, j) for i in left)}
        rank[list(front)] = number
        left -= front


def sample(m, seed, levels=None):
    """Points, some of them equal in a coordinate or altogether; two failed."""
    rng = np.random.default_rng(seed)
    value = rng.normal(size=(N, m))
    if levels:
        value = np.round(value * levels) / levels
    value[3], value[4, 0], value[5, m - 1] = value[2], np.nan, np.inf
    return value.astype(np.dtype(jnp.result_type(float)))


@pytest.fixture(
    scope="module",
    params=[2, 3, *(pytest.param(m, marks=pytest.mark.slow) for m in (1, 5))],
)
def tools(request):
    """All functions of one number of objectives as one program."""

    @jax.jit
    def run(value, violation):
        rank = pareto.ranks(value, violation)
        front = pareto.front_mask(value, violation)
        return rank, front, pareto.crowding_distance(value, rank), pareto.front_mask(value)

    return request.param, run


@pytest.mark.parametrize("levels", [None, 2])
def test_ranks_and_fronts_are_those_of_the_definition(tools, levels):
    m, run = tools
    for seed in range(5):
        value = sample(m, seed, levels)
        violation = np.random.default_rng(seed).integers(-2, 3, N).astype(value.dtype)
        for broken in (0 * violation, violation, 1 + abs(violation)):
            rank, front, _, _ = run(value, broken)
            expected = brute_ranks(value, broken)
            np.testing.assert_array_equal(rank, expected)
            np.testing.assert_array_equal(front, (expected == 0) & (broken <= 0))


def test_ranks_and_crowding_are_those_of_optuna(tools):
    from optuna.samplers.nsgaii import _elite_population_selection_strategy as elite
    from optuna.study._multi_objective import _fast_non_domination_rank
    from optuna.trial import create_trial

    m, run = tools
    value = np.random.default_rng(7).normal(size=(N, m)).astype(np.dtype(jnp.result_type(float)))
    rank, front, distance, plain = run(value, np.zeros(N, value.dtype))
    np.testing.assert_array_equal(rank, _fast_non_domination_rank(value.astype(np.float64)))
    np.testing.assert_array_equal(front, plain)
    for number in range(int(rank.max()) + 1):
        rows = np.flatnonzero(rank == number)
        if len(rows) == 1:  # infinite here, as in the paper; zero there
            assert np.isinf(distance[rows[0]])
            continue
        trials = [create_trial(values=[float(v) for v in value[i]]) for i in rows]
        for trial, i in zip(trials, rows, strict=True):
            trial.number = int(i)
        theirs = elite._calc_crowding_distance(trials)
        expected = np.asarray([theirs[i] for i in rows])
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(distance[rows]), finite)
        np.testing.assert_allclose(distance[rows][finite], expected[finite], rtol=1e-4)


def test_a_front_without_extent_has_no_nan():
    value = jnp.asarray([[1.0, 5.0], [1.0, 5.0], [1.0, 5.0], [2.0, 6.0], [jnp.nan, 0.0]])
    distance = pareto.crowding_distance(value, pareto.ranks(value))
    assert not np.isnan(distance).any()
    assert pareto.front_mask(value).tolist() == [True, True, True, False, False]


def test_a_nan_violation_comes_last():
    value = jnp.zeros((3, 2))
    violation = jnp.asarray([jnp.nan, 5.0, 0.0])
    assert pareto.ranks(value, violation).tolist() == [2, 1, 0]
    assert pareto.front_mask(value, violation).tolist() == [False, False, True]


def brute_volume(value, corner):
    """Inclusion and exclusion over all subsets."""
    value = [v for v in value if np.isfinite(v).all() and (v < corner).all()]
    total = 0.0
    for size in range(1, len(value) + 1):
        for chosen in itertools.combinations(value, size):
            total -= (-1) ** size * np.prod(corner - np.max(chosen, axis=0))
    return total


@pytest.mark.parametrize("m", [1, 2, 3, 4, 6])
def test_hypervolume_is_that_of_the_definition_and_of_optuna(m):
    from optuna._hypervolume import compute_hypervolume

    corner = np.linspace(1.0, 1.5, m)
    run = jax.jit(pareto.hypervolume) if m <= 3 else pareto.hypervolume
    for seed, levels in itertools.product(range(3), (None, 2)):
        few = sample(m, seed, levels)[:10]
        expected = brute_volume(few.astype(np.float64), corner)
        np.testing.assert_allclose(run(few, corner), expected, rtol=1e-4, atol=1e-6)
        many = np.random.default_rng(seed).random((N, m))
        expected = compute_hypervolume(many, corner)
        np.testing.assert_allclose(run(many.astype(few.dtype), corner), expected, rtol=1e-4)


def test_hypervolume_of_nothing_and_of_one_point():
    corner = jnp.ones(2)
    assert pareto.hypervolume(jnp.zeros((0, 2)), corner) == 0
    assert pareto.hypervolume(jnp.full((3, 2), jnp.nan), corner) == 0
    assert pareto.hypervolume(jnp.asarray([[1.0, 0.0]]), corner) == 0
    np.testing.assert_allclose(pareto.hypervolume(jnp.full((1, 3), 0.5), jnp.ones(3)), 0.125)


def test_hypervolume_has_the_gradient_of_its_edges():
    # Moving the middle point down by h wins h times the width of its own strip.
    value = jnp.asarray([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]])
    gradient = jax.grad(pareto.hypervolume)(value, jnp.asarray([3.0, 3.0]))
    np.testing.assert_allclose(gradient, [[-1, -1], [-1, -1], [-1, -1]])


def test_directions_are_spread_over_the_simplex():
    rows = pareto.reference_directions(3, 12)
    assert len(rows) == 91
    assert len(np.unique(rows, axis=0)) == 91
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    assert (rows >= 0).all()
    assert pareto.reference_directions(1, 4).tolist() == [[1.0]]


def test_errors_name_the_argument():
    value = jnp.zeros((3, 2))
    with pytest.raises(ValueError, match=r"ranks: `value` must be of shape \[n, m\]"):
        pareto.ranks(jnp.zeros(3))
    with pytest.raises(ValueError, match=r"front_mask: `violation` must be of shape \[3\]"):
        pareto.front_mask(value, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"crowding_distance: `rank` must be of shape \[3\]"):
        pareto.crowding_distance(value, jnp.zeros(2, jnp.int32))
    with pytest.raises(ValueError, match=r"hypervolume: `reference` must be of shape \[2\]"):
        pareto.hypervolume(value, jnp.zeros(3))
    with pytest.raises(TypeError, match="at most 3 objectives under a transformation, got 4"):
        jax.jit(pareto.hypervolume)(jnp.zeros((3, 4)), jnp.ones(4))
    with pytest.raises(ValueError, match="`divisions` must be at least 1"):
        pareto.reference_directions(3, 0)
