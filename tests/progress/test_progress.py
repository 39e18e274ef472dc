"""Progress of compiled work: lines when piped, a bar where it is seen, and the same results."""

import io
import re
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxhpo as hpo
from jaxhpo import population
from jaxhpo.progress import _reporter
from jaxhpo.search import _minimize

SPACE = hpo.Space({"x": hpo.uniform(-1.0, 2.0)})


def objective(key, params):
    return jnp.where(params["x"] > 1.5, jnp.nan, (params["x"] - 0.5) ** 2)


def search(progress=False, **settings):
    settings = {"num_trials": 10, "batch_size": 4, **settings}
    return hpo.minimize(objective, SPACE, "random", key=0, progress=progress, **settings)


def many(progress=False, layout="map"):
    keys = jax.random.split(jax.random.key(0), 3)
    settings = {"keys": keys, "num_trials": 5, "batch_size": 2, "layout": layout}
    return hpo.minimize_many(objective, SPACE, "random", progress=progress, **settings)


def training():
    return hpo.Training(
        init=lambda key, hparams: jnp.ones(()),
        step=lambda key, hparams, state, t: state * (1 - hparams["lr"]),
        loss=lambda hparams, state: state**2,
    )


def sweep(progress):
    rates = {"lr": jnp.asarray([0.1, 0.5, jnp.inf])}
    return population.sweep(training(), rates, key=0, num_steps=4, chunk=1, progress=progress)


def descend(progress):
    estimator = hpo.hypergrad.unrolled(training(), num_steps=2)
    return hpo.hypergrad.descend(
        estimator, {"lr": 0.5}, optax.sgd(0.2), key=0, num_outer=6, progress=progress
    )


@pytest.fixture
def terminal(monkeypatch):
    """What is drawn where standard error is a terminal."""
    from rich.console import Console

    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(_reporter, "_console", lambda: console)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    return screen


