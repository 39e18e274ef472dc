"""`jaxhpo demo`: the main job, act after act, on real data."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from jaxhpo.cli._errors import UserError
from jaxhpo.cli._tables import say
from jaxhpo.cli.demo._bayes import bayesian_optimization
from jaxhpo.cli.demo._hypergradient import hypergradient_descent
from jaxhpo.cli.demo._search import random_search
from jaxhpo.cli.demo._stage import ActResult, Stage

DEFAULT_STEPS = 200


ACTS: tuple[tuple[str, Callable[[Stage], ActResult]], ...] = (
    ("Many training runs, side by side", random_search),
    ("A model goes on from there", bayesian_optimization),
    ("1,100 hyperparameters at once", hypergradient_descent),
)


def run_demo(
    trials: int, steps: int, sampler: str, seed: int, out: pathlib.Path, storage: str | None
) -> None:
    """Tunes a flax MLP on digits; the arguments are those of the command."""
    say("Loading JAX and the data ...")
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
    with _quiet_study_logs():
        # A second run finds the sampler of the second act.
        study = Study(
            problem.space, sampler, storage=url, name=name, seed=seed, change_sampler=True
        )
        stage = Stage(problem, study, url, sampler, trials, steps, seed, out)
        shown = []
        for number, (title, act) in enumerate(ACTS, start=1):
            say(f"\n{number}. {title}\n")
            shown.append(act(stage))
            stage = stage._replace(best=shown[-1].best)
    url = study.storage  # without a password
    pictures = [_draw([act.draw for act in shown], out), *(act.picture for act in shown)]
    say("\nplots:  " + "\n        ".join(str(picture) for picture in pictures))
    say(f"study:  {url} (name {study.name})")
    say(f"look:   jaxhpo best {study.name} --storage {shlex.quote(url)} --top 10")
    say(f"browse: optuna-dashboard {shlex.quote(url)}   (pip install optuna-dashboard)")


def _draw(panels: list[Callable[[Any], None]], out: pathlib.Path) -> pathlib.Path:
    """The three acts side by side; docs/demo.png is this picture as `jaxhpo demo` leaves it."""
    from matplotlib.figure import Figure
    from PIL import Image

    from jaxhpo import plots

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, draw in zip(figure.subplots(1, len(panels)), panels, strict=True):
        draw(axes)
    path = plots.save(figure, out / "demo.png", dpi=108)
    Image.open(path).quantize(64).save(path)  # as sharp, and a third as large
    return path


@contextlib.contextmanager
def _quiet_study_logs() -> Iterator[None]:
    """Filters log lines about what the acts print themselves: failures, the change of sampler."""

    def is_news(record: logging.LogRecord) -> bool:
        return not any(known in record.msg for known in ("trials failed", "continues with sampler"))

    logger = logging.getLogger("jaxhpo")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _require_matplotlib() -> None:
    """Finds out that the plot cannot be drawn before anything is trained."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise UserError('demo: matplotlib is needed for the plot: pip install "jaxhpo[demo]".')
