"""What fails does not fail in silence: it stops the run, or is named at the end of it."""

import logging
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optuna
import pytest

import jaxhpo as hpo
from jaxhpo.study import Study
from tests.study import objectives

X = {"x": hpo.uniform(-1.0, 3.0)}
WORKERS = [1, 2]


def typo(params):
    return params["xx"]


def define_by_run(trial):
    return trial.suggest_float("x", -1.0, 3.0)


def varied(params):
    """Two errors in turn."""
    raise (LookupError if params["x"] < 1.0 else ValueError)("no")


def by_option(params):
    """One line, another message for every point: one error all the same."""
    return {}[params["x"]]


def is_one(params):
    raise ValueError(f"x is {params['x']}")


def summary(caplog):
    """The lines that end runs."""
    return [r.getMessage() for r in caplog.records if "most frequent reason" in r.getMessage()]


@pytest.mark.parametrize("num_workers", WORKERS)
@pytest.mark.parametrize(
    ("objective", "error"), [(typo, KeyError), (define_by_run, AttributeError),
                             (by_option, KeyError), (is_one, ValueError)],
)  # fmt: skip
def test_first_trials_that_all_fail_with_one_error_raise_it(url, caplog, objective, error,
                                                            num_workers):  # fmt: skip
    study = Study(X, "random", storage=url, name="s")
    with pytest.raises(error) as caught:
        study.optimize(
            objective, num_trials=1000, num_workers=num_workers, synchronous=True, progress=False
        )
    assert len(study.trials) == 10
    assert study.stop_reason == f"the first 10 trials all failed with {error.__name__}"
    notes = " ".join(caught.value.__notes__)
    assert "the first 10 of 1000 trials all failed" in notes
    assert "`max_first_failures`" in notes
    [line] = summary(caplog)
    assert "10 of 10 trials failed" in line
    assert error.__name__ in line
    assert all(trial.status.name == "FAILED" for trial in study.trials)


def test_the_setting_says_how_many():
    study = Study(X, "random", storage=None)
    with pytest.raises(KeyError):
        study.optimize(typo, num_trials=9, max_first_failures=3, progress=False)
    assert len(study.trials) == 3
    study.optimize(typo, num_trials=25, max_first_failures=None, progress=False)
    assert len(study.trials) == 28


def test_other_errors_values_or_a_success_let_the_run_go_on(caplog):
    study = Study(X, "qmc", storage=None)
    study.optimize(varied, num_trials=40, progress=False)
    assert len(study.trials) == 40
    calls = iter(range(100))
    study.optimize(lambda p: 1.0 if next(calls) == 5 else typo(p), num_trials=40, progress=False)
    assert "39 of 40 trials failed" in summary(caplog)[-1]
    # A value that is not finite is an answer: most settings of a wide search may diverge.
    study.optimize(lambda params: math.nan, num_trials=40, progress=False)
    assert "40 of 40 trials failed" in summary(caplog)[-1]
    assert "the value was nan" in summary(caplog)[-1]


def test_what_catch_does_not_name_is_raised_at_once():
    study = Study(X, "random", storage=None)
    with pytest.raises(KeyError):
        study.optimize(typo, num_trials=9, catch=(ValueError,), progress=False)
    assert len(study.trials) == 1


@pytest.mark.parametrize("num_workers", WORKERS)
def test_few_trials_end_with_a_line_that_names_the_reason(url, caplog, num_workers):
    study = Study(X, "random", storage=url, name="s")
    study.optimize(typo, num_trials=3, num_workers=num_workers, progress=False)
    [line] = summary(caplog)
    assert line == "study 's': 3 of 3 trials failed; most frequent reason: KeyError: 'xx'"
    study.optimize(objectives.score, num_trials=2, progress=False)
    assert len(summary(caplog)) == 1


def test_trials_of_earlier_runs_are_not_counted(url, caplog):
    study = Study(X, "random", storage=url, name="s")
    study.optimize(typo, num_trials=3, progress=False)
    again = Study(X, storage=url, name="s")
    again.optimize(typo, num_trials=2, progress=False)
    assert "2 of 2 trials failed" in summary(caplog)[-1]


def test_the_line_comes_however_the_run_ends(caplog):
    study = Study(X, "random", storage=None)

    def stop(study, trial):
        raise RuntimeError("a callback")

    with pytest.raises(RuntimeError, match="a callback"):
        study.optimize(typo, num_trials=3, callbacks=[stop], progress=False)
    assert "1 of 1 trials failed" in summary(caplog)[-1]


def test_best_quotes_the_most_frequent_reason():
    study = Study(X, "qmc", storage=None)
    study.optimize(varied, num_trials=9, progress=False)
    study.optimize(typo, num_trials=9, progress=False)
    for read in ("best", "best_value", "best_params"):
        with pytest.raises(ValueError, match=r"no complete trial yet, got 18 failed; .*KeyError"):
            getattr(study, read)


