"""Programs that are kept from one sweep to the next."""

import jax
import numpy as np
import pytest

from jaxhpo import population
from jaxhpo.space._values import StaticValue
from tests.population.sweep_problems import decay, hparams, regression


def run(training, n, programs, key, **changes):
    settings = {"num_steps": 6, "num_reports": 2, "width": 8, "programs": programs, **changes}
    return population.sweep(training, jax.tree.map(np.asarray, hparams(n)), key=key, **settings)


def test_a_second_sweep_compiles_nothing_and_gives_the_same_bits(key):
    count, programs = {}, population.Programs()
    training = regression(count=count)
    first = run(training, 24, programs, key)
    assert first.num_compilations == 1
    counted = dict(count)
    for n, start in ((24, 24), (8, 48), (48, 56)):
        kept = run(training, n, programs, key, first_trial=start)
        assert (kept.num_compilations, kept.compile_seconds < 1) == (0, True)
        assert count == counted
        fresh = run(regression(), n, None, key, first_trial=start)
        np.testing.assert_array_equal(kept.losses, fresh.losses)
        np.testing.assert_array_equal(kept.curves, fresh.curves)


@pytest.mark.parametrize(
    ("changes", "n"),
    [
        ({"num_steps": 7}, 8),
        ({"num_reports": 3}, 8),
        ({"share_data_order": True}, 8),
        ({"width": 4}, 8),
        ({}, 17),
    ],
    ids=str,
)
def test_what_needs_another_program_gets_one(key, changes, n):
    programs, training = population.Programs(), regression()
    run(training, 8, programs, key)
    assert run(training, n, programs, key, **changes).num_compilations == 1


def test_another_training_drops_the_programs_of_the_former(key):
    programs, one, other = population.Programs(), regression(), regression()
    assert [run(t, 4, programs, key).num_compilations for t in (one, other, one)] == [1, 1, 1]


def test_static_values_find_their_own_programs(key):
    programs, training = population.Programs(), decay()
    options = (1.0, 2.0, object())

    def sweep(index):
        values = {"lr": np.full(len(index), 0.5), "kind": StaticValue(np.asarray(index), options)}
        settings = {"num_steps": 2, "programs": programs}
        return population.sweep(training, values, key=key, **settings).num_compilations

    assert [sweep([0, 1]), sweep([1, 0, 0]), sweep([2]), sweep([0, 1, 2])] == [2, 0, 1, 0]


def test_programs_of_a_wrong_type_are_refused(key):
    with pytest.raises(TypeError, match="`programs` must be a Programs or None"):
        run(decay(), 2, {}, key)
