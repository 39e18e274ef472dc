"""Hartmann's functions at many fidelities, against the formula written down in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import problems

PLACES = {3: [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]}
SCALES = {3: [[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]]}


def formula(x, bias, z):
    inner = np.sum(np.array(SCALES[3]) * (x - 1e-4 * np.array(PLACES[3])) ** 2, axis=1)
    heights = np.array([1.0, 1.2, 3.0, 3.2]) - bias * (1 - z) ** 2
    return -np.sum(heights * np.exp(-inner))


@pytest.mark.parametrize(
    ("correlation", "bias", "noise"),
    [("good", 2.5, 2.0), ("moderate", 3.0, 3.0), ("bad", 3.5, 4.0), ("terrible", 4.0, 5.0)],
)
def test_mean_and_noise_of_every_fidelity(correlation, bias, noise):
    problem = problems.mf_hartmann(3, correlation, num_steps=81)
    x = np.array([0.2, 0.6, 0.8])
    keys = jax.random.split(jax.random.key(0), 4000)
    for step in (1, 9, 81):
        z = np.log(step) / np.log(81)
        values = np.asarray(
            jax.jit(jax.vmap(lambda key, step=step: problem.evaluate(key, jnp.asarray(x), step)))(
                keys
            )
        )
        spread = noise * (1 - z)
        assert abs(values.mean() - formula(x, bias, z)) <= 4 * spread / np.sqrt(4000) + 1e-5
        assert values.std() == pytest.approx(spread, rel=0.05, abs=1e-5)


@pytest.mark.parametrize("num_dims", [3, 6])
def test_the_highest_fidelity_is_the_function(num_dims):
    problem = problems.mf_hartmann(num_dims, "bad")
    plain = problems.hartmann3() if num_dims == 3 else problems.hartmann6()
    assert (problem.minimum, problem.minimizers) == (plain.minimum, plain.minimizers)
    points = np.random.default_rng(0).uniform(size=(20, num_dims))
    for x in points:
        value = problem.objective(jax.random.key(1), {"x": jnp.asarray(x)})
        np.testing.assert_allclose(value, plain.evaluate(jnp.asarray(x)), rtol=1e-5)


def test_low_fidelities_tell_less_the_worse_the_correlation():
    points = jax.random.uniform(jax.random.key(0), (400, 6))

    def agreement(correlation):
        problem = problems.mf_hartmann(6, correlation)
        keys = jax.random.split(jax.random.key(1), 400)
        both = (
            jax.vmap(lambda key, x, s=step: problem.evaluate(key, x, s))(keys, points)
            for step in (30, 100)
        )
        ranks = [np.argsort(np.argsort(np.asarray(one))) for one in both]
        return np.corrcoef(*ranks)[0, 1]

    good, bad = agreement("good"), agreement("terrible")
    assert good > bad + 0.1
    assert good > 0.2


def test_as_a_training_run_under_a_scheduler():
    problem = problems.mf_hartmann(3, num_steps=27)
    hparams = problem.space.sample(jax.random.key(0), 64)
    swept = hpo.population.sweep(
        problem.training, hparams, key=1, num_steps=27, scheduler="halving", progress=False
    )
    best = problem.evaluate(jax.random.key(0), jnp.asarray(swept.best_hparams["x"]), 27)
    assert swept.best_loss == pytest.approx(float(best), rel=1e-5)
    means = [formula(np.asarray(x), problem.bias, 0.0) for x in hparams["x"]]
    drawn = (swept.curves[:, 0] - means) / problem.noise  # at step 1 z is 0
    assert (abs(drawn.mean()), drawn.std()) == pytest.approx((0, 1), abs=0.3)
    assert len(np.unique(drawn)) == 64


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((4,), ValueError), ((3, "perfect"), ValueError), (("3",), TypeError)],
)
def test_what_there_is_not(arguments, error):
    with pytest.raises(error, match="problems.mf_hartmann: "):
        problems.mf_hartmann(*arguments)
    with pytest.raises(ValueError, match="`num_steps`"):
        problems.mf_hartmann(num_steps=1)
