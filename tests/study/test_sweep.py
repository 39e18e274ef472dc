"""Vectorised sweeps and records: one transaction a batch, and nothing lost between them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optuna
import pytest

import jaxhpo as hpo
from jaxhpo import Status, population
from jaxhpo.space import Space
from jaxhpo.study import Study, StudyMismatchError
from tests.study import objectives

SPACE = {"lr": hpo.log_uniform(1e-3, 8.0), "width": hpo.static([1, 2])}
TRAINING = hpo.Training(
    init=lambda key, h: jax.random.normal(key, (h["width"],)),
    step=lambda key, h, state, t: state * (1 - h["lr"]),
    loss=lambda h, state: jnp.where(h["lr"] < 4.0, jnp.sum(state**2), jnp.nan),
)


def facts(study):
    return [(t.params, t.value, t.status, t.curve, t.unit.tolist()) for t in study.trials]


def test_a_sweep_is_in_the_study_trial_by_trial(url):
    study = Study(SPACE, "random", storage=url, name="s")
    events = []
    summary = study.sweep(
        TRAINING, num_trials=24, num_steps=8, num_reports=4, progress=events.append
    )
    trials = optuna.load_study(study_name="s", storage=url).trials
    assert summary.num_trials == len(trials) == 24
    assert 0 < summary.num_failed < 24
    assert summary.num_batches == 1
    assert events[-1].done == 24
    assert events[-1].best == study.best_value
    assert any(event.message == "compiling" for event in events)
    for mine, stored in zip(study.trials, trials, strict=True):
        diverged = mine.params["lr"] >= 4.0
        assert mine.status is (Status.FAILED if diverged else Status.COMPLETE)
        assert stored.params == mine.params
        if diverged:
            assert "the value was" in mine.reason
            continue
        assert list(mine.curve) == [2, 4, 6, 8]
        assert mine.curve[8] == mine.value == stored.value
        assert mine.curve[2] / mine.value == pytest.approx((1 - mine.params["lr"]) ** -12, rel=1e-3)
    assert stored.datetime_start < stored.datetime_complete
    assert study.stop_reason == "all 24 trials were run"


def test_each_batch_is_one_transaction(url, monkeypatch):
    study = Study(SPACE, "random", storage=url, name="s")
    batches = []
    append = study._store.append
    monkeypatch.setattr(
        study._store, "append", lambda rows, *rest: batches.append(len(rows)) or append(rows, *rest)
    )
    study.sweep(TRAINING, num_trials=10, num_steps=2, batch_size=4)
    assert batches == [4, 4, 2]


def test_a_sweep_resumed_in_other_batches_is_the_uninterrupted_one(url):
    whole = Study(SPACE, "qmc", storage=None, seed=3)
    whole.sweep(TRAINING, num_trials=15, num_steps=4)
    for part, batch_size in ((10, 8), (5, 5)):
        Study(SPACE, "qmc", storage=url, name="s", seed=3).sweep(
            TRAINING, num_trials=part, num_steps=4, batch_size=batch_size
        )
    assert facts(Study(SPACE, "qmc", storage=url, name="s")) == facts(whole)


def test_a_batch_that_was_never_written_is_proposed_again(url, monkeypatch):
    study = Study(SPACE, "qmc", storage=url, name="s")
    study.sweep(TRAINING, num_trials=4, num_steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(population, "sweep", lambda *a, **k: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            study.sweep(TRAINING, num_trials=4, num_steps=2)
    study.sweep(TRAINING, num_trials=4, num_steps=2)
    whole = Study(SPACE, "qmc", storage=None)
    whole.sweep(TRAINING, num_trials=8, num_steps=2)
    assert facts(study) == facts(whole)


def test_sweep_and_optimize_share_one_sequence():
    study = Study(SPACE, "qmc", storage=None)
    study.sweep(TRAINING, num_trials=5, num_steps=2)
    study.optimize(lambda p: p["lr"], num_trials=5)
    whole = Study(SPACE, "qmc", storage=None)
    whole.optimize(lambda p: p["lr"], num_trials=10)
    assert [t.params for t in study.trials] == [t.params for t in whole.trials]


def test_an_interrupted_sweep_keeps_what_had_ended(url, monkeypatch, caplog):
    study = Study(SPACE, "qmc", storage=url, name="s")
    run = population.sweep

    def interrupted(*args, **settings):
        whole = run(*args, **settings)
        status = np.array(whole.status)
        status[1], status[5:] = Status.RUNNING, Status.EMPTY
        raise population.SweepInterrupted(dataclasses.replace(whole, status=status))

    with monkeypatch.context() as patch:
        patch.setattr(population, "sweep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            study.sweep(TRAINING, num_trials=8, num_steps=2)
    # The others keep their numbers, and wait to be trained.
    assert [t.number for t in study.trials if t.status is Status.WAITING] == [1, 5, 6, 7]
    assert study.stop_reason == "interrupted"
    assert "interrupted after 4 trials" in caplog.text
    assert "name='s'" in caplog.text
    whole = Study(SPACE, "qmc", storage=None)
    whole.sweep(TRAINING, num_trials=9, num_steps=2)
    kept = [0, 2, 3, 4]
    assert [study.trials[i].value for i in kept] == [whole.trials[i].value for i in kept]
    asked = study.ask(1)[0]  # one of them alone, by hand
    assert (asked.number, asked.params) == (1, whole.trials[1].params)
    study.tell(asked, whole.trials[1].value)
    study.sweep(TRAINING, num_trials=4, num_steps=2)
    assert [(t.params, t.value) for t in study.trials] == [
        (t.params, t.value) for t in whole.trials
    ]


def test_a_sweep_with_no_time_left_records_nothing():
    study = Study(SPACE, "qmc", storage=None)
    assert study.sweep(TRAINING, num_trials=4, num_steps=2, timeout=0).num_trials == 0
    assert study.stop_reason == "the timeout was reached"


def test_a_sweep_of_a_discrete_space_ends_with_it():
    study = Study({"lr": [0.1, 0.2], "width": hpo.static([1, 2])}, "grid", storage=None)
    assert study.sweep(TRAINING, num_trials=100, num_steps=2, batch_size=3).num_trials == 4
    assert "Every configuration" in study.stop_reason


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_trials": -1}, ValueError, "`num_trials` must be at least 0"),
        ({"num_steps": 0}, ValueError, "`num_steps` must be at least 1"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        ({"num_reports": 1.5}, TypeError, "`num_reports` must be an integer"),
        ({"timeout": "x"}, TypeError, "`timeout` must be a real number"),
        ({"progress": 1}, TypeError, "`progress` must be True, False or a callable"),
    ],
)
def test_bad_settings_of_a_sweep_are_named(settings, error, message):
    study = Study(SPACE, "qmc", storage=None)
    with pytest.raises(error, match=f"Study.sweep: {message}"):
        study.sweep(TRAINING, **{"num_trials": 2, "num_steps": 2, **settings})
    assert study.trials == []


def test_a_result_that_does_not_fit_together_is_an_error_of_the_sweep(monkeypatch):
    sweep = population.sweep

    def turned(*args, **options):
        result = sweep(*args, **options)
        return dataclasses.replace(result, curve_steps=result.curve_steps[::-1])

    monkeypatch.setattr(population, "sweep", turned)
    with pytest.raises(ValueError, match=r"^Study.sweep: `curve_steps` must be rising"):
        Study(SPACE, "random", storage=None).sweep(TRAINING, num_trials=2, num_steps=2)


def test_a_study_that_maximises_cannot_sweep_a_loss():
    with pytest.raises(ValueError, match="direction 'minimize'"):
        Study(SPACE, "qmc", storage=None, direction="maximize").sweep(
            TRAINING, num_trials=1, num_steps=1
        )


# -- record ------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
def test_a_record_is_read_back_whole(storage, url):
    space = objectives.SPACES["conditional"]()
    study = Study(space, "qmc", storage=None if storage == "memory" else url, name="s")
    values = space.sample(jax.random.key(0), 5)
    numbers = study.record(
        values,
        [1.0, np.nan, np.inf, 4.0, -1.0],
        curves=np.arange(10.0).reshape(5, 2),
        curve_steps=[3, 9],
        status=[Status.COMPLETE] * 3 + [Status.PRUNED, Status.COMPLETE],
        seconds=0.5,
    )
    assert numbers == [0, 1, 2, 3, 4]
    trials = study.trials
    assert [t.params for t in trials] == space.decode(values)
    assert [t.status.name for t in trials] == ["COMPLETE", "FAILED", "FAILED", "PRUNED", "COMPLETE"]
    assert [t.value for t in trials] == [1.0, None, None, 4.0, -1.0]
    assert trials[4].curve == {3: 8.0, 9: 9.0}
    assert [t.seconds for t in trials] == [0.5] * 5
    assert study.best.number == 4


def test_recorded_points_are_known_to_the_sampler(url):
    space = {"a": [1, 2, 3], "b": ["x", "y"]}
    study = Study(space, "random", storage=url, name="s")
    study.record([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], [0.5, 0.25])
    study.optimize(lambda p: p["a"], num_trials=100)
    assert len(study.trials) == len({str(t.params) for t in study.trials}) == 6


def test_long_curves_are_thinned_to_fifty_points():
    study = Study(SPACE, "qmc", storage=None)
    study.record(
        [{"lr": 0.1, "width": 1}], [1.0], curves=np.zeros((1, 400)), curve_steps=range(400)
    )
    assert len(study.trials[0].curve) == 50
    assert {0, 399} <= set(study.trials[0].curve)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": [1.0]}, r"`values` must be of shape \[2\]"),
        ({"status": [1]}, r"`status` must be of shape \[2\]"),
        ({"curves": np.zeros((2, 3))}, r"`curves` must be of shape \[2, 0\]"),
        ({"curves": np.zeros((2, 2)), "curve_steps": [2, 1]}, "`curve_steps` must be rising"),
        ({"params": [{"lr": 0.1, "width": 3}] * 2}, r"`width` must be one of \[1, 2\], got 3"),
        ({"params": {"lr": np.asarray(0.1), "width": np.asarray(0)}}, "`params` must be a batch"),
    ],
)
def test_arrays_that_do_not_fit_are_named_and_nothing_is_written(changes, message):
    study = Study(SPACE, "qmc", storage=None)
    arguments = {"params": [{"lr": 0.1, "width": 1}] * 2, "values": [1.0, 2.0], **changes}
    with pytest.raises(ValueError, match=message):
        study.record(**arguments)
    assert study.trials == []


def test_a_timeout_shorter_than_the_first_proposal_ends_the_sweep():
    study = Study(SPACE, "qmc", storage=None)
    study.sweep(TRAINING, num_trials=4, num_steps=2, timeout=1e-6)
    assert study.stop_reason == "the timeout was reached"


def test_other_constraints_are_another_space(url):
    tree = {"x": hpo.uniform(0.0, 1.0), "c": ["a", "b"]}
    first = Space(tree, constraints=[hpo.forbid({"c": "a"})])
    Study(first, "qmc", storage=url, name="s")
    with pytest.raises(StudyMismatchError, match="must have the constraints of the stored study"):
        Study(Space(tree, constraints=[hpo.forbid({"c": "b"})]), "qmc", storage=url, name="s")
