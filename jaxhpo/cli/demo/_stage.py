"""What the demo's acts find, and what they leave."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple


class Stage(NamedTuple):
    """What every act finds on the stage.

    Attributes:
        problem: the training run, its space and a test.
        study: the durable study; later acts read the trials of earlier ones.
        storage: where it is.
        sampler: name of the sampler of the first act.
        trials: trials to add.
        steps: steps of a training run.
        seed: of everything that is drawn.
        out: folder for pictures.
        best: the configuration that the act before takes for the best; None in the first.
    """

    problem: Any
    study: Any
    storage: str
    sampler: str
    trials: int
    steps: int
    seed: int
    out: pathlib.Path
    best: Any = None


class ActResult(NamedTuple):
    """The figures that an act leaves, and the configuration.

    Attributes:
        picture: the file that it wrote.
        draw: draws the act's panel of the picture of all three on axes.
        best: the configuration that it takes for the best.
    """

    picture: pathlib.Path
    draw: Callable[[Any], None]
    best: Any
