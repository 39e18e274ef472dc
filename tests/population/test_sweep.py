"""A sweep is the loop over its trials, whatever the layout, and its failures touch nobody."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import population
from jaxhpo import training as hpt
from jaxhpo._status import Status
from tests.population.sweep_problems import FLOAT, decay, hparams, regression, row

RTOL = 200 * np.finfo(FLOAT).eps


def loop(training, values, key, num_steps):
    """The oracle: one jitted trial after the other."""
    run = jax.jit(hpt.objective(training, num_steps))
    n = jax.tree.leaves(values)[0].shape[0]
    return np.asarray([run(jax.random.fold_in(key, i), row(values, i)) for i in range(n)])


@pytest.mark.parametrize("width", [1, 4, None])
@pytest.mark.parametrize("n", [1, 13])
def test_equals_the_python_loop(key, n, width):
    training, values = regression(), hparams(n)
    result = population.sweep(training, values, key=key, num_steps=30, width=width)
    np.testing.assert_allclose(result.losses, loop(training, values, key, 30), rtol=RTOL, atol=RTOL)
    assert result.best_index == int(np.argmin(result.losses))
    assert (result.status == Status.COMPLETE).all()


def test_closed_form_and_curves(key):
    lr = np.asarray([0.1, 0.5, 0.9], FLOAT)
    result = population.sweep(decay(), {"lr": jnp.asarray(lr)}, key=key, num_steps=7, num_reports=3)
    np.testing.assert_array_equal(result.curve_steps, [2, 5, 7])
    expected = (1 - lr)[:, None] ** (2 * result.curve_steps)[None]
    np.testing.assert_allclose(result.curves, expected, rtol=RTOL)
    np.testing.assert_array_equal(result.losses, result.curves[:, -1])


@pytest.mark.parametrize("shared", [False, True])
def test_layout_changes_no_bit(key, shared):
    training, values = regression(), hparams(37)
    devices = jax.local_devices()
    assert len(devices) == 2

    def run(**options):
        return population.sweep(
            training, values, key=key, num_steps=20, width=4, share_data_order=shared, **options
        )

    base = run()
    for options in ({"chunk": 8}, {"chunk": 40}, {"chunk": 13}, {"devices": devices[:1]}):
        other = run(**options)
        np.testing.assert_array_equal(other.curves, base.curves)
        assert other.best_index == base.best_index
        np.testing.assert_array_equal(other.best_state.params, base.best_state.params)


def test_number_of_reports_changes_no_bit(key):
    training, values = regression(), hparams(9)
    few = population.sweep(training, values, key=key, num_steps=20, num_reports=1)
    many = population.sweep(training, values, key=key, num_steps=20, num_reports=20)
    np.testing.assert_array_equal(few.losses, many.losses)


def test_trials_do_not_depend_on_how_many_there_are(key):
    training, values = regression(), hparams(20)
    every = population.sweep(training, values, key=key, num_steps=10, width=4)
    some = population.sweep(training, row(values, slice(0, 11)), key=key, num_steps=10, width=4)
    np.testing.assert_array_equal(every.losses[:11], some.losses)


@pytest.mark.parametrize("width", [1, 8])
def test_a_diverging_trial_changes_no_other_bit(key, width):
    training, values = regression(), hparams(24)
    sick = {**values, "lr": values["lr"].at[jnp.array([3, 4, 17])].set(1e30)}
    well = population.sweep(training, values, key=key, num_steps=20, width=width, keep_states=True)
    mixed = population.sweep(training, sick, key=key, num_steps=20, width=width, keep_states=True)
    assert mixed.num_failed == 3
    np.testing.assert_array_equal(np.flatnonzero(mixed.status == Status.FAILED), [3, 4, 17])
    assert np.isnan(mixed.losses[[3, 4, 17]]).all()
    rest = np.setdiff1d(np.arange(24), [3, 4, 17])
    np.testing.assert_array_equal(mixed.curves[rest], well.curves[rest])
    np.testing.assert_array_equal(mixed.states.params[rest], well.states.params[rest])
    assert mixed.best_index in rest


@pytest.mark.parametrize("width", [1, 2])
def test_a_failed_trial_is_frozen(key, width):
    # The loss is NaN between steps 2 and 4 only; without the mask the trial would recover.
    training = hpo.Training(
        init=lambda key, h: jnp.zeros((), jnp.int32),
        step=lambda key, h, state, t: state + 1,
        loss=lambda h, s: jnp.where((s == h["bad"]), jnp.nan, s.astype(FLOAT)),
    )
    values = {"bad": jnp.asarray([3, 100], jnp.int32)}
    result = population.sweep(
        training,
        values,
        key=key,
        num_steps=6,
        num_reports=6,
        width=width,
        keep_states=True,
        devices=jax.local_devices()[:1],
    )
    np.testing.assert_array_equal(result.status, [Status.FAILED, Status.COMPLETE])
    np.testing.assert_array_equal(result.states, [3, 6])
    np.testing.assert_array_equal(np.isnan(result.curves[0]), [False, False, *[True] * 4])


def test_all_trials_fail(key):
    result = population.sweep(decay(), {"lr": jnp.full(5, 1e30, FLOAT)}, key=key, num_steps=9)
    assert result.num_failed == 5
    assert result.best_index == -1
    assert result.best_hparams is None
    assert result.best_state is None
    assert np.isinf(result.best_loss)


def test_best_state_is_the_best_trials_state(key):
    training, values = regression(), hparams(11)
    result = population.sweep(training, values, key=key, num_steps=15, width=2, keep_states=True)
    best = jax.tree.map(lambda a: a[result.best_index], result.states)
    jax.tree.map(np.testing.assert_array_equal, result.best_state, best)
    expected = hpt.train(
        training,
        jax.random.fold_in(key, result.best_index),
        row(values, result.best_index),
        15,
    )
    np.testing.assert_allclose(result.best_state.params, expected.params, rtol=RTOL, atol=RTOL)
    assert result.best_hparams["lr"] == values["lr"][result.best_index]


def test_ties_go_to_the_lower_number(key):
    result = population.sweep(decay(), {"lr": jnp.full(33, 0.5, FLOAT)}, key=key, num_steps=2)
    assert result.best_index == 0


def test_shared_data_order(key):
    # The state is the data key of the last step; init keeps its own.
    training = hpo.Training(
        init=lambda key, h: (jax.random.uniform(key, dtype=FLOAT), jnp.zeros((), FLOAT)),
        step=lambda key, h, s, t: (s[0], jax.random.uniform(jax.random.fold_in(key, t), (), FLOAT)),
        loss=lambda h, s: s[0] + h["x"],
    )
    values = {"x": jnp.zeros(6, FLOAT)}
    own, shared = (
        population.sweep(
            training, values, key=key, num_steps=2, keep_states=True, share_data_order=share
        ).states
        for share in (False, True)
    )
    assert len(np.unique(own[1])) == 6
    assert len(np.unique(shared[1])) == 1
    np.testing.assert_array_equal(own[0], shared[0])
    assert len(np.unique(own[0])) == 6


def test_a_key_in_the_state(key):
    def step(key, h, state, t):
        return jax.random.split(state)[0]

    training = hpo.Training(
        init=lambda key, h: key,
        step=step,
        loss=lambda h, state: jax.random.uniform(state, (), FLOAT) + h["x"],
    )
    values = {"x": jnp.zeros(5, FLOAT)}
    result = population.sweep(training, values, key=key, num_steps=3)
    np.testing.assert_allclose(result.losses, loop(training, values, key, 3), rtol=RTOL)
    assert jax.random.uniform(result.best_state, (), FLOAT) == result.best_loss


def test_repeats_bit_for_bit_and_follows_the_key(key):
    training, values = regression(), hparams(7)
    first = population.sweep(training, values, key=key, num_steps=5)
    again = population.sweep(training, values, key=key, num_steps=5)
    other = population.sweep(training, values, key=21, num_steps=5)
    np.testing.assert_array_equal(first.losses, again.losses)
    assert (first.losses != other.losses).all()
