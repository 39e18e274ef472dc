"""Population-based training in a sweep: every state is that of the lineage that is said of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import jaxhpo as hpo
from jaxhpo import population
from jaxhpo._status import Status
from jaxhpo.population import _states
from tests.population.sweep_problems import FLOAT, decay, regression
from tests.population.test_sweep_program import compilations as compilations

SPACE = hpo.Space({"lr": hpo.log_uniform(1e-3, 0.5)})
BOUNDS = np.asarray([1e-3, 0.5], FLOAT)
STEPS, LEVELS = 24, [2, 5, 9, 12, 16, 21, 24]
OVERFLOW = float(np.finfo(FLOAT).max) ** 0.6


def pbt(n=20, space=SPACE, **settings):
    return hpo.schedulers.pbt(n, STEPS, space=space, levels=LEVELS, **settings)


def rates(n=20):
    return SPACE.sample(jax.random.key(5), n)


def run(training=None, given=None, n=20, **options):
    options = {"key": 3, "scheduler": pbt(n), "width": 4, "num_reports": 3, **options}
    training, given = training or noisy(), given or rates(n)
    return population.sweep(training, given, num_steps=STEPS, **options)


def noisy():
    """A walk whose draws are functions of key and step, and whose loss is no function of its."""
    return hpo.Training(
        init=lambda key, h: jax.random.normal(key, (3,), FLOAT),
        step=lambda key, h, w, t: (
            (1 - h["lr"]) * w
            + 0.1 * h["lr"] * jax.random.normal(jax.random.fold_in(key, t), (3,), FLOAT)
        ),
        loss=lambda h, w: jnp.sum(w**2),
    )


def by_hand(training, swept, trial):
    """The oracle: the trial's ancestors' pieces, one plain jitted step after the other."""
    lineage, state, begin = swept.lineage, None, 0
    step = jax.jit(training.step)
    for piece, who in enumerate(lineage.ancestors(trial)):
        key_init, key_step = hpo.training.internal.trial_keys(swept.trial_key(int(who)))
        hparams = jax.tree.map(lambda leaf, i=who, j=piece: leaf[i, j], lineage.hparams)
        state = training.init(key_init, hparams) if state is None else state
        for t in range(begin, int(lineage.steps[piece])):
            state = step(key_step, hparams, state, jnp.int32(t))
        begin = int(lineage.steps[piece])
    return state


@pytest.fixture(scope="module")
def swept():
    return run(keep_states=True)


def test_states_are_those_of_their_lineage(swept):
    lineage = swept.lineage
    assert swept.lineage.copies.sum() >= 20
    for trial in range(20):
        expected = by_hand(noisy(), swept, trial)
        np.testing.assert_allclose(swept.states[trial], expected, rtol=1e-4, atol=1e-6)
    assert (swept.steps == STEPS).all()
    assert (swept.status == Status.COMPLETE).all()
    np.testing.assert_array_equal(lineage.steps, LEVELS)
    assert jax.tree.leaves(lineage.hparams)[0].shape == (20, len(LEVELS))
    best = lineage.schedule(swept.best_index)["lr"]
    assert swept.best_hparams["lr"] == best[-1]
    assert len(set(best.tolist())) > 1


def test_losers_are_copies_of_winners_with_values_beside_theirs(swept):
    lineage, at = swept.lineage, np.searchsorted(swept.curve_steps, LEVELS)
    curves, lr = swept.curves[:, at], lineage.hparams["lr"]
    for piece in range(1, len(LEVELS)):
        order = np.argsort(curves[:, piece - 1], kind="stable")
        expected = np.arange(20)
        expected[order[-5:]] = order[:5]
        np.testing.assert_array_equal(lineage.parent[:, piece], expected)
        stays = expected == np.arange(20)
        np.testing.assert_array_equal(lr[stays, piece], lr[stays, piece - 1])
        new, old = lr[~stays, piece], lr[expected[~stays], piece - 1]
        assert ((new != old) | np.isin(new, BOUNDS)).all()
    assert ((lr >= BOUNDS[0]) & (lr <= BOUNDS[1])).all()


LAYOUTS = {
    "several chunks": {"chunk": 8},
    "states on the devices": {"num_devices": 2, "chunk": 24, "keep_states": False},
    "two devices": {"num_devices": 2},
    "two devices, in chunks": {"num_devices": 2, "chunk": 8},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layout_changes_no_bit(swept, layout):
    options = {"keep_states": True, **layout}
    devices = jax.local_devices()[: options.pop("num_devices", 1)]
    other = run(devices=devices, **options)
    np.testing.assert_array_equal(other.curves, swept.curves)
    np.testing.assert_array_equal(other.lineage.parent, swept.lineage.parent)
    np.testing.assert_array_equal(other.lineage.hparams["lr"], swept.lineage.hparams["lr"])
    np.testing.assert_array_equal(other.best_state, swept.best_state)


def test_copies_are_made_on_the_devices_where_one_call_holds_all(monkeypatch):
    used = []
    for kind in (_states.HostStates, _states.DeviceStates):
        copy = kind.copy
        monkeypatch.setattr(
            kind, "copy", lambda self, *a, _copy=copy: used.append(type(self)) or _copy(self, *a)
        )
    for chunk, kind in ((24, _states.DeviceStates), (8, _states.HostStates)):
        used.clear()
        run(chunk=chunk)
        assert set(used) == {kind}


@pytest.mark.parametrize("trial", [None, 0, 13])
def test_a_replay_is_the_surviving_lane_bit_for_bit(swept, trial):
    again = population.replay(noisy(), swept, trial)
    number = swept.best_index if trial is None else trial
    assert again.losses[0] == swept.losses[number]
    np.testing.assert_array_equal(again.best_state, swept.states[number])
    who, at = swept.lineage.ancestors(number), np.searchsorted(swept.curve_steps, LEVELS)
    np.testing.assert_array_equal(again.curves[0], swept.curves[who, at])


def test_a_replay_shares_the_data_order_if_the_sweep_did():
    training = regression()
    space = hpo.Space({"lr": hpo.log_uniform(1e-3, 0.1), "momentum": hpo.uniform(0.0, 0.9)})
    given = space.sample(jax.random.key(0), 8)
    scheduler = pbt(8, space)
    result = run(training, given, scheduler=scheduler, share_data_order=True, keep_states=True)
    programs = population.Programs()
    again = population.replay(training, result, 3, share_data_order=True, programs=programs)
    assert again.losses[0] == result.losses[3]
    assert population.replay(training, result, 3, programs=programs).losses[0] != again.losses[0]


def test_a_copy_has_other_draws_than_its_parent():
    """Of equal hyperparameters two copies part, since each trial keeps its key."""
    space = hpo.Space({"lr": hpo.log_uniform(0.1, 0.101)})
    given = {"lr": np.full(8, 0.1)}
    result = run(given=given, scheduler=pbt(8, space), keep_states=True)
    assert result.lineage.copies.sum() > 8
    assert len(np.unique(np.asarray(result.states)[:, 0])) == 8


@pytest.mark.parametrize("chunk", [8, 24])
def test_one_compilation_for_all_rounds(compilations, chunk):
    count = {}
    training = regression(count=count)
    space = hpo.Space({"lr": hpo.log_uniform(1e-3, 0.1), "momentum": hpo.uniform(0.0, 0.9)})
    given = jax.tree.map(np.asarray, space.sample(jax.random.key(0), 24))
    options = {"scheduler": pbt(24, space), "key": jax.random.key(0), "chunk": chunk}
    run(decay(), {k: v[:] for k, v in given.items()}, **options)
    compilations.clear()
    result = run(training, given, **options)
    assert result.num_compilations == 1
    assert count == {"init": 1, "loss": 2}
    # The rule's programs are there from the first sweep; a gather on the devices is one more.
    assert len(compilations) == (2 if chunk == 24 else 1)


def test_a_failed_trial_goes_on_from_a_winner():
    given = rates()
    given = {"lr": given["lr"].at[jnp.array([2, 9])].set(OVERFLOW).at[4].set(jnp.nan)}
    result = run(given=given, keep_states=True)
    assert (result.status == Status.COMPLETE).all()
    assert result.num_failed == 0
    assert np.isnan(result.curves[[2, 4, 9], 0]).all()
    assert (result.lineage.parent[[2, 4, 9], 1] != [2, 4, 9]).all()
    assert (result.steps == STEPS).all()
    assert (result.lineage.hparams["lr"][:, -1] <= 0.5).all()
    for trial in (2, 4, 9):
        expected = by_hand(noisy(), result, trial)
        np.testing.assert_allclose(result.states[trial], expected, rtol=1e-4, atol=1e-6)


def test_all_failed_is_the_end():
    result = run(given={"lr": np.full(20, np.nan)})
    assert (result.status == Status.FAILED).all()
    assert result.steps.tolist() == [LEVELS[0]] * 20
    assert result.best_index == -1
    assert result.lineage.copies.sum() == 0
    with pytest.raises(ValueError, match="replay: `trial` must be a number where no trial is"):
        population.replay(noisy(), result)


def test_copies_stay_within_static_values():
    space = hpo.Space({"lr": hpo.uniform(0.01, 0.5), "width": hpo.static([1, 2, 3])})
    training = hpo.Training(
        init=lambda key, h: jax.random.normal(key, (h["width"],), FLOAT),
        step=lambda key, h, s, t: s * (1 - h["lr"] / h["width"]),
        loss=lambda h, s: jnp.mean(s**2),
    )
    given = space.sample(jax.random.key(5), 40)
    result = run(training, given, scheduler=pbt(40, space), keep_states=True)
    width = np.asarray(given["width"].index)
    parent = result.lineage.parent
    assert (width[parent] == width[:, None]).all()
    assert set(width[result.lineage.copies > 0]) == {0, 1, 2}
    np.testing.assert_array_equal(
        result.lineage.hparams["width"].index, width[:, None] + 0 * parent
    )
    assert result.num_compilations == 3
    again = population.replay(training, result)
    assert again.losses[0] == result.best_loss


def test_ctrl_c_and_timeout_keep_what_was_reached():
    def interrupt(tick):
        if tick.steps_done >= 20 * LEVELS[2]:
            raise KeyboardInterrupt

    with pytest.raises(population.SweepInterrupted) as caught:
        run(progress=interrupt, num_reports=1, keep_states=True)
    part = caught.value.sweep
    assert (part.status == Status.RUNNING).all()
    pieces = (part.lineage.parent >= 0).sum(1)
    assert set(pieces) <= {3, 4}
    trial = int(np.argmin(pieces))
    again = population.replay(noisy(), part, trial)
    assert again.curves[0, 2] == part.curves[part.lineage.ancestors(trial)[2], 2]
    cut = run(timeout=1e-9)
    assert (cut.lineage.parent == -1).all()
    with pytest.raises(ValueError, match="replay: `trial` must be the number of a trial that has"):
        population.replay(noisy(), cut, 0)


def test_by_name_with_the_space():
    result = population.sweep(
        noisy(), rates(8), key=0, num_steps=80, num_reports=1, scheduler="pbt", space=SPACE
    )
    np.testing.assert_array_equal(result.lineage.steps, np.arange(2, 81, 2))
    assert result.best_loss == np.nanmin(result.losses)


def _moves(good, key, state):
    state, job = good.ask(key, state)
    return state, job._replace(unit=jnp.where(job.level[:, None] > 2, 0.5, job.unit))


def _leaves_the_cube(good, key, state):
    state, job = good.ask(key, state)
    return state, job._replace(unit=jnp.where(job.level[:, None] > 2, 1.5, job.unit))


def _copies_across(good, key, state):
    state, job = good.ask(key, state)
    return state, job._replace(parent=jnp.where(job.level > 2, 0, job.trial).astype(jnp.int32))


OTHER = hpo.Space({"rate": hpo.uniform(0.0, 1.0)})
TWO = hpo.Space({"lr": hpo.log_uniform(1e-3, 0.5), "width": hpo.static([1, 2])})


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"scheduler": "pbt"}, ValueError, "`space` must be the Space of the points, where 'pbt'"),
        ({"scheduler": "pbt", "space": 3}, TypeError, "`space` must be the Space of `hparams`"),
        ({"scheduler": pbt(20, OTHER)}, ValueError, "`scheduler` must be made for the space of"),
        ({"scheduler": pbt(20, TWO)}, ValueError, "`scheduler` must be made for the space of"),
        ({"scheduler": pbt(8)}, ValueError, "`scheduler` must be made for 20 trials, got"),
        (
            {"scheduler": pbt()._replace(ask=Partial(_leaves_the_cube, pbt()))},
            ValueError,
            "`scheduler` must be one whose points lie in the unit cube",
        ),
        (
            {"scheduler": pbt()._replace(ask=Partial(_moves, pbt()), space=None)},
            ValueError,
            "`scheduler` must be one with a `space`, where it changes the points of trials",
        ),
    ],
)
def test_what_does_not_fit_is_named(options, error, words):
    ticks = []
    with pytest.raises(error, match=f"sweep: {words}"):
        run(**{**options, "progress": ticks.append})
    assert ticks == []


def test_a_copy_of_another_static_value_is_named():
    given = TWO.sample(jax.random.key(5), 20)
    good = pbt(20, TWO)
    with pytest.raises(ValueError, match="copies among trials of the same static values"):
        run(given=given, scheduler=good._replace(ask=Partial(_copies_across, good)))


def test_replay_names_what_it_cannot_do(swept):
    plain = population.sweep(decay(), {"lr": np.full(4, 0.1)}, key=0, num_steps=2)
    with pytest.raises(ValueError, match="replay: `swept` must be a sweep whose scheduler changes"):
        population.replay(decay(), plain)
    with pytest.raises(ValueError, match="replay: `trial` must be the number of a trial that has"):
        population.replay(noisy(), swept, 20)
    with pytest.raises(TypeError, match="replay: `swept` must be a Sweep"):
        population.replay(noisy(), 3)
    with pytest.raises(ValueError, match="Lineage.ancestors: `trial` must be below 20"):
        swept.lineage.ancestors(20)
    assert dataclasses.is_dataclass(swept.lineage)
