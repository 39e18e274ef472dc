"""What is read of a large study: as few statements for a thousand trials as for ten."""

import contextlib
import math

import numpy as np
import optuna
import pytest
import sqlalchemy

import jaxhpo as hpo
from jaxhpo import Outcome, Status
from jaxhpo.study import Study
from jaxhpo.study._best import best_of
from jaxhpo.study._trial import from_frozen
from jaxhpo.study.storage.reading._whole_trials import read_trials

SPACE = {
    "x": hpo.uniform(-1.0, 3.0),
    "n": hpo.integer(1, 9),
    "kind": [True, "b", None],
}


@contextlib.contextmanager
def statements():
    """The SQL statements of any engine that read or write rows."""
    found = []

    def note(connection, cursor, statement, parameters, context, executemany):
        if not statement.startswith("PRAGMA"):
            found.append(statement)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


def filled(folder, num_trials, direction="minimize"):
    """A stored study of many trials, and its URL."""
    url = f"sqlite:///{folder}/{num_trials}.db"
    study = Study(SPACE, "random", storage=url, name="s", direction=direction)
    params = [trial.params for trial in study.ask(num_trials)]
    study.fail_stale(everywhere=True)
    study.record(params, np.cos(np.arange(num_trials)))
    return url


def test_statements_do_not_grow_with_trials(tmp_path):
    counts = []
    for num_trials in (10, 1000):
        url = filled(tmp_path, num_trials)
        with statements() as opening:
            study = Study(SPACE, "random", storage=url, name="s")
        with statements() as best:
            assert study.best_value == study.best.value == min(np.cos(np.arange(num_trials)))
        with statements() as text:
            assert f"trials={2 * num_trials})" in repr(study)
        with statements() as reading:
            assert len(study.trials) == 2 * num_trials
        with statements() as again:
            assert len(study.trials) == 2 * num_trials
        counts.append([len(one) for one in (opening, best, text, reading, again)])
    assert counts[0] == counts[1]
    opening, best, text, reading, again = counts[1]
    assert opening <= 24
    assert best <= 2 * 12  # the query for it, the query for constraints, and one trial, twice
    assert (text, reading, again) == (1, 6, 6)


def test_nothing_of_what_is_known_is_read_again(tmp_path):
    study = Study(SPACE, "random", storage=filled(tmp_path, 20), name="s")
    known = study.trials
    [asked] = study.ask()
    store = study._store
    assert [t.number for t in store.trials(known=range(40))] == [40]
    assert [t.number for t in store.trials(known=[n for n in range(40) if n != 7])] == [7, 40]
    assert [t.number for t in store.trials(known=[])] == list(range(41))
    assert study.trials[:40] == known
    assert study.trials[40].status is Status.RUNNING
    study.tell(asked, -5.0)
    assert study.trials[40].value == study.best_value == -5.0


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("is_loaded", [False, True])
def test_best_is_the_best_of_all_trials(tmp_path, direction, is_loaded):
    """The query knows what makes a trial best: complete, feasible, finite, first of ties."""
    url = f"sqlite:///{tmp_path}/s.db"
    study = Study(SPACE, "random", storage=url, name="s", direction=direction)
    sign = 1.0 if direction == "minimize" else -1.0
    best = None
    for outcome in (
        3.0 * sign, math.nan, Outcome(-9.0 * sign, violation=[0.5, -1.0]), 2.0 * sign, 2.0 * sign,
        Outcome(-8.0 * sign, violation=[0.0, math.nan]), math.inf, -math.inf,
        Outcome(1.0 * sign, violation=[0.0, -1.0]),
        Outcome(-7.0 * sign, violation=[-1.0, 1e-300]), 1.0 * sign, 1e308 * sign,
    ):  # fmt: skip
        study.tell(study.ask(), outcome)
        expected = _best_or_none(study)
        if expected is not None:
            seen = hpo.load_study("s", url) if is_loaded else Study(
                SPACE, "random", storage=url, name="s", direction=direction
            )  # fmt: skip
            assert seen.best == expected
            best = expected
    assert best.value == 1.0 * sign
    assert best.number == 8


def _best_or_none(study):
    with contextlib.suppress(ValueError):
        return best_of(study.trials, study.direction, study.name)


def test_old_constraints_of_optuna_count(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    made = optuna.create_study(study_name="s", storage=url)
    for value, constraints in ((0.0, [1.0, -1.0]), (2.0, [0.0]), (1.0, [-1.0, 0.0])):
        made.add_trial(
            optuna.trial.create_trial(value=value, system_attrs={"constraints": constraints})
        )
    study = hpo.load_study("s", url)
    assert study.best_value == 1.0


def test_records_are_those_of_optuna(tmp_path):
    """Field by field, of trials in every state, and of Optuna's own."""
    url = f"sqlite:///{tmp_path}/s.db"
    study = Study(SPACE, "random", storage=url, name="s")
    study.tell(study.ask(4), [1.0, math.nan, Outcome(2.0, violation=[0.5]), Outcome(1.5, se=0.1)])
    study.record(
        [{"x": 0.0, "n": 2, "kind": "b"}], [4.0], curves=[[math.inf, math.nan, 1.0]],
        curve_steps=[1, 2, 5],
    )  # fmt: skip
    study.ask(2)
    theirs = optuna.load_study(study_name="s", storage=url)
    trial = theirs.ask()
    trial.suggest_float("a", 1.0, 8.0, step=0.5)
    trial.suggest_int("b", 1, 80, log=True)
    trial.suggest_categorical("c", [True, 2.5, "d"])
    trial.report(-math.inf, 3)
    trial.set_user_attr("note", {"of": [1, None]})
    theirs.tell(trial, -3.0)
    study.enqueue({"x": 0.5, "n": 3, "kind": None})
    expected = theirs.get_trials(deepcopy=False)
    found = read_trials(study._store._tables, study._store.study_id)
    assert len(found) == 9
    for mine, its in zip(found, expected, strict=True):
        for attrs in (mine.system_attrs, its.system_attrs):  # Optuna asks for no order of these
            entries = sorted(attrs.items())
            attrs.clear()
            attrs.update(entries)
        assert repr(mine) == repr(its)  # NaN is equal to itself in words
        assert list(mine.params) == list(its.params)
    waiting = optuna.trial.TrialState.WAITING
    assert [t.number for t in study._store.waiting()] == [
        t.number for t in expected if t.state == waiting
    ]


def test_several_values_keep_their_order(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    study = Study(SPACE, "nsga2", storage=url, name="s", direction=["minimize", "maximize"])
    study.tell(study.ask(3), [(1.0, 2.0), (3.0, math.inf), (0.0, 1.0)])
    assert [trial.value for trial in study.trials] == [(1.0, 2.0), None, (0.0, 1.0)]
    theirs = optuna.load_study(study_name="s", storage=url).trials
    assert study.trials == [from_frozen(study.space, one) for one in theirs]
    with pytest.raises(ValueError, match="no trial is best in 2 objectives"):
        _ = study.best
