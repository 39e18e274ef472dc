"""Samplers that ignore values propose some trials ahead, and the same points as one by one."""

import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.ask_tell import Evaluations, Proposer, proposal_shape_of

SPACES = {
    "mixed": hpo.Space({"x": hpo.log_uniform(1e-3, 1.0), "k": hpo.integer(1, 9), "c": ["a", "b"]}),
    "finite": hpo.Space({"k": hpo.integer(1, 7), "c": ["a", "b", "d"]}),
    "constrained": hpo.Space(
        {"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)},
        constraints=[lambda p: p["x"] + p["y"] <= 0.7],
    ),
}
BLIND = ("random", "qmc", "grid")


def points(name, space, num_trials, *, is_in_turn):
    """Points asked and told one by one, some of them told late or as failures; all in turn."""
    sampler = hpo.samplers.get(name, space)
    shape = proposal_shape_of(sampler)
    proposer = Proposer(space, sampler, 3, shape, is_in_turn=is_in_turn)
    found = []
    for number in range(num_trials):
        unit, params = proposer.propose_params(number, 1)
        if len(unit) == 0:
            break
        assert space.decode(space.host_values(unit)) == params
        found.append(unit[0])
        if number % 3 != 1:  # the others run for ever
            value = np.asarray([np.nan if number % 5 == 0 else 0.5])
            proposer.tell_proposed(Evaluations(unit, value), number + 1)
    return np.asarray(found)


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("name", BLIND)
def test_points_ahead_are_those_of_one_by_one(name, kind):
    expected = points(name, SPACES[kind], 90, is_in_turn=False)
    found = points(name, SPACES[kind], 90, is_in_turn=True)
    np.testing.assert_array_equal(found, expected)
    assert kind != "finite" or len(found) == 21


def test_what_learns_is_not_asked_ahead():
    space = SPACES["mixed"]
    sampler = hpo.samplers.get("tpe", space)
    proposer = Proposer(space, sampler, 0, proposal_shape_of(sampler), is_in_turn=True)
    assert not proposer.proposes_ahead
    proposer.propose(0, 1)
    assert proposer.num_proposed == 1


def test_no_more_is_proposed_than_trials_are_expected():
    space = SPACES["mixed"]
    sampler = hpo.samplers.get("random", space)
    proposer = Proposer(space, sampler, 0, proposal_shape_of(sampler), is_in_turn=True)
    proposer.expect(5)
    proposer.propose(0, 1)
    assert proposer.num_proposed == 5


@pytest.mark.parametrize("name", BLIND)
def test_recorded_points_among_them_count_as_on_reopening(name, tmp_path):
    space, url = SPACES["finite"], f"sqlite:///{tmp_path}/study.db"
    study = hpo.Study(space, name, storage=url, name="s")
    for _ in range(3):
        study.tell(study.ask(2), [1.0, 2.0])
        again = hpo.Study(space, name, storage=url, name="s")
        # The other one proposes in the light of what lies in the storage, and nothing else.
        [next_one] = again.ask(1)
        again.tell([next_one], [0.5])
        study.record([{"k": 3, "c": "d"}], [0.1])
    flat = [trial.flat for trial in study.trials if trial.flat != {"k": 3, "c": "d"}]
    assert len({tuple(sorted(one.items())) for one in flat}) == len(flat) == 9


@pytest.mark.parametrize("name", BLIND)
def test_a_study_goes_on_as_a_reopened_one(name, tmp_path):
    space = SPACES["mixed"]

    def numbers(folder, pieces):
        folder.mkdir()
        for kind, count in pieces:
            study = hpo.Study(space, name, storage=f"sqlite:///{folder}/s.db", name="s", seed=4)
            if kind == "record":
                study.record([{"x": 0.5, "k": 2, "c": "a"}] * count, [1.0] * count)
            else:
                study.optimize(lambda params: params["x"], num_trials=count, progress=False)
        return [trial.flat for trial in study.trials]

    def at_once(folder, pieces):
        folder.mkdir()
        study = hpo.Study(space, name, storage=f"sqlite:///{folder}/s.db", name="s", seed=4)
        for kind, count in pieces:
            if kind == "record":
                study.record([{"x": 0.5, "k": 2, "c": "a"}] * count, [1.0] * count)
            else:
                for _ in range(count):
                    study.tell(study.ask(1), [1.0])
        return [trial.flat for trial in study.trials]

    pieces = [("run", 7), ("record", 2), ("run", 5), ("record", 1), ("run", 40)]
    assert at_once(tmp_path / "one", pieces) == numbers(tmp_path / "other", pieces)
