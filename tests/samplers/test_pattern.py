"""Pattern search: what it polls, how it shortens its steps, where it begins anew."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.samplers import pattern
from jaxhpo.samplers.local import _pattern_poll as polls

SQUARE = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)})
MIXED = hpo.Space(
    {"kind": ["a", "b", "c", "d"], "n": hpo.integer(0, 9), "x": hpo.uniform(0.0, 1.0)}
)


def drive(sampler, value_of, rounds, told=()):
    """Points and values of a study, after `told` points."""
    ask, tell = jax.jit(sampler.ask), jax.jit(sampler.tell)
    state = sampler.init(jax.random.key(0))
    rows, infos = [], []
    for unit in told:
        unit = jnp.asarray([unit], jnp.result_type(float))
        state, _ = tell(jax.random.key(1), state, unit, hpo.Outcome(value_of(unit)))
    for i in range(rounds):
        state, unit = ask(jax.random.key(i), state)
        state, info = tell(jax.random.key(i), state, unit, hpo.Outcome(value_of(unit)))
        rows.append(np.asarray(unit[0]))
        infos.append(info)
    return np.stack(rows), infos


def bowl(unit):
    return jnp.sum((unit - jnp.asarray([[0.31, 0.72]], unit.dtype)) ** 2, axis=1)


def test_polls_both_sides_of_each_coordinate_of_the_told_point():
    sampler = pattern(SQUARE, batch_size=4, num_startup=1, first_step=0.125)
    state = sampler.init(jax.random.key(0))
    start = jnp.full((1, 2), 0.5, jnp.result_type(float))
    state, _ = jax.jit(sampler.tell)(jax.random.key(1), state, start, hpo.Outcome(start[:, 0]))
    _, unit = jax.jit(sampler.ask)(jax.random.key(2), state)
    moves = {tuple(row) for row in np.round(np.asarray(unit) - 0.5, 4).tolist()}
    assert moves == {(0.125, 0.0), (-0.125, 0.0), (0.0, 0.125), (0.0, -0.125)}


def test_parabola_finds_the_bottom_of_a_bowl():
    # Coordinate by coordinate: both sides, then the bottom; exact but for rounding.
    rows, _ = drive(pattern(SQUARE, num_startup=1), bowl, 24, [(0.5, 0.5)])
    assert float(bowl(jnp.asarray(rows)).min()) < 1e-9


def test_leaps_that_succeed_grow():
    """Equal ones creep where somebody else's points, close together, set the first one's length."""
    shape, dtype = polls.shape_of(SQUARE), jnp.result_type(float)
    poll = polls.first_poll(shape, jnp.asarray(0.25, dtype))
    leap, value, lengths = 2 * shape.num_dims, jnp.zeros((), dtype), []
    for place in ([0.9, 0.1], [0.899, 0.101]):
        poll = polls.moved(shape, poll, leap + 1, jnp.asarray(place, dtype), value, value)
    poll = dataclasses.replace(poll, base=jnp.asarray([0.9, 0.1], dtype))
    for _ in range(5):
        points, _ = polls.points_of(shape, SQUARE, poll)
        lengths.append(float(jnp.linalg.norm(points[leap] - poll.centre)))
        poll = polls.moved(shape, poll, leap, points[leap], value, value)
    np.testing.assert_allclose(lengths, 1e-3 * np.sqrt(2) * 2 ** np.arange(5), rtol=1e-3)


def test_polls_every_option_and_single_levels():
    def value_of(unit):
        levels = MIXED.levels(unit)
        x = unit[:, 2]
        option = jnp.asarray([3.0, 2.0, 0.0, 1.0], unit.dtype)[levels[:, 0]]
        return option + (levels[:, 1] - 7).astype(unit.dtype) ** 2 / 10 + (x - 0.3) ** 2

    start = np.asarray(MIXED.to_unit(MIXED.encode({"kind": "a", "n": 0, "x": 0.9})))
    rows, _ = drive(pattern(MIXED, num_startup=1), value_of, 60, [start])
    best = rows[int(np.argmin(value_of(jnp.asarray(rows))))]
    found = MIXED.decode(MIXED.from_unit(jnp.asarray(best)))
    assert (found["kind"], found["n"]) == ("c", 7)
    assert found["x"] == pytest.approx(0.3, abs=1e-3)


def test_begins_anew_when_steps_are_tiny():
    rows, infos = drive(pattern(SQUARE, num_startup=3, min_step=0.01), bowl, 120)
    restarts = np.asarray([int(info.num_restarts) for info in infos])
    assert restarts[-1] >= 2
    first = int(np.argmax(restarts > 0))
    # Each restart looks elsewhere: the points after it are spread over the square.
    assert np.ptp(rows[first + 1 : first + 4], axis=0).max() > 0.1


def test_an_infeasible_start_moves_towards_feasible_points():
    sampler = pattern(SQUARE, num_startup=1)

    def objective(key, params):
        return hpo.Outcome(params["y"], violation=jnp.maximum(0.8 - params["x"], 0))

    result = hpo.minimize(objective, SQUARE, sampler, key=0, num_trials=80)
    assert float(result.best_params["x"]) >= 0.8
    assert float(result.best_value) < 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_startup": 0}, "`num_startup` must be at least 1"),
        ({"first_step": 0.0}, "`first_step` must be greater than 0"),
        ({"first_step": 0.7}, "`first_step` must be at most 0.5"),
        ({"min_step": 1e-9}, "`min_step` must be at least"),
        ({"first_step": 0.01, "min_step": 0.1}, "`first_step` must be at least `min_step`, 0.1"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
    ],
)
def test_refuses_bad_settings(settings, message):
    with pytest.raises(ValueError, match=f"pattern: {message}"):
        pattern(SQUARE, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["branin", "hartmann6"])
def test_is_better_than_random_search(name):
    function = hpo.problems.FUNCTIONS[name]()
    keys = jax.random.split(jax.random.key(0), 20)
    best = {
        sampler: np.asarray(
            hpo.minimize_many(
                function.objective, function.space, sampler, keys=keys, num_trials=200
            ).best_value
        )
        for sampler in ("pattern", "random")
    }
    assert (best["pattern"] < best["random"]).sum() >= 18
