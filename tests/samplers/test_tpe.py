"""TPE: Optuna's own densities are the oracle, and the neighbours are checked against a sort."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optuna
import pytest
from optuna.samplers._tpe import sampler as optuna_tpe
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from scipy.special import log_ndtr

import jaxhpo as hpo
from jaxhpo.samplers.tpe import _parzen as parzen
from jaxhpo.samplers.tpe._neighbours import neighbours_of, no_neighbours
from jaxhpo.samplers.tpe._split import SPLITS
from jaxhpo.samplers.tpe._tpe import densities

OPTIONS = ("a", "b", "c", "d")
FLOAT, INT = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution
OPTUNA_SPACE = {
    "a_real": FLOAT(-2.0, 3.0),
    "b_log": FLOAT(1e-4, 1e2, log=True),
    "c_step": FLOAT(0.5, 4.0, step=0.25),
    "d_int": INT(1, 9),
    "e_log_int": INT(1, 500, log=True),
    "f_kind": optuna.distributions.CategoricalDistribution(OPTIONS),
}
LOG_VOLUME = np.log(5.0) + np.log(np.log(1e6))  # of the continuous columns, in Optuna's units
SPACE = hpo.Space(
    {
        "a_real": hpo.uniform(-2.0, 3.0),
        "b_log": hpo.log_uniform(1e-4, 1e2),
        "c_step": hpo.quantized(0.5, 4.0, 0.25),
        "d_int": hpo.integer(1, 9),
        "e_log_int": hpo.integer(1, 500, log=True),
        "f_kind": list(OPTIONS),
    }
)
KINDS = parzen.kinds_of(SPACE)


def rough():
    """Agreement of log densities, sums of six columns."""
    return 1e-6 if jax.config.jax_enable_x64 else 2e-3


def sample(seed, n):
    """Points as units and as params."""
    unit = SPACE.snap(SPACE.to_unit(SPACE.sample(jax.random.key(seed), n)))
    return unit, SPACE.decode(SPACE.from_unit(unit))


def internal(params):
    """Params in Optuna's internal representation, a column each."""
    return {
        name: np.asarray([distribution.to_internal_repr(row[name]) for row in params])
        for name, distribution in OPTUNA_SPACE.items()
    }


def widths_of_distinct(mixture):
    """Optuna's kernels where equal observations share the gaps to the next distinct ones.

    Optuna gives those gaps to the ends of a run of equal values; where none are equal, all stays.
    """
    place, low, high = mixture.mu[:-1], mixture.adapted_low, mixture.adapted_high
    distinct, row, times = np.unique(place, return_inverse=True, return_counts=True)
    between = np.concatenate([[0.0], np.diff(distinct), [0.0]])
    gap = np.maximum(between[:-1], between[1:])
    if len(distinct) == 1:
        gap = np.maximum(distinct - low, high - distinct)
    smallest = (high - low) / min(100, len(place) + 2)
    sigma = np.clip(gap, smallest, high - low)[row]
    np.testing.assert_allclose(sigma[times[row] == 1], mixture.sigma[:-1][times[row] == 1])
    return mixture._replace(sigma=np.append(sigma, mixture.sigma[-1]))


@pytest.fixture
def shared_gaps(monkeypatch):
    original = _ParzenEstimator._calculate_numerical_distributions
    monkeypatch.setattr(
        _ParzenEstimator,
        "_calculate_numerical_distributions",
        lambda self, *args: widths_of_distinct(original(self, *args)),
    )


@jax.jit
def log_densities(unit, is_member, points):
    """Joint and marginal log densities at points, from the members among observations."""
    members = neighbours_of(jnp.where(is_member[:, None], unit, jnp.nan).T)
    weight, one = parzen.ramp(is_member[None, :]), jnp.ones((), unit.dtype)
    mixture = parzen.estimator(members, weight, one, KINDS)
    points = parzen.points_of(SPACE, points)
    log_marginals = parzen.log_marginals(mixture, points, KINDS)
    return parzen.log_density(mixture, points, KINDS), log_marginals


