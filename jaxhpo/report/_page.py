"""The report: sections in the order in which they are read, in one file that needs no network."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jaxhpo import _checks
from jaxhpo.progress import Progress, make_reporter
from jaxhpo.report import _figures
from jaxhpo.report._baseline import baseline_of
from jaxhpo.report._document import Page, document, plotly_script
from jaxhpo.report._facts import Facts, facts_of
from jaxhpo.report._model import MAX_FOREST, fanova_of, importance_of, surrogate_of
from jaxhpo.report._slices import contour, one_slice

if TYPE_CHECKING:
    import optuna

    from jaxhpo.inspection import Surrogate
    from jaxhpo.space import Space

_MAX_SLICES = 12
_MAX_FRONT_ROWS = 50


def write_report(
    study: optuna.Study,
    path: str | pathlib.Path,
    *,
    space: Space | None = None,
    model: bool = True,
    progress: Any = True,
) -> pathlib.Path:
    """Writes one HTML file about a study; it opens without a network.

    It shows what was searched, the best configuration (the Pareto front of several objectives), the
    history with random search beside it, importances by PED-ANOVA, by fANOVA where scikit-learn is
    installed and by the Gaussian process, slices, contours, learning curves, failures and times.
    What a study does not have is left out.

    Args:
        study: an Optuna study; `Study.report` passes its own.
        path: file to write; its folder is made.
        space: the study's space; None takes the parameters that all complete trials have.
        model: whether to fit the Gaussian process, which takes seconds: sensitivities, contours and
            the estimate of random search come from it; and the random forest of fANOVA.
        progress: as in `Study.optimize`, over the report's parts.

    Returns:
        The path.

    Raises:
        TypeError: `progress` is not True, False or a callable.
        ValueError: the study has no trial.
        ModuleNotFoundError: plotly is not installed; the message names the command.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        got = _checks.describe(path)
        raise TypeError(f"report: `path` must be the path of a file to write, got {got}.")
    path = pathlib.Path(path)
    if path.is_dir():
        raise _checks.fail("report", "path", "a file to write", str(path))
    script = plotly_script()
    facts = facts_of(study)
    if not facts.trials:
        raise ValueError(f"report: `study` must have trials, and {facts.name!r} has none yet.")
    page, total = Page(), 6
    note = "a Gaussian process is fitted first; its programs compile" if model else ""
    title = f"report of {facts.name}"
    with make_reporter("report", progress, title, total, unit="parts", note=note) as shown:
        for done, part in enumerate(_parts(page, study, facts, space, model)):
            shown.update(Progress(done, total, None, 0, part))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(f"Study {facts.name}", page, script), encoding="utf-8")
    return path


def _parts(
    page: Page, study: optuna.Study, facts: Facts, space: Space | None, model: bool
) -> Iterator[str]:
    """Writes section after section; says what comes before each."""
    yield "a Gaussian process" if model else "trials"
    surrogate = surrogate_of(facts, space) if model else None
    _summary(page, facts)
    _searched(page, facts)
    if facts.is_single:
        yield "history"
        _progress(page, facts, surrogate)
        yield "importance"
        _importance(page, facts, surrogate, model)
        yield "slices"
        _slices(page, facts, surrogate)
    elif facts.done:
        page.heading("Pareto front")
        page.figure(_figures.pareto(study, facts))
        page.note(
            "Red: trials that none dominates; blue: the others; grey: those that break a "
            "constraint. Later ones are darker."
        )
        yield "importance"
        _importance(page, facts, None, model)
    if any(trial.intermediate_values for trial in facts.trials):
        yield "learning curves"
        page.heading("Learning curves")
        page.figure(_figures.curves(facts))
        _rungs(page, facts)
    yield "failures and times"
    _failures(page, facts)
    _times(page, facts)


def _summary(page: Page, facts: Facts) -> None:
    states = ", ".join(f"{count} {name.lower()}" for name, count in facts.counts.items())
    proposer = f" Proposed by {facts.sampler}." if facts.sampler else ""
    goal = " and ".join(facts.directions)
    page.note(f"{len(facts.trials)} trials: {states}. To {goal}.{proposer}")
    page.heading("Best configuration" if facts.is_single else "Best configurations")
    if not facts.front:
        page.note("No trial is complete yet.")
        return
    if facts.is_single:
        (best,) = facts.front
        rows = [(facts.metrics[0], best.values[0]), *best.params.items()]
        page.table((f"trial {best.number}", ""), rows)
        return
    shown = facts.front[:_MAX_FRONT_ROWS]
    names = list(dict.fromkeys(name for trial in shown for name in trial.params))
    page.table(
        ("trial", *facts.metrics, *names),
        [(t.number, *t.values, *(t.params.get(name) for name in names)) for t in shown],
    )
    if len(facts.front) > len(shown):
        page.note(f"The first {len(shown)} of {len(facts.front)} trials that none dominates.")


def _searched(page: Page, facts: Facts) -> None:
    page.heading("What was searched")
    rows = []
    for name, distribution in facts.distributions.items():
        count = sum(name in trial.params for trial in facts.trials)
        rows.append((name, *_words(distribution), count))
    page.table(("parameter", "kind", "range", "scale", "trials"), rows)


