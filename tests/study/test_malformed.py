"""Every argument of every method of a study, malformed: it works, or the error names the argument.

A call that fails has changed nothing: the same trials, and the next good call works.
"""

import datetime
import decimal
import inspect
import math

import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import Outcome
from jaxhpo.study import StorageError, Study, StudyMismatchError
from tests.study.test_sweep import SPACE as SWEPT
from tests.study.test_sweep import TRAINING

SPACE = {"x": hpo.uniform(-1.0, 3.0), "n": hpo.integer(1, 4), "opt": ["adam", "sgd"]}
PARAMS = {"x": 0.5, "n": 2, "opt": "sgd"}


class Odd:
    """An object without any meaning."""

    def __repr__(self):
        return "Odd()"


MALFORMED = {
    "None": None,
    "text": "a",
    "empty text": "",
    "float": 1.5,
    "minus one": -1,
    "zero": 0,
    "nan": math.nan,
    "inf": math.inf,
    "list": [],
    "dict": {},
    "object": Odd(),
    "2**70": 2**70,
    "True": True,
    "decimal": decimal.Decimal("1"),
    "complex": 1j,
    "matrix": np.ones((2, 3)),
    "cube": np.ones((1, 1, 1)),
    "texts": np.asarray(["a", "b"]),
    "objects": np.asarray([None, {}], dtype=object),
    "lambda": lambda *args: None,
    "bytes": b"a",
    "set": {1, "a"},
    "generator": "a generator",
    "nested": [[[1]], {"a": None}],
    "class": Odd,
    "date": datetime.date(2020, 1, 1),
    "ragged": [[1.0], [1.0, 2.0]],
}


def objective(params):
    return params["x"]


def good_calls(study):
    """A call of each method that works."""
    return {
        "optimize": {"objective": objective, "num_trials": 1, "progress": False},
        "ask": {"n": 1},
        "tell": {"trials": [trial.number for trial in study.ask(1)], "values": [1.0]},
        "record": {"params": [PARAMS], "values": [1.0]},
        "enqueue": {"params": PARAMS},
        "fail_stale": {},
        "surrogate": {},
    }


ARGUMENTS = [
    (method, name)
    for method in ("optimize", "ask", "tell", "record", "enqueue", "fail_stale", "surrogate")
    for name in inspect.signature(getattr(Study, method)).parameters
    if name not in ("self", "study")
]


def check(call, name):
    """Makes a call; whether it worked. What it raises must name the argument."""
    raised = None
    try:
        call()
    except (TypeError, ValueError, StorageError) as error:
        raised = error
    if raised is None:
        return True
    # Of params the parameter may be named, and no params at all are fewer than the values.
    names = (name, *SPACE, "values") if name == "params" else (name,)
    assert any(f"`{one}`" in str(raised) for one in names), repr(raised)
    assert len(str(raised).splitlines()) == 1, repr(raised)
    return False


def told(study):
    """All that a study holds, for comparison."""
    return [(t.number, t.status, t.value, t.flat, t.curve, t.violation) for t in study.trials]


@pytest.mark.parametrize(("method", "name"), ARGUMENTS)
@pytest.mark.parametrize("kind", MALFORMED)
def test_arguments_of_methods(method, name, kind):
    study = Study(SPACE, "random", storage=None)
    study.record([PARAMS, {**PARAMS, "x": 1.0}], [1.0, 2.0])
    arguments = good_calls(study)[method]
    value = (one for one in [1, 2]) if kind == "generator" else MALFORMED[kind]
    if name == "progress" and callable(value):
        value = lambda event: None  # noqa: E731
    if (method, name, kind) == ("optimize", "num_trials", "2**70"):
        arguments["callbacks"] = [lambda study, trial: study.stop()]
    if name in ("num_workers",) and kind in ("2**70", "True"):
        pytest.skip("starts as many processes")
    before = told(study)
    if not check(lambda: getattr(study, method)(**{**arguments, name: value}), name):
        after = told(study)
        # An objective that returns nonsense has run: its trial is kept as failed.
        kept = after[: len(before)] if name == "objective" and callable(value) else after
        assert kept == before
    for trial in study.trials:
        assert trial.value is None or math.isfinite(trial.value)
    assert len(study.record([PARAMS], [0.5])) == 1
    study.optimize(objective, num_trials=1, progress=False)
    study.to_dataframe()


