"""Diagnosis and recommendation: the right verdict on runs whose nature is known."""

import jax
import jax.numpy as jnp
import problems
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg


def logistic_map():
    return hpo.Training(
        lambda key, h: jnp.full((), 0.3, jnp.result_type(float)),
        lambda key, h, x, t: h["r"] * x * (1 - x),
        lambda h, x: -x,
    )


def test_exact():
    with jax.enable_x64(True):
        training, _ = problems.ridge()
        hparams = {"lr": 0.2, "l2": jnp.zeros(5)}
        found = hg.diagnose(hg.unrolled(training, num_steps=10), 0, hparams)
    assert found.verdict.startswith("exact: agrees with finite differences")
    assert found.fd_agreement < 1e-7
    assert found.bias < 1e-12
    assert found.cosine == pytest.approx(1.0)
    assert found.memory_bytes > 0
    assert found.time_ratio > 0


def test_biased():
    with jax.enable_x64(True):
        training, _ = problems.ridge()
        hparams = {"lr": 0.2, "l2": jnp.zeros(5)}
        found = hg.diagnose(hg.truncated(training, num_steps=10, window=3), 0, hparams)
    assert found.verdict.startswith("biased: ignores all but the last 3 of 10 steps")
    assert found.bias > 0.01
    assert 0.5 < found.cosine < 1


@pytest.mark.parametrize(("rate", "start"), [(2.5, "exact"), (3.99, "unreliable")])
def test_chaos(rate, start):
    found = hg.diagnose(hg.unrolled(logistic_map(), num_steps=60), 0, {"r": rate})
    assert found.verdict.startswith(start)
    assert (found.log_growth > 10) == (start == "unreliable")
    assert (found.fd_agreement > 1e-3) == (start == "unreliable")


@pytest.mark.slow
def test_divergence():
    with jax.enable_x64(True):
        training, _ = problems.ridge()
        hparams = {"lr": 1e9, "l2": jnp.zeros(5)}
        found = hg.diagnose(hg.unrolled(training, num_steps=100), 0, hparams)
    assert found.verdict.startswith("unreliable: the value or the gradient is not finite")


def test_wrong_gradient_is_not_called_exact():
    """An estimator that claims to be exact and is not."""
    with jax.enable_x64(True):
        training, _ = problems.ridge()
        honest = hg.unrolled(training, num_steps=5)

        def wrong(key, hparams):
            out = honest.evaluate(key, hparams)
            return out._replace(grad=jax.tree.map(lambda g: 1.01 * g, out.grad))

        liar = hg.Estimator("liar", training, 5, honest.traits, wrong)
        found = hg.diagnose(liar, 0, {"lr": 0.2, "l2": jnp.zeros(5)})
    assert found.verdict.startswith("unreliable: disagrees")


def held(x):
    return hpo.training.constant(x)


@pytest.mark.parametrize(
    ("blocked", "words"),
    [
        (lambda x: x + jnp.round(1e12 * x) / 1e12, "rounding (round)"),
        (lambda x: x + (1e12 * x).astype(jnp.int64).astype(x.dtype) / 1e12, "a cast to integers"),
        (held, "hpo.training.constant"),
    ],
)
def test_what_blocks_is_named(blocked, words):
    with jax.enable_x64(True):
        training = logistic_map()
        training = training._replace(step=lambda key, h, x, t: blocked(x * (1.1 - h["r"] / 9)))
        found = hg.diagnose(hg.unrolled(training, num_steps=3), 0, {"r": 2.5})
    assert found.verdict.startswith("unreliable: disagrees")
    assert words in found.verdict
    assert "not smooth" not in found.verdict


def test_an_estimator_that_obeys_a_stop_gradient_is_told_so():
    def inner(h, w):
        return (w - jax.lax.stop_gradient(h["a"] * w + 1.0)) ** 2

    def step(key, h, w, t):
        return w - 0.1 * jax.grad(lambda w: inner(h, w))(w)

    with jax.enable_x64(True):
        training = hpo.Training(lambda key, h: jnp.zeros(()), step, lambda h, w: w**2)
        ours = hg.unrolled(training, num_steps=5)
        objective = hpo.training.objective(training, 5)

        def plain(key, h):
            value, grad = jax.value_and_grad(lambda h: objective(key, h))(h)
            return ours.evaluate(key, h)._replace(value=value, grad=grad)

        theirs = hg.Estimator("jax.grad", training, 5, ours.traits, plain)
        assert hg.diagnose(ours, 0, {"a": 0.5}).verdict.startswith("exact")
        verdict = hg.diagnose(theirs, 0, {"a": 0.5}).verdict
    assert verdict.startswith("unreliable: disagrees")
    assert verdict.endswith("the run holds stop_gradient in the inner loss")


def test_recommendations():
    training, _ = problems.ridge()
    many = hpo.Space({"lr": hpo.uniform(0.0, 0.5), "l2": hpo.uniform(-5.0, 1.0, shape=5)})
    chosen = hg.recommend(training, many, 100)
    assert chosen.estimator.name == "unrolled"
    assert "6 hyperparameters" in chosen.reason
    few = hpo.Space({"r": hpo.uniform(1.0, 3.0)})
    assert hg.recommend(logistic_map(), few, 100).estimator.name == "forward"


def test_recommendation_without_reverse_mode():
    def step(key, h, x, t):
        return jax.lax.while_loop(lambda x: x > 0.5, lambda x: x * jnp.mean(h["r"]), x)

    training = logistic_map()._replace(step=step)
    space = hpo.Space({"r": hpo.uniform(0.1, 0.9, shape=8)})
    chosen = hg.recommend(training, space, 4)
    assert chosen.estimator.name == "forward"
    assert "while_loop" in chosen.reason


def test_recommendation_errors():
    training = logistic_map()
    with pytest.raises(ValueError, match="'r' is discrete"):
        hg.recommend(training, hpo.Space({"r": hpo.integer(1, 3)}), 4)
    with pytest.raises(TypeError, match="must be a Space"):
        hg.recommend(training, {"r": 1.0}, 4)
    with pytest.raises(TypeError, match="must be an Estimator"):
        hg.diagnose(lambda k, h: h, 0, {"r": 1.0})
