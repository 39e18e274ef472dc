"""The main job, small: real data, a real study, a plot that can be opened."""

import logging
import types

import numpy as np
import optuna
import pytest
from matplotlib.figure import Figure

import jaxhpo as hpo
from jaxhpo.cli.demo import _bayes, _demo, _hypergradient, _search


@pytest.mark.slow  # CI runs the whole demo by its command
def test_demo_leaves_a_study_and_a_plot(jaxhpo, folder):
    done = jaxhpo("demo", "--trials", 12, "--steps", 60)
    assert done.code == 0, done.err
    assert "unseen digits" in done.out
    assert "1,100 hyperparameters at once" in done.out
    assert "through all 60 training steps" in " ".join(done.out.split())
    assert "False labels found" in done.out
    assert "goes on with a Gaussian process: 12 more trials" in done.out
    assert "goes on with sampler" not in done.err  # act 2 says that in fewer words
    for name in ("demo.png", "digits.png", "bayesian.png", "hypergradient.png"):
        plot = folder / "jaxhpo-demo" / name
        assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    study = optuna.load_study(
        study_name="digits-60-steps", storage="sqlite:///jaxhpo-demo/study.db"
    )
    assert len(study.trials) == 12 + 12  # random ones, and as many by the model
    assert study.best_value < 2.0  # chance is log 10 = 2.3
    assert set(study.best_params) == {"lr", "momentum", "decay", "width"}
    assert max(study.best_trial.intermediate_values) == 60
    assert study.best_trial.intermediate_values[60] == pytest.approx(study.best_value)


def trial(value, status="COMPLETE", unit=None):
    named = types.SimpleNamespace(name=status)
    return types.SimpleNamespace(value=value, status=named, unit=unit)


def test_a_failed_trial_is_the_worst_of_an_act():
    trials = [trial(0.3), trial(None, "FAILED"), trial(0.1)]
    assert [_bayes._loss(each) for each in trials] == [0.3, np.inf, 0.1]
    assert _bayes._median(trials) == 0.3
    assert _bayes._median([trial(None, "FAILED"), *trials]) == np.inf


def test_the_model_does_not_fall_for_a_lucky_draw():
    rng = np.random.default_rng(0)
    unit = np.linspace(0.02, 0.98, 40)
    value = (unit - 0.3) ** 2 + 0.01 * rng.standard_normal(40)
    value[36] = -0.1  # lower than all others, among bad ones
    trials = [trial(v, unit=[u]) for u, v in zip(unit, value, strict=True)]
    trials.append(trial(None, "FAILED"))
    likeliest = _bayes._likeliest(hpo.Space({"x": hpo.uniform(0.0, 1.0)}), trials)
    assert len(likeliest) == _bayes._NUM_LIKELY
    assert all(abs(each.unit[0] - 0.3) < 0.15 for each in likeliest)


def test_f1_of_the_false_labels_found():
    is_false = np.array([True, True, True, False, False])
    found = np.array([True, True, False, True, False])
    assert _hypergradient._f1(found, is_false) == pytest.approx(2 / 3)  # 2 of 3 either way
    assert _hypergradient._f1(is_false, is_false) == 1.0
    assert _hypergradient._f1(~is_false, is_false) == 0.0


def test_the_panel_of_curves_puts_the_lowest_last_loss_on_top():
    axes = Figure().subplots()
    curves = [{10: 2.0, 20: 0.5}, {10: 3.0, 20: 0.2}, {10: 2.0}]
    _search._draw_curves(curves, [0.5, 0.2, np.nan], axes)
    assert list(axes.lines[-1].get_ydata()) == [3.0, 0.2]
    assert axes.get_title().startswith("3 training runs")


def test_the_panel_of_trials_holds_both_acts_and_the_best_so_far():
    axes = Figure().subplots()
    _bayes._draw_trials("random", [0.5, np.inf, 0.3], [0.4, 0.1], axes)
    random, model, best = axes.lines
    assert list(random.get_xdata()) == [1, 2, 3]
    assert list(model.get_xdata()) == [4, 5]
    assert list(best.get_ydata()) == [0.5, 0.5, 0.3, 0.3, 0.1]


def test_the_panel_of_weights_counts_every_example_once(tmp_path):
    weights = np.linspace(-2.0, 3.0, 40)
    cleaned = _hypergradient.Cleaned(None, weights < 0, weights, None)
    axes = Figure().subplots()
    _hypergradient._draw_weights(cleaned, axes)
    assert sum(bar.get_height() for bar in axes.patches) == 40
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["24 true labels", "16 false labels"]
    picture = _demo._draw([lambda axes: axes.plot([0, 1], [1, 0])] * 3, tmp_path)
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_other_warnings_are_still_logged(caplog):
    logger = logging.getLogger("jaxhpo")
    with _demo._quiet_study_logs():
        logger.warning("study %r: %d of %d trials failed", "digits", 2, 5)
        logger.warning("the database is locked")
    logger.warning("study %r: %d of %d trials failed", "digits", 2, 5)
    assert [record.getMessage() for record in caplog.records] == [
        "the database is locked",
        "study 'digits': 2 of 5 trials failed",
    ]
