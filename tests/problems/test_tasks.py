"""The bilevel tasks: the data that they claim, the answers that are known, the start they name."""

import inspect
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from jaxhpo import problems


def test_the_list_is_whole():
    factories = {
        name
        for name, value in vars(problems).items()
        if inspect.isfunction(value) and inspect.signature(value).return_annotation == "Task"
    }
    assert factories == set(problems.TASKS)
    assert all(problems.TASKS[name] is getattr(problems, name) for name in problems.TASKS)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"problems\.ridge: scikit-learn is needed"):
        problems.ridge()
    assert problems.logistic().num_steps == 100  # drawn, not loaded


@pytest.mark.parametrize("seed", [0, 1])
def test_corruption_is_what_it_says(seed):
    data = problems.corrupted_digits(seed, 0.5)
    clean = problems.corrupted_digits(seed, 0.0)
    changed = np.asarray(data.train["y"] != clean.train["y"])
    np.testing.assert_array_equal(changed, data.is_false)
    np.testing.assert_array_equal(data.train["x"], clean.train["x"])
    np.testing.assert_array_equal(data.validation["y"], clean.validation["y"])
    # Half of the labels are drawn anew and a tenth of those comes out true.
    assert 240 <= changed.sum() <= 300
    assert not clean.is_false.any()
    assert data.test["y"].shape == (797,)


@pytest.mark.parametrize("name", ["ridge", "kernel", "valley"])
def test_closed_forms_agree_with_their_own_differences(name):
    """The oracle itself, in NumPy, before anything is measured against it."""
    task = problems.TASKS[name]()
    hparams = jax.tree.map(lambda a: np.array(1.1 * np.asarray(a, np.float64) + 0.05), task.hparams)
    _, grad = task.exact(hparams)
    for leaf in hparams:
        for i in np.ndindex(hparams[leaf].shape):
            ends = []
            for sign in (1, -1):
                moved = hparams[leaf].copy()
                moved[i] = moved[i] + sign * 1e-5
                ends.append(task.exact({**hparams, leaf: moved})[0])
            assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(grad[leaf][i], abs=1e-9)


@pytest.mark.parametrize("name", ["ridge", "kernel", "valley"])
def test_converged_runs_have_the_closed_form(name):
    with jax.enable_x64(True):
        task = problems.TASKS[name]()
        value, grad = task.exact(task.hparams)
        estimators = [hg.unrolled(task.training, num_steps=task.num_steps)]
        if name == "ridge":
            estimators.append(hg.implicit(task.training, num_steps=task.num_steps))
        if name == "kernel":
            estimators.append(hg.implicit(task.training, num_steps=1, solver="dense"))
        for estimator in estimators:
            out = jax.jit(estimator)(jax.random.key(0), task.hparams)
            assert float(out.value) == pytest.approx(value, abs=1e-12)
            for leaf, expected in grad.items():
                np.testing.assert_allclose(out.grad[leaf], expected, rtol=0, atol=1e-12)


def descended(task, *, num_outer=None, seeds="fixed"):
    estimator = hg.unrolled(task.training, num_steps=task.num_steps)
    return hg.descend(
        estimator, task.hparams, optax.adam(task.outer_lr), key=jax.random.key(0), seeds=seeds,
        num_outer=num_outer or task.num_outer, space=task.space, test_loss=task.test_loss,
    )  # fmt: skip


def score(task, hparams):
    state = hpo.training.train(task.training, jax.random.key(9), hparams, task.num_steps)
    return float(task.score(hparams, state))


def test_distilled_digits_teach_more_than_real_ones():
    """Ten learned images against ten real ones, one per class."""
    task = problems.distillation()
    path = descended(task)
    assert score(task, path.best_hparams) > 0.9
    data = problems.corrupted_digits(0, 0.0).validation
    labels = np.asarray(data["y"])
    real = []
    for draw in range(5):
        rows = [np.flatnonzero(labels == digit)[draw] for digit in range(10)]
        real.append(score(task, {"images": data["x"][np.array(rows)]}))
    assert score(task, path.best_hparams) > max(real) + 0.05


# Where a whole descent must end, from the start and with the rate that the task names: the least
# score, with room for another precision or version; and the seeds of its runs.
REACHED = {
    "ridge": (-0.275, "fixed"),  # the penalties overfit 120 validation rows: 0.262 at first
    "logistic": (0.94, "fixed"),
    "penalties": (0.95, "fixed"),
    "kernel": (-0.25, "fixed"),
    "valley": (-0.21, "fixed"),
    "cleaning": (0.92, "fixed"),
    "cleaning_70": (0.92, "fixed"),
    "cleaning_90": (0.92, "fixed"),
    "auxiliary": (0.82, "fresh"),  # 0.80 with equal weights
    "weighting": (0.88, "fixed"),
    "proximal": (-1.35, "fixed"),  # -1.73 from zero
    "learned_optimizer": (-1.0, "fresh"),  # -17.6 at first
    "initial": (-1.0, "fresh"),
    "schedule": (0.93, "fresh"),
    "chaos": (0.93, "fixed"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REACHED)
def test_a_descent_reaches_what_the_task_is_about(name):
    task = problems.TASKS[name]()
    least, seeds = REACHED[name]
    path = descended(task, seeds=seeds)
    assert float(path.best_value) < float(path.values[0])
    assert score(task, path.best_hparams) > least


@pytest.mark.slow
def test_penalties_fall_on_validation_and_tell_how_far_they_overfit():
    """As many penalties as weights: what the third split is for."""
    task = problems.penalties()
    path = descended(task)
    falls, test = np.diff(np.asarray(path.values)) < 0, np.asarray(path.test_values)
    assert np.mean(falls) > 0.95
    assert test.shape == (task.num_outer,)
    overfit = float(test[-1] - path.values[-1]) - float(test[0] - path.values[0])
    assert overfit > 0  # the gap between test and validation has grown
    assert int(np.argmin(test)) < task.num_outer - 1  # and the test loss has turned before the end


@pytest.mark.slow
def test_cleaning_gains_accuracy_over_ten_seeds():
    gains, found = [], []
    for seed in range(10):
        task = problems.cleaning(seed=seed)
        path = descended(task)
        found.append(score(task, path.best_hparams))
        reached = problems.clean_accuracy(task, path.best_hparams, seed=seed)
        gains.append(float(reached["kept"] - reached["all"]))
    gains = np.array(gains)
    assert np.mean(found) >= 0.94
    assert gains.mean() / (gains.std(ddof=1) / np.sqrt(10)) > 2


def test_tasks_follow_the_default_precision():
    for x64, dtype in ((False, jnp.float32), (True, jnp.float64)):
        with jax.enable_x64(x64):
            for name in ("ridge", "initial"):
                task = problems.TASKS[name]()
                shapes = jax.eval_shape(task.training.init, jax.random.key(0), task.hparams)
                leaves = jax.tree.leaves((task.hparams, shapes))
                real = [a for a in leaves if jnp.issubdtype(a.dtype, jnp.floating)]
                assert {a.dtype for a in real} == {jnp.dtype(dtype)}
