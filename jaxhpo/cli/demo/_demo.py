"""`jaxhpo demo`: the main job, act after act, on real data."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxhpo.cli._errors import UserError
from jaxhpo.cli._tables import say
from jaxhpo.cli.demo._bayes import bayesian_optimization
from jaxhpo.cli.demo._hypergradient import hypergradient_descent
from jaxhpo.cli.demo._search import random_search

DEFAULT_STEPS = 200


class Stage(NamedTuple):
    """What every act finds on the stage.

    Attributes:
        problem: the training run, its space and a test.
        study: the durable study; later acts read the trials of earlier ones.
        storage: where it is.
        trials: trials to add.
        steps: steps of a training run.
        seed: of everything that is drawn.
        out: folder for pictures.
    """

    problem: Any
    study: Any
    storage: str
    trials: int
    steps: int
    seed: int
    out: pathlib.Path


# Act by act; each prints what it found and returns its picture.
ACTS: tuple[tuple[str, Callable[[Stage], pathlib.Path]], ...] = (
    ("Random trials, side by side", random_search),
    ("Bayesian optimization goes on from there", bayesian_optimization),
    (
        "Hypergradients for a number of hyperparameters that no search reaches",
        hypergradient_descent,
    ),
)


def run_demo(
    trials: int, steps: int, sampler: str, seed: int, out: pathlib.Path, storage: str | None
) -> None:
    """Tunes a flax MLP on digits; the arguments are those of the command."""
    from jaxhpo import _checks, problems
    from jaxhpo.study import Study

    _checks.check_int("demo", "num_trials", trials, 1)
    _checks.check_int("demo", "num_steps", steps, 1)
    _require_matplotlib()
    problem = problems.digits()
    out.mkdir(parents=True, exist_ok=True)
    url = storage or f"sqlite:///{out / 'study.db'}"
    # Losses after different numbers of steps do not compare: each number has its own study.
    name = "digits" if steps == DEFAULT_STEPS else f"digits-{steps}-steps"
    # A second run finds the sampler of the second act.
    study = Study(problem.space, sampler, storage=url, name=name, seed=seed, change_sampler=True)
    stage = Stage(problem, study, url, trials, steps, seed, out)
    url = study.storage  # without a password
    pictures = []
    for number, (title, act) in enumerate(ACTS, start=1):
        say(f"{number}. {title}\n")
        pictures.append(act(stage))
        print()
    say("plots:  " + "\n        ".join(str(picture) for picture in pictures))
    say(f"study:  {url} (name {study.name})")
    say(f"look:   jaxhpo best {study.name} --storage {shlex.quote(url)} --top 10")
    say(f"browse: optuna-dashboard {shlex.quote(url)}   (pip install optuna-dashboard)")


def _require_matplotlib() -> None:
    """Finds out that the plot cannot be drawn before anything is trained."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise UserError('demo: matplotlib is needed for the plot: pip install "jaxhpo[demo]".')
