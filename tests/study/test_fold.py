"""Decisions that are cheap, against the rule asked anew about everything that was reported."""

import jax
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import Status
from jaxhpo.study.scheduling._population import Population
from jaxhpo.study.scheduling._rule import Rule
from jaxhpo.study.storage._records import Record

NUM_TRIALS, NUM_STEPS = 24, 27


def _rule(name, **settings):
    if not settings:
        return Rule("test", name, NUM_TRIALS, NUM_STEPS, 0)
    ready = hpo.schedulers.get(name, NUM_TRIALS, NUM_STEPS, **settings)
    return Rule("test", ready, NUM_TRIALS, NUM_STEPS, 0)


RULES = [
    ("asha", {}),
    ("asha", {"eta": 2, "batch_size": 5}),
    ("halving", {}),
    ("halving", {"batch_size": 1}),
    ("hyperband", {}),
]


@pytest.mark.parametrize(("name", "settings"), RULES)
def test_a_state_that_is_told_what_is_new_is_the_state_of_all(name, settings):
    rule, rng = _rule(name, **settings), np.random.default_rng(0)
    shape = (NUM_TRIALS, len(rule.levels))
    value, told, fold = np.full(shape, np.nan), np.zeros(shape, bool), rule.fold()
    for number in range(60):
        status = np.where(rng.uniform(size=shape[0]) < 0.1, Status.RUNNING, -1).astype(np.int32)
        for row in rng.choice(shape[0], rng.integers(0, 3), replace=False):
            count = told[row].sum()
            if count < shape[1] and not (count and np.isnan(value[row, count - 1])):
                value[row, count] = rng.choice([rng.integers(0, 6), np.nan], p=[0.9, 0.1])
                told[row, count] = True
        if number in (20, 40):  # a trial is replaced by another: what was told is taken back
            told[3], value[3] = False, np.nan
        found, expected = fold.ask(value, told, status), rule.fold().ask(value, told, status)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert told[:, 1].any()


def _decide_anew(population):
    fresh = Population(population.rule, "minimize")
    for record in population.records:
        fresh.update(record)
    return fresh.decide()


@pytest.mark.parametrize("name", ["halving", "hyperband"])
@pytest.mark.parametrize("num_workers", [1, 3])
def test_what_is_promised_is_what_the_rule_would_say(name, num_workers, monkeypatch):
    rule, rng, asked = _rule(name), np.random.default_rng(1), []
    decide = Rule.decide
    population, running = Population(rule, "minimize"), []
    for _ in range(400):
        with monkeypatch.context() as patch:
            patch.setattr(Rule, "decide", lambda *a: (asked.append(1), decide(*a))[1])
            decision = population.decide()
        anew = _decide_anew(population)
        assert (decision.trial, decision.level) == (anew.trial, anew.level)
        if decision.trial >= 0 and len(running) < num_workers:
            row = decision.trial
            if row == len(population.records):
                population.update(Record(row, 100 + row, {}))
            record = population.records[row]
            record.state = "RUNNING"
            population.update(record)
            running.append((record, decision.level))
            continue
        if not running:
            break
        record, level = running.pop(rng.integers(len(running)))
        has_failed = rng.uniform() < 0.1
        if not has_failed:
            record.curve[level] = float(rng.uniform())
        done = "COMPLETE" if level == NUM_STEPS else "WAITING"
        record.state = "FAIL" if has_failed else done
        population.update(record)
    states = [record.state for record in population.records]
    assert len(states) == NUM_TRIALS
    assert "COMPLETE" in states
    num_reports = sum(len(record.curve) for record in population.records)
    assert len(asked) < 0.8 * num_reports


@jax.jit
def _ask(scheduler, state):
    return scheduler.ask(0, state)


@jax.jit
def _tell(scheduler, state, job, value):
    return scheduler.tell(0, state, job, hpo.Outcome(value))[0]


@pytest.mark.parametrize("seed", range(3))
def test_asha_asked_for_one_job_hands_out_the_first_of_many(seed):
    one, many = (hpo.schedulers.asha(NUM_TRIALS, 27, batch_size=size) for size in (1, None))
    rng, state = np.random.default_rng(seed), one.init(0)
    for _ in range(80):
        (state, first), (_, every) = (_ask(scheduler, state) for scheduler in (one, many))
        assert (first.trial[0], first.level[0]) == (every.trial[0], every.level[0])
        value = rng.choice([rng.integers(0, 5), np.nan], p=[0.9, 0.1])
        state = _tell(one, state, first, np.array([value]))
    assert (np.asarray(state.table.status) == Status.COMPLETE).any()