@pytest.mark.parametrize("n", [1, 2, 40])
def test_density_is_optunas(n, shared_gaps):
    unit, params = sample(0, 40)
    points, candidates = sample(1, 40)
    # Half of the candidates lie where kernels do.
    points, candidates = jnp.concatenate([points, unit]), candidates + params
    params = params[:n]
    settings = _ParzenEstimatorParameters(1.0, True, False, optuna_tpe.default_weights, True)
    expected = _ParzenEstimator(internal(params), OPTUNA_SPACE, settings)
    joint, marginals = log_densities(unit, jnp.arange(40) < n, points)
    np.testing.assert_allclose(
        joint, expected.log_pdf(internal(candidates)) + LOG_VOLUME, atol=rough(), rtol=rough()
    )
    for row, (name, distribution) in enumerate(OPTUNA_SPACE.items()):
        one = _ParzenEstimator(
            {name: internal(params)[name]}, {name: distribution}, settings
        ).log_pdf({name: internal(candidates)[name]})
        volume = {"a_real": np.log(5.0), "b_log": np.log(np.log(1e6))}.get(name, 0.0)
        np.testing.assert_allclose(marginals[row], one + volume, atol=rough(), rtol=rough())


@pytest.mark.filterwarnings("ignore")
def test_expected_improvement_of_a_study_is_optunas(shared_gaps):
    """Split, liars, infeasible trials, weights and widths together: l(x)/g(x) after 60 trials."""
    unit, params = sample(2, 64)
    rng = np.random.default_rng(3)
    values = rng.normal(size=60).round(1)  # with ties
    violations = np.where(rng.random(60) < 0.9, rng.normal(size=60), -1.0)

    study = optuna.create_study()
    for row, value, violation in zip(params, values, violations, strict=False):
        trial = optuna.create_trial(
            params=row,
            distributions=OPTUNA_SPACE,
            value=float(value),
            system_attrs={"constraints": [float(violation)]},
        )
        study.add_trial(trial)
    for row in params[60:]:
        study.enqueue_trial(row)
        trial = study.ask()
        for name, distribution in OPTUNA_SPACE.items():
            trial._suggest(name, distribution)
    trials = study.get_trials(deepcopy=False)
    below, above = optuna_tpe._split_trials(study, trials, optuna_tpe.default_gamma(60))
    sampler = optuna.samplers.TPESampler(multivariate=True)
    points, candidates = sample(4, 50)
    expected = np.subtract(
        *(
            sampler._build_parzen_estimator(study, OPTUNA_SPACE, part, handle_below=True).log_pdf(
                internal(candidates)
            )
            for part in (below, above)
        )
    )

    ours = hpo.samplers.tpe(SPACE, capacity=70)
    settings = ours.tell.args[0]

    def ratio(unit, values, violations, points):
        key = jax.random.key(0)
        state, _ = ours.tell(
            key, ours.init(key), unit[:60], hpo.Outcome(values, violation=violations)
        )
        for row in range(60, 64):  # pending, as if asked
            others = state.others.insert(jnp.asarray(row, jnp.int32), unit[row])
            is_other = state.is_other.at[row].set(True)
            state = dataclasses.replace(
                state, rows=state.rows.ask(unit[row]), is_other=is_other, others=others
            )
        points = parzen.points_of(SPACE, points)
        good, others = densities(settings, state)
        return parzen.log_density(good, points, KINDS) - parzen.log_density(others, points, KINDS)

    values, violations = (jnp.asarray(part, unit.dtype) for part in (values, violations))
    found = jax.jit(ratio)(unit, values, violations, points)
    np.testing.assert_allclose(found, expected, atol=3 * rough(), rtol=rough())


def test_split_is_optunas():
    counts = range(400)
    for name, gamma in (
        ("tenth", optuna_tpe.default_gamma),
        ("sqrt", optuna_tpe.hyperopt_default_gamma),
    ):
        found = jax.vmap(SPLITS[name])(jnp.asarray(counts, jnp.int32))
        assert np.minimum(found, 25).tolist() == [gamma(n) for n in counts], name


@pytest.mark.parametrize("n", [1, 24, 25, 26, 27, 60])
def test_weights_are_optunas(n):
    found = parzen.ramp(jnp.arange(64)[None, :] < n)[0]
    np.testing.assert_allclose(found[:n], optuna_tpe.default_weights(n), rtol=1e-6)
    assert (np.asarray(found[n:]) == 0).all()


