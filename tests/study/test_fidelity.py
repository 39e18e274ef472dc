"""What a study's sampler is told of trials that a scheduler has judged."""

import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study import Study
from tests.study.reporters import STEPS, X, facts, loss

SETTINGS = {"progress": False, "num_steps": STEPS, "scheduler": "asha"}


def objective(params, checkpoint=None):
    for step in range(checkpoint or 0, STEPS):
        yield hpo.Report(loss(params["x"], step + 1), np.int64(step + 1))


def stopping(params):
    for report in objective(params):
        yield report.loss


def told(study):
    """The values that its sampler is told at the next ask, in the study's own sign."""
    found = []
    reset = study._sampler._proposer.reset
    study._sampler._proposer.reset = lambda evaluations: (
        found.append(evaluations),
        reset(evaluations),
    )
    study._sampler.refresh()
    return np.asarray(found[0].value) * (-1 if study.direction == "maximize" else 1)


@pytest.mark.parametrize("run", [objective, stopping])
def test_a_sampler_is_told_values_of_one_level(run, url):
    study = Study(X, "tpe", storage=url, name="s")
    study.optimize(run, num_trials=40, **SETTINGS)
    curves = [trial.curve for trial in study.trials]
    count = {level: sum(level in curve for curve in curves) for level in (1, 3, 9)}
    level = max(level for level in (1, 3, 9) if count[level] >= 10)
    known = [curve.get(level) for curve in curves]
    worst = max(value for value in known if value is not None)
    expected = [worst if value is None else value for value in known]
    np.testing.assert_allclose(told(study), expected, rtol=1e-6)
    assert level == 3
    again = Study(X, "tpe", storage=url, name="s")
    np.testing.assert_allclose(told(again), expected, rtol=1e-6)


def test_a_study_that_maximises_takes_the_lowest_for_the_worst():
    def negative(params, checkpoint=None):
        for report in objective(params, checkpoint):
            yield hpo.Report(-report.loss, report.checkpoint)

    study = Study(X, "tpe", storage=None, direction="maximize")
    study.optimize(negative, num_trials=20, **SETTINGS)
    plain = Study(X, "tpe", storage=None)
    plain.optimize(objective, num_trials=20, **SETTINGS)
    np.testing.assert_allclose(-told(study), told(plain), rtol=1e-6)
    assert [t.params for t in study.trials] == [t.params for t in plain.trials]


def test_other_trials_count_with_the_values_that_they_have():
    study = Study(X, "tpe", storage=None)
    study.optimize(lambda params: 7.0, num_trials=12, progress=False)
    np.testing.assert_array_equal(told(study), [7.0] * 12)
    study.optimize(stopping, num_trials=3, **SETTINGS)
    values = [t.value for t in study.trials if t.status is Status.COMPLETE]
    assert len(values) >= 12
    np.testing.assert_array_equal(told(study)[:12], [7.0] * 12)
    assert (told(study)[12:] <= 7.0).all()


@pytest.mark.parametrize("run", [objective, stopping])
def test_a_study_that_is_opened_again_proposes_the_same(run, url):
    parts, whole = Study(X, "tpe", storage=url, name="s"), Study(X, "tpe", storage=None)
    ready = hpo.schedulers.asha(24, STEPS)
    for count in (9, 8, 7):
        parts.optimize(run, num_trials=count, **{**SETTINGS, "scheduler": ready})
        parts = Study(X, "tpe", storage=url, name="s")
    whole.optimize(run, num_trials=24, **{**SETTINGS, "scheduler": ready})
    assert facts(parts) == facts(whole)
