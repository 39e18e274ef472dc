"""The batch writer: what it writes is what Optuna's own writer would have written."""

import datetime
import math
import pathlib
import sqlite3
import subprocess
import sys
import warnings

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from jaxhpo._status import Status
from jaxhpo.study.storage import _bulk
from jaxhpo.study.storage._reports import report
from jaxhpo.study.storage._rows import (
    CONSTRAINTS_ATTR,
    MAX_CURVE_POINTS,
    Ending,
    Row,
    thin_curve,
    to_frozen_trial,
)
from jaxhpo.study.storage._store import Store

HERE = pathlib.Path(__file__).parent
SPACE = {
    "lr": FloatDistribution(1e-6, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.9, step=0.1),
    "width": IntDistribution(8, 512, log=True),
    "depth": IntDistribution(1, 9, step=2),
    "act": CategoricalDistribution([None, True, 1.5, "relu", "ünïcode 'quoted' \"\n"]),
}
START = datetime.datetime(2024, 2, 29, 23, 59, 59, 123456)
END = datetime.datetime(2024, 3, 1, 0, 0, 1, 654321)


def make_row(status, value, **changes):
    """A row whose every field is filled."""
    fields = {
        "status": status,
        "value": value,
        "params": {"lr": 1e-6, "momentum": 0.3, "width": 512, "depth": 9, "act": "relu"},
        "distributions": SPACE,
        "user_attrs": {"reason": "ünïcode", "seconds": 0.25, "nested": {"a": [1, None, True]}},
        "system_attrs": {"jaxhpo": {"unit": [0.1, 1 / 3, 1e-300]}},
        "curve": {0: 2.5, 10: math.inf, 20: -math.inf, 30: math.nan, 40: 1e-308},
        "start": START,
        "end": None if status is Status.RUNNING else END,
    }
    return Row(**{**fields, **changes})


ROWS = [
    make_row(Status.COMPLETE, 0.1),
    make_row(Status.COMPLETE, math.inf),
    make_row(Status.COMPLETE, -math.inf),
    make_row(Status.COMPLETE, 1.7976931348623157e308, curve={}),
    make_row(Status.INFEASIBLE, -5.0, system_attrs={CONSTRAINTS_ATTR: [1.0, -2.0]}),
    make_row(Status.FAILED, None, user_attrs={"error": "Trace\n  back", "reason": "NaN"}),
    make_row(Status.PRUNED, 0.5),
    make_row(Status.PRUNED, None, params={"lr": 1.0, "act": None}),
    make_row(Status.RUNNING, None, params={"act": "ünïcode 'quoted' \"\n", "momentum": 0.9}),
    make_row(Status.COMPLETE, 0.0, params={}, user_attrs={}, system_attrs={}, curve={}),
]


def as_dict(trial):
    """Every field of a trial but its identifier."""
    fields = dict(trial.__dict__)
    del fields["_trial_id"]
    # NaN differs from itself; its text does not.
    fields["intermediate_values"] = str(trial.intermediate_values)
    return fields


def test_every_field_equals_what_the_public_writer_stores(url):
    store = Store(url, "bulk", ["minimize"])
    assert store._database is not None
    written = store.append(ROWS)
    public = optuna.create_study(storage=url, study_name="public")
    public.add_trials([to_frozen_trial(row) for row in ROWS])

    ours = optuna.load_study(study_name="bulk", storage=url).trials
    theirs = optuna.load_study(study_name="public", storage=url).trials
    assert len(ours) == len(theirs) == len(ROWS)
    assert [trial.number for trial in ours] == [number for number, _ in written]
    assert [trial._trial_id for trial in ours] == [trial_id for _, trial_id in written]
    for mine, other in zip(ours, theirs, strict=True):
        assert as_dict(mine) == as_dict(other)


def test_every_column_equals_what_the_public_writer_stores(url, tmp_path):
    Store(url, "bulk", ["minimize"]).append(ROWS)
    public = optuna.create_study(storage=url, study_name="public")
    public.add_trials([to_frozen_trial(row) for row in ROWS])

    connection = sqlite3.connect(tmp_path / "study.db")
    tables = [
        name
        for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
        if name.startswith("trial_")
    ]
    assert len(tables) == 6
    for table in tables:
        info = list(connection.execute(f"pragma table_info({table})"))
        # The first column numbers the table's rows, which no reader looks at.
        columns = ", ".join(f"d.{c[1]}" for c in info[1:] if c[1] != "trial_id")
        query = (
            f"select t.number, {columns} from {table} d join trials t using (trial_id) "
            "join studies s using (study_id) where s.study_name = ? order by 1, 2"
        )
        assert (
            connection.execute(query, ["bulk"]).fetchall()
            == connection.execute(query, ["public"]).fetchall()
        )
    connection.close()


