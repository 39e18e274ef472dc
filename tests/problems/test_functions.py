"""Test functions keep what their data say: minimum, minimisers, box, dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo.problems import FUNCTIONS

FIXED = ("branin", "goldstein_price", "hartmann3", "hartmann6", "six_hump_camel")


def made(name, d=4):
    return FUNCTIONS[name]() if name in FIXED else FUNCTIONS[name](d)


def _look(function):
    """Values and slopes at the minimisers, values around them and all over the box, in float64."""
    low, high = (np.asarray(bound)[None, :] for bound in (function.low, function.high))
    rng = np.random.default_rng(0)
    near = np.asarray(function.minimizers)[:1] + 1e-2 * rng.normal(size=(16, function.num_dims))
    far = low + (high - low) * rng.uniform(size=(512, function.num_dims))
    with jax.enable_x64(True):
        places = jnp.asarray(function.minimizers, jnp.float64)
        value, slope = jax.jit(jax.vmap(jax.value_and_grad(function.evaluate)))(places)
        others = jax.jit(jax.vmap(function.evaluate))(jnp.asarray(np.concatenate([near, far])))
        return np.asarray(value), np.asarray(slope), np.asarray(others)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_minimum_and_minimizers(name):
    function = made(name)
    assert function.name == name
    value, slope, others = _look(function)
    assert len(value) > 0
    np.testing.assert_allclose(value, function.minimum, rtol=1e-7, atol=1e-7)
    if name != "ackley":  # a kink at the optimum
        np.testing.assert_allclose(slope, 0, atol=1e-4 * np.ptp(others))
    assert (others >= function.minimum - 1e-9).all()
    low, high = np.asarray(function.low), np.asarray(function.high)
    assert all(((low <= place) & (place <= high)).all() for place in function.minimizers)


def test_known_values():
    # Published to five digits or so, independent of the data here.
    known = {"branin": 0.397887, "hartmann3": -3.86278, "hartmann6": -3.32237}
    known |= {"six_hump_camel": -1.0316, "goldstein_price": 3.0}
    for name, value in known.items():
        assert made(name).minimum == pytest.approx(value, abs=5e-5)
    published = {2: -1.8013, 5: -4.687658, 10: -9.66015}
    for d, value in published.items():
        assert FUNCTIONS["michalewicz"](d).minimum == pytest.approx(value, abs=5e-5)


def test_space_and_objective():
    x = np.linspace(-1.0, 2.0, 11)
    levy, branin = FUNCTIONS["levy"](11), FUNCTIONS["branin"]()
    assert (levy.space.num_dims, branin.space.num_dims) == (11, 2)
    value = float(levy.objective(None, {"x": jnp.asarray(x)}))
    assert value == pytest.approx(float(levy.evaluate(jnp.asarray(x))), rel=1e-5)
    values = {"x0": jnp.asarray(np.pi), "x1": jnp.asarray(2.275)}
    assert float(branin.objective(None, values)) == pytest.approx(branin.minimum, rel=1e-5)


def test_shifted_moves_the_minimum():
    function = FUNCTIONS["rastrigin"](5).shifted()
    place = jnp.asarray(function.minimizers[0])
    assert float(jnp.abs(place).max()) > 0.1
    assert float(function.evaluate(place)) == pytest.approx(0.0, abs=1e-3)
    gone = FUNCTIONS["schwefel"](3).shifted()  # its corner may leave the box
    assert (gone.minimum is None) == (not gone.minimizers)


def test_refuses_too_few_dimensions():
    with pytest.raises(ValueError, match="rosenbrock: `num_dims` must be at least 2, got 1"):
        hpo.problems.rosenbrock(1)
