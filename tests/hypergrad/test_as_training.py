"""Descents as trials of a population: the steps are those of `descend`, losers are replaced."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from tests.hypergrad.test_descend import ridge_space, start

RATES = hpo.Space({"rate": hpo.log_uniform(1e-3, 1.0)})


def descents(**settings):
    training, _ = problems.ridge()
    estimator = hg.unrolled(training, num_steps=10)
    return hg.as_training(
        estimator, lambda h: optax.adam(h["rate"]), space=ridge_space(), **settings
    )


def test_each_trial_is_the_descent_of_its_own_key_and_rate(float64):
    training, _ = problems.ridge()
    rates = jnp.asarray([0.01, 0.1, 0.5])
    sweep = hpo.population.sweep(
        descents(start=lambda key, settings: start()),
        {"rate": rates},
        key=4,
        num_steps=12,
        num_reports=12,
        progress=False,
    )
    for i, rate in enumerate(rates):
        _, key = hpo.training.trial_keys(sweep.trial_key(i))
        path = hg.descend(
            hg.unrolled(training, num_steps=10),
            start(),
            optax.adam(rate),
            key=key,
            num_outer=12,
            space=ridge_space(),
        )
        recent = [np.mean(path.values[max(t - 7, 0) : t + 1]) for t in range(12)]
        np.testing.assert_allclose(sweep.curves[i], recent, rtol=1e-9)
    best = sweep.best_state.hparams
    trail = [np.mean(path.values[t - 7 : t + 1]) for t in range(7, 12)]
    if sweep.best_index == 2:
        at = 7 + int(np.argmin(trail))
        np.testing.assert_allclose(best["l2"], path.hparams["l2"][at], rtol=1e-9)


@pytest.mark.parametrize("scheduler", ["halving", "pbt"])
def test_losers_end_or_go_on_from_winners(scheduler):
    rates = RATES.sample(jax.random.key(0), 16)
    settings = {"key": 1, "num_steps": 27, "space": RATES, "progress": False}
    sweep = hpo.population.sweep(descents(), rates, scheduler=scheduler, **settings)
    alone = hpo.population.sweep(descents(), rates, **settings)
    assert np.isfinite(sweep.best_loss)
    if scheduler == "halving":
        assert sweep.steps.sum() < 0.5 * alone.steps.sum()
        assert sweep.best_loss == pytest.approx(alone.losses[sweep.best_index], rel=1e-5)
    else:
        parents = sweep.lineage.ancestors(sweep.best_index)
        assert set(np.asarray(parents).tolist()) <= set(range(16))
        # Alone a descent may fail; in the population a winner takes its place.
        assert np.median(sweep.losses) < np.nanmedian(alone.losses)


def test_starts_are_drawn_inside_the_space():
    starts = [descents().init(jax.random.key(i), {"rate": 0.1}).hparams for i in range(4)]
    rates = [float(one["lr"]) for one in starts]
    assert len(set(rates)) == 4
    assert all(1e-3 <= rate <= 0.5 for rate in rates)
    assert np.isnan(descents().init(jax.random.key(0), {"rate": 0.1}).value)


def test_a_descent_that_finds_nothing_to_trust_has_failed():
    training, _ = problems.ridge()
    broken = training._replace(loss=lambda hparams, state: jnp.nan * training.loss(hparams, state))
    estimator = hg.unrolled(broken, num_steps=2)
    trials = hg.as_training(estimator, optax.adam(0.1), space=ridge_space())
    sweep = hpo.population.sweep(trials, {"rate": jnp.ones(2)}, key=0, num_steps=3, progress=False)
    assert sweep.num_failed == 2


@pytest.mark.parametrize("lr", [0.6, 1e-4, 0.4])
def test_a_descent_from_outside_its_space_has_failed(lr):
    """`lr` lies between 0.001 and 0.5, and is at most 0.3 here."""
    space = hpo.Space(
        {"lr": hpo.log_uniform(1e-3, 0.5), "l2": hpo.uniform(-6.0, 3.0, shape=5)},
        constraints=[lambda params: params["lr"] <= 0.3],
    )
    training, _ = problems.ridge()
    trials = hg.as_training(
        hg.unrolled(training, num_steps=2),
        optax.adam(0.1),
        space=space,
        start=lambda key, settings: {**start(), "lr": settings["lr"]},
    )
    rates = {"lr": jnp.asarray([0.3, lr])}
    sweep = hpo.population.sweep(trials, rates, key=0, num_steps=3, progress=False)
    assert sweep.status.tolist() == [hpo.Status.COMPLETE, hpo.Status.FAILED]


def test_the_limit_of_the_guard_is_traced():
    doubling = hpo.Training(
        init=lambda key, hparams: 1.0,
        step=lambda key, hparams, state, t: 2.0 * state * hparams["x"],
        loss=lambda hparams, state: state**2,
    )

    def value(limit):
        trials = hg.as_training(
            hg.unrolled(doubling, num_steps=4),
            optax.sgd(0.1),
            space=hpo.Space({"x": hpo.uniform(0.9, 1.1)}),
            max_log_growth=limit,
        )
        return hpo.training.train(trials, jax.random.key(0), {}, 2).value

    found = jax.jit(jax.vmap(value))(jnp.asarray([1e-6, 10.0]))
    assert np.isnan(found).tolist() == [True, False]


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"estimator": 3}, TypeError, "`estimator` must be an Estimator"),
        ({"outer_optimizer": 3}, TypeError, "`outer_optimizer` must be callable"),
        ({"space": None}, TypeError, "`space` must be a Space, got"),
        ({"space": hpo.Space({"k": hpo.integer(1, 3)})}, ValueError, "`space` must be continuous"),
        ({"start": 3}, TypeError, "`start` must be callable"),
        ({"max_log_growth": 0.0}, ValueError, "`max_log_growth` must be"),
    ],
)
def test_bad_arguments_are_named(changed, error, said):
    training, _ = problems.ridge()
    good = {
        "estimator": hg.unrolled(training, num_steps=2),
        "outer_optimizer": optax.adam(0.1),
        "space": ridge_space(),
    }
    with pytest.raises(error, match=said):
        hg.as_training(**{**good, **changed})