@pytest.mark.parametrize("name", [p for p in inspect.signature(Study.sweep).parameters][1:])
@pytest.mark.parametrize("kind", MALFORMED)
def test_arguments_of_a_sweep(name, kind):
    study = Study(SWEPT, "random", storage=None)
    arguments = {"training": TRAINING, "num_trials": 1, "num_steps": 1, "progress": False}
    value = (one for one in [1, 2]) if kind == "generator" else MALFORMED[kind]
    if kind == "2**70" and name in ("num_trials", "num_steps", "num_reports", "chunk", "width"):
        pytest.skip("is a number like others")
    if name == "progress" and callable(value):
        value = lambda event: None  # noqa: E731
    if not check(lambda: study.sweep(**{**arguments, name: value}), name):
        assert [trial for trial in study.trials if trial.status.name != "WAITING"] == []
    assert study.sweep(**arguments).num_trials == 1


@pytest.mark.parametrize("name", [p for p in inspect.signature(Study).parameters])
@pytest.mark.parametrize("kind", MALFORMED)
def test_arguments_of_the_constructor(name, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = (one for one in [1, 2]) if kind == "generator" else MALFORMED[kind]
    arguments = {"space": SPACE, "sampler": "random", "storage": "s.db", "name": "s", name: value}
    if not check(lambda: Study(**arguments), name):
        left = [path for path in tmp_path.iterdir() if path.suffix == ".db"]
        names = [s.name for path in left for s in [hpo.load_study("s", path)]] if left else []
        assert names == []


@pytest.mark.parametrize("name", ["name", "storage"])
@pytest.mark.parametrize("kind", MALFORMED)
def test_arguments_of_load_study(name, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = (one for one in [1, 2]) if kind == "generator" else MALFORMED[kind]
    Study(SPACE, "random", storage="s.db", name="s")
    arguments = {"name": "s", "storage": "s.db", name: value}
    assert not check(lambda: hpo.load_study(**arguments), name)
    assert sorted(path.name for path in tmp_path.iterdir() if "-" not in path.name) == ["s.db"]


@pytest.mark.parametrize("kind", MALFORMED)
def test_the_path_of_a_report(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = Study(SPACE, "random", storage=None)
    study.record([PARAMS], [1.0])
    value = (one for one in [1, 2]) if kind == "generator" else MALFORMED[kind]
    check(lambda: study.report(value, model=False, progress=False), "path")


@pytest.mark.parametrize(
    "value",
    [None, "a", 1j, True, [1.0], (1.0, 2.0), {}, {1.0}, b"1", decimal.Decimal("NaN"), Odd(),
     np.ones(1), np.ones((2, 2)), np.asarray("a"), np.datetime64("2020"), lambda: 1.0],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_no_objective_may_return(value):
    study = Study(SPACE, "random", storage=None)
    with pytest.raises(TypeError, match="`objective` must return a real number"):
        study.optimize(lambda params: value, num_trials=3, progress=False)
    assert [trial.status.name for trial in study.trials] == ["FAILED"]
    # After a number it is a trial that failed, like any other.
    returned = iter([1.0, value, 2.0])
    study.optimize(lambda params: next(returned), num_trials=3, progress=False)
    assert [t.status.name for t in study.trials[1:]] == ["COMPLETE", "FAILED", "COMPLETE"]
    assert "`objective` must return" in study.trials[2].reason
    with pytest.raises(TypeError, match="`values` must be a real number"):
        study.tell(study.ask(1)[0], value)


@pytest.mark.parametrize("value", [1, np.float32(1), np.asarray(1.0), 10**400, -(10**400)])
def test_what_an_objective_may_return(value):
    study = Study(SPACE, "random", storage=None)
    study.optimize(lambda params: value, num_trials=1, progress=False)
    expected = "FAILED" if isinstance(value, int) and abs(value) > 1 else "COMPLETE"
    assert study.trials[0].status.name == expected
    study.tell(study.ask(1)[0], value)
    study.tell(study.ask(1)[0], Outcome(value))
    assert [trial.status.name for trial in study.trials] == [expected] * 3


def test_a_seed_beyond_a_key_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match=r"`seed` must be below 2\*\*63"):
        Study(SPACE, "random", storage=tmp_path / "s.db", seed=2**70)
    assert not list(tmp_path.iterdir())
    study = Study(SPACE, "random", storage=tmp_path / "s.db", seed=2**63 - 1)
    study.optimize(objective, num_trials=1, progress=False)


def test_the_kinds_of_errors_are_the_documented_ones(url):
    Study(SPACE, "random", storage=url, name="s")
    for changed in ({"seed": 7}, {"direction": "maximize"}, {"sampler": "qmc"}):
        with pytest.raises(StudyMismatchError, match=f"`{next(iter(changed))}`"):
            Study(SPACE, **{"storage": url, "name": "s", **changed})