def test_neighbours_move_as_if_sorted():
    """Members come and go, with ties, absent coordinates and rows reused."""
    n, d = 80, 3  # above and below the size at which all pairs are compared
    rng = np.random.default_rng(0)
    moves = rng.integers(0, n, 300).astype(np.int32)
    place = np.stack([rng.random(n), rng.integers(0, 4, n) / 4, rng.random(n)], 1)
    place[rng.random(n) < 0.3, 2] = np.nan
    place = jnp.asarray(place, jnp.result_type(float))

    def move(members_is_in, row):
        members, is_in = members_is_in
        moved = jax.lax.cond(
            is_in[row], members.remove, lambda row: members.insert(row, place[row]), row
        )
        return (moved, is_in.at[row].set(~is_in[row])), moved

    @jax.jit
    def run(moves):
        start = no_neighbours(d, n, place.dtype), jnp.zeros(n, bool)
        (last, is_in), _ = jax.lax.scan(move, start, moves)
        fresh = jnp.where(is_in[:, None], place, jnp.nan).T
        few = jnp.arange(n)[None, :] < 64
        small = neighbours_of(jnp.where(few, fresh, jnp.nan)[:, :64])
        large = neighbours_of(jnp.where(few, fresh, jnp.nan))
        return last, neighbours_of(fresh), small, large

    last, fresh, small, large = run(moves)
    for one, other in zip(jax.tree.leaves(last), jax.tree.leaves(fresh), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(jax.tree.leaves(small), jax.tree.leaves(large), strict=True):
        np.testing.assert_array_equal(one, other[:, :64])


def test_log_mass():
    """Against SciPy's log of the normal distribution function, tails and narrow cells included."""
    middle = np.concatenate([np.linspace(-60, 60, 41), [-1e-3, 0.0, 0.2]])
    middle, width = (part.ravel() for part in np.meshgrid(middle, [1e-6, 1e-3, 0.09, 0.11, 1, 9]))
    low, high = -np.abs(middle) - width / 2, -np.abs(middle) + width / 2
    expected = log_ndtr(high) + np.log(-np.expm1(log_ndtr(low) - log_ndtr(high)))
    dtype = jnp.result_type(float)
    for sign in (1, -1):
        ends = sorted([sign * low, sign * high], key=lambda end: end[0])
        found = np.asarray(parzen.log_mass(*(jnp.asarray(end, dtype) for end in ends)))
        exact = width > 1e-5  # narrower ones are differences of inputs that float32 rounds
        np.testing.assert_allclose(found[exact], expected[exact], rtol=2e-3, atol=2e-2)
        assert np.isfinite(found).all()


@pytest.mark.slow
def test_draws_follow_the_density():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "k": hpo.choice(["a", "b"], weights=[1, 3])})
    kinds = parzen.kinds_of(space)
    unit = space.snap(jnp.asarray([[0.02, 0.1], [0.03, 0.9], [0.8, 0.9]], jnp.result_type(float)))

    @jax.jit
    def run(unit):
        one = jnp.ones((), unit.dtype)
        weight = parzen.ramp(jnp.ones((1, 3), bool))
        mixture = parzen.estimator(neighbours_of(unit.T), weight, one, kinds)
        drawn = space.snap(parzen.draw(mixture, jax.random.key(0), 20_000, kinds))
        grid = (jnp.arange(500, dtype=unit.dtype) + 0.5) / 500
        cells = jnp.stack([jnp.tile(grid, 2), jnp.repeat(jnp.asarray([0.1, 0.9]), 500)], axis=1)
        points = parzen.points_of(space, space.snap(cells))
        return drawn, jnp.exp(parzen.log_density(mixture, points, kinds)).reshape(2, 500) / 500

    drawn, density = (np.asarray(part, float) for part in run(unit))
    assert density.sum() == pytest.approx(1.0, abs=1e-3)
    for level, row in ((0.125, density[0]), (0.625, density[1])):
        inside = drawn[drawn[:, 1] == level, 0]
        found = np.histogram(inside, bins=10, range=(0, 1))[0] / len(drawn)
        np.testing.assert_allclose(found, row.reshape(10, 50).sum(axis=1), atol=0.012)