def test_optuna_reads_the_best_of_a_bulk_study(url):
    store = Store(url, "bulk", ["minimize"])
    store.append(
        [
            make_row(Status.COMPLETE, 3.0),
            make_row(Status.INFEASIBLE, -5.0, system_attrs={CONSTRAINTS_ATTR: [0.5]}),
            make_row(Status.COMPLETE, 2.0),
            make_row(Status.FAILED, None),
        ]
    )
    study = optuna.load_study(study_name="bulk", storage=url)
    assert study.best_trial.number == 2
    assert study.best_trial.duration == END - START


def test_finish_ends_running_trials_and_leaves_ended_ones_alone(url):
    store = Store(url, "bulk", ["minimize"])
    running = [make_row(Status.RUNNING, None, user_attrs={}, system_attrs={}) for _ in range(3)]
    (_, first), (_, second), (_, third) = store.append(running)
    endings = [
        Ending(first, Status.COMPLETE, 1.5, {"seconds": 2.0}, {CONSTRAINTS_ATTR: [-1.0]}, END),
        Ending(second, Status.FAILED, None, {"error": "x"}, {}, END),
    ]
    assert store.finish(endings) == []
    assert store.finish([Ending(first, Status.COMPLETE, 9.0, {"other": 1})]) == [first]

    trials = optuna.load_study(study_name="bulk", storage=url).trials
    assert [t.state.name for t in trials] == ["COMPLETE", "FAIL", "RUNNING"]
    assert trials[0].value == 1.5
    assert trials[0].user_attrs == {"seconds": 2.0}
    assert trials[0].constraints == {"0": -1.0}
    assert trials[0].datetime_complete == END
    assert trials[1].value is None
    assert trials[1].user_attrs == {"error": "x"}
    assert store.finish([Ending(third, Status.COMPLETE, 1.0)]) == []


def test_finish_is_the_same_by_the_public_api(url):
    stores = [Store(url, name, ["minimize"]) for name in ("bulk", "public")]
    stores[1]._database = None
    for store in stores:
        ids = [i for _, i in store.append([make_row(Status.RUNNING, None)] * 2)]
        assert store.finish([Ending(ids[0], Status.INFEASIBLE, 2.0, {"a": 1}, {"b": 2})]) == []
        assert store.finish([Ending(ids[0], Status.FAILED, None)]) == [ids[0]]
    ours, theirs = (optuna.load_study(study_name=s.name, storage=url).trials for s in stores)
    for mine, other in zip(ours, theirs, strict=True):
        left, right = as_dict(mine), as_dict(other)
        for fields in (left, right):
            moment = fields.pop("datetime_complete")
            assert (moment is None) == (fields["state"].name == "RUNNING")
        assert left == right


def test_an_expected_number_that_is_taken_writes_nothing(url):
    store = Store(url, "bulk", ["minimize"])
    store.append([make_row(Status.COMPLETE, 1.0)], expected=0)
    with pytest.raises(_bulk.NumberTaken):
        store.append([make_row(Status.COMPLETE, 1.0)], expected=0)
    assert len(store.trials()) == 1
    assert store.append([make_row(Status.COMPLETE, 1.0)], expected=1)[0][0] == 1


def test_a_failing_batch_leaves_nothing_behind(url):
    store = Store(url, "bulk", ["minimize"])
    store.append([make_row(Status.COMPLETE, 1.0)])
    repeated = make_row(Status.COMPLETE, 1.0, params={"lr": object()})
    with pytest.raises(ValueError, match=r"lr|float"):
        store.append([make_row(Status.COMPLETE, 1.0), repeated])
    assert [trial.number for trial in store.trials()] == [0]
    assert store.append([make_row(Status.COMPLETE, 1.0)])[0][0] == 1


def test_two_studies_in_one_file_are_numbered_apart(url):
    left, right = Store(url, "left", ["minimize"]), Store(url, "right", ["maximize"])
    for _ in range(3):
        left.append([make_row(Status.COMPLETE, 1.0)] * 2)
        right.append([make_row(Status.COMPLETE, 2.0)])
    assert [t.number for t in left.trials()] == list(range(6))
    assert [t.number for t in right.trials()] == list(range(3))


