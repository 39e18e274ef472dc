"""Exact means: the derivative of the run that happens, whatever shaped its inner gradients.

Every case writes a rule of its own into the inner loss or the step. Finite differences of the run,
in float64, are the oracle for every exact estimator.
"""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from tests.hypergrad import problems

T = 4
X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.random.default_rng(1).normal(size=6)
HPARAMS = {"lr": 0.1, "lam": 0.7}

EXACT = {
    "sqrt": lambda t: hg.unrolled(t, num_steps=T),
    "none": lambda t: hg.unrolled(t, num_steps=T, checkpoint="none"),
    "step": lambda t: hg.unrolled(t, num_steps=T, checkpoint="step"),
    "nested": lambda t: hg.unrolled(t, num_steps=T, checkpoint=hg.nested(2)),
    "binomial": lambda t: hg.unrolled(t, num_steps=T, checkpoint=hg.binomial(2)),
    "reverse": lambda t: hg.unrolled(t, num_steps=T, mixed_mode=False),
    "forward": lambda t: hg.forward(t, num_steps=T),
    "one_by_one": lambda t: hg.forward(t, num_steps=T, batch_tangents=1),
    "truncated": lambda t: hg.truncated(t, num_steps=T, window=T),
    "reversible": lambda t: hg.reversible(
        t, num_steps=T, learning_rate=lambda h, t: h["lr"], decay=Fraction(9, 10)
    ),
}
QUICK = ("sqrt", "reverse", "forward")


@jax.custom_jvp
def reversal(x, lam):
    return x * 1.0


@reversal.defjvp
def _(primals, tangents):
    return reversal(*primals), -primals[1] * tangents[0]


def forgetful(x, lam):
    """As `reversal`, with a rule that does not call the function again."""
    call = jax.custom_jvp(lambda x, lam: x)
    call.defjvp(lambda primals, tangents: (primals[0], -primals[1] * tangents[0]))
    return call(x, lam)


def constant_argument(x, lam):
    call = jax.custom_jvp(lambda x, lam: jnp.tanh(x), nondiff_argnums=(1,))
    call.defjvp(lambda lam, primals, tangents: (call(*primals, lam), lam * tangents[0]))
    return call(x, lam)


def by_defjvps(x, lam):
    """The function is JAX's, the rule is not."""
    call = jax.custom_jvp(jnp.tanh)
    call.defjvps(lambda along, out, x: lam * along)
    return call(x)


@jax.custom_vjp
def reverse_rule(x, lam):
    return jnp.sin(x)


reverse_rule.defvjp(
    lambda x, lam: (reverse_rule(x, lam), (x, lam)),
    lambda saved, g: (saved[1] * g * jnp.cos(saved[0]), jnp.zeros_like(saved[1])),
)


@jax.custom_gradient
def clipped(x, lam):
    return x**2, lambda g: (jnp.clip(g, -0.1, 0.1) * jnp.tanh(x), jnp.zeros_like(lam))


def straight_through(x):
    return x + lax.stop_gradient(jnp.round(4 * x) / 4 - x)


def squares(lam, w, rule):
    return jnp.mean((rule(X @ w, lam) - lam * Y) ** 2)


def bootstrapped(lam, w):
    """Temporal differences: the target is not differentiated, and moves all the same."""
    value, following = X @ w, jnp.tanh(np.roll(X, 1, 0) @ w)
    return jnp.mean((value - lax.stop_gradient(Y + lam * following)) ** 2)


def advantage(lam, w):
    """A stopped maximum that is subtracted, outside of a softmax."""
    value = lam * X @ w
    return jnp.sum((value - lax.stop_gradient(jnp.max(value))) ** 3) / 50


def by_hand_softmax(lam, w):
    logits = lam * X @ w
    shifted = logits - lax.stop_gradient(jnp.max(logits))
    return jnp.log(jnp.sum(jnp.exp(shifted))) + jnp.mean(w**2)


def jax_softmax(lam, w):
    chance = jax.nn.softmax(lam * X * w[None])
    smooth = jax.nn.logsumexp(X @ w) + jnp.sum(jax.nn.silu(w)) + jnp.sum(jax.nn.relu(lam * X @ w))
    return -jnp.mean(jnp.log(chance)) + smooth + jnp.sum(jnp.logaddexp(w, lam))


def linear_solve(lam, w):
    matrix = jnp.eye(3) * (1 + lam) + 0.1 * jnp.outer(w, w)
    return jnp.sum(jnp.linalg.solve(matrix, w) ** 2) + jnp.linalg.slogdet(matrix)[1]


