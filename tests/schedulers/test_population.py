"""Population-based rules: who copies whom, and where new points lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import Outcome
from jaxhpo._status import Status
from jaxhpo.schedulers.population_based import _bandit
from jaxhpo.schedulers.population_based._exploit import Groups, exploit
from jaxhpo.schedulers.population_based._explore import Steps, _step, explore
from jaxhpo.schedulers.population_based._population import PbtState, groups_of
from jaxhpo.space.internal import Leaf

FLOAT = jnp.result_type(float)
LR = hpo.Space({"lr": hpo.log_uniform(1e-4, 1.0)})


def moved(dimension, value, factor):
    """The value that a step by a factor makes of a value."""
    leaf = Leaf("x", dimension, 0, 1, ())
    unit = hpo.Space({"x": dimension}).to_unit({"x": np.asarray(value)})
    unit = unit.reshape(1, 1).astype(FLOAT)
    step = jax.jit(lambda unit, log_factor: _step(leaf, unit, log_factor))
    log_factor = np.log(np.full((1, 1), factor)).astype(unit.dtype)
    after = np.asarray(step(unit, log_factor))
    assert 0 <= float(after[0, 0]) <= 1
    return hpo.Space({"x": dimension}).host_values(np.asarray(after))["x"][0]


@pytest.mark.parametrize(
    ("dimension", "value", "factor", "expected"),
    [
        (hpo.log_uniform(1e-3, 1.0), 0.1, 1.25, 0.125),
        (hpo.log_uniform(1e-3, 1.0), 0.9, 1.25, 1.0),
        (hpo.log_uniform(1e-3, 1.0), 0.0011, 0.8, 0.001),
        (hpo.uniform(0.0, 1.0), 0.4, 0.8, 0.32),
        (hpo.uniform(2.0, 8.0), 4.0, 1.25, 5.0),
        (hpo.uniform(2.0, 8.0), 2.1, 0.8, 2.0),
        # A tenth of the range where values may be negative.
        (hpo.uniform(-1.0, 1.0), 0.0, 1.25, 0.2),
        (hpo.uniform(-1.0, 1.0), -0.95, 0.8, -1.0),
        (hpo.log_normal(0.0, 1.0), 1.0, 1.25, 1.25),
        (hpo.normal(0.0, 1.0), 0.0, 1.25, 0.2533),
        (hpo.integer(1, 100), 40, 1.25, 50),
        # At least one level, and none beyond the ends.
        (hpo.integer(1, 100), 1, 1.25, 2),
        (hpo.integer(1, 100), 2, 0.8, 1),
        (hpo.integer(1, 100), 100, 1.25, 100),
        (hpo.integer(16, 512, log=True), 100, 0.8, 80),
        (hpo.quantized(0.0, 1.0, 0.25), 0.5, 0.8, 0.25),
        (hpo.integer(-4, 4), 0, 1.25, 1),
        (hpo.ordinal([8, 32, 128]), 32, 0.8, 8),
        (hpo.ordinal([8, 32, 128]), 128, 1.25, 128),
        (hpo.choice([3.0, 1.0, 2.0]), 1.0, 1.25, 1.0),
    ],
)
def test_a_factor_multiplies_the_value(dimension, value, factor, expected):
    assert moved(dimension, value, factor) == pytest.approx(expected, rel=1e-3, abs=1e-6)


NESTED = hpo.Space(
    {
        "width": hpo.static([8, 16]),
        "optimizer": hpo.choice(
            {
                "sgd": {
                    "lr": hpo.log_uniform(1e-3, 1.0),
                    "kind": hpo.choice({"a": {"m": hpo.uniform(0.0, 1.0)}, "b": None}),
                },
                "adam": {"eps": hpo.log_uniform(1e-9, 1e-3), "layers": hpo.integer(1, 4)},
            }
        ),
        "act": ["relu", "tanh", "gelu"],
        "x": hpo.uniform(-1.0, 1.0),
    },
    constraints=[lambda v: v["x"] < 0.9],
)


def steps(resample, scale=1.0):
    return Steps(*(jnp.asarray(one, FLOAT) for one in ([0.8, 1.25], scale, resample)))


@pytest.mark.parametrize("resample", [0.0, 0.3, 1.0])
def test_new_points_stay_in_the_space(resample):
    unit = jax.jit(NESTED.snap)(jax.random.uniform(jax.random.key(0), (400, NESTED.num_dims)))
    new = jax.jit(explore)(NESTED, steps(resample), jax.random.key(1), unit)
    assert ((new >= 0) & (new <= 1)).all()
    assert NESTED.allows(new).all()
    np.testing.assert_allclose(NESTED.snap(new), new, atol=1e-6)
    width, act = (NESTED.names.index(name) for name in ("width", "act"))
    level = NESTED.levels(unit), NESTED.levels(new)
    at = NESTED.leaves[width].start
    np.testing.assert_array_equal(level[0][:, at], level[1][:, at])
    at = NESTED.leaves[act].start
    share = float(np.mean(np.asarray(level[0][:, at] != level[1][:, at])))
    # A category that is drawn anew is another one in two of three draws.
    assert share == pytest.approx(resample * 2 / 3, abs=0.08)
    is_fresh = np.asarray(NESTED.active_columns(new) & ~NESTED.active_columns(unit))
    assert is_fresh.any() == (resample > 0)
    # Of discrete coordinates some are drawn at the centre.
    assert (np.asarray(new) != 0.5)[is_fresh].sum() >= 0.4 * is_fresh.sum()


def test_where_constraints_refuse_all_the_point_stays():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)}, constraints=[lambda v: v["x"] < 1e-3])
    unit = jnp.full((4, 1), 9e-4)
    never = Steps(jnp.asarray([0.5, 4.0]), jnp.asarray(1e3), jnp.asarray(0.0))
    new = jax.jit(explore)(space, never, jax.random.key(0), unit)
    assert (new <= 1e-3).all()


def exploit_by_hand(kind, team, interval, value, number):
    """The rule in plain loops."""
    n = len(value)
    state, point = np.arange(n), np.arange(n)

    def ranked(members):
        return sorted(members, key=lambda i: (not np.isfinite(value[i]), value[i], i))

    for k in set(kind):
        whole = ranked([i for i in range(n) if kind[i] == k])
        if not np.isfinite(value[whole[0]]):
            continue
        for t, every in enumerate(interval):
            group = ranked([i for i in whole if team[i] == t])
            finite = [i for i in group if np.isfinite(value[i])]
            quarter = len(group) // 4
            is_time = number % every == 0
            first = min(len(group) - quarter, len(finite)) if is_time else len(finite)
            winners = finite[: max(quarter, 1)] or whole[:1]
            for place, loser in enumerate(group[first:]):
                state[loser] = point[loser] = winners[place % len(winners)]
            best = whole[0]
            if is_time and group[first:] and team[best] != t:
                state[group[-1]] = best
                if team[best] > t:
                    point[group[-1]] = best
    return state, point


@pytest.mark.parametrize("share_failed", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("interval", [[1], [1, 2, 5]])
def test_who_copies_whom_is_as_by_hand(interval, share_failed):
    decide = jax.jit(exploit)
    rng = np.random.default_rng(int(10 * share_failed) + len(interval))
    for number in range(1, 11):
        n = 40
        kind, team = rng.integers(0, 3, n), np.arange(n) % len(interval)
        value = np.round(rng.normal(size=n), 1)  # with ties
        value[rng.uniform(size=n) < share_failed] = np.nan
        as_int = lambda a: jnp.asarray(a, jnp.int32)  # noqa: E731
        groups = Groups(as_int(kind), as_int(team), as_int(interval), jnp.zeros(3, jnp.int32))
        found = decide(groups, jnp.asarray(value, FLOAT), jnp.int32(number))
        expected = exploit_by_hand(kind, team, interval, value, number)
        np.testing.assert_array_equal(found.state, expected[0])
        np.testing.assert_array_equal(found.point, expected[1])


@pytest.mark.parametrize("size", [1, 3, 20])
def test_copies_are_handed_out_before_their_parents_go_on(size):
    scheduler = hpo.schedulers.pbt(20, 12, space=LR, levels=[4, 8, 12], batch_size=size)
    key = jax.random.key(0)
    state, stands, copies = jax.jit(scheduler.init)(key), np.zeros(20, int), 0
    ask, tell = jax.jit(scheduler.ask), jax.jit(scheduler.tell)
    for _ in range(200):
        state, job = ask(key, state)
        at = stands.copy()
        for trial, parent, level in zip(job.trial, job.parent, job.level, strict=True):
            if trial < 0:
                continue
            copies += int(trial != parent)
            assert at[int(parent)] == int(level) - 4, "the parent stands elsewhere"
            stands[int(trial)] = int(level)
        if (job.trial < 0).all():
            break
        value = np.sin(7.0 * np.asarray(job.trial) + np.asarray(job.level))
        state, _ = tell(key, state, job, Outcome(jnp.asarray(value, FLOAT)))
    assert (stands == 12).all()
    assert copies == 10


def test_a_group_without_a_finite_value_ends_and_the_others_go_on():
    space = hpo.Space({"lr": hpo.uniform(0.0, 1.0), "width": hpo.static([1, 2])})
    unit = np.stack([np.linspace(0.1, 0.9, 12), np.repeat([0.25, 0.75], 6)], axis=1)
    scheduler = hpo.schedulers.pbt(12, 6, space=space, interval=2, unit=unit)
    key = jax.random.key(0)
    ask, tell = jax.jit(scheduler.ask), jax.jit(scheduler.tell)
    state, value = (
        jax.jit(scheduler.init)(key),
        np.where(np.arange(12) < 6, np.nan, np.arange(12.0)),
    )
    for level in (2, 4, 6):
        state, job = ask(key, state)
        running = np.asarray(job.trial)[np.asarray(job.trial) >= 0]
        assert sorted(running) == list(range(12) if level == 2 else range(6, 12))
        found = jnp.asarray(value[np.asarray(job.trial)], FLOAT)
        state, _ = tell(key, state, job, Outcome(found))
    assert state.table.status.tolist() == [Status.FAILED] * 6 + [Status.COMPLETE] * 6
    assert (np.asarray(ask(key, state)[1].trial) == -1).all()


@pytest.mark.parametrize(
    ("num_trials", "num_rounds", "intervals", "scale", "resample"),
    [
        (20, 10, [1], 4.0, 0.25),
        (20, 40, [1], 1.0, 1 / 64),
        (20, 80, [1, 2], 2**-0.5, 1 / 256),
        (8, 80, [1], 2**-0.5, 1 / 256),
        (64, 400, [1, 2, 5, 10], 10**-0.5, 1 / 6400),
    ],
)
def test_one_setting_for_few_rounds_and_many(num_trials, num_rounds, intervals, scale, resample):
    scheduler = hpo.schedulers.pbt(num_trials, 800, space=LR, interval=800 // num_rounds)
    (settings,) = scheduler.ask.args
    assert settings.interval.tolist() == intervals
    assert float(settings.steps.scale) == pytest.approx(scale)
    assert float(settings.steps.resample) == pytest.approx(resample)


def test_the_model_learns_which_points_pay():
    """Changes that fall with the distance from 0.7, in one of two coordinates, and noise."""
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "kind": ["a", "b"]})
    rng, rows = np.random.default_rng(0), _bandit.no_rows(20, 8, 2)
    for number in range(1, 9):
        unit = np.asarray(space.snap(rng.uniform(size=(20, 2))))
        change = abs(unit[:, 0] - 0.7) + (unit[:, 1] > 0.5) + 0.1 * rng.normal(size=20)
        change[3] = np.nan
        rows = jax.jit(_bandit.remember)(
            rows, jnp.asarray(unit), jnp.asarray(change), jnp.int32(number)
        )
    tried = _bandit.candidates(space, jax.random.key(0), jnp.full((20, 2), 0.25), 48)
    choose = jax.jit(_bandit.choose)
    chosen = choose(space, rows, jnp.int32(8), tried)
    assert (chosen[:, 1] < 0.5).mean() > 0.9
    assert float(jnp.median(abs(chosen[:, 0] - 0.7))) < 0.15
    nothing = _bandit.no_rows(20, 8, 2)
    np.testing.assert_array_equal(choose(space, nothing, jnp.int32(1), tried), tried[:, 0])


@pytest.mark.parametrize("make", [hpo.schedulers.pbt, hpo.schedulers.pb2])
@pytest.mark.parametrize(
    ("arguments", "settings", "error", "words"),
    [
        ((3, 10), {}, ValueError, "`num_trials` must be at least 4, got 3"),
        ((4, 0), {}, ValueError, "`num_steps` must be at least 1, got 0"),
        ((4, 10), {"interval": 11}, ValueError, r"`interval` must be at most `num_steps` \(10\)"),
        ((4, 10), {"interval": 2, "levels": [10]}, ValueError, "`interval` must be None where"),
        ((4, 10), {"levels": [5, 3, 10]}, ValueError, "`levels` must be increasing"),
        ((4, 10), {"levels": [5, 11]}, ValueError, "`levels` must be increasing"),
        ((4, 10), {"space": {"lr": 1}}, TypeError, "`space` must be the Space of the trials'"),
        ((8, 10), {"intervals": [2, 1]}, ValueError, "`intervals` must be increasing"),
        ((8, 10), {"intervals": [1, 2, 3]}, ValueError, "`intervals` must be .*at most 2"),
        ((8, 10), {"intervals": 2}, TypeError, "`intervals` must be increasing"),
        ((4, 10), {"unit": np.zeros((4, 2))}, ValueError, r"`unit` must be of shape \[4, 1\]"),
        ((4, 10), {"unit": np.full((4, 1), 1.5)}, ValueError, "`unit` must be points of the unit"),
        ((4, 10), {"batch_size": 0}, ValueError, "`batch_size`"),
    ],
)
def test_bad_arguments_are_named(make, arguments, settings, error, words):
    with pytest.raises(error, match=f"{make.__name__}: {words}"):
        make(*arguments, **{"space": LR, **settings})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"factors": (1.1, 1.25)}, "`factors` must be one below and one above 1"),
        ({"factors": 0.8}, "`factors` must be one below and one above 1"),
        ({"resample": 1.5}, "`resample` must be a probability"),
        ({"resample": -0.5}, "`resample`"),
    ],
)
def test_bad_steps_are_named(settings, words):
    with pytest.raises(ValueError, match=f"pbt: {words}"):
        hpo.schedulers.pbt(8, 10, space=LR, **settings)


def test_groups_are_sub_populations_of_equal_static_values():
    space = hpo.Space({"a": hpo.static([1, 2]), "b": hpo.static([1, 2, 3])})
    scheduler = hpo.schedulers.pbt(12, 10, space=space, intervals=[1, 2])
    (settings,) = scheduler.ask.args
    state = scheduler.init(jax.random.key(0))
    assert isinstance(state, PbtState)
    groups = groups_of(settings, state.table.unit)
    assert len(groups.num_kinds) == 6
    level = np.asarray(space.levels(state.table.unit))
    np.testing.assert_array_equal(groups.kind, 3 * level[:, 0] + level[:, 1])
    np.testing.assert_array_equal(groups.team, np.arange(12) % 2)
