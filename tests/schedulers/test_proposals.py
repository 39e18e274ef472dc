"""A sampler inside a rule: what it is told, when it is not asked, and that it helps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import jaxhpo as hpo
from jaxhpo import Outcome, samplers, schedulers
from jaxhpo._base import Record, Sampler

SPACE = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)})
LEVELS = (9, 27)


def spy(seen, batch_size=2):
    """A sampler that writes down what it is told, and always proposes the middle."""

    def tell(_, key, state, unit, outcome):
        if not isinstance(outcome.value, jax.core.Tracer):
            seen.append((np.asarray(unit), np.asarray(outcome.value)))
        return state, None

    bound = Partial(tell, Record())
    middle = jnp.full((batch_size, 2), 0.5)
    return Sampler(
        Partial(lambda key: jnp.zeros(())),
        Partial(lambda key, state: (state, middle)),
        Partial(lambda key, state, unit, outcome: bound(key, state, unit, outcome)),
    )


def scatter(batch_size, num_dims):
    """A sampler that proposes random points, without a model to compile."""
    return spy([])._replace(
        ask=Partial(lambda key, state: (state, jax.random.uniform(key, (batch_size, num_dims))))
    )


def make(name="asha", sampler="tpe", num_trials=60, **settings):
    how = {"levels": LEVELS, "space": SPACE, "batch_size": 2, **settings}
    return getattr(schedulers, name)(num_trials, 27, sampler=sampler, **how)


def value_of(job, shift=0.0):
    return jnp.sum((job.unit - 0.3) ** 2, axis=1) + shift / jnp.maximum(job.level, 1).astype(
        job.unit.dtype
    )


@jax.jit
def one_round(scheduler, key, state):
    state, job = scheduler.ask(key, state)
    return scheduler.tell(key, state, job, Outcome(value_of(job)))[0], job


def run(scheduler, rounds, key=0):
    state, jobs = scheduler.init(key), []
    for k in jax.random.split(jax.random.key(key), rounds):
        state, job = one_round(scheduler, k, state)
        jobs.append(job)
    return state, jobs


def test_it_learns_from_the_highest_level_with_more_values_than_dimensions():
    seen = []
    scheduler = make(sampler=spy(seen), eta=2)
    state = scheduler.init(0)
    for number, k in enumerate(jax.random.split(jax.random.key(1), 8)):
        before = state.table
        state, job = scheduler.ask(k, state)
        count = np.isfinite(before.value).sum(axis=0)
        level = max((i for i in range(2) if count[i] > 2), default=0)
        unit, value = seen[-1]
        has_begun = np.asarray(before.status) != hpo.Status.EMPTY
        np.testing.assert_array_equal(np.isfinite(unit).all(axis=1), has_begun)
        np.testing.assert_array_equal(unit[has_begun], np.asarray(before.unit)[has_begun])
        known = np.isfinite(np.asarray(before.value[:, level]))
        np.testing.assert_array_equal(value[known], np.asarray(before.value)[known, level])
        # Who has not come so far counts as the worst that has.
        assert (value[has_begun & ~known] == value[known].max(initial=-np.inf)).all()
        is_middle = (np.asarray(job.unit) == 0.5).all(axis=1)
        assert not is_middle.any() or count[0] > 2, f"proposed in round {number}, from nothing"
        state, _ = scheduler.tell(k, state, job, Outcome(value_of(job, 1.0)))
    assert np.isfinite(state.table.value[:, 1]).sum() > 2


def test_trials_that_run_count_as_the_worst_and_failures_as_failures():
    seen = []
    scheduler = make(sampler=spy(seen))
    state = scheduler.init(0)
    for k in jax.random.split(jax.random.key(1), 3):
        state, job = scheduler.ask(k, state)
        value = value_of(job).at[0].set(jnp.nan)
        state, _ = scheduler.tell(k, state, job, Outcome(value))
    state, _ = scheduler.ask(5, state)
    scheduler.ask(6, state)
    unit, value = seen[-1]
    status = np.asarray(state.table.status)
    is_unknown = np.isnan(np.asarray(state.table.value[:, 0]))
    failed = (status == hpo.Status.FAILED) & is_unknown
    assert failed.any()
    assert np.isnan(value[failed]).all()
    runs = (status == hpo.Status.RUNNING) & is_unknown
    assert runs.any()
    assert (value[runs] == np.nanmax(state.table.value[:, 0])).all()
    assert np.isfinite(unit[runs]).all()


def test_two_thirds_are_proposed_and_the_others_keep_their_points():
    given = np.random.default_rng(0).uniform(size=(300, 2))
    scheduler = make(sampler=spy([]), num_trials=300, unit=given)
    _, jobs = run(scheduler, 100)
    trial = np.concatenate([job.trial for job in jobs])
    unit, level = (np.concatenate([getattr(job, a) for job in jobs]) for a in ("unit", "level"))
    new = level == LEVELS[0]
    kept = (unit == given.astype(unit.dtype)[trial]).all(axis=1)[new]
    middle = (unit == 0.5).all(axis=1)[new]
    assert (kept | middle).all()
    assert 0.55 < middle[6:].mean() < 0.78
    assert kept[:2].all()


def test_a_small_budget_leaves_all_points_as_they_are():
    seen = []
    _, jobs = run(make(sampler=spy(seen), num_trials=28), 10)
    assert seen == []
    assert not any((np.asarray(job.unit) == 0.5).any() for job in jobs)


@pytest.mark.parametrize("name", ["asha", "halving", "hyperband"])
def test_proposals_are_better_than_random_points(name):
    state, _ = run(make(name, num_trials=90), 70)
    distance = np.asarray(jnp.sum((state.table.unit - 0.3) ** 2, axis=1))
    assert np.median(distance[30:80]) < 0.5 * 0.2  # of random points the median is 0.2


def test_it_is_a_pure_function_of_its_key():
    scheduler = make()
    one, two, other = (run(scheduler, 12, key)[0].table.unit for key in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_static_values_stay_with_their_trials():
    space = hpo.Space({"width": hpo.static([8, 16, 32]), "x": hpo.uniform(0.0, 1.0)})
    unit = space.to_unit(space.sample(jax.random.key(0), 60))
    scheduler = make(space=space, unit=unit)
    state, _ = run(scheduler, 20)
    np.testing.assert_array_equal(state.table.unit[:, 0], unit[:, 0])
    assert (state.table.unit[:, 1] != unit[:, 1]).any()


def test_a_sweep_trains_what_is_proposed():
    problem = hpo.problems.mf_hartmann(3, num_steps=27)
    hparams = problem.space.sample(jax.random.key(0), 96)

    def scheduler(n, steps):
        settings = {"space": problem.space, "batch_size": 16, "levels": [9, 27]}
        return schedulers.asha(n, steps, sampler=scatter(16, 3), **settings)

    swept = hpo.population.sweep(
        problem.training, hparams, key=1, num_steps=27, scheduler=scheduler, progress=False
    )
    points = swept.lineage.hparams["x"][:, 0]
    moved = (points != np.asarray(hparams["x"])).any(axis=1)
    assert 20 < moved.sum() < 90
    done = np.flatnonzero(swept.status == hpo.Status.COMPLETE)
    for trial in done[:5]:
        value = problem.objective(jax.random.key(0), {"x": jnp.asarray(points[trial])})
        assert swept.losses[trial] == pytest.approx(float(value), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"space": None}, TypeError, "`space` must be the Space of the trials' points"),
        ({"sampler": "tpee"}, ValueError, "did you mean `tpe`"),
        ({"sampler": 3}, TypeError, "`sampler` must be a name of a sampler, or a Sampler"),
        ({"sampler": "qmc"}, ValueError, "`sampler` must be one that learns"),
        ({"sampler": "nsga2"}, ValueError, "`sampler` must take one objective"),
        ({"sampler": "gradient"}, ValueError, "needs no gradients"),
        ({"sampler": samplers.tpe(SPACE)}, ValueError, "gives `batch_size` points"),
        ({"unit": np.zeros((60, 3))}, ValueError, r"`unit` must be of shape \[60, 2\]"),
    ],
)
def test_what_cannot_propose_is_refused(settings, error, said):
    with pytest.raises(error, match=said):
        make(**settings)


def test_studies_propose_themselves():
    study = hpo.Study(SPACE, "tpe", storage=None)

    def objective(params):
        yield 1.0

    with pytest.raises(ValueError, match="made without `sampler`: the study's own sampler"):
        study.optimize(objective, num_trials=60, scheduler=make(), progress=False)
    training = hpo.Training(
        lambda key, hparams: 0.0, lambda key, hparams, s, t: s, lambda hparams, s: s
    )
    with pytest.raises(ValueError, match="made without `sampler`: the study's own sampler"):
        study.sweep(training, num_trials=60, num_steps=27, scheduler=make(), progress=False)
    assert study.trials == []
