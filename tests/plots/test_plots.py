"""Figures: what is drawn, read back from the artists."""

import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import plots

SPACE = hpo.Space(
    {
        "lr": hpo.log_uniform(1e-4, 1.0),
        "width": hpo.static([16, 32]),
        "model": hpo.choice({"svm": {"C": hpo.uniform(0.0, 1.0)}, "mean": None}),
    }
)


def test_learning_curves_draw_the_best_trial_and_the_median():
    curves = np.array([[4.0, 3.0, 2.0], [4.0, 2.0, 1.0], [4.0, np.nan, np.nan]])
    ax = plots.learning_curves(curves, [10, 20, 30]).axes[0]
    median, best = ax.lines
    np.testing.assert_array_equal(best.get_ydata(), [4.0, 2.0, 1.0])
    np.testing.assert_array_equal(median.get_ydata(), [4.0, 2.5, 1.5])
    assert best.get_label() == "best (trial 1)"


def test_learning_curves_survive_a_step_at_which_all_have_failed():
    ax = plots.learning_curves([[1.0, np.nan], [2.0, np.inf]], [1, 2]).axes[0]
    assert len(ax.lines) == 1


@pytest.mark.parametrize(
    ("curves", "steps", "message"),
    [
        ([[1.0, 2.0]], [1], r"`curves` must be of shape \[n, 1\]"),
        ([[np.nan]], [1], "finite somewhere"),
    ],
)
def test_learning_curves_refuse(curves, steps, message):
    with pytest.raises(ValueError, match=message):
        plots.learning_curves(curves, steps)


def test_rungs_say_how_many_reached_them_and_the_survivors_lie_on_top():
    curves = np.full((8, 4), np.nan)
    for row, end in enumerate([1, 1, 4, 1, 2, 4, 1, 0]):  # the last one never began
        curves[row, :end] = 1.0 / (1.0 + row + np.arange(end))
    ax = plots.rungs(curves, [1, 2, 4, 8]).axes[0]
    assert [text.get_text() for text in ax.texts] == ["7", "3", "2"]
    drawn = [line for line in ax.lines if line.get_linestyle() == "-"]
    np.testing.assert_array_equal(drawn[-1].get_xdata(), [1, 2, 4, 8])
    np.testing.assert_array_equal(drawn[-1].get_ydata(), curves[5])
    assert drawn[-1].get_color() == drawn[-2].get_color() != drawn[0].get_color()
    with pytest.raises(ValueError, match="rungs: `curves` must be finite somewhere"):
        plots.rungs(np.full((2, 4), np.nan), [1, 2, 4, 8])


def test_rungs_of_a_sweep_and_of_a_study_are_those_of_their_scheduler():
    training = hpo.Training(
        init=lambda key, hparams: 1.0,
        step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        loss=lambda hparams, state: state**2,
    )
    given = {"num_steps": 8, "num_reports": 8}
    rule = hpo.schedulers.halving(16, 8, levels=[2, 4, 8])
    swept = hpo.population.sweep(
        training, {"lr": np.linspace(0.1, 0.5, 16)}, key=0, scheduler=rule, **given
    )
    study = hpo.Study({"lr": hpo.uniform(0.1, 0.5)}, "random", storage=None)
    study.sweep(training, num_trials=16, scheduler=rule, progress=False, **given)
    for found in (swept, study):
        ax = plots.rungs(found).axes[0]
        assert [text.get_text() for text in ax.texts] == ["16", "8", "4"]


def test_a_lineage_is_drawn_with_the_ancestors_on_top():
    parent = np.array([[0, 0, 1], [1, 1, 1], [2, -1, -1]])
    lr = np.array([[0.1, 0.2, 0.5], [1.0, 0.7, 0.7], [0.3, 0.3, 0.3]])
    found = hpo.population.Lineage(np.array([2, 4, 8]), parent, {"lr": lr})
    ax = plots.lineage(found, lr, 0, ylabel="lr").axes[0]
    best = ax.patches[-1].get_data()
    np.testing.assert_array_equal(best.values, [1.0, 0.7, 0.5])
    np.testing.assert_array_equal(best.edges, [0, 2, 4, 8])
    (copies,) = ax.lines
    np.testing.assert_array_equal(copies.get_xydata(), [[4, 0.5]])
    assert len(ax.patches) == 4
    with pytest.raises(ValueError, match=r"lineage: `values` must be of shape \(3, 3\)"):
        plots.lineage(found, lr[:2], 0)
    with pytest.raises(ValueError, match="`trial` must be below 3"):
        plots.lineage(found, lr, 3)


def test_parallel_coordinates_draw_one_line_a_finite_trial(key):
    rows = SPACE.decode(SPACE.sample(key, 6))
    figure = plots.parallel_coordinates(SPACE, rows, [3.0, 1.0, np.nan, 2.0, np.inf, 5.0])
    ax = figure.axes[0]
    lines = ax.collections[0].get_segments()
    assert len(lines) == 4
    unit = np.asarray(SPACE.to_unit(SPACE.encode([rows[1]])))[0]
    assert lines[-1][0][1] == pytest.approx(unit[0], abs=1e-6)  # the best is drawn last
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == ["lr", "width", "model", "model.svm.C"]
    texts = {text.get_text() for text in ax.texts}
    assert {"0.0001", "1", "16", "32", "svm", "mean"} <= texts


def test_inactive_parameters_leave_a_gap(key):
    figure = plots.parallel_coordinates(
        SPACE, [{"lr": 0.1, "width": 16, "model": {"mean": None}}], [1.0]
    )
    segment = figure.axes[0].collections[0].get_segments()[0]
    assert not np.isfinite(segment).all() or len(segment) == 3


def test_parallel_coordinates_refuse_what_does_not_fit(key):
    rows = SPACE.decode(SPACE.sample(key, 2))
    with pytest.raises(ValueError, match=r"`values` must be of shape \[2\]"):
        plots.parallel_coordinates(SPACE, rows, [1.0])
    with pytest.raises(ValueError, match="finite somewhere"):
        plots.parallel_coordinates(SPACE, rows, [np.nan, np.nan])


def test_save_writes_the_format_of_the_suffix(tmp_path):
    figure = plots.learning_curves([[2.0, 1.0]], [1, 2])
    png = plots.save(figure, tmp_path / "new" / "a.png")
    svg = plots.save(figure, tmp_path / "a.svg")
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert b"<svg" in svg.read_bytes()[:1000]
