"""Sobol and Halton against SciPy, and the properties that make them worth using."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import qmc as scipy_qmc

from jaxhpo.samplers.space_filling import _halton, _sobol, _sobol_table

_points = jax.jit(lambda sequence, index: sequence.points(index))


def _sobol_points(num_dims, index, key=None):
    numbers = _sobol.direction_numbers(num_dims)
    sequence = _sobol.plain_sobol(numbers) if key is None else _sobol.scrambled_sobol(key, numbers)
    return np.asarray(_points(sequence, jnp.asarray(index, jnp.int32)), np.float64)


def _halton_points(num_dims, index, key=None):
    bases = _halton.prime_bases(num_dims)
    sequence = _halton.plain_halton(bases) if key is None else _halton.scrambled_halton(key, bases)
    return np.asarray(_points(sequence, jnp.asarray(index, jnp.int32)), np.float64)


@pytest.mark.parametrize("num_dims", [1, 7, 53])
def test_sobol_equals_scipy_from_any_index(num_dims):
    engine = scipy_qmc.Sobol(num_dims, scramble=False)
    engine.fast_forward(5)
    np.testing.assert_array_equal(
        _sobol_points(num_dims, np.arange(5, 5 + 512)), engine.random(512)
    )


def test_sobol_late_points_equal_scipy():
    engine = scipy_qmc.Sobol(3, scramble=False)
    engine.fast_forward(2**20 - 2)
    np.testing.assert_array_equal(
        _sobol_points(3, np.arange(2**20 - 2, 2**20 + 2)), engine.random(4)
    )


def test_sobol_table_is_what_scipy_has():
    assert _sobol.recover_numbers(53) == _sobol_table.NUMBERS


def test_sobol_beyond_the_table_equals_scipy():
    engine = scipy_qmc.Sobol(200, scramble=False)
    np.testing.assert_array_equal(_sobol_points(200, np.arange(64)), engine.random(64))


def test_sobol_recurrence_reaches_the_last_bit():
    # Numbers that the recovery never saw: SciPy's 30 bits against the recurrence's first 30.
    engine = scipy_qmc.Sobol(40, scramble=False)
    engine.fast_forward(2**22)
    np.testing.assert_array_equal(_sobol_points(40, [2**22]), engine.random(1))


@pytest.mark.parametrize("shape", [(10, 0), (7, 3), (4, 6), (0, 10)])
def test_scrambled_sobol_is_a_digital_net(shape):
    # In the first two dimensions 2^10 points put one into each elementary interval of volume 2^-10.
    points = _sobol_points(2, np.arange(2**10), jax.random.key(3))
    cells = np.floor(points * 2.0 ** np.asarray(shape)).astype(int)
    assert len(np.unique(cells, axis=0)) == 2**10


@pytest.mark.parametrize("start", [1024, 4096 + 1024])
def test_every_aligned_block_of_scrambled_sobol_is_stratified(start):
    points = _sobol_points(9, np.arange(start, start + 1024), jax.random.key(8))
    for column in points.T:
        assert len(np.unique(np.floor(column * 1024))) == 1024


@pytest.mark.parametrize("base_dim", [(2, 0, 9), (3, 1, 6), (5, 2, 4), (7, 3, 3)])
def test_scrambled_halton_is_stratified_in_its_base(base_dim):
    base, dim, power = base_dim
    count = base**power
    points = _halton_points(4, np.arange(count), jax.random.key(4))[:, dim]
    # Half a cell of float32 rounding must not move a point across an edge.
    cells = np.floor(points * count + 1e-3)
    assert len(np.unique(cells)) == count


def test_halton_equals_scipy():
    engine = scipy_qmc.Halton(60, scramble=False)
    engine.fast_forward(3)
    found, expected = _halton_points(60, np.arange(3, 2003)), engine.random(2000)
    # SciPy adds in double precision; in ours fused operations may round the last bit otherwise.
    tolerance = 4 * float(jnp.finfo(jnp.result_type(float)).eps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_primes():
    np.testing.assert_array_equal(_halton.prime_bases(10), [2, 3, 5, 7, 11, 13, 17, 19, 23, 29])
    assert len(_halton.prime_bases(_halton.MAX_DIMS)) == _halton.MAX_DIMS
    assert len(_halton.prime_bases(1)) == 1


@pytest.mark.parametrize("points_fn", [_sobol_points, _halton_points])
def test_scrambled_points_stay_below_one_and_follow_the_key(points_fn):
    first, again, other = (points_fn(5, np.arange(256), jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9
    assert first.min() >= 0
    assert first.max() < 1


@pytest.mark.parametrize(
    ("points_fn", "engine"), [(_sobol_points, scipy_qmc.Sobol), (_halton_points, scipy_qmc.Halton)]
)
@pytest.mark.parametrize("num_dims", [2, 6])
def test_discrepancy_is_that_of_scipy(points_fn, engine, num_dims):
    ours = [
        scipy_qmc.discrepancy(points_fn(num_dims, np.arange(256), jax.random.key(k)))
        for k in range(12)
    ]
    theirs = [
        scipy_qmc.discrepancy(engine(num_dims, rng=np.random.default_rng(k)).random(256))
        for k in range(12)
    ]
    spread = np.std(theirs) + np.std(ours)
    assert abs(np.mean(ours) - np.mean(theirs)) < 2 * spread
    uniform = np.random.default_rng(0).uniform(size=(256, num_dims))
    assert np.max(ours) < scipy_qmc.discrepancy(uniform) / 2


@pytest.mark.parametrize("make", [_sobol.scrambled_sobol, _halton.scrambled_halton])
def test_each_scrambled_point_is_uniform(make):
    # Over scrambles any one point is uniform: means and second moments within 4 sigma.
    numbers = {
        _sobol.scrambled_sobol: functools.partial(_sobol.direction_numbers, 3),
        _halton.scrambled_halton: functools.partial(_halton.prime_bases, 3),
    }[make]()
    keys = jax.random.split(jax.random.key(11), 4000)
    index = jnp.asarray([0, 1, 77], jnp.int32)
    points = jax.jit(jax.vmap(lambda key: make(key, jnp.asarray(numbers)).points(index)))(keys)
    points = np.asarray(points, np.float64)
    error = 4 / np.sqrt(4000)
    np.testing.assert_allclose(points.mean(axis=0), 0.5, atol=error * np.sqrt(1 / 12))
    np.testing.assert_allclose((points**2).mean(axis=0), 1 / 3, atol=error * np.sqrt(4 / 45))
    assert ((points >= 0) & (points < 1)).all()