def test_three_processes_number_their_trials_without_a_gap(url):
    Store(url, "shared", ["minimize"])
    workers = [
        subprocess.Popen([sys.executable, str(HERE / "bulk_worker.py"), url, str(w), "8", "32"])
        for w in range(3)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    trials = optuna.load_study(study_name="shared", storage=url).trials
    assert [trial.number for trial in trials] == list(range(3 * 8 * 32))
    by_worker = {w: [t.params["x"] for t in trials if t.user_attrs["w"] == w] for w in range(3)}
    for worker, values in by_worker.items():
        assert values == [worker * 1e4 + i for i in range(8 * 32)]


def test_another_schema_falls_back_to_the_public_api_with_one_warning(url, tmp_path):
    Store(url, "first", ["minimize"]).append([make_row(Status.COMPLETE, 1.0)])
    connection = sqlite3.connect(tmp_path / "study.db")
    connection.execute("update version_info set schema_version = 99")
    connection.commit()
    connection.close()
    with pytest.warns(UserWarning, match="schema version is 99") as caught:
        store = Store(url, "first", ["minimize"])
    assert len(caught) == 1
    assert store._database is None
    assert store.append([make_row(Status.COMPLETE, 2.0)])[0][0] == 1
    assert [trial.value for trial in store.trials()] == [1.0, 2.0]


def test_another_optuna_falls_back_to_the_public_api(url, monkeypatch):
    monkeypatch.setattr(optuna, "__version__", "6.0.0")
    with pytest.warns(UserWarning, match=r"optuna 6\.0\.0"):
        assert Store(url, "first", ["minimize"])._database is None


def test_the_tested_versions_are_those_installed(url):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Store(url, "first", ["minimize"])._database is not None


@pytest.mark.parametrize("length", [1, 2, 50, 51, 75, 1000, 100_000])
def test_a_thinned_curve_keeps_its_ends_and_its_order(length):
    curve = {step * 3: float(step) for step in range(length)}
    thin = thin_curve(curve)
    assert len(thin) == min(length, MAX_CURVE_POINTS)
    assert list(thin) == sorted(thin)
    assert next(iter(thin)) == 0
    assert list(thin)[-1] == 3 * (length - 1)
    assert all(curve[step] == value for step, value in thin.items())


def test_the_fast_history_agrees_with_optuna_s_reader(url):
    store = Store(url, "bulk", ["minimize"])
    own = {"jaxhpo": {"unit": [0.25, 1 / 3]}}
    rows = [make_row(r.status, r.value, system_attrs={**r.system_attrs, **own}) for r in ROWS]
    store.append(rows)
    Store(url, "other", ["minimize"]).append(rows)
    fast, slow = store.history(), store.trials()
    assert type(fast[0]) is not type(slow[0])
    assert [(t.number, t._trial_id, t.state, t.values) for t in fast] == [
        (t.number, t._trial_id, t.state, t.values) for t in slow
    ]
    assert [t.constraints for t in fast] == [t.constraints for t in slow]
    assert [t.system_attrs for t in fast] == [t.system_attrs for t in slow]
    store.append([make_row(Status.COMPLETE, 1.0, system_attrs={})])
    assert type(store.history()[0]) is type(slow[0])


def test_a_history_read_again_is_that_of_a_first_reading(url):
    store, other = (Store(url, "bulk", ["minimize"]) for _ in range(2))
    own = {"jaxhpo": {"unit": [0.25, 1 / 3], "reserved": "b"}}
    other.append([make_row(Status.COMPLETE, 1.0, system_attrs=own)])

    def agree():
        whole = Store(url, "bulk", ["minimize"]).history()
        assert store.history() == whole
        return whole

    running = [make_row(Status.RUNNING, None, system_attrs=own) for _ in range(4)]
    agree()
    ids = [trial_id for _, trial_id in other.append(running)]
    agree()
    other.finish([Ending(ids[0], Status.FAILED, None), Ending(ids[2], Status.COMPLETE, 2.0)])
    agree()
    report(other, ids[1], 3, 0.5)
    other.release(ids[1:2], lambda owner: True)
    assert agree()[2].intermediate_values[3] == 0.5
    other.enqueue({"x": 0.5})
    assert [one.state.name for one in agree()][-2:] == ["RUNNING", "WAITING"]
    other.claim(ids[1:2], {"owner": "b"})
    violated = {"constraints": [1.0]}
    other.finish([Ending(ids[1], Status.INFEASIBLE, 3.0, system_attrs=violated)])
    assert max(agree()[2].constraints.values()) == 1.0
    theirs = optuna.load_study(study_name="bulk", storage=url)
    theirs.tell(4, 7.0)
    assert agree()[4].values == [7.0]
    theirs.tell(theirs.ask(), 1.0)  # what another program begins has no point of ours
    assert type(store.history()[0]) is type(store.trials()[0])