def assert_equal(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_ticks_of_minimize_reach_the_end_and_change_nothing():
    ticks, others = [], []
    result = search(ticks.append)
    assert_equal(result, search())
    done = [tick.done for tick in ticks]
    assert done == [0, 4, 8, 10]
    assert ticks[0].best is None
    assert ticks[-1].best == result.best_value
    assert ticks[-1].failed == np.sum(result.trials.status == int(hpo.Status.FAILED)) > 0
    assert {tick.total for tick in ticks} == {10}
    before = _minimize.run._cache_size()
    search(others.append)
    assert _minimize.run._cache_size() == before  # one program, whoever watches
    assert others == ticks


@pytest.mark.parametrize(
    ("layout", "done"),
    [("map", [0, 2, 4, 5, 7, 9, 10, 12, 14, 15]), ("vmap", [0, 6, 12, 15])],
)
def test_ticks_of_many_studies_are_those_of_all_of_them(layout, done):
    ticks = []
    result = many(ticks.append, layout)
    assert_equal(result, many(False, layout))
    assert [tick.done for tick in ticks] == done
    assert ticks[-1].best == result.best_value.min()
    assert ticks[-1].failed == np.sum(result.trials.status == int(hpo.Status.FAILED)) > 0
    assert {tick.total for tick in ticks} == {15}


def test_ticks_of_very_many_studies_are_few():
    ticks = []
    keys = jax.random.split(jax.random.key(0), 50)
    for layout in ("map", "vmap"):
        hpo.minimize_many(
            objective, SPACE, "random", keys=keys, num_trials=30, layout=layout,
            progress=ticks.append,
        )  # fmt: skip
        assert len(ticks) <= 201
        assert ticks[-1].done == 1500
        ticks.clear()


def test_ticks_are_few_and_several_objectives_have_no_best():
    ticks = []
    search(ticks.append, num_trials=1000, batch_size=1)
    assert len(ticks) <= 201
    assert ticks[-1].done == 1000
    hpo.minimize(
        lambda key, params: jnp.stack([params["x"], -params["x"]]), SPACE, "random",
        key=0, num_trials=8, progress=ticks.append,
    )  # fmt: skip
    assert (ticks[-1].done, ticks[-1].best) == (8, None)


@pytest.mark.parametrize(
    ("work", "line"),
    [
        (search, "minimize: 10 trials; the program compiles first\n"),
        (many, "minimize_many: 15 trials; the program compiles first\n"),
        (sweep, "sweep: 3 trials; 4 steps each; the program compiles first\n"),
        (descend, "descend: 6 outer steps; the program compiles first\n"),
    ],
)
def test_piped_work_says_at_the_start_what_comes_and_changes_nothing(work, line, capfd):
    quiet = work(False)
    assert capfd.readouterr() == ("", "")
    shown = work(True)
    assert capfd.readouterr() == ("", line)
    if work is not sweep:
        assert_equal(quiet, shown)
    assert not _reporter._VisibleReporter.is_active


def test_piped_work_says_every_minute_how_far_it_is(capfd, monkeypatch):
    monkeypatch.setattr(_reporter, "LINE_SECONDS", 0.2)

    def lines(count):
        found = ""
        while found.count("\n") < count:  # the test's own limit ends a silent one
            time.sleep(0.02)
            found += capfd.readouterr().err
        return found.splitlines()

    with _reporter.make_reporter("f", True, "work", 8, note="compiles first") as reporter:
        assert lines(2)[:2] == ["work: 8 trials; compiles first", "work: 0 of 8 trials after 0 s"]
        reporter.update(_reporter.Progress(2, 8, 0.25, 1, "compiling"))
        last = lines(2)[-1]
        assert re.fullmatch(
            r"work: 2 of 8 trials after \d s, about \d+ s left, best 0.25, failed 1, compiling",
            last,
        )
        assert type(_reporter.make_reporter("f", True, "inner", 2)) is _reporter.Reporter
    capfd.readouterr()
    time.sleep(0.5)
    assert capfd.readouterr() == ("", "")


def test_a_closed_standard_error_ends_no_work(monkeypatch):
    closed = io.StringIO()
    monkeypatch.setattr(sys, "stderr", closed)
    with _reporter.make_reporter("f", True, "work", 8):
        closed.close()
        _reporter._say("nobody reads this")
    monkeypatch.setattr(sys, "stderr", None)
    assert type(_reporter.make_reporter("f", True, "work", 8)) is _reporter.Reporter


@pytest.mark.parametrize(
    ("work", "end"), [(search, "10/10"), (many, "15/15"), (sweep, "3/3"), (descend, "6/6")]
)
def test_a_bar_is_drawn_to_its_end_and_changes_nothing(work, end, terminal):
    shown = work(True)
    assert end in terminal.getvalue()
    quiet = work(False)
    if work is sweep:
        assert_equal((shown.losses, shown.curves), (quiet.losses, quiet.curves))
        assert "failed 1" in terminal.getvalue()
    else:
        assert_equal(quiet, shown)
    assert not _reporter._VisibleReporter.is_active


def test_a_bar_inside_of_a_bar_is_silent(terminal):
    with _reporter.make_reporter("f", True, "outer", 2):
        assert type(_reporter.make_reporter("f", True, "inner", 2)) is _reporter.Reporter
    again = _reporter.make_reporter("f", True, "again", 2)
    assert type(again) is not _reporter.Reporter


def test_a_refused_call_shows_nothing_and_silences_nothing(capfd):
    study = hpo.Study(SPACE, "random", storage=None, name="s")
    with pytest.raises(ValueError, match="`num_steps`"):
        study.optimize(lambda params: 0.0, num_trials=1, num_steps=0, progress=True)
    with pytest.raises(ValueError, match="`scheduler`"):
        study.optimize(
            lambda params: 0.0, num_trials=1, scheduler="none", num_steps=4, progress=True
        )
    assert capfd.readouterr() == ("", "")
    assert not _reporter._VisibleReporter.is_active
    study.optimize(lambda params: 0.0, num_trials=1, progress=True)
    assert capfd.readouterr().err.startswith("s: 1 trials")


def test_transformations_are_refused():
    keys = jax.random.split(jax.random.key(0), 2)

    def shifted(shift):
        return hpo.minimize(
            lambda key, params: (params["x"] - shift) ** 2, SPACE, "random",
            key=0, num_trials=4, progress=print,
        ).best_value  # fmt: skip

    def watched(key):
        return hpo.minimize(
            objective, SPACE, "random", key=key, num_trials=4, progress=True
        ).best_value

    def path(start):
        estimator = hpo.hypergrad.unrolled(training(), num_steps=2)
        return hpo.hypergrad.descend(
            estimator, {"lr": start}, optax.sgd(0.2), key=0, num_outer=2, progress=True
        ).values

    refused = "`progress` must be False under a transformation such as jit or vmap, got"
    for call in (
        lambda: jax.vmap(watched)(keys),
        lambda: jax.jit(watched)(keys[0]),
        lambda: jax.jit(lambda: watched(0))(),
        lambda: jax.vmap(shifted)(jnp.arange(2.0)),
        lambda: jax.vmap(path)(jnp.asarray([0.1, 0.2])),
    ):
        with pytest.raises(ValueError, match=refused):
            call()


def test_an_error_of_the_callable_is_raised_and_nonsense_is_named():
    def broken(tick):
        if tick.done:
            raise LookupError("no display")

    with pytest.raises(LookupError, match="no display"):
        search(broken)
    with pytest.raises(TypeError, match="minimize: `progress` must be True, False or a callable"):
        search(3)
    with pytest.raises(TypeError, match="sweep: `progress` must be True, False or a callable"):
        sweep(3)
    with pytest.raises(TypeError, match="descend: `progress` must be callable"):
        descend(3)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "gp", "cma_es"])
def test_learning_samplers_propose_the_same_when_watched(sampler):
    def run(progress):
        return hpo.minimize(objective, SPACE, sampler, key=0, num_trials=140, progress=progress)

    ticks = []
    assert_equal(run(ticks.append), run(False))
    assert ticks[-1].done == 140