def _words(distribution: Any) -> tuple[str, str, str]:
    """Kind, range and scale of a distribution."""
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return "choice", ", ".join(map(repr, choices)), ""
    kind = type(distribution).__name__.removesuffix("Distribution").lower()
    kind = {"int": "integer", "float": "real"}.get(kind, kind)
    step = distribution.step
    scale = "logarithmic" if distribution.log else "linear"
    if step is not None and not (kind == "integer" and step == 1):
        scale += f", steps of {step:g}"
    return kind, f"{distribution.low:.15g} … {distribution.high:.15g}", scale


def _progress(page: Page, facts: Facts, surrogate: Surrogate | None) -> None:
    if not facts.done:
        return
    page.heading("History")
    baseline = baseline_of(facts, surrogate)
    page.figure(_figures.history(facts, baseline))
    if baseline is None:
        page.note("Random search is not shown: there is nothing to estimate it from.")
        return
    page.note(baseline.words)
    page.figure(_figures.regret(facts, baseline))
    page.note("Regret: distance of the best value so far to the best one of this study.")


def _importance(page: Page, facts: Facts, surrogate: Surrogate | None, model: bool) -> None:
    shares = importance_of(facts)
    if not shares and surrogate is None:
        return
    page.heading("Which parameters matter")
    if shares:
        page.note("PED-ANOVA: how far the best tenth of the trials differs from all of them.")
        page.figure(_figures.bars(shares, "importance (PED-ANOVA)"))
    # A random forest, like the Gaussian process, takes a second or more.
    forests = [fanova_of(facts, i) if model else {} for i in range(len(facts.directions))]
    if any(forests):
        page.note(
            "fANOVA: share of the variance of a random forest that goes with a parameter alone, "
            f"over the whole space (from at most {MAX_FOREST} trials)."
        )
    for i, found in enumerate(forests):
        if found:
            which = "" if facts.is_single else f" for objective {i}"
            page.figure(_figures.bars(found, f"importance{which} (fANOVA)"))
    if surrogate is not None:
        from jaxhpo.inspection import sensitivity

        page.note(
            "Gaussian process: share of the model's variance that goes with a parameter, "
            "interactions included, over the whole space."
        )
        page.figure(_figures.bars(sensitivity(surrogate), "sensitivity (model)"))


def _slices(page: Page, facts: Facts, surrogate: Surrogate | None) -> None:
    names = [n for n, d in facts.distributions.items() if not d.single()]
    if not facts.done or not names:
        return
    ranked = _ranked(facts, surrogate, names)
    page.heading("Slices")
    if surrogate is not None:
        page.note("Orange: the model's median and 90 % band on a line through the best trial.")
    for name in ranked[:_MAX_SLICES]:
        page.figure(one_slice(facts, name, surrogate))
    if len(ranked) > _MAX_SLICES:
        page.note(f"The {_MAX_SLICES} parameters that matter most, of {len(ranked)}.")
    pairs = [name for name in ranked if surrogate is not None and name in surrogate.columns][:3]
    if surrogate is None or len(pairs) < 2:
        return
    page.heading("Contours")
    page.note("The model's median on a plane through the best trial; points are all trials.")
    for i, first in enumerate(pairs):
        for second in pairs[i + 1 :]:
            page.figure(contour(facts, (first, second), surrogate))


def _ranked(facts: Facts, surrogate: Surrogate | None, names: list[str]) -> list[str]:
    """Parameters, those that matter most first."""
    if surrogate is not None:
        from jaxhpo.inspection import sensitivity

        shares = sensitivity(surrogate)
    else:
        shares = importance_of(facts)
    return sorted(names, key=lambda name: -shares.get(name, 0.0))


def _rungs(page: Page, facts: Facts) -> None:
    """Where trials were stopped early, and what they were worth there."""
    if not facts.is_single or not facts.rungs:
        return
    page.heading("Rungs")
    page.note("The steps at which trials were stopped, and the values of all that reached them.")
    page.table(("step", "reached it", "stopped there", "best", "median"), facts.rungs)


def _failures(page: Page, facts: Facts) -> None:
    page.heading("Failures")
    found = facts.failures
    if not found:
        page.note("No trial failed.")
        return
    page.table(("trials", "first", "reason"), [(count, first, r) for r, count, first in found])


def _times(page: Page, facts: Facts) -> None:
    known = [_figures.seconds_of(trial) for trial in facts.trials]
    seconds = [value for value in known if value is not None]
    if not seconds:
        return
    page.heading("Time spent")
    starts = [t.datetime_start for t in facts.trials if t.datetime_start is not None]
    ends = [t.datetime_complete for t in facts.trials if t.datetime_complete is not None]
    middle = sorted(seconds)[len(seconds) // 2]
    words = f"{sum(seconds):.4g} s in trials; {middle:.3g} s in the middle one."
    if facts.compile_seconds:
        words += f" The compiler took {facts.compile_seconds:.3g} s beside that."
    if starts and ends:
        words += f" From {min(starts):%Y-%m-%d %H:%M:%S} to {max(ends):%Y-%m-%d %H:%M:%S}."
    page.note(words)
    page.figure(_figures.timeline(facts))
