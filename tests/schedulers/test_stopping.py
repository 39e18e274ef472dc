"""Median stopping and patience against their rules written down in NumPy, and in a study."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import Outcome, Status, schedulers
from tests.study.reporters import X, reports, resumable

LEVELS = [1, 2, 4, 8]


def side_by_side(scheduler, curves):
    """How many levels each trial reaches if all are asked at once."""
    state = scheduler.init(0)
    for _ in LEVELS:
        state, job = scheduler.ask(0, state)
        rung = jnp.searchsorted(state.table.levels, job.level)
        value = curves[np.maximum(job.trial, 0), np.minimum(rung, 3)]
        state, _ = scheduler.tell(0, state, job, Outcome(jnp.asarray(value)))
    scheduler.ask(0, state)
    return np.asarray(state.table.level)


def by_median(curves, warmup, min_trials):
    n, num_levels = curves.shape
    stands, is_on = np.zeros(n, int), np.ones(n, bool)
    for k in range(num_levels):
        stands[is_on] = k + 1
        is_on &= np.isfinite(curves[:, k])
        means = [curves[i, : k + 1].mean() if is_on[i] else np.inf for i in range(n)]
        stops = []
        for i in np.flatnonzero(is_on):
            others = np.delete(means, i)
            better = np.sum(others < curves[i, : k + 1].min())
            if len(others) >= min_trials and 2 * better > len(others) and LEVELS[k] >= warmup:
                stops.append(i)
        is_on[stops] = False
    return stands


def by_patience(curve, count, delta):
    for k in range(1, len(curve)):
        if k > count and not curve[k - count : k].min() < curve[: k - count].min() - delta:
            return k
    return len(curve)


def random_curves(n=25, seed=0):
    rng = np.random.default_rng(seed)
    curves = rng.uniform(size=(n, 1)) + rng.normal(0, 0.3, (n, 4)).cumsum(axis=1)
    return curves.astype(np.float32)


@pytest.mark.parametrize(("warmup", "min_trials"), [(0, 5), (2, 1), (3, 3), (0, 25)])
@pytest.mark.parametrize("seed", [0, 1])
def test_median_is_the_rule_of_the_paper(warmup, min_trials, seed):
    curves = random_curves(seed=seed)
    curves[3, 1] = curves[7, 0] = np.nan
    scheduler = schedulers.median(25, 8, levels=LEVELS, warmup=warmup, min_trials=min_trials)
    np.testing.assert_array_equal(
        side_by_side(scheduler, curves), by_median(curves, warmup, min_trials)
    )


@pytest.mark.parametrize(("count", "delta"), [(1, 0.0), (2, 0.0), (1, 0.1), (3, 0.0)])
def test_patience_counts_levels_without_improvement(count, delta):
    curves = random_curves(seed=2)
    scheduler = schedulers.patience(25, 8, levels=LEVELS, num_levels=count, min_delta=delta)
    expected = [by_patience(curve, count, delta) for curve in curves]
    np.testing.assert_array_equal(side_by_side(scheduler, curves), expected)


@pytest.mark.parametrize("name", ["median", "patience"])
@pytest.mark.parametrize("objective", [reports, resumable])
def test_by_name_in_a_study(name, objective):
    study = hpo.Study(X, "qmc", storage=None)
    study.optimize(objective, num_trials=24, scheduler=name, num_steps=9, progress=False)
    status = [trial.status for trial in study.trials]
    assert len(status) == 24
    assert set(status) <= {Status.COMPLETE, Status.PRUNED}
    assert Status.COMPLETE in status
    if name == "median":
        assert Status.PRUNED in status[5:]
        assert set(status[:5]) == {Status.COMPLETE}  # before there are others to compare with


def test_by_name_in_a_study_decides_as_one_trial_after_another():
    study = hpo.Study(X, "qmc", storage=None)
    study.optimize(reports, num_trials=24, scheduler="median", num_steps=9, progress=False)
    curves = []
    for trial in study.trials:
        curve = np.array([trial.curve[s] for s in sorted(trial.curve)], np.float32)
        for k in range(1, len(curve) + 1):
            means = [c[:k].mean() if len(c) >= k else np.inf for c in curves]
            others = len(means) >= 5 and 2 * np.sum(np.array(means) < curve[:k].min()) > len(means)
            is_last = k == len(curve) and len(curve) < 9
            assert others == is_last, f"trial {trial.number} at step {k}"
            if k == 8:
                break
        curves.append(curve)


@pytest.mark.parametrize("name", ["median", "patience"])
def test_by_name_in_a_sweep(name):
    problem = hpo.problems.mf_hartmann(3, num_steps=27)
    hparams = problem.space.sample(jax.random.key(0), 40)
    swept = hpo.population.sweep(
        problem.training, hparams, key=1, num_steps=27, scheduler=name, progress=False
    )
    assert (swept.status == Status.PRUNED).any()
    # Noise that shrinks is the best where it is largest: nothing improves on it.
    assert (swept.status == Status.COMPLETE).any() == (name == "median")
    assert swept.steps.sum() < 40 * 27


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: schedulers.median(4, 8, min_trials=0), "median: `min_trials` must be at least 1"),
        (lambda: schedulers.median(4, 8, warmup=-1), "median: `warmup` must be at least 0"),
        (
            lambda: schedulers.patience(4, 8, num_levels=0),
            "patience: `num_levels` must be at least",
        ),
        (lambda: schedulers.patience(4, 8, min_delta=-1.0), "patience: `min_delta` must be"),
        (lambda: schedulers.patience(4, 8, interval=9), "patience: `interval` must be at most"),
    ],
)
def test_what_makes_no_rule_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