def in_scan(lam, w):
    def body(total, row):
        return total + (row @ w - lax.stop_gradient(lam * jnp.tanh(total))) ** 2, None

    return lax.scan(body, 0.0 * lam, jnp.asarray(X))[0] / 6


def in_cond(lam, w):
    target = lax.cond(w[0] < 9.0, lax.stop_gradient, lambda x: 2 * x, lam * jnp.roll(w, 1))
    return jnp.sum((w - target) ** 2)


def in_remat(lam, w):
    inner = jax.checkpoint(lambda w, lam: jnp.sin(w * lax.stop_gradient(lam * jnp.roll(w, 1))))
    return jnp.sum(jax.checkpoint(lambda w: inner(w, lam) ** 2)(w)) + jnp.sum(w**2)


def in_vmap(lam, w):
    def one(x, y):
        return (reversal(x @ w, lam) - lax.stop_gradient(w)[0] * y) ** 2

    return jnp.mean(jax.vmap(one)(jnp.asarray(X), jnp.asarray(Y)))


@jax.jit
def in_jit(lam, w):
    return jnp.sum((w - jax.vmap(lax.stop_gradient)(lam * jnp.roll(w, 1))) ** 2)


def in_tree(lam, w):
    kept = jax.tree.map(lax.stop_gradient, {"w": lam * w})
    return jnp.sum(jnp.cos(kept["w"]) * jnp.roll(w, 1) ** 2)


LOSSES = {
    "reversal": lambda lam, w: squares(lam, w, reversal),
    "forgetful": lambda lam, w: squares(lam, w, forgetful),
    "constant_argument": lambda lam, w: squares(lam, w, constant_argument),
    "by_defjvps": lambda lam, w: squares(lam, w, by_defjvps),
    "reverse_rule": lambda lam, w: squares(lam, w, reverse_rule),
    "clipped": lambda lam, w: squares(lam, w, clipped),
    "straight_through": lambda lam, w: squares(lam, straight_through(w), lambda x, lam: x),
    "whole_numbers": lambda lam, w: squares(
        lam, w, lambda x, lam: x * (1 + 0.1 * (jnp.floor(3 * x) + jnp.int32(4 * x).astype(x.dtype)))
    ),
    "bootstrapped": bootstrapped,
    "advantage": advantage,
    "by_hand_softmax": by_hand_softmax,
    "jax_softmax": jax_softmax,
    "linear_solve": linear_solve,
    "in_scan": in_scan,
    "in_cond": in_cond,
    "in_remat": in_remat,
    "in_vmap": in_vmap,
    "in_jit": in_jit,
    "in_tree": in_tree,
}


def run_of(loss, grad=hpo.training.gradient):
    """Momentum on a loss; the inner gradient is ours or `jax.grad`."""

    def init(key, hparams):
        w = 0.5 * jax.random.normal(key, (3,), jnp.result_type(float))
        return {"params": w, "velocity": jnp.zeros_like(w)}

    def step(key, hparams, state, t):
        slope = grad(lambda w: loss(hparams["lam"], w))(state["params"])
        velocity = 0.9 * state["velocity"] + slope
        return {"params": state["params"] - hparams["lr"] * velocity, "velocity": velocity}

    return hpo.Training(
        init,
        step,
        lambda h, s: jnp.sum(jnp.cosh(s["params"])),
        lambda h, w: loss(h["lam"], w),
    )


def check(estimator, hparams=HPARAMS, bound=2e-7):
    key = jax.random.key(3)
    objective = jax.jit(hpo.training.objective(estimator.training, estimator.num_steps))
    out = jax.jit(estimator)(key, hparams)
    assert float(out.value) == pytest.approx(float(objective(key, hparams)), rel=1e-12)
    assert problems.plateau(lambda h: objective(key, h), hparams, out.grad) < bound
    return out


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("estimator", problems.mostly_slow(EXACT, *QUICK))
def test_every_exact_estimator(float64, estimator, loss):
    check(EXACT[estimator](run_of(LOSSES[loss])))


@pytest.mark.parametrize("loss", ["reversal", "bootstrapped", "in_scan", "in_remat", "in_vmap"])
@pytest.mark.parametrize("estimator", problems.mostly_slow(["sqrt", "forward"], "sqrt"))
def test_with_the_gradient_of_jax(float64, estimator, loss):
    check(EXACT[estimator](run_of(LOSSES[loss], jax.grad)))