def test_a_define_by_run_objective_is_told_how_params_come(caplog):
    study = Study(X, "random", storage=None)
    study.optimize(define_by_run, num_trials=2, progress=False)
    [line] = summary(caplog)
    for part in ("objective(params)", "not with a trial", "docs/coming-from-optuna"):
        assert part in line
    assert "coming-from-optuna" in study.trials[0].reason


@pytest.mark.parametrize(
    ("objective", "hint"),
    [
        (lambda x, y: x, "with one argument"),
        (lambda: 1.0, "with one argument"),
        (lambda params: params.x, "write params['x']"),
        (lambda trial: trial.report(1.0, 0), "not with a trial"),
    ],
)
def test_what_is_mistaken_of_the_objective_is_said(objective, hint):
    study = Study(X, "random", storage=None)
    study.optimize(objective, num_trials=1, progress=False)
    assert hint in study.trials[0].reason


def test_errors_of_the_objective_itself_get_no_hint():
    def objective(params):
        return len(params["x"])

    study = Study(X, "random", storage=None)
    study.optimize(objective, num_trials=1, progress=False)
    assert study.trials[0].reason == "TypeError: object of type 'float' has no len()"


def test_an_error_with_its_notes_survives_the_way_between_processes():
    study = Study(X, "random", storage=None)
    with pytest.raises(AttributeError) as caught:
        study.optimize(define_by_run, num_trials=20, num_workers=2, progress=False)
    assert any("not with a trial" in note for note in caught.value.__notes__)
    assert pickle.loads(pickle.dumps(caught.value)).__notes__ == caught.value.__notes__


def test_workers_that_all_die_end_the_run():
    study = Study({"x": hpo.uniform(2.0, 3.0)}, "random", storage=None)
    with pytest.raises(RuntimeError, match="the worker process ended"):
        study.optimize(objectives.dies, num_trials=50, num_workers=2, max_first_failures=4,
                       synchronous=True, progress=False)  # fmt: skip
    assert len(study.trials) == 4


def test_a_sweep_whose_lanes_all_fail_says_so(caplog):
    training = hpo.Training(
        init=lambda key, h: jnp.ones(()),
        step=lambda key, h, state, t: state * h["x"],
        loss=lambda h, state: state * jnp.nan,
    )
    study = Study(X, "random", storage=None)
    summary_ = study.sweep(training, num_trials=6, num_steps=2, progress=False)
    assert summary_.num_failed == 6
    [line] = summary(caplog)
    assert "6 of 6 trials failed" in line
    assert "the value was nan" in line
    with pytest.raises(ValueError, match="6 failed; most frequent reason.*the value was nan"):
        _ = study.best


def test_a_run_that_stops_leaves_what_was_asked_by_hand():
    study = Study(X, "random", storage=None)
    [asked] = study.ask()
    with pytest.raises(KeyError):
        study.optimize(typo, num_trials=20, progress=False)
    [ended] = study.tell(asked, 0.25)
    assert ended.status.name == "COMPLETE"
    assert study.best.number == asked.number


def test_minimize_says_when_all_trials_failed(caplog):
    space = hpo.Space(X)
    with caplog.at_level(logging.WARNING, "jaxhpo"):
        hpo.minimize(lambda key, p: p["x"] * jnp.nan, space, "random", key=0, num_trials=5)
        assert "minimize: all 5 trials failed" in caplog.text
        caplog.clear()
        hpo.minimize(lambda key, p: p["x"], space, "random", key=0, num_trials=5)
        assert not caplog.records
        many = hpo.minimize_many(
            lambda key, p: jnp.where(key[0] > 2**31, jnp.nan, 1.0) * p["x"]
            if key.dtype == jnp.uint32 else p["x"] * jnp.nan,
            space, "random", keys=jax.random.split(jax.random.key(0), 3), num_trials=4,
        )  # fmt: skip
        assert np.isinf(np.asarray(many.best_value)).all()
        assert "minimize_many: all 4 trials failed in 3 of 3 studies" in caplog.text


def test_under_a_transformation_minimize_stays_pure(caplog):
    space = hpo.Space(X)

    @jax.jit
    def run(key):
        return hpo.minimize(
            lambda key, p: p["x"] * jnp.nan, space, "random", key=key, num_trials=5
        ).best_value

    assert np.isinf(run(jax.random.key(0)))
    assert "minimize" not in caplog.text


def test_optuna_reads_the_failures(url):
    study = Study(X, "random", storage=url, name="s")
    study.optimize(typo, num_trials=2, progress=False)
    trials = optuna.load_study(study_name="s", storage=url).trials
    assert [trial.user_attrs["reason"] for trial in trials] == ["KeyError: 'xx'"] * 2


def test_control_characters_of_an_error_do_not_reach_the_log(caplog):
    caplog.set_level(logging.INFO, "jaxhpo")

    def objective(params):
        raise ValueError("\x1b[2Jgone\x07")

    study = Study(X, "qmc", storage=None, name="s")
    study.optimize(objective, num_trials=2, progress=False)
    assert "gone" in caplog.text
    assert "\x1b" not in caplog.text
    assert "\x07" not in caplog.text
