"""A study that ends by itself, by what it holds."""

import concurrent.futures
import itertools

import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.study import Study, Terminator
from tests.study.reporters import X, reports

QUIET = {"progress": False}


def run(values, *settings, direction="minimize", storage=None, num_trials=100, **more):
    """A study whose trials have these values in turn, and how many it has run."""
    study = Study(X, "random", storage=storage, name="s", direction=direction)
    left = itertools.chain(values[len(study.trials) :], itertools.repeat(values[-1]))

    def objective(params):
        value = next(left)
        if value is None:
            raise ValueError("no value")
        return value

    how = {"callbacks": [Terminator(*settings, **more)], "catch": (Exception,)}
    study.optimize(objective, num_trials=num_trials, **how, **QUIET)
    return study, len(study.trials)


@pytest.mark.parametrize(
    ("values", "settings", "expected"),
    [
        ([3.0, 2.0, 1.0], {}, 6),  # the best is the third
        ([3.0, 2.0, 1.0], {"min_delta": 1.0}, 6),  # by exactly 1 is none: 3, then 1
        ([3.0, 2.5, 2.2], {"min_delta": 1.0}, 4),
        ([3.0, 2.0, 1.0], {"min_trials": 9}, 9),
        ([1.0, None, None, 2.0, None, 2.0], {}, 7),  # failures do not count
        ([1.0, 1.5, 0.9, 2.0, 2.0, 0.8, 2.0], {}, 9),
    ],
)
def test_trials_without_an_improvement_are_counted(values, settings, expected):
    study, count = run(values, 3, **settings)
    assert count == expected
    assert study.stop_reason.startswith("no improvement by more than ")
    assert study.stop_reason.endswith(" in 3 trials")


def test_the_other_direction():
    assert run([1.0, 2.0, 3.0], 2, direction="maximize")[1] == 5
    assert run([1.0, 2.0, 3.0], 2)[1] == 3


def test_a_study_that_is_opened_again_ends_where_it_would_have(url):
    values = [3.0, 1.0, 2.0, 2.0, 0.5, 2.0]
    assert run(values, 4)[1] == 9
    for _ in range(3):
        _, count = run(values, 4, storage=url, num_trials=3)
    assert count == 9
    study, count = run(values, 4, storage=url, num_trials=3)
    assert count == 10  # it has to run one to be asked
    assert "no improvement" in study.stop_reason


@pytest.mark.parametrize("num_workers", [1, 3, 8])
def test_trials_that_end_together_count_once(num_workers):
    study = Study(X, "random", storage=None)
    with concurrent.futures.ThreadPoolExecutor(num_workers) as executor:
        how = {"executor": executor, "synchronous": True, "callbacks": [Terminator(10)]}
        study.optimize(lambda params: 1.0, num_trials=100, **how, **QUIET)
    rounds = -(-11 // num_workers)  # the first, and ten more
    assert len(study.trials) == rounds * num_workers


def test_pruned_trials_count():
    study = Study(X, "qmc", storage=None)
    settings = {"scheduler": "asha", "num_steps": 9, "callbacks": [Terminator(6)]}
    study.optimize(reports, num_trials=200, **settings, **QUIET)
    values = [t.value if t.status is hpo.Status.COMPLETE else np.inf for t in study.trials]
    assert len(values) == 6 + 1 + int(np.argmin(values))
    assert "no improvement" in study.stop_reason


def test_what_it_does_not_take():
    with pytest.raises(ValueError, match="Terminator: `patience` must be"):
        Terminator(0)
    with pytest.raises(ValueError, match="Terminator: `min_delta` must be"):
        Terminator(min_delta=-1.0)
    study = Study(X, "nsga2", storage=None, direction=["minimize", "minimize"])
    with pytest.raises(ValueError, match="Terminator: `study` must be one of a single objective"):
        study.optimize(lambda params: (1.0, 2.0), num_trials=2, callbacks=[Terminator()], **QUIET)