def test_absent_coordinates_have_the_priors_shape():
    """A kernel without a coordinate is the prior there; a point without it is not judged by it."""
    branch = {"on": {"x": hpo.uniform(0.0, 1.0)}, "off": None}
    space = hpo.Space({"mode": hpo.choice(branch)})
    kinds = parzen.kinds_of(space)
    dtype = jnp.result_type(float)
    place = jnp.asarray([[0.25, 0.75], [0.4, np.nan]], dtype)
    weight = jnp.ones((1, 2), dtype)
    mixture = parzen.estimator(neighbours_of(place), weight, jnp.ones((), dtype), kinds)
    points = parzen.points_of(space, space.snap(jnp.asarray([[0.25, 0.4], [0.75, 0.9]], dtype)))
    found = np.exp(np.asarray(parzen.log_density(mixture, points, kinds), float))
    kept = 1 / (1 + 2 / 3)
    same, other = kept + (1 - kept) / 2, (1 - kept) / 2

    def normal(x, mean, sigma):
        grid = (np.arange(20_000) + 0.5) / 20_000
        return (
            np.exp(-0.5 * ((x - mean) / sigma) ** 2)
            / np.exp(-0.5 * ((grid - mean) / sigma) ** 2).mean()
        )

    prior = normal(0.4, 0.5, 1.0)
    on = (same * normal(0.4, 0.4, 0.6) + other * prior + 0.5 * prior) / 3
    off = (other + same + 0.5) / 3
    np.testing.assert_allclose(found, [on, off], rtol=1e-4)


@pytest.mark.slow
def test_failed_trials_repel():
    """All trials of one half fail: proposals leave it."""
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)})

    def objective(key, params):
        return jnp.where(params["x"] > 0.5, jnp.nan, (params["y"] - 0.2) ** 2)

    result = hpo.minimize(objective, space, "tpe", key=0, num_trials=80)
    assert np.mean(np.asarray(result.trials.params["x"][40:]) > 0.5) < 0.2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_startup": 0}, "`num_startup` must be at least 1"),
        ({"num_candidates": 0}, "`num_candidates` must be at least 1"),
        ({"split": "half"}, "`split` must be one of 'tenth', 'sqrt', got 'half'"),
        ({"prior_weight": 0.0}, "`prior_weight` must be greater than 0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        hpo.samplers.tpe(SPACE, **settings)


def test_too_many_points():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
    sampler, key = hpo.samplers.tpe(space, capacity=3), jax.random.key(0)
    unit = jnp.linspace(0.1, 0.9, 4)[:, None]
    with pytest.raises(ValueError, match="`unit` must fit the 3 rows that are free of 3"):
        sampler.tell(key, sampler.init(key), unit, hpo.Outcome(unit[:, 0]))


def test_several_objectives_are_refused():
    sampler, key = hpo.samplers.tpe(SPACE), jax.random.key(0)
    unit, _ = sample(0, 2)
    with pytest.raises(ValueError, match="one objective"):
        sampler.tell(key, sampler.init(key), unit, hpo.Outcome(unit[:, :2]))


@pytest.mark.parametrize("capacity", [40, 64, 200])
def test_more_room_changes_nothing_that_is_known(capacity, key):
    sampler = hpo.samplers.tpe(SPACE, capacity=40)
    state = jax.jit(sampler.init)(key)
    unit = jax.random.uniform(key, (33, SPACE.num_dims))
    state, _ = jax.jit(sampler.tell)(key, state, unit, hpo.Outcome(unit.sum(axis=1)))
    state, _ = jax.jit(sampler.ask)(key, state)
    wider = sampler.resize(state, capacity)
    sorted_anew = neighbours_of(jnp.where(wider.is_other, wider.others.place, jnp.nan))
    jax.tree.map(np.testing.assert_array_equal, wider.others, sorted_anew)
    known = state.rows.is_known
    assert int(wider.is_other.sum()) == int(state.is_other.sum())
    np.testing.assert_array_equal(wider.rows.unit[:40][known], state.rows.unit[known])
    kept = np.asarray(state.good) < 40
    np.testing.assert_array_equal(np.asarray(wider.good)[kept], np.asarray(state.good)[kept])
    assert (np.asarray(wider.good)[~kept] == capacity).all()
    # What is proposed next follows from what is known, not from the room for more.
    proposals = [jax.jit(sampler.ask)(key, one)[1] for one in (state, wider)]
    np.testing.assert_allclose(*proposals, rtol=1e-5)
