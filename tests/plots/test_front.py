"""The front of two objectives: which points the line joins."""

import numpy as np
import pytest

from jaxhpo import plots

VALUES = [[0.0, 3.0], [1.0, 1.0], [3.0, 0.0], [2.0, 2.0], [np.nan, -9.0]]


def test_the_line_joins_the_front_in_steps():
    ax = plots.pareto_front(VALUES, labels=["size", "error"]).axes[0]
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0, 3], [1, 1], [3, 0]])
    assert ax.lines[0].get_drawstyle() == "steps-post"
    assert ax.get_xlabel() == "size"


def test_directions_turn_the_front_around():
    ax = plots.pareto_front(VALUES, directions=["maximize", "maximize"]).axes[0]
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[3, 0], [2, 2], [0, 3]])


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"`values` must be of shape \[n, 2\]"):
        plots.pareto_front([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="`values` must be finite somewhere"):
        plots.pareto_front([[np.nan, 2.0]])
    with pytest.raises(ValueError, match="`directions` must be two of"):
        plots.pareto_front(VALUES, directions=["minimize"])
