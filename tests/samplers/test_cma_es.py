"""CMA-ES: the `cmaes` library is the oracle of the update, from the same samples."""

import dataclasses
import functools

import cmaes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.samplers.evolutionary import _cma_update as cma
from jaxhpo.samplers.evolutionary._cma_restart import first_restarts

D = 4
GENERATIONS = 25


def tolerance():
    return 1e-9 if jax.config.jax_enable_x64 else 5e-3


def value_of(point):
    return float(np.sum(np.arange(1, D + 1) ** 2 * (point - 0.3) ** 2) + point[0] * point[1])


def weights_of(constants, values):
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return jnp.asarray(np.asarray(constants.weights)[rank])


@functools.lru_cache
def compiled():
    return jax.jit(cma.update), jax.jit(cma.correct_margin)


def turn_into_ours(gaussian):
    """Orthogonal matrix `[d, d]` from whitened coordinates of `cmaes` to ours.

    It whitens by the symmetric root, we do by the triangular one.
    """
    if gaussian.is_separable:
        return np.eye(D)
    variances, basis = np.linalg.eigh(np.asarray(gaussian.cov, float))
    turn = np.linalg.solve(np.asarray(gaussian.root, float), basis * np.sqrt(variances) @ basis.T)
    np.testing.assert_allclose(turn @ turn.T, np.eye(D), atol=tolerance() / 10)
    return turn


def with_path_of(theirs, gaussian):
    """Our distribution with their path of the step size, and the turn between the two.

    The turn changes with the covariance, from one generation to the next; what the path means does
    not, so the two algorithms are alike in a generation, and differ a little over many.
    """
    turn = turn_into_ours(gaussian)
    path = jnp.asarray(turn @ theirs._p_sigma, gaussian.mean.dtype)
    return dataclasses.replace(gaussian, path_sigma=path), turn


VARIANTS = {
    "full": (cmaes.CMA, {}, {"separable": False, "adapts_rates": False}),
    "rates": (cmaes.CMA, {"lr_adapt": True}, {"separable": False, "adapts_rates": True}),
    "separable": (cmaes.SepCMA, {}, {"separable": True, "adapts_rates": False}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_update_is_that_of_cmaes(variant):
    """25 generations from the same samples, with a population buffer larger than needed."""
    make, settings, ours = VARIANTS[variant]
    theirs = make(np.full(D, 0.5), 0.2, seed=1, **settings)
    size, dtype = theirs.population_size, jnp.result_type(float)
    constants = cma.strategy(jnp.asarray(size, jnp.int32), 3 * size, D, separable=ours["separable"])
    cov = jnp.ones(D, dtype) if ours["separable"] else jnp.eye(D, dtype=dtype)
    gaussian = cma.new_gaussian(jnp.full(D, 0.5, dtype), jnp.asarray(0.2, dtype), cov, **ours)
    update, _ = compiled()
    # float32 cannot follow for long: rounding changes the path.
    for _ in range(GENERATIONS if jax.config.jax_enable_x64 else 4):
        points = np.stack([theirs.ask() for _ in range(size)])
        values = [value_of(point) for point in points]
        gaussian, turn = with_path_of(theirs, gaussian)
        gaussian = update(
            gaussian, constants, jnp.asarray(points, dtype), weights_of(constants, values)
        )
        theirs.tell(list(zip(points, values, strict=True)))
    for found, expected in (
        (gaussian.mean, theirs._mean),
        (gaussian.sigma, theirs._sigma),
        (gaussian.cov, theirs._C),
        (gaussian.path_sigma, turn @ theirs._p_sigma),
        (gaussian.path_cov, theirs._pc),
    ):
        np.testing.assert_allclose(found, expected, rtol=tolerance(), atol=tolerance())


def test_a_covariance_that_rounding_has_spoilt_is_lifted():
    """Eigenvalues that are negative, or lost beside the largest, become small; others stay."""
    dtype, rng = jnp.result_type(float), np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(D, D)))[0]
    cov = jnp.asarray(basis * [-1e-3, 0.0, 2.0, 5.0] @ basis.T, dtype)
    zero, one = jnp.zeros(D, dtype), jnp.ones((), dtype)
    make = jax.jit(
        jax.vmap(lambda cov: cma.new_gaussian(zero, one, cov, separable=False, adapts_rates=False))
    )
    both = make(jnp.stack([cov, cov + jnp.eye(D, dtype=dtype)]))
    lifted, sound = (jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in range(2))
    for gaussian in (lifted, sound):
        product = np.asarray(gaussian.root) @ np.asarray(gaussian.root).T
        np.testing.assert_allclose(product, gaussian.cov, atol=1e-5)
        assert np.array_equal(gaussian.root, np.tril(gaussian.root))
    np.testing.assert_array_equal(sound.cov, cov + jnp.eye(D, dtype=dtype))
    variances = np.linalg.eigvalsh(np.asarray(lifted.cov, float))
    assert 0 < variances[0] <= variances[1] < 1e-3
    np.testing.assert_allclose(variances[2:], [2.0, 5.0], rtol=1e-4)
    assert not bool(cma.is_stuck(sound, one))


