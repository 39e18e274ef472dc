"""Figures of what studies reached."""

import numpy as np
import pytest

from jaxhpo import plots

pytest.importorskip("matplotlib")


def test_the_line_is_the_best_so_far():
    axes = plots.history([3.0, np.nan, 1.0, 2.0]).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [3.0, 3.0, 1.0, 1.0]
    assert len(axes.lines) == 2  # the trials themselves
    axes = plots.history([np.nan, 1.0, 2.0, 0.0], direction="maximize").axes[0]
    assert axes.lines[0].get_xdata().tolist() == [2, 3, 4]
    assert axes.lines[0].get_ydata().tolist() == [1.0, 2.0, 2.0]


def test_many_studies_are_a_median_with_a_band():
    runs = np.asarray([[4.0, 1.0], [5.0, 2.0], [9.0, 3.0]])
    axes = plots.history({"a": runs, "b": runs + 1.0}, optimum=0.5).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [4.5, 1.5]
    assert axes.get_yscale() == "log"
    assert len(axes.collections) == 2
    assert axes.get_ylabel() == "regret"


def test_a_regret_of_zero_stays_in_the_picture():
    axes = plots.history({"found": [3.0, 0.5, 0.5], "near": [3.0, 1.0, 0.6]}, optimum=0.5).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [2.5, 0.0, 0.0]
    heights = [axes.transData.transform((1, y))[1] for y in (0.0, 0.1, 0.5, 2.5)]
    assert np.isfinite(heights).all()
    assert (np.diff(heights) > 0).all()
    low, high = axes.get_ylim()
    assert low <= 0.0 < 2.5 <= high
    # Rounding, or an optimum that was not one.
    below = plots.history([3.0, 0.49], optimum=0.5).axes[0]
    assert below.get_ylim()[0] <= -0.01
    assert plots.history([0.5, 0.5], optimum=0.5).axes[0].lines[0].get_ydata().tolist() == [0, 0]


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="`direction` must be"):
        plots.history([1.0], direction="down")
    with pytest.raises(ValueError, match="`values` must be arrays"):
        plots.history([np.nan])
