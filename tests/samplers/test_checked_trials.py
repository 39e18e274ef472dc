"""What is told is checked once, for all samplers: each refusal names argument and expectation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import Outcome
from jaxhpo.samplers._parts._validation import checked_trials
from jaxhpo.samplers.evolutionary import _generation_buffer

SPACE = hpo.Space({"x": hpo.uniform(-1.0, 1.0), "n": hpo.integer(1, 4)})
UNIT = jnp.asarray([[0.2, 0.1], [0.5, 0.9], [jnp.nan, jnp.nan]])


def test_lists_become_arrays_and_points_are_snapped():
    outcome = Outcome([1, 2, 3], se=[0.1, 0.2, 0.3], violation=[[0, 1], [0, 0], [-1, 0]])
    unit, checked = checked_trials("tell", SPACE, [[0.2, 0.1], [0.5, 0.9], [0.0, 1.0]], outcome)
    np.testing.assert_allclose(unit, SPACE.snap(jnp.asarray([[0.2, 0.1], [0.5, 0.9], [0.0, 1.0]])))
    assert checked.value.dtype == unit.dtype == jnp.result_type(float)
    assert checked.violation.shape == (3, 2)
    assert checked.gradient is None


@pytest.mark.parametrize(
    ("unit", "outcome", "error", "message"),
    [
        (np.zeros((0, 2)), Outcome(np.zeros(0)), ValueError, r"`unit` must be of shape \[q, 2\]"),
        (np.zeros((3, 1)), Outcome(np.zeros(3)), ValueError, r"`unit` must be of shape \[q, 2\]"),
        ([["a", "b"]], Outcome([0.0]), TypeError, "`unit` must be an array of real numbers"),
        ([[0.5j, 0.1]], Outcome([0.0]), TypeError, "`unit` must be an array of real numbers"),
        ([[0.5, jnp.inf]], Outcome([0.0]), ValueError, "`unit` must be in the unit cube"),
        ([[0.5, -0.1]], Outcome([0.0]), ValueError, "`unit` must be in the unit cube"),
        (UNIT, np.zeros(3), TypeError, "`outcome` must be an Outcome"),
        (UNIT, Outcome(None), ValueError, r"`outcome.value` must be of shape \[3\]"),
        (UNIT, Outcome(np.zeros(2)), ValueError, r"`outcome.value` must be of shape \[3\]"),
        (UNIT, Outcome("a"), TypeError, "`outcome.value` must be an array of real numbers"),
        (UNIT, Outcome(np.zeros(3), se=[0.1]), ValueError, r"`outcome.se` must be of shape \(3,\)"),
        (
            UNIT,
            Outcome(np.zeros(3), violation=[5.0]),
            ValueError,
            r"`outcome.violation` must be of shape \[3\]",
        ),
        (
            UNIT,
            Outcome(np.zeros(3), gradient=np.zeros(3)),
            ValueError,
            r"`outcome.gradient` must be of shape \(3, 2\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(unit, outcome, error, message):
    with pytest.raises(error, match=f"tell: {message}"):
        checked_trials("tell", SPACE, unit, outcome)


def test_integers_are_not_cut_to_32_bits():
    big = 3_000_000_000
    for value in (np.asarray([big]), [big], [10**20]):
        _, checked = checked_trials("tell", SPACE, [[0.2, 0.1]], Outcome(value))
        assert float(checked.value[0]) == pytest.approx(float(value[0]))


def test_a_told_point_keeps_its_row_where_there_is_no_other():
    rows = _generation_buffer.no_rows(4, 1)
    points = jnp.asarray([[0.1], [0.2], [0.3], [0.4]])
    rows = rows.ask(points, points + 1, jnp.zeros((), jnp.int32))
    padded = jnp.full((4, 1), jnp.nan).at[0].set(points[0])
    checked = rows.tell(padded, Outcome(jnp.asarray([5.0, jnp.nan, jnp.nan, jnp.nan])))
    assert checked.seen.status.tolist() == [2, 1, 1, 1]
    np.testing.assert_array_equal(checked.raw, rows.raw)
    assert checked.is_own.all()
    stranger = checked.tell(jnp.asarray([[0.9]]), Outcome(jnp.zeros(1)))
    np.testing.assert_allclose(stranger.seen.unit[:, 0], [0.1, 0.3, 0.4, 0.9])
    assert stranger.seen.status.tolist() == [2, 1, 1, 2]
    assert stranger.is_own.tolist() == [True, True, True, False]


def test_known_points_are_looked_at_inside_a_trace_too():
    outside = np.full((1, 2), 1.5)
    with pytest.raises(ValueError, match="`unit` must be in the unit cube"):
        jax.jit(lambda value: checked_trials("tell", SPACE, outside, Outcome(value)))(jnp.zeros(1))
    jax.jit(lambda unit: checked_trials("tell", SPACE, unit, Outcome(jnp.zeros(1))))(outside)


@pytest.mark.parametrize("name", ["cma_es", "de"])
def test_points_that_nobody_tells_leave_room_for_those_that_follow(name):
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(2,))})
    sampler = hpo.samplers.get(name, space)
    key = jax.random.key(0)

    def step(state, key):
        state, unit = sampler.ask(key, state)
        value = jnp.sum((unit - 0.3) ** 2, axis=1)
        return sampler.tell(key, state, unit, Outcome(value))[0], value

    @jax.jit
    def run():
        state = sampler.init(key)
        abandoned = jax.lax.scan(
            lambda state, key: (sampler.ask(key, state)[0], None), state, jax.random.split(key, 300)
        )[0]
        return jax.lax.scan(step, abandoned, jax.random.split(key, 120))

    state, value = run()
    assert int(state.rows.seen.num_dropped) == 0
    assert float(value[-20:].mean()) < 0.3 * float(value[:20].mean())


@pytest.mark.parametrize("capacity", [0, -1, 3.5])
@pytest.mark.parametrize("name", ["gp", "tpe"])
def test_buffers_of_no_size_are_refused(name, capacity):
    sampler = hpo.samplers.get(name, SPACE)
    with pytest.raises((TypeError, ValueError), match="resize: `capacity` must be"):
        sampler.resize(sampler.init(jax.random.key(0)), capacity)