def test_a_flat_covariance_is_stuck():
    """Above a condition number of 1e14, in whatever coordinates."""
    dtype, d = jnp.result_type(float), 3
    mean, one = jnp.full(d, 0.5, dtype), jnp.ones((), dtype)
    for spread, expected in ((1e-12, False), (1e-15, True)):
        cov = jnp.diag(jnp.asarray([1.0, 1.0, spread], dtype))
        gaussian = cma.new_gaussian(mean, one, cov, separable=False, adapts_rates=False)
        assert bool(cma.is_stuck(gaussian, one)) == expected


def test_margin_is_that_of_cmaes():
    """Discrete coordinates of 5 and 3 values beside real ones, until steps are small."""
    theirs = cmaes.CMAwM(
        np.full(D, 0.5),
        0.3,
        np.asarray([[0.0, 1.0], [0.1, 0.9], [0.0, 1.0], [1 / 6, 5 / 6]]),
        np.asarray([0.0, 0.2, 0.0, 1 / 3]),
        seed=3,
    )
    space = hpo.Space(
        {
            "a": hpo.uniform(0.0, 1.0),
            "b": hpo.integer(0, 4),
            "c": hpo.uniform(0.0, 1.0),
            "d": hpo.integer(0, 2),
        }
    )
    size, dtype = theirs.population_size, jnp.result_type(float)
    constants = cma.strategy(jnp.asarray(size, jnp.int32), size, D, separable=False)
    gaussian = cma.new_gaussian(
        jnp.full(D, 0.5, dtype),
        jnp.asarray(0.3, dtype),
        jnp.eye(D, dtype=dtype),
        separable=False,
        adapts_rates=False,
    )
    update, margin = compiled()
    is_discrete = jnp.asarray([False, True, False, True])
    edges = [np.arange(6) / 5, np.arange(4) / 3]
    for _ in range(40 if jax.config.jax_enable_x64 else 4):
        pairs = [theirs.ask() for _ in range(size)]
        values = [value_of(encoded) for encoded, _ in pairs]
        points = np.stack([raw for _, raw in pairs])
        gaussian, _ = with_path_of(theirs._cma, gaussian)
        gaussian = update(
            gaussian, constants, jnp.asarray(points, dtype), weights_of(constants, values)
        )
        low, high = np.zeros(D), np.ones(D)
        for column, ends in zip((1, 3), edges, strict=True):
            cell = np.clip(
                np.searchsorted(ends, float(gaussian.mean[column])) - 1, 0, len(ends) - 2
            )
            low[column], high[column] = ends[cell], ends[cell + 1]
        gaussian = margin(
            gaussian,
            jnp.asarray(low, dtype),
            jnp.asarray(high, dtype),
            is_discrete,
            jnp.asarray(1 / (D * size), dtype),
        )
        theirs.tell([(raw, value) for (_, raw), value in zip(pairs, values, strict=True)])
        # What both would evaluate for one raw point is the same.
        raw = jnp.asarray(points[0], dtype)
        stretched = gaussian.mean + (raw - gaussian.mean) * gaussian.stretch
        found = space.snap(jnp.clip(stretched, 0, 1))
        expected = theirs._encode_discrete_params(points[0, [1, 3]])
        np.testing.assert_allclose(np.asarray(found)[[1, 3]], expected, atol=1e-6)
    np.testing.assert_allclose(gaussian.mean, theirs._cma._mean, rtol=1e-4, atol=tolerance())
    np.testing.assert_allclose(gaussian.stretch, theirs._A, rtol=max(1e-6, tolerance()))


