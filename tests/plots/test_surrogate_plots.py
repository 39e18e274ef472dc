"""Figures of a model, from a made-up posterior: what is drawn, and on which scale."""

import numpy as np
import pytest

from jaxhpo import plots
from jaxhpo.inspection import Beliefs, LeaveOneOut, Slice


def prediction(shape):
    middle = np.arange(np.prod(shape), dtype=float).reshape(shape)
    return Beliefs(middle, middle + 1, middle, middle - 2, middle + 3)


def cut(*ticks):
    shape = tuple(len(t) for t in ticks)
    names = ("lr", "act")[: len(ticks)]
    return Slice(
        names, ticks, np.zeros((*shape, 2)), prediction(shape), -np.ones(shape), np.zeros(2)
    )


def test_a_line_has_its_band_and_a_log_axis():
    axes = plots.model_slice(cut([1e-3, 1e-2, 1e-1])).axes[0]
    assert axes.get_xscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.0, 1.0, 2.0])
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (-2.0, 5.0)


def test_even_numbers_have_a_linear_axis_and_options_their_labels():
    assert plots.model_slice(cut([1.0, 2.0, 3.0])).axes[0].get_xscale() == "linear"
    axes = plots.model_slice(cut(["relu", None])).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["relu", "None"]


@pytest.mark.parametrize("what", ["median", "deviation", "acquisition"])
def test_a_map_shows_what_was_asked_for(what):
    made = cut([1e-3, 1e-2, 1e-1], ["a", "b"])
    axes, bar = plots.model_slice(made, what=what).axes
    shown = {"deviation": made.prediction.deviation, "acquisition": made.acquisition}
    np.testing.assert_array_equal(
        axes.collections[0].get_array(), shown.get(what, made.prediction.median).T
    )
    assert bar.get_ylabel()


def test_an_unknown_map_is_named():
    with pytest.raises(ValueError, match="`what` must be one of median"):
        plots.model_slice(cut([1.0, 2.0]), what="mean")


def test_leave_one_out_bars():
    result = LeaveOneOut(np.arange(3.0), prediction((3,)), np.zeros(3))
    axes = plots.leave_one_out(result, label="loss").axes[0]
    assert axes.get_xlabel() == "observed loss"
    assert "R² 1.00" in axes.get_title()
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.0, 1.0, 2.0])


def test_sensitivity_has_the_largest_at_the_top():
    axes = plots.sensitivity({"lr": 0.9, "width": 0.2}).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["width", "lr"]
    assert [bar.get_width() for bar in axes.patches] == [0.2, 0.9]


def test_sensitivity_of_nothing_is_refused():
    with pytest.raises(ValueError, match="sensitivity: `shares` must be those of one parameter"):
        plots.sensitivity({})


@pytest.mark.parametrize(
    ("draw", "argument"),
    [(plots.model_slice, "cut"), (plots.leave_one_out, "result"), (plots.sensitivity, "shares")],
)
def test_what_is_drawn_must_be_what_the_model_gives(draw, argument):
    with pytest.raises(TypeError, match=f"`{argument}` must be"):
        draw([1, 2])
