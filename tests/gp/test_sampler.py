"""The `gp` sampler beyond the conformance suite: what it learns from what it is told."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import Outcome
from jaxhpo.samplers._parts import _observations

BOX = {"x": hpo.uniform(-2.0, 3.0), "y": hpo.uniform(0.0, 4.0)}
SMALL = {"capacity": 24, "num_candidates": 64, "num_lanes": 3}
ask = jax.jit(lambda sampler, key, state: sampler.ask(key, state))
tell = jax.jit(lambda sampler, key, state, unit, outcome: sampler.tell(key, state, unit, outcome))


def bowl(unit):
    return jnp.sum((unit - 0.3) ** 2, axis=1)


def study(sampler, rounds, value_fn=bowl, seed=0):
    key = jax.random.key(seed)
    state, units = sampler.init(key), []
    for i in range(rounds):
        state, unit = ask(sampler, jax.random.fold_in(key, i), state)
        outcome = value_fn(unit)
        outcome = outcome if isinstance(outcome, Outcome) else Outcome(outcome)
        state, info = tell(sampler, key, state, unit, outcome)
        units.append(np.asarray(unit))
    return state, np.concatenate(units), info


@pytest.fixture(scope="module")
def sampler():
    return hpo.samplers.gp(hpo.Space(BOX), **SMALL)


@pytest.mark.parametrize("scale", [1e12, 1e-12])
def test_the_scale_of_values_does_not_matter(sampler, scale):
    _, plain, _ = study(sampler, 8)
    _, scaled, _ = study(sampler, 8, lambda unit: scale * bowl(unit))
    np.testing.assert_allclose(plain, scaled, atol=2e-3)


def test_it_converges_on_a_bowl(sampler):
    _, unit, info = study(sampler, 16)
    assert np.sum((unit - 0.3) ** 2, axis=1).min() < 1e-5
    assert int(info.num_observed) == 16
    assert (np.asarray(info.lengthscale) > 0).all()


def test_failures_are_avoided_and_counted(sampler):
    state, unit, info = study(
        sampler, 20, lambda unit: jnp.where(unit[:, 0] > 0.5, jnp.nan, bowl(unit))
    )
    failed = unit[:, 0] > 0.5
    assert int(info.num_failed) == failed.sum()
    assert failed[8:].sum() < 6
    assert np.isfinite(np.asarray(state.fitted[0].theta)).all()


def test_failures_by_chance_do_not_hide_the_minimum(sampler):
    """Every fourth trial fails wherever it is."""
    count = iter(range(100))
    _, unit, _ = study(
        sampler, 24, lambda unit: jnp.where(next(count) % 4 == 3, jnp.nan, bowl(unit))
    )
    worked = np.arange(24) % 4 != 3
    assert np.sum((unit[worked] - 0.3) ** 2, axis=1).min() < 1e-4


def test_points_come_apart_while_others_are_running():
    sampler = hpo.samplers.gp(hpo.Space(BOX), batch_size=4, **SMALL)
    _, unit, _ = study(sampler, 4)
    last = unit[-4:]
    gaps = np.abs(last[:, None] - last[None]).max(axis=2)[np.triu_indices(4, 1)]
    assert gaps.min() > 1e-6


def test_more_points_than_rows_are_refused_outside_jit_and_counted_inside(sampler):
    state = sampler.init(jax.random.key(0))
    unit = jax.random.uniform(jax.random.key(1), (30, 2))
    with pytest.raises(ValueError, match="24 rows that are free"):
        sampler.tell(jax.random.key(2), state, unit, Outcome(bowl(unit)))
    full, info = tell(sampler, jax.random.key(2), state, unit, Outcome(bowl(unit)))
    assert int(info.num_dropped) == 6
    np.testing.assert_array_equal(full.rows.unit, unit[:24])
    _, proposal = ask(sampler, jax.random.key(3), full)
    assert np.isfinite(proposal).all()


@pytest.mark.slow
def test_resizing_keeps_what_is_known(sampler):
    state, _, _ = study(sampler, 10)
    small = sampler.resize(state, 12)
    large = sampler.resize(small, 40)
    key = jax.random.key(5)
    proposals = [np.asarray(ask(sampler, key, s)[1]) for s in (state, small, large)]
    for other in proposals[1:]:
        np.testing.assert_allclose(proposals[0], other, atol=1e-3)


def test_infeasible_trials_are_left_with_a_constraint_model():
    def outcome(unit):
        return Outcome(-unit[:, 0], violation=unit[:, 0] + unit[:, 1] - 0.8)

    sampler = hpo.samplers.gp(hpo.Space(BOX), constrained=True, **SMALL)
    units = [study(sampler, 20, outcome, seed)[1] for seed in range(3)]
    # The optimum is where the border meets the bottom edge.
    off_border = [np.abs(unit[10:].sum(axis=1) - 0.8) for unit in units]
    assert np.median(off_border) < 0.1
    for unit in units:
        assert unit[unit.sum(axis=1) <= 0.8, 0].max() > 0.79


@pytest.mark.slow
@pytest.mark.parametrize("name", ["log_pi", "ucb", "thompson", "mes"])
def test_other_acquisition_functions_search_too(name):
    sampler = hpo.samplers.gp(hpo.Space(BOX), acquisition_function=name, **SMALL)
    _, unit, _ = study(sampler, 18)
    assert np.sum((unit - 0.3) ** 2, axis=1).min() < 1e-2


@pytest.mark.slow
def test_a_belief_pulls_the_first_proposals_and_a_wrong_one_is_overcome():
    def proposals(centre):
        def log_density(params):
            away = jnp.stack([(params["x"] + 2.0) / 5.0, params["y"] / 4.0]) - centre
            return -0.5 * jnp.sum((away / 0.05) ** 2)

        sampler = hpo.samplers.gp(hpo.Space(BOX), prior=log_density, prior_strength=6.0, **SMALL)
        return study(sampler, 20)[1]

    right, wrong = proposals(0.3), proposals(0.9)
    assert np.abs(right[4] - 0.3).max() < 0.12
    assert np.abs(wrong[4] - 0.9).max() < 0.12
    assert np.sum((right - 0.3) ** 2, axis=1).min() < 1e-4
    assert np.sum((wrong - 0.3) ** 2, axis=1).min() < 1e-2


@pytest.mark.parametrize("prior", [3.0, lambda params: params, lambda params: jnp.zeros(2)])
def test_a_belief_that_is_no_log_density_is_refused(prior):
    with pytest.raises((TypeError, ValueError), match="gp: `prior` must be"):
        hpo.samplers.gp(hpo.Space(BOX), prior=prior)


def test_float32_searches_too():
    sampler = hpo.samplers.gp(hpo.Space(BOX), precision="float32", **SMALL)
    _, unit, _ = study(sampler, 16)
    assert np.sum((unit - 0.3) ** 2, axis=1).min() < 1e-2


@pytest.mark.slow
def test_a_settled_basin_is_left():
    def well(unit):
        return -jnp.exp(-jnp.sum((unit - 0.3) ** 2, axis=1) / 0.02)

    away = {}
    for num_basins in (0, 4):
        settings = SMALL | {"capacity": 64, "num_basins": num_basins}
        _, unit, _ = study(hpo.samplers.gp(hpo.Space(BOX), **settings), 56, well, seed=1)
        assert np.abs(unit - 0.3).max(axis=1).min() < 1e-2
        away[num_basins] = np.mean(np.abs(unit[-24:] - 0.3).max(axis=1) > 0.2)
    assert away[4] > 0.5
    assert away[0] < away[4] - 0.2


def test_known_noise_is_believed(sampler):
    def outcome(unit, se):
        noise = jnp.sin(1e4 * unit[:, 0])
        return Outcome(bowl(unit) + noise, se=jnp.full(unit.shape[0], se))

    key = jax.random.key(0)
    unit = jax.random.uniform(key, (20, 2))
    found = []
    for se in (0.0, 0.7):
        state, _ = tell(sampler, key, sampler.init(key), unit, outcome(unit, se))
        state, _ = ask(sampler, key, state)
        found.append(float(state.fitted[0].theta[-1]))
    assert found[1] < found[0]  # what is known need not be learned


@pytest.mark.slow
def test_minimize_and_vmap_over_seeds():
    space = hpo.Space(BOX)
    sampler = hpo.samplers.gp(space, **SMALL)

    def objective(key, params):
        return (params["x"] - 1.0) ** 2 + (params["y"] - 1.0) ** 2

    keys = jax.random.split(jax.random.key(0), 2)
    run = lambda key: hpo.minimize(objective, space, sampler, key=key, num_trials=14)  # noqa: E731
    best = jax.vmap(lambda key: run(key).best_value)(keys)
    assert (np.asarray(best) < 1e-2).all()


def test_vmap_over_numeric_settings_is_a_loop_over_them():
    unit = jax.random.uniform(jax.random.key(0), (7, 2))  # the eighth goes everywhere

    def proposal(beta, strength):
        sampler = hpo.samplers.gp(
            hpo.Space(BOX),
            acquisition_function="ucb",
            beta=beta,
            prior=lambda params: -0.5 * ((params["x"] - 2.5) / 0.5) ** 2,
            prior_strength=strength,
            **SMALL,
        )
        state, _ = sampler.tell(key, sampler.init(key), unit, Outcome(bowl(unit)))
        return sampler.ask(key, state)[1][0]

    key = jax.random.key(1)
    settings = jnp.asarray([[0.1, 1e-3], [25.0, 1e-3], [0.1, 100.0]])
    side_by_side = np.asarray(jax.jit(jax.vmap(proposal))(settings[:, 0], settings[:, 1]))
    one_by_one = jax.jit(proposal)
    loop = np.stack([one_by_one(*row) for row in settings])
    np.testing.assert_allclose(side_by_side, loop, atol=1e-3)
    near, far, believing = side_by_side
    assert np.abs(near - 0.3).max() < 0.15  # hardly explores
    assert np.abs(far - 0.3).max() > 0.25
    assert believing[0] > 0.75


@pytest.mark.parametrize("se", [np.nan, -1.0])
def test_an_error_that_is_none_is_not_known(sampler, se):
    key = jax.random.key(0)
    unit = jax.random.uniform(key, (8, 2))
    found = []
    for given in (jnp.full(8, se), None):
        state, _ = tell(sampler, key, sampler.init(key), unit, Outcome(bowl(unit), se=given))
        found.append(np.asarray(ask(sampler, key, state)[1]))
    np.testing.assert_allclose(*found, atol=1e-5)


def test_points_outside_the_cube_are_refused(sampler):
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="gp.tell: `unit` must be in the unit cube"):
        sampler.tell(key, sampler.init(key), jnp.full((1, 2), 2.0), Outcome(jnp.ones(1)))


@pytest.mark.parametrize(
    ("name", "num_capacities"),
    [("gp", 2), ("turbo", 2), ("tpe", 2), ("cma_es", 1)],  # the last remembers no trials
)
def test_a_study_compiles_once_a_capacity(tmp_path, monkeypatch, name, num_capacities):
    from jaxhpo.ask_tell import _compiled

    small = {"num_candidates": 32, "num_lanes": 3}
    samplers = {
        "gp": functools.partial(hpo.samplers.gp, **small),
        "turbo": functools.partial(hpo.samplers.turbo, **small),
        "tpe": hpo.samplers.tpe,
        "cma_es": hpo.samplers.cma_es,
    }
    monkeypatch.setattr(_compiled, "SMALLEST_CAPACITY", 8)
    monkeypatch.setattr(_compiled, "_FEW_CAPACITIES", (16, 32))
    before = _compiled.tell_and_ask._cache_size()
    study = hpo.Study(
        hpo.Space(BOX),
        sampler=samplers[name](hpo.Space(BOX)),
        storage=f"sqlite:///{tmp_path}/s.db",
        name="s",
    )
    study.optimize(lambda params: params["x"] ** 2 + params["y"], num_trials=20)
    assert _compiled.tell_and_ask._cache_size() - before == num_capacities  # of 16 and 32 rows
    assert study.best_value < (0.05 if name in ("gp", "turbo") else 2.0)


def test_rows_resolve_in_any_order_and_strangers_are_appended():
    rows = _observations.no_observations(6, 2)
    points = jnp.asarray([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    for point in points:
        rows = rows.ask(point)
    rows = rows.ask(jnp.full(2, jnp.nan))
    told = jnp.concatenate([points[2:], points[:1], jnp.asarray([[0.9, 0.9], [jnp.nan, 0.0]])])
    rows = rows.tell(told, Outcome(jnp.asarray([3.0, 1.0, 9.0, 7.0])))
    assert rows.status.tolist() == [2, 1, 2, 2, 0, 0]
    assert rows.value.tolist() == [1.0, 0.0, 3.0, 9.0, 0.0, 0.0]
    assert int(rows.num_rows) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"capacity": 0}, "`capacity` must be at least 1"),
        ({"num_startup": 0}, "`num_startup` must be at least 1"),
        ({"acquisition_function": "ei"}, "`acquisition_function` must be one of 'log_ei'"),
        ({"kernel": "cubic"}, "`kernel` must be one of 'matern52'"),
        ({"precision": "float16"}, "`precision` must be one of 'float64'"),
        ({"beta": -1.0}, "`beta` must be greater than 0"),
        ({"num_lanes": 2}, "`num_lanes` must be at least 3"),
        ({"num_candidates": 4}, "`num_candidates` must be at least 16"),
        ({"num_basins": -1}, "`num_basins` must be at least 0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        hpo.samplers.gp(hpo.Space(BOX), **settings)


def test_several_objectives_are_refused(sampler):
    state = sampler.init(jax.random.key(0))
    unit = jnp.full((1, 2), 0.5)
    with pytest.raises(ValueError, match="takes one objective"):
        sampler.tell(jax.random.key(0), state, unit, Outcome(jnp.zeros((1, 3))))