@pytest.mark.slow
def test_restarts_double_the_population():
    """A flat objective is over after 10 + 30 d/λ generations, whatever the rule."""
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)})

    def objective(key, params):
        return 0.0 * params["x"] + 1.0

    sampler = hpo.samplers.cma_es(space, batch_size=8, max_doublings=2)
    info = hpo.minimize(objective, space, sampler, key=0, num_trials=8 * 150).info
    assert list(dict.fromkeys(np.asarray(info.population_size).tolist())) == [8, 16, 32]
    first = int(np.argmax(np.asarray(info.num_restarts) > 0))
    assert 10 + int(np.ceil(60 / 8)) <= first + 1 <= 12 + int(np.ceil(60 / 8))
    assert int(info.num_restarts[-1]) >= 3, "no restart at the largest population"


@pytest.mark.parametrize("settings", [{}, {"separable": True}], ids=["full", "separable"])
def test_without_restarts_it_goes_on_where_it_has_converged(settings):
    """In float32 all points of a generation are the same after a while, and C underflows."""
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
    sampler = hpo.samplers.cma_es(
        space, batch_size=20, population_size=20, restarts="none", **settings
    )

    def generation(state, key):
        state, unit = sampler.ask(key, state)
        state, _ = sampler.tell(key, state, unit, hpo.Outcome((unit[:, 0] - 0.37) ** 2))
        return state, unit

    keys = jax.random.split(jax.random.key(0), 600)
    start = sampler.init(jax.random.key(1))
    state, unit = jax.jit(lambda state: jax.lax.scan(generation, state, keys))(start)
    assert np.isfinite(np.asarray(unit)).all()
    assert cma.is_sound(state.gaussian)
    np.testing.assert_allclose(unit[-1], 0.37, atol=1e-6)


def test_bipop_alternates():
    restarts = first_restarts(10, 2)
    sizes, small = [], []
    for number in range(6):
        restarts, factor = restarts.restarted(jax.random.key(number), "bipop", 10, 160)
        restarts = restarts.record(jnp.asarray(1, jnp.int32), *jnp.zeros(2))
        sizes.append(int(restarts.size))
        small.append(bool(restarts.is_small))
        assert (float(factor) < 1) == small[-1]
    assert [size for size, is_small in zip(sizes, small, strict=True) if not is_small] == sorted(
        {size for size, is_small in zip(sizes, small, strict=True) if not is_small}
    )
    assert any(small)
    assert not all(small)
    assert all(
        4 <= size <= 160 and (not is_small or size < 160)
        for size, is_small in zip(sizes, small, strict=True)
    )


def test_source_is_that_of_cmaes():
    rng = np.random.default_rng(0)
    points, space = rng.random((57, D)), hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(D,))})
    values = np.sum((points - 0.4) ** 2 * [1, 5, 1, 9], axis=1)
    mean, sigma, cov = cmaes.get_warm_start_mgd(list(zip(points, values, strict=True)))
    first = hpo.samplers.cma_es(space, source=(points, values)).init.args[0].first
    for found, expected in ((first.mean, mean), (first.sigma, sigma), (first.cov, cov)):
        np.testing.assert_allclose(found, expected, rtol=1e-5 if tolerance() > 1e-4 else 1e-9)


