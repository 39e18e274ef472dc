"""The quasi-random sampler: SciPy's points, and a place in the sequence that is never lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import qmc as scipy_qmc

import jaxhpo as hpo
from jaxhpo.testing import _case, _spaces


@pytest.mark.parametrize(
    ("sequence", "engine"), [("sobol", scipy_qmc.Sobol), ("halton", scipy_qmc.Halton)]
)
def test_unscrambled_proposals_are_those_of_scipy(sequence, engine):
    space = hpo.Space({"x": hpo.uniform(-1.0, 1.0, shape=(3,))})
    sampler = hpo.samplers.qmc(space, sequence=sequence, scramble=False, batch_size=8)
    _, unit = _case.drive(sampler, jax.random.key(0), 4)
    expected = engine(3, scramble=False).random(32)
    tolerance = 4 * float(jnp.finfo(unit.dtype).eps)
    np.testing.assert_allclose(unit.reshape(-1, 3), expected, rtol=0, atol=tolerance)


def test_scrambled_proposals_are_a_net():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0), "y": hpo.uniform(0.0, 1.0)})
    _, unit = _case.drive(hpo.samplers.qmc(space, batch_size=16), jax.random.key(2), 4)
    cells = np.floor(unit.reshape(-1, 2) * 8).astype(int)
    assert len(np.unique(cells, axis=0)) == 64


def test_constraints_pass_over_points_and_keep_the_order():
    space = _spaces.constrained()
    _, unit = _case.drive(
        hpo.samplers.qmc(space, scramble=False, batch_size=5), jax.random.key(0), 6
    )
    points = jnp.asarray(scipy_qmc.Sobol(2, scramble=False).random(128), unit.dtype)
    allowed = np.asarray(points)[np.asarray(space.feasible(space.from_unit(points)))]
    np.testing.assert_array_equal(unit.reshape(-1, 2), allowed[:30])


@pytest.mark.parametrize("make_space", [_spaces.continuous, _spaces.constrained])
def test_strangers_advance_the_sequence_and_pending_points_do_not(make_space):
    space = make_space()
    sampler = hpo.samplers.qmc(space)
    key = jax.random.key(1)
    _, whole = _case.drive(sampler, key, 12)
    state, first = _case.drive(sampler, key, 2)
    state, pending = _case.ask(sampler, key, state)
    # Two points of another worker arrive, then the answer to the pending one.
    strangers = jnp.asarray([[0.21, 0.87], [0.22, 0.88]], whole.dtype)
    state, _ = _case.tell(sampler, key, state, strangers, _case.value_of(strangers))
    state, _ = _case.tell(sampler, key, state, pending, _case.value_of(pending))
    _, rest = _case.drive(sampler, key, 3, start=5, state=state)
    np.testing.assert_array_equal(np.asarray(pending), whole[2])
    np.testing.assert_array_equal(rest, whole[5:8])
    np.testing.assert_array_equal(first, whole[:2])


def test_more_pending_than_remembered_lose_no_place():
    sampler = hpo.samplers.qmc(_spaces.continuous(), batch_size=16)
    key = jax.random.key(0)
    _, whole = _case.drive(sampler, key, 13)
    state = _case.init(sampler, _case.init_key(key))
    asked = []
    for _ in range(12):  # 192 pending points, of which 64 are remembered
        state, unit = _case.ask(sampler, key, state)
        asked.append(unit)
    for unit in asked:
        state, info = _case.tell(sampler, key, state, unit, _case.value_of(unit))
    assert int(info.num_observed) == 192
    np.testing.assert_array_equal(_case.ask(sampler, key, state)[1], whole[12])


def test_failures_are_counted():
    sampler = hpo.samplers.qmc(_spaces.continuous(), batch_size=4)
    state, unit = _case.ask(sampler, jax.random.key(0), _case.init(sampler, jax.random.key(0)))
    values = jnp.asarray([1.0, jnp.nan, jnp.inf, 2.0], unit.dtype)
    _, info = _case.tell(sampler, jax.random.key(0), state, unit, values)
    assert (int(info.num_observed), int(info.num_failed)) == (4, 2)


def test_what_the_sequence_misses_still_comes():
    # The unscrambled one-dimensional sequence reaches a thin cell late; all must come all the same.
    space = hpo.Space({"c": hpo.choice(list("abc"), weights=[1.0, 1e-6, 1e-7])})
    _, unit = _case.drive(hpo.samplers.qmc(space, scramble=False), jax.random.key(0), 4)
    levels = np.asarray(space.levels(jnp.asarray(unit[:3])))[:, 0, 0]
    assert sorted(levels.tolist()) == [0, 1, 2]
    assert np.isnan(unit[3]).all()


def test_scipy_is_not_imported_for_common_dimensions():
    import subprocess
    import sys

    code = (
        "import sys, jax, jaxhpo as hpo\n"
        "space = hpo.Space({'x': hpo.uniform(0.0, 1.0, shape=(53,))})\n"
        "hpo.samplers.qmc(space)\n"
        "print('scipy.stats' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_bad_arguments():
    space = hpo.Space({"x": hpo.uniform(0.0, 1.0)})
    with pytest.raises(
        ValueError, match="`sequence` must be one of 'sobol', 'halton', got 'niederr"
    ):
        hpo.samplers.qmc(space, sequence="niederreiter")
    with pytest.raises(ValueError, match="`sequence` must be one of 'sobol', 'halton', got 3"):
        hpo.samplers.qmc(space, sequence=3)
    with pytest.raises(TypeError, match="`scramble` must be True or False, got 1"):
        hpo.samplers.qmc(space, scramble=1)
    wide = hpo.Space({"x": hpo.uniform(0.0, 1.0, shape=(1112,))})
    with pytest.raises(ValueError, match="at most 1111 dimensions for 'sobol'; use `random`, got"):
        hpo.samplers.qmc(wide)
    with pytest.raises(ValueError, match="at most 1024 dimensions for 'halton'"):
        hpo.samplers.qmc(wide, sequence="halton")
