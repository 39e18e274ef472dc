"""The noisy quadratic: its truth against runs, and what population-based training makes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import problems


def test_the_expected_loss_is_the_mean_of_runs():
    problem = problems.noisy_quadratic(num_dims=5, num_steps=20)
    rates = np.geomspace(0.8, 0.05, 20)
    as_array = jnp.asarray(rates, jnp.result_type(float))

    def run(key):
        def step(w, t):
            return problem.training.step(key, {"lr": as_array[t]}, w, t), None

        start = problem.training.init(key, {"lr": as_array[0]})
        last, _ = jax.lax.scan(step, start, jnp.arange(20, dtype=jnp.int32))
        return problem.training.loss({"lr": as_array[-1]}, last)

    losses = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 20_000)))
    error = losses.std() / len(losses) ** 0.5
    assert abs(losses.mean() - problem.expected_loss(rates)) < 4 * error


def test_the_best_constant_is_the_lowest_of_the_expected_losses():
    problem = problems.noisy_quadratic()
    rate, loss = problem.best_constant()
    assert problem.expected_loss(np.full(800, rate)) == pytest.approx(loss, rel=1e-9)
    for other in (0.97 * rate, 1.03 * rate):
        assert problem.expected_loss(np.full(800, other)) > loss
    assert problem.expected_loss(np.full(800, 5.0)) == np.inf


def test_what_falls_fast_pays_at_once_and_costs_in_the_end():
    """The best schedule is about 0.485 of the best constant; the greedy one is worse than it."""
    problem = problems.noisy_quadratic()
    _, loss = problem.best_constant()
    # The form that the optimum takes for one quadratic: a plateau, then 1 / t.
    steps = np.arange(800)
    found = min(
        problem.expected_loss(np.minimum(top, factor / (steps + 1.0) ** power)) / loss
        for top in (0.2, 0.3, 0.4)
        for factor in (1.0, 3.0, 10.0, 30.0)
        for power in (0.5, 0.75, 1.0)
    )
    assert 0.48 < found < 0.65
    greedy, square = [], np.ones(100)
    rates = np.geomspace(1e-4, 1.99, 400)
    h, c = problem.curvature, problem.noise
    for _ in range(40):
        shrink = (1 - rates[:, None] * h) ** 2
        after = shrink**20 * square + rates[:, None] ** 2 * c * (1 - shrink**20) / (1 - shrink)
        best = np.argmin(after @ h)
        greedy += [rates[best]] * 20
        square = after[best]
    assert problem.expected_loss(greedy) / loss == pytest.approx(1.376, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_dims": 0}, "`num_dims`"),
        ({"num_steps": 0}, "`num_steps`"),
        ({"noise": 0.0}, "`noise`"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=f"noisy_quadratic: {words}"):
        problems.noisy_quadratic(**arguments)
    with pytest.raises(ValueError, match=r"`rates` must be of shape \[t\]"):
        problems.noisy_quadratic().expected_loss(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [10, 40, 80])
def test_one_setting_beats_the_best_constant_with_few_rounds_and_many(rounds):
    problem, programs = problems.noisy_quadratic(), hpo.population.Programs()
    levels = [800 * piece // rounds for piece in range(1, rounds + 1)]
    scheduler = hpo.schedulers.pbt(20, 800, space=problem.space, levels=levels)
    scores = []
    for seed in range(500, 512):
        swept = hpo.population.sweep(
            problem.training,
            problem.space.sample(jax.random.key(seed), 20),
            key=seed,
            num_steps=800,
            num_reports=1,
            scheduler=scheduler,
            programs=programs,
        )
        rates = swept.lineage.schedule(swept.best_index)["lr"]
        scores.append(problem.expected_loss(np.repeat(rates, 800 // rounds)))
    scores = np.asarray(scores) / problem.best_constant()[1]
    assert np.median(scores) < 0.75
    assert np.mean(scores < 1) >= 0.9
