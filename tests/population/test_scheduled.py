"""Under a scheduler a sweep is the full sweep, of which a plain rule leaves rows out."""

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
from tests.population.sweep_problems import FLOAT, decay, hparams, regression, row
from tests.population.test_sweep_program import compilations as compilations

LEVELS = [2, 5, 9, 16]
# Rates of which the loss overflows after one step, and after some.
AT_ONCE, LATER = (float(np.finfo(FLOAT).max) ** share for share in (0.6, 1 / 14))


def halving(n, **settings):
    return hpo.schedulers.halving(n, LEVELS[-1], levels=LEVELS, **settings)


def halve(curves, eta=2):
    """The oracle: the last level of each row of `[n, L]` values, by one plain loop."""
    rows, last = np.arange(len(curves)), np.zeros(len(curves), int)
    for level in range(curves.shape[1]):
        last[rows] = level
        alive = [r for r in rows if np.isfinite(curves[r, level])]
        alive.sort(key=lambda r: (curves[r, level], r))
        rows = np.sort(alive[: max(1, len(rows) // eta)]).astype(int)
    return last


def values(n):
    """Hyperparameters of which some diverge, at once or late."""
    given = hparams(n)
    return {**given, "lr": given["lr"].at[jnp.array([2, 5, 6])].set(AT_ONCE).at[1].set(LATER)}


def run(n=41, **options):
    options = {"scheduler": halving(n), "width": 4, "num_reports": 4, **options}
    return population.sweep(regression(), values(n), key=3, num_steps=LEVELS[-1], **options)


@pytest.fixture(scope="module")
def full():
    return run(scheduler=None, num_reports=LEVELS[-1], keep_states=True)


LAYOUTS = {
    "several chunks": {"chunk": 12},
    "states on the devices": {"chunk": 48},
    "one device, one chunk, states kept": {"devices": 1, "chunk": 48, "keep_states": True},
}
MORE_LAYOUTS = {
    "one device": {"devices": 1},
    "states kept": {"keep_states": True},
}


@pytest.mark.parametrize(
    "layout",
    [
        *(pytest.param(layout, id=name) for name, layout in LAYOUTS.items()),
        *(pytest.param(layout, id=i, marks=pytest.mark.slow) for i, layout in MORE_LAYOUTS.items()),
    ],
)
def test_survivors_are_those_of_the_full_sweep_bit_for_bit(full, layout):
    options = {**layout, "devices": jax.local_devices()[: layout.get("devices", 2)]}
    result = run(**options)
    at = [list(full.curve_steps).index(step) for step in LEVELS]
    last = np.asarray(LEVELS)[halve(full.curves[:, at])]
    assert sorted(set(LEVELS)) == sorted(set(last))

    # A failed trial ends at the report where it is seen.
    has_failed = result.status == Status.FAILED
    np.testing.assert_array_equal(result.steps[~has_failed], last[~has_failed])
    assert (result.steps[has_failed] <= last[has_failed]).all()
    np.testing.assert_array_equal(result.curve_steps, [2, 4, 5, 8, 9, 12, 16])
    here = [list(full.curve_steps).index(step) for step in result.curve_steps]
    is_there = result.curve_steps[None] <= last[:, None]
    np.testing.assert_array_equal(result.curves, np.where(is_there, full.curves[:, here], np.nan))

    is_complete = last == LEVELS[-1]
    np.testing.assert_array_equal(result.losses[is_complete], full.losses[is_complete])
    assert np.isnan(result.losses[~is_complete]).all()
    assert (result.status[is_complete & ~has_failed] == Status.COMPLETE).all()
    assert (result.status[~is_complete & ~has_failed] == Status.PRUNED).all()
    assert result.best_index == int(np.nanargmin(result.losses))
    best = row(full.states.params, result.best_index)
    np.testing.assert_array_equal(result.best_state.params, best)
    if result.states is not None:
        np.testing.assert_array_equal(result.state_trials[0], np.arange(41))
        np.testing.assert_array_equal(
            result.states.params[is_complete], full.states.params[is_complete]
        )


def test_states_stay_on_the_devices_where_one_call_holds_all(monkeypatch):
    used = []
    for kind in (_states.HostStates, _states.DeviceStates):
        load = kind.load
        monkeypatch.setattr(
            kind,
            "load",
            lambda self, *args, _load=load: used.append(type(self)) or _load(self, *args),
        )
    for chunk, kind in ((48, _states.DeviceStates), (12, _states.HostStates)):
        used.clear()
        run(chunk=chunk)
        assert set(used) == {kind}
    budget = run(chunk=48).plan.program_bytes + 1
    used.clear()
    run(chunk=48, memory_budget=budget)
    assert set(used) == {_states.HostStates}


@pytest.mark.parametrize("chunk", [8, 64])
def test_one_compilation_of_the_training_for_all_rungs(key, compilations, chunk):
    count = {}
    training, given = regression(count=count), jax.tree.map(np.asarray, hparams(50))
    key.block_until_ready()
    scheduler = halving(50)
    options = {"key": key, "num_steps": LEVELS[-1], "chunk": chunk, "scheduler": scheduler}
    population.sweep(decay(), {"lr": np.full(50, 0.1)}, **{**options, "chunk": None})
    compilations.clear()
    result = population.sweep(training, given, **options)
    assert result.num_compilations == 1
    assert count == {"init": 1, "loss": 2}
    # The rule's programs are there from the first sweep; a gather on the devices is one more.
    assert len(compilations) == (2 if chunk == 64 else 1)


def test_steps_given_back():
    result = population.sweep(
        decay(), {"lr": jnp.linspace(0.01, 0.9, 512)}, key=0, num_steps=54, scheduler="halving"
    )
    assert result.status.tolist().count(Status.COMPLETE) == 16
    assert 8 < 512 * 54 / result.steps.sum() < 8.2
    # One division by eta after the other: no more trials of a rung than there were steps for.
    counts = [(result.steps > step).sum() for step in (2, 4, 8, 16, 32)]
    assert counts == [256, 128, 64, 32, 16]


def test_groups_become_fewer():
    """A rung runs half the groups of the one before: steps that are really not taken."""
    calls = []

    def step(key, h, s, t):
        jax.debug.callback(lambda t: calls.append(int(t)), t, ordered=False)
        return s * (1 - h["lr"])

    training = decay()._replace(step=step)
    for chunk in (4, 16):
        calls.clear()
        population.sweep(
            training,
            {"lr": jnp.linspace(0.1, 0.9, 16, dtype=FLOAT)},
            key=0,
            num_steps=4,
            num_reports=1,
            width=1,
            chunk=chunk,
            scheduler=hpo.schedulers.halving(16, 4, levels=[1, 2, 4]),
        )
        jax.effects_barrier()
        assert [calls.count(t) for t in range(4)] == [16, 8, 4, 4]


def test_the_rule_sees_all_groups_together(key):
    space = hpo.Space({"lr": hpo.uniform(0.0, 0.5), "width": hpo.static([1, 2, 3])})
    given = space.sample(jax.random.key(5), 48)
    training = hpo.Training(
        init=lambda key, h: jnp.full((h["width"],), 1.0, FLOAT),
        step=lambda key, h, s, t: s * (1 - h["lr"] / h["width"]),
        loss=lambda h, s: jnp.mean(s**2),
    )
    options = {"key": key, "num_steps": LEVELS[-1], "width": 4}
    full = population.sweep(training, given, num_reports=LEVELS[-1], **options)
    result = population.sweep(training, given, scheduler=halving(48), keep_states=True, **options)
    last = np.asarray(LEVELS)[halve(full.curves[:, np.asarray(LEVELS) - 1])]
    np.testing.assert_array_equal(result.steps, last)
    assert result.num_compilations == 3
    assert result.best_index == full.best_index
    for trials, states in zip(result.state_trials, result.states, strict=True):
        loss = np.mean(np.asarray(states) ** 2, axis=1)
        curve = result.curves[trials]
        seen = [c[np.isfinite(c)][-1] for c in curve]
        np.testing.assert_allclose(loss, seen, rtol=1e-5)


def test_all_trials_of_a_rung_fail(key):
    lr = jnp.where(jnp.arange(20) < 3, AT_ONCE, LATER).astype(FLOAT)
    steps = 64
    result = population.sweep(
        decay(),
        {"lr": lr},
        key=key,
        num_steps=steps,
        num_reports=1,
        scheduler=hpo.schedulers.halving(20, steps, levels=[1, 32, 64]),
    )
    # All losses are finite after one step but for three; after 32 steps none is.
    assert (result.status[:3] == Status.FAILED).all()
    assert result.steps.tolist() == [1] * 3 + [32] * 10 + [1] * 7
    assert (result.status[3:13] == Status.FAILED).all()
    assert (result.status[13:] == Status.PRUNED).all()
    assert result.best_index == -1
    assert result.num_failed == 13


@pytest.mark.parametrize("name", ["halving", "hyperband", "asha"])
@pytest.mark.parametrize(
    ("n", "num_steps"), [(2, 30), (7, 1), pytest.param(1, 30, marks=pytest.mark.slow)]
)
def test_few_trials_and_few_steps(name, n, num_steps):
    result = population.sweep(
        decay(),
        {"lr": jnp.linspace(0.1, 0.2, n, dtype=FLOAT)},
        key=0,
        num_steps=num_steps,
        scheduler=name,
    )
    assert np.isin(result.status, (Status.COMPLETE, Status.PRUNED)).all()
    assert (result.status == Status.COMPLETE).any()
    assert np.isfinite(result.best_loss)


def test_hyperband_stops_no_trial_before_its_bracket_begins():
    n, levels = 60, [1, 3, 9, 27]
    result = population.sweep(
        decay(),
        {"lr": jnp.linspace(0.9, 0.1, n, dtype=FLOAT)},
        key=0,
        num_steps=27,
        width=4,
        scheduler=hpo.schedulers.hyperband(n, 27, levels=levels),
    )
    sizes = [33, 15, 7, 5]  # in proportion to 27/4 : 9/3 : 3/2 : 1
    assert sum(sizes) == n
    ends = np.split(result.steps, np.cumsum(sizes)[:-1])
    for first, steps in enumerate(ends):
        assert steps.min() == levels[first]
        # All values fall, so that the first of a bracket are its best.
        assert (np.diff(steps) <= 0).all()
    assert [(ends[0] > step).sum() for step in levels] == [11, 3, 1, 0]


@pytest.mark.parametrize("chunk", [None, 64])
def test_asha_in_a_sweep_takes_paused_trials_up_again(full, chunk):
    scheduler = hpo.schedulers.asha(41, LEVELS[-1], levels=LEVELS, eta=2, batch_size=8)
    result = run(scheduler=scheduler, chunk=chunk)
    here = [list(full.curve_steps).index(step) for step in result.curve_steps]
    is_there = result.curve_steps[None] <= result.steps[:, None]
    np.testing.assert_array_equal(result.curves, np.where(is_there, full.curves[:, here], np.nan))
    is_complete = result.status == Status.COMPLETE
    assert is_complete.sum() >= 3
    np.testing.assert_array_equal(result.losses[is_complete], full.losses[is_complete])
    assert set(result.status) == {Status.COMPLETE, Status.PRUNED, Status.FAILED}


def test_progress_adds_up(key):
    ticks = []
    options = {"key": key, "num_steps": LEVELS[-1], "num_reports": 1}
    given = {"lr": jnp.linspace(0.1, 0.9, 16, dtype=FLOAT)}
    result = population.sweep(
        decay(), given, chunk=4, width=2, scheduler=halving(16), progress=ticks.append, **options
    )
    planned = 16 * 2 + 8 * 3 + 4 * 4 + 2 * 7
    assert result.steps.sum() == planned
    assert {t.num_steps for t in ticks} == {planned}
    assert (ticks[-1].num_done, ticks[-1].steps_done, ticks[-1].num_failed) == (16, planned, 0)
    said = list(dict.fromkeys(t.message for t in ticks if not t.is_compiling))
    lowest = np.nanmin(result.curves[:, list(result.curve_steps).index(9)])
    assert said[:2] == ["", f"8 of 16 trials go on to step 5, lowest loss {said[1].split()[-1]}"]
    assert said[-1] == f"2 of 16 trials go on to step 16, lowest loss {lowest:.4g}"
    done = [t.num_done for t in ticks]
    assert done == sorted(done)
    trials = np.concatenate([t.new_trials for t in ticks])
    losses = np.concatenate([t.new_losses for t in ticks])
    np.testing.assert_array_equal(np.sort(trials), np.arange(16))
    np.testing.assert_allclose(losses[np.argsort(trials)], result.losses, rtol=1e-6)


@pytest.mark.parametrize("chunk", [4, 16])
def test_ctrl_c_keeps_what_was_reached(key, chunk):
    def progress(tick):
        if tick.num_done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(population.SweepInterrupted) as caught:
        population.sweep(
            decay(),
            {"lr": jnp.linspace(0.1, 0.9, 16, dtype=FLOAT)},
            key=key,
            num_steps=LEVELS[-1],
            width=2,
            chunk=chunk,
            scheduler=halving(16),
            keep_states=True,
            progress=progress,
        )
    part = caught.value.sweep
    assert (part.status == Status.PRUNED).sum() == 8
    assert (part.status == Status.RUNNING).sum() == 8
    np.testing.assert_array_equal(part.state_trials[0], np.flatnonzero(part.status == 3))
    lr = np.linspace(0.1, 0.9, 16, dtype=FLOAT)
    np.testing.assert_allclose(part.states, ((1 - lr) ** 2)[part.state_trials[0]], rtol=1e-5)


@pytest.mark.parametrize("chunk", [8, None])
def test_ctrl_c_in_the_last_rung_keeps_the_states_of_who_ended(key, chunk):
    given = {"lr": np.linspace(0.01, 0.5, 32)}
    options = {"key": key, "num_steps": 16, "num_reports": 1, "width": 8, "chunk": chunk}
    options |= {"scheduler": halving(32, eta=4), "programs": population.Programs()}

    def interrupt(tick):
        if tick.best is not None:
            raise KeyboardInterrupt

    with pytest.raises(population.SweepInterrupted) as caught:
        population.sweep(decay(), given, keep_states=True, progress=interrupt, **options)
    result = caught.value.sweep
    ended = np.flatnonzero(np.isin(result.status, (Status.COMPLETE, Status.PRUNED)))
    assert result.best_index in ended
    (trials,) = result.state_trials
    np.testing.assert_array_equal(trials, ended)
    states = jax.tree.leaves(result.states)[0]
    (best,) = jax.tree.leaves(result.best_state)
    np.testing.assert_array_equal(states[list(trials).index(result.best_index)], best)


@pytest.mark.parametrize("keep_states", [False, True])
def test_a_state_of_keys_counters_and_leaves_of_no_elements(key, keep_states):
    """On the device and on the host every leaf moves with its trial."""
    training = hpo.Training(
        init=lambda key, hparams: {
            "key": key,
            "none": jnp.zeros((0,), FLOAT),
            "steps": jnp.int32(0),
            "w": jnp.ones((), FLOAT),
        },
        step=lambda key, hparams, state, t: {
            "key": jax.random.split(state["key"])[0],
            "none": state["none"],
            "steps": state["steps"] + 1,
            "w": state["w"] * (1 - hparams["lr"]),
        },
        loss=lambda hparams, state: state["w"] ** 2,
    )
    given = {"lr": np.linspace(0.5, 0.01, 12, dtype=FLOAT)}
    options = {"key": key, "num_steps": 16, "num_reports": 1, "width": 2}
    full = population.sweep(training, given, **options)
    result = population.sweep(
        training, given, scheduler=halving(12), keep_states=keep_states, **options
    )
    assert result.best_index == full.best_index == 0
    as_data = [jax.random.key_data(one.best_state["key"]) for one in (result, full)]
    np.testing.assert_array_equal(*as_data)
    assert result.best_state["steps"] == 16
    assert result.best_state["none"].shape == (0,)
    if keep_states:
        np.testing.assert_array_equal(result.states["steps"], result.steps)


def test_a_sweep_that_ran_no_program_has_no_plan(key):
    given = {"lr": np.linspace(0.01, 0.5, 4)}
    for scheduler in (None, "halving"):
        result = population.sweep(
            decay(), given, key=key, num_steps=16, scheduler=scheduler, timeout=1e-9
        )
        assert result.plans == ()
        with pytest.raises(ValueError, match="Sweep.plan: the sweep was cut short"):
            _ = result.plan


def test_timeout_ends_the_sweep_at_a_report(key):
    ticks = []

    def slow(tick):
        import time

        ticks.append(tick)
        time.sleep(0.2 if tick.steps_done else 0.0)

    options = {"key": key, "num_steps": LEVELS[-1], "scheduler": halving(64), "programs": None}
    programs = population.Programs()
    given = {"lr": jnp.linspace(0.1, 0.9, 64, dtype=FLOAT)}
    options["programs"] = programs
    population.sweep(decay(), given, **options)
    result = population.sweep(decay(), given, timeout=0.5, progress=slow, **options)
    assert result.num_compilations in (0, 1)
    assert (result.status != Status.COMPLETE).any()
    assert (result.steps < LEVELS[-1]).any()


@pytest.mark.parametrize(
    ("scheduler", "error", "words"),
    [
        ("halvin", ValueError, "sweep: `scheduler` must be one of asha, .*`halving`"),
        (3, TypeError, "sweep: `scheduler` must be a name, a Scheduler or a function .*, got 3"),
        (lambda n, steps: n, TypeError, "sweep: `scheduler` must be a function .*, got 9"),
        (hpo.schedulers.halving(8, 16), ValueError, "made for 9 trials, got 'one for 8'"),
        (hpo.schedulers.halving(9, 15), ValueError, "made for 16 steps, got 'one for 15'"),
    ],
)
def test_a_scheduler_that_does_not_fit_is_named(scheduler, error, words):
    with pytest.raises(error, match=words):
        population.sweep(
            decay(), {"lr": jnp.full(9, 0.1)}, key=0, num_steps=16, scheduler=scheduler
        )


def _copies(good, key, state):
    state, job = good.ask(key, state)
    return state, job._replace(parent=jnp.maximum(job.trial - 1, -1))


def _without_table(good, key):
    return good.init(key).table.value


def test_a_scheduler_of_ones_own_that_cannot_run_is_named():
    good = halving(9)
    for changed, error, words in (
        (good._replace(ask=Partial(_copies, good)), ValueError, "copy trials that have begun"),
        (good._replace(init=Partial(_without_table, good)), TypeError, "has a field `table`"),
    ):
        with pytest.raises(error, match=f"sweep: `scheduler` must be .*{words}"):
            population.sweep(
                decay(), {"lr": jnp.full(9, 0.1)}, key=0, num_steps=16, scheduler=changed
            )


def _job_of(change):
    """Changes what `halving` asks for."""

    def ask(good, key, state):
        state, job = good.ask(key, state)
        return state, change(job)

    return lambda good: good._replace(ask=Partial(ask, good))


def _table_of(change):
    """Changes the table that `halving` begins with."""

    def init(good, key):
        state = good.init(key)
        return dataclasses.replace(state, table=change(state.table))

    return lambda good: good._replace(init=Partial(init, good))


def _for_ever(good, key, state):
    """Hands out one level of all trials again and again."""
    _, job = good.ask(key, good.init(key))
    return state, job


def _revives(good, key, state):
    """Lets the trials go on that have been pruned."""
    state, job = good.ask(key, state)
    pruned = jnp.sort(
        jnp.where(state.table.status == int(Status.PRUNED), jnp.arange(9, dtype=jnp.int32), -1)
    )
    trial = jnp.where((pruned[-1] >= 0) & (job.trial >= 0), pruned[::-1], job.trial)
    return state, job._replace(trial=trial, parent=trial)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (_job_of(lambda job: job._replace(level=job.level + 1)), ValueError, "trial 0 to step 3'"),
        (_job_of(lambda job: job._replace(level=job.level * 0)), ValueError, "trial 0 to step 0'"),
        (
            _job_of(lambda job: job._replace(trial=job.trial + 77, parent=job.parent + 77)),
            ValueError,
            "of the trials 0 to 8, got 'trial 77'",
        ),
        (
            _job_of(lambda job: job._replace(trial=job.trial * 0, parent=job.parent * 0)),
            ValueError,
            "trial 0 twice",
        ),
        (
            _job_of(lambda job: job._replace(level=job.level[:3])),
            ValueError,
            "one shape .*3,",
        ),
        (_job_of(tuple), TypeError, "`ask` gives a Job"),
        (lambda good: good._replace(ask=Partial(_for_ever, good)), ValueError, "later level"),
        (lambda good: good._replace(ask=Partial(_revives, good)), ValueError, "that has ended"),
        (
            _table_of(lambda t: dataclasses.replace(t, levels=t.levels[:0], value=t.value[:, :0])),
            ValueError,
            "at least one level",
        ),
        (
            _table_of(lambda t: dataclasses.replace(t, levels=t.levels.at[0].set(0))),
            ValueError,
            r"increase from at least 1, got \[0,",
        ),
    ],
)
def test_a_scheduler_whose_jobs_cannot_run_is_named_before_training(change, error, words):
    steps = []
    with pytest.raises(error, match=f"sweep: `scheduler` must be .*{words}"):
        population.sweep(
            decay(),
            {"lr": jnp.full(9, 0.1)},
            key=0,
            num_steps=16,
            scheduler=change(halving(9)),
            progress=steps.append,
        )
    assert steps == []


def test_a_sweep_without_a_scheduler_counts_steps(key):
    result = population.sweep(
        decay(),
        {"lr": jnp.asarray([0.1, AT_ONCE, 0.2], FLOAT)},
        key=key,
        num_steps=8,
        num_reports=4,
    )
    assert result.steps.tolist() == [8, 2, 8]