@pytest.mark.parametrize("restarts", ["none", "ipop"])
def test_a_generation_told_at_once_counts_as_one_told_by_and_by(restarts):
    """The way without buffers is taken where all is told in order, and leads to the same place."""
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(2,)), "n": hpo.integer(0, 6)})
    sampler = hpo.samplers.cma_es(space, batch_size=7, restarts=restarts)
    ask, tell = jax.jit(sampler.ask), jax.jit(sampler.tell)
    key = jax.random.key(0)
    at_once = by_and_by = sampler.init(key)
    for number in range(5):
        key_ask = jax.random.fold_in(key, number)
        at_once, unit = ask(key_ask, at_once)
        by_and_by, same = ask(key_ask, by_and_by)
        np.testing.assert_allclose(unit, same, atol=1e-6)
        value = jnp.sum((unit - 0.2) ** 2, axis=1).at[2].set(jnp.nan)
        outcome = hpo.Outcome(value, violation=jnp.maximum(unit[:, 0] - 0.6, 0))
        at_once, info = tell(key, at_once, unit, outcome)
        for part in ([5, 0, 3, 2], [6, 4, 1]):
            rows = jnp.asarray(part)
            some = hpo.Outcome(value[rows], violation=outcome.violation[rows])
            by_and_by, slow = tell(key, by_and_by, same[rows], some)
        assert int(info.generation) == int(slow.generation) == number + 1
        assert int(at_once.rows.seen.num_rows) == 0
        for fast, other in zip(jax.tree.leaves(info), jax.tree.leaves(slow), strict=True):
            np.testing.assert_allclose(fast, other, rtol=1e-5)
    pairs = zip(
        jax.tree.leaves((at_once.gaussian, at_once.restarts)),
        jax.tree.leaves((by_and_by.gaussian, by_and_by.restarts)),
        strict=True,
    )
    for fast, other in pairs:
        np.testing.assert_allclose(fast, other, atol=10 * tolerance() / 1e3, rtol=1e-4)


def test_strangers_after_a_whole_generation_count_where_they_are():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(2,))})
    sampler = hpo.samplers.cma_es(space, batch_size=4, population_size=4, restarts="none")
    tell, key = jax.jit(sampler.tell), jax.random.key(0)
    state, unit = jax.jit(sampler.ask)(key, sampler.init(key))
    outcome = hpo.Outcome(jnp.arange(4, dtype=unit.dtype))
    strangers = jnp.asarray([[0.9, 0.9], [0.8, 0.9], [0.9, 0.8], [0.85, 0.85]], unit.dtype)
    means = []
    for order in ([0, 1, 2, 3], [1, 0, 3, 2]):
        rows = jnp.asarray(order)
        after, _ = tell(key, state, unit[rows], hpo.Outcome(outcome.value[rows]))
        after, info = tell(key, after, strangers, outcome)
        assert int(info.generation) == 2
        means.append(after.gaussian.mean)
    np.testing.assert_allclose(*means, atol=1e-5)


def test_a_draw_that_only_left_the_bounds_is_kept():
    """One that breaks a constraint later does not replace it."""
    space = hpo.Space(
        {"x": hpo.uniform(0.0, 1.0, shape=(12,))},
        constraints=[lambda p: p["x"][..., :6].sum(-1) < p["x"][..., 6:].sum(-1)],
    )
    sampler = hpo.samplers.cma_es(space, mean=np.zeros(12))
    ask, key = jax.jit(sampler.ask), jax.random.key(0)
    state = sampler.init(key)
    rows = np.concatenate([ask(jax.random.fold_in(key, i), state)[1] for i in range(40)])
    assert (rows == 0).any(axis=1).all(), "moved to the bounds, not drawn at random"


