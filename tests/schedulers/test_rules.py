"""The rules against plain transcriptions, their settings, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import schedulers
from jaxhpo._status import Status


def values(n, num_levels, seed=0):
    """Values `[n, L]` of which some are equal and some fail."""
    rng = np.random.default_rng(seed)
    found = np.round(rng.normal(size=(n, num_levels)) + rng.normal(size=(n, 1)), 1)
    found[rng.uniform(size=found.shape) < 0.1] = np.nan
    return found


def drive(scheduler, curves):
    """Jobs in their order, and the last table; one program for all rounds."""
    step = jax.jit(lambda s, st, job, v: s.tell(0, st, job, hpo.Outcome(v))[0])
    ask = jax.jit(lambda s, st: s.ask(0, st))
    state, jobs = scheduler.init(0), []
    while True:
        state, job = ask(scheduler, state)
        if (job.trial < 0).all():
            return state.table, jobs
        levels = np.asarray(state.table.levels)
        rung = np.minimum(np.searchsorted(levels, job.level), len(levels) - 1)
        jobs += [(int(t), int(s)) for t, s in zip(job.trial, job.level, strict=True) if t >= 0]
        state = step(scheduler, state, job, curves[np.maximum(job.trial, 0), rung])


def plain_hyperband(curves, brackets, eta):
    """Levels told to each trial: algorithm 1 of the paper, with places counted by `sorted`."""
    told = np.zeros(len(curves), int)
    start = 0
    for first, size in enumerate(brackets):
        rows = list(range(start, start + size))
        start += size
        for rung in range(curves.shape[1]):
            told[rows] = rung + 1
            good = [r for r in rows if np.isfinite(curves[r, rung])]
            good.sort(key=lambda r: (curves[r, rung], r))
            keep = len(rows) if rung < first else max(1, len(rows) // eta)
            rows = good[:keep]
            if not rows:
                break
    return told


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("eta", [2, 3, 5])
def test_halving_is_the_plain_rule(eta, seed):
    scheduler = schedulers.halving(50, 100, eta=eta, levels=[1, 7, 30, 100])
    curves = values(50, 4, seed)
    table, _ = drive(scheduler, curves)
    np.testing.assert_array_equal(table.level, plain_hyperband(curves, [50], eta))


@pytest.mark.parametrize("seed", range(4))
def test_hyperband_is_the_plain_rule(seed):
    # In proportion to 27/4 : 9/3 : 3/2 : 1.
    curves = values(100, 4, seed)
    table, _ = drive(schedulers.hyperband(100, 27), curves)
    np.testing.assert_array_equal(table.level, plain_hyperband(curves, [55, 25, 12, 8], 3))


def plain_asha(curves, levels, eta):
    """Jobs of one worker: algorithm 2 of the paper, and the last promotions of an idle rung."""
    n, num_levels = curves.shape
    told, promoted, jobs, new = np.zeros(n, int), [set() for _ in levels], [], 0
    while True:
        found = None
        for rung in range(num_levels - 2, -1, -1):
            here = [t for t in range(n) if told[t] > rung]
            good = sorted(
                (t for t in here if np.isfinite(curves[t, rung])),
                key=lambda t: (curves[t, rung], t),
            )
            keep = max(len(here) // eta, int(new == n))
            free = [t for t in good[:keep] if t not in promoted[rung]]
            if free:
                found = free[0], rung + 1
                promoted[rung].add(free[0])
                break
        if found is None:
            if new == n:
                return jobs
            found, new = (new, 0), new + 1
        trial, rung = found
        told[trial] = rung + 1
        jobs.append((trial, levels[rung]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("eta", [2, 3])
def test_asha_is_the_plain_rule(eta, seed):
    levels = [1, 3, 9, 27]
    scheduler = schedulers.asha(40, 27, eta=eta, levels=levels, batch_size=1)
    curves = values(40, 4, seed)
    assert drive(scheduler, curves)[1] == plain_asha(curves, levels, eta)


@pytest.mark.parametrize(
    ("factory", "num_steps", "settings", "expected"),
    [
        (schedulers.halving, 27, {}, [1, 2, 4, 8, 16, 27]),
        (schedulers.halving, 810, {}, [30, 60, 120, 240, 480, 810]),
        (schedulers.halving, 10, {}, [1, 2, 4, 8, 10]),
        (schedulers.halving, 1, {}, [1]),
        (schedulers.halving, 100, {"first_rung": 100}, [100]),
        (schedulers.halving, 100, {"first_rung": 10, "eta": 3}, [10, 30, 90, 100]),
        (schedulers.halving, 100, {"levels": np.asarray([3, 100])}, [3, 100]),
        (schedulers.hyperband, 810, {}, [10, 30, 90, 270, 810]),
        (schedulers.hyperband, 2, {}, [1, 2]),
        (schedulers.asha, 270, {}, [10, 30, 90, 270]),
    ],
)
def test_levels(factory, num_steps, settings, expected):
    scheduler = factory(5, num_steps, **settings)
    np.testing.assert_array_equal(scheduler.init(0).table.levels, expected)


@pytest.mark.parametrize("name", ["asha", "halving", "hyperband"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_trials_than_eta(name, n):
    """At least one goes on, so that at least one is trained to the end."""
    table, _ = drive(schedulers.get(name, n, 27, eta=4), np.arange(n)[:, None] * np.ones((1, 9)))
    assert (np.asarray(table.status) == Status.COMPLETE).any()


def test_infeasible_trials_do_not_go_on():
    scheduler = schedulers.halving(4, 4, levels=[1, 4])
    state, job = scheduler.ask(0, scheduler.init(0))
    outcome = hpo.Outcome(jnp.arange(4.0), violation=jnp.asarray([1.0, jnp.nan, 0.0, -1.0]))
    state, info = scheduler.tell(0, state, job, outcome)
    names = [Status(code).name for code in state.table.status.tolist()]
    assert names == ["INFEASIBLE", "INFEASIBLE", "WAITING", "WAITING"]
    assert (int(info.num_promoted), int(info.num_stopped)) == (2, 0)


def test_info_counts():
    scheduler = schedulers.halving(8, 4, levels=[1, 4])
    state, job = scheduler.ask(0, scheduler.init(0))
    state, info = scheduler.tell(0, state, job, hpo.Outcome(jnp.arange(8.0)))
    assert (int(info.num_promoted), int(info.num_stopped)) == (4, 4)
    assert int(info.status) == Status.RUNNING
    state, job = scheduler.ask(0, state)
    _, info = scheduler.tell(0, state, job, hpo.Outcome(jnp.arange(8.0)))
    assert int(info.status) == Status.EMPTY


GOOD = {"num_trials": 8, "num_steps": 16}


@pytest.mark.parametrize("factory", [schedulers.halving, schedulers.hyperband, schedulers.asha])
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"num_trials": 0}, ValueError, "`num_trials` must be at least 1, got 0"),
        ({"num_steps": 0}, ValueError, "`num_steps` must be at least 1, got 0"),
        ({"num_steps": 2.5}, TypeError, "`num_steps` must be an integer of at least 1, got 2.5"),
        ({"eta": 1}, ValueError, "`eta` must be at least 2, got 1"),
        ({"first_rung": 0}, ValueError, "`first_rung` must be at least 1, got 0"),
        (
            {"first_rung": 17},
            ValueError,
            r"`first_rung` must be at most `num_steps` \(16\), got 17",
        ),
        ({"levels": [1, 4, 4, 16]}, ValueError, r"`levels` must be increasing .*got \[1, 4, 4"),
        ({"levels": [4, 1, 16]}, ValueError, "`levels` must be increasing"),
        ({"levels": [1, 4]}, ValueError, r"the last is `num_steps` \(16\), got \[1, 4\]"),
        ({"levels": [1, 32]}, ValueError, r"the last is `num_steps` \(16\)"),
        ({"levels": []}, ValueError, "`levels` must be increasing"),
        ({"levels": [0, 16]}, ValueError, r"`levels\[0\]` must be at least 1, got 0"),
        ({"levels": 16}, TypeError, "`levels` must be increasing steps"),
        ({"levels": [16], "first_rung": 2}, ValueError, "`first_rung` must be None where"),
        ({"unit": np.zeros((7, 2))}, ValueError, r"`unit` must be of shape \[8, d\], got \(7, 2\)"),
        ({"unit": np.full((8, 2), 1.5)}, ValueError, "`unit` must be points of the unit cube"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1, got 0"),
        ({"reduction_factor": 3}, TypeError, "no argument `reduction_factor`; did you mean `eta`"),
        ({"grace_period": 3}, TypeError, "no argument `grace_period`; did you mean `first_rung`"),
    ],
)
def test_bad_settings_are_named(factory, change, error, words):
    with pytest.raises(error, match=f"{factory.__name__}: .*{words}"):
        factory(**{**GOOD, **change})


def test_names():
    ready = schedulers.halving(3, 3)
    assert schedulers.get(ready, 3, 3) is ready
    made = schedulers.get(lambda n, steps: schedulers.halving(n, steps, eta=4), 3, 64)
    np.testing.assert_array_equal(made.init(0).table.levels, [2, 9, 38, 64])
    listed = "asha, halving, hyperband, median, patience, pb2, pbt"
    with pytest.raises(ValueError, match=f"one of {listed}, got 'pasha'"):
        schedulers.get("pasha", 3, 3)
    with pytest.raises(ValueError, match="did you mean `halving`"):
        schedulers.get("SuccessiveHalvingPruner", 3, 3)
    with pytest.raises(TypeError, match="`name` must be a name where settings are given"):
        schedulers.get(ready, 3, 3, eta=2)
    with pytest.raises(
        TypeError, match="`name` must be a name, a Scheduler or a function .*, got 7"
    ):
        schedulers.get(7, 3, 3)


def test_values_that_do_not_fit_are_refused():
    scheduler = schedulers.halving(4, 4)
    state, job = scheduler.ask(0, scheduler.init(0))
    with pytest.raises(ValueError, match=r"halving.tell: `outcome.value` must be one per job"):
        scheduler.tell(0, state, job, hpo.Outcome(jnp.zeros((4, 2))))
