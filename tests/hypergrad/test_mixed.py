"""The forward-over-reverse derivative of inner gradients: the same numbers, fewer passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhpo.training import gradient
from jaxhpo.training._gradient import mixed_mode
from jaxhpo.training._rules import sub_jaxprs

X = np.random.default_rng(0).normal(size=(12, 3))
KEY = jax.random.key(0)


def batch_and_dropout(scale, w):
    rows = jax.random.permutation(KEY, 12)[:5]
    keep = jax.random.bernoulli(jax.random.fold_in(KEY, 1), 0.7, (5, 3))
    inputs = jnp.where(keep, jnp.asarray(X, w.dtype)[rows], jnp.zeros((), w.dtype))
    hidden = jnp.tanh(inputs @ w * scale)
    return jnp.sum(hidden**2), {"mean": jnp.mean(hidden), "rows": rows}


def softmax(scale, w):
    logits = jnp.asarray(X, w.dtype) * w[None] * scale
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1)) - jnp.mean(jax.nn.log_softmax(logits)), {}


def stopped(scale, w):
    """Its gradient field is not symmetric, so it must fall back."""
    return scale * jnp.sum(w**3 * jax.lax.stop_gradient(jnp.roll(w, 1))), {}


def stopped_maximum(scale, w):
    """A stopped maximum that does not cancel, unlike the one of a softmax."""
    return scale * jnp.sum(w**3) / jax.lax.stop_gradient(jnp.max(w * scale)), {}


LOSSES = [batch_and_dropout, softmax, stopped, stopped_maximum]


def run(loss, scale, start, mixed):
    def body(w, _):
        grads, aux = gradient(lambda w: loss(scale, w), has_aux=True)(w)
        return w - 0.1 * grads + sum(jax.tree.leaves({k: aux[k] for k in aux if k == "mean"})), None

    with mixed_mode(mixed):
        w = jax.lax.scan(body, start, length=3)[0]
    return jnp.sum(w**2) + w[0]


def primitives(jaxpr):
    """Names of all primitives, nested ones included, once for every place."""
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for inner in sub_jaxprs(eqn):
            yield from primitives(inner)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda f: f.__name__)
def test_same_derivative(float64, loss):
    at = jnp.asarray(0.7), jnp.asarray([0.5, -0.4, 0.8])
    mixed, plain = (
        jax.jit(jax.grad(lambda *args, m=m: run(loss, *args, m), argnums=(0, 1)))(*at)
        for m in (True, False)
    )
    for a, b in zip(mixed, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_keys_are_used_once(float64):
    """The compiler does not merge loops that draw random numbers, so they must not be doubled."""

    def count(mixed):
        def total(scale, w):
            with mixed_mode(mixed):
                grads = gradient(lambda w: batch_and_dropout(scale, w)[0])(w)
            return jnp.sum(grads**2)

        jaxpr = jax.make_jaxpr(jax.grad(total))(jnp.asarray(0.7), jnp.ones(3)).jaxpr
        return sum(name in ("random_bits", "threefry2x32") for name in primitives(jaxpr))

    assert count(True) == count(False) == 2


def test_outside_of_a_hypergradient_it_is_jax_grad(float64):
    w = jnp.asarray([0.5, -0.4, 0.8])
    loss = lambda w: softmax(0.7, w)[0]  # noqa: E731
    np.testing.assert_array_equal(gradient(loss)(w), jax.grad(loss)(w))
    assert "custom_vjp" not in str(jax.make_jaxpr(gradient(loss))(w))
    with mixed_mode(True):
        assert "custom_vjp" in str(jax.make_jaxpr(gradient(lambda w: loss(w)))(w))