@pytest.mark.parametrize("case", ["pending", "strange", "told", "fewer"])
def test_only_the_whole_generation_in_order_goes_the_short_way(case):
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(2,))})
    rows = hpo.samplers.cma_es(space, batch_size=4).init(jax.random.key(0)).rows
    unit = jnp.asarray(np.random.default_rng(0).random((4, 2)), jnp.result_type(float))
    zero = jnp.zeros((), jnp.int32)
    rows = rows.ask(unit, unit, zero)
    assert bool(rows.are_just(unit))
    if case == "pending":
        assert not bool(rows.ask(unit[0] / 2, unit[0] / 2, zero).are_just(unit))
    if case == "strange":
        assert not bool(rows.are_just(unit.at[3, 1].add(0.01)))
        assert not bool(rows.are_just(unit[::-1]))
        assert not bool(rows.are_just(unit.at[0].set(jnp.nan)))
    if case == "told":
        told = rows.tell(unit[:1], hpo.Outcome(jnp.ones(1)))
        assert not bool(told.are_just(unit))
    if case == "fewer":
        assert not bool(rows.are_just(unit[:3]))


@pytest.mark.slow
def test_points_count_in_whatever_order_they_come():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)})
    sampler = hpo.samplers.cma_es(space, batch_size=6, restarts="none")
    ask, tell = jax.jit(sampler.ask), jax.jit(sampler.tell)
    key = jax.random.key(0)
    state, first = ask(key, sampler.init(key))
    state, second = ask(jax.random.key(1), state)

    def told(state, unit):
        return tell(key, state, unit, hpo.Outcome(jnp.sum((unit - 0.2) ** 2, axis=1)))

    state, info = told(state, second)
    assert int(info.generation) == 1
    state, info = told(state, first)
    assert int(info.generation) == 2
    assert int(state.rows.seen.num_rows) == 0
    assert float(jnp.linalg.norm(state.gaussian.mean - 0.2)) < 0.42


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"population_size": 3}, ValueError, "`population_size` must be at least 4, got 3"),
        ({"sigma": 0.0}, ValueError, "`sigma` must be greater than 0"),
        ({"mean": [0.5]}, ValueError, "`mean` must be of shape (2,), got (1,)"),
        ({"mean": [0.5, 2.0]}, ValueError, "`mean` must be in the unit cube, got"),
        ({"mean": [0.5, float("nan")]}, ValueError, "`mean` must be in the unit cube, got"),
        ({"restarts": "never"}, ValueError, "`restarts` must be one of 'ipop', 'bipop', 'none'"),
        ({"separable": 1}, TypeError, "`separable` must be True or False"),
        ({"separable": True, "adapts_rates": True}, ValueError, "`adapts_rates` must be False"),
        ({"source": (np.zeros((5, 2)), np.zeros(5))}, ValueError, "10 points with a finite value"),
        ({"source": 3}, TypeError, "`source` must be a pair of points and values"),
        ({"source": (np.full((20, 2), 5.0), np.zeros(20))}, ValueError, "in the unit cube"),
        ({"source": (np.zeros((20, 2)), np.full(20, np.nan))}, ValueError, "got '0 of them'"),
        ({"source": (np.zeros((20, 3)), np.zeros(20))}, ValueError, "`source` must be points"),
    ],
)
def test_bad_settings(settings, error, message):
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)})
    with pytest.raises(error) as caught:
        hpo.samplers.cma_es(space, **settings)
    assert message in str(caught.value)


def test_a_sampler_may_be_made_and_told_inside_a_trace():
    mean, unit = jnp.full(2, 0.25), jnp.full((1, 2), 0.5)

    def proposal(sigma):
        sampler = hpo.samplers.cma_es(space, mean=mean, sigma=sigma)
        state, _ = sampler.tell(key, sampler.init(key), unit, hpo.Outcome(jnp.zeros(1)))
        return sampler.ask(key, state)[1][0]

    key, space = jax.random.key(0), hpo.Space({"x": hpo.uniform(0, 1, shape=(2,))})
    sigmas = jnp.asarray([1e-4, 0.01])
    away = np.abs(np.asarray(jax.jit(jax.vmap(proposal))(sigmas)) - 0.25).max(axis=1)
    assert 0 < away[0] < 1e-3 < away[1] < 0.1
