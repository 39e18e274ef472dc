"""Compile time does not grow with the run: the program of 10,007 steps is that of eleven."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

SHORT, MIDDLE, LONG = 11, 1_009, 10_007  # prime: every schedule has a tail


def training():
    """Momentum on a quadratic."""
    curvature = np.linspace(0.5, 2.0, 3)

    def inner(hparams, w):
        return 0.5 * jnp.sum(curvature.astype(w.dtype) * w**2) + hparams["l2"] * jnp.sum(w**2)

    def step(key, hparams, state, t):
        grads = hpo.training.gradient(lambda w: inner(hparams, w))(state["params"])
        velocity = 0.9 * state["velocity"] + grads
        return {"params": state["params"] - hparams["lr"] * velocity, "velocity": velocity}

    def init(key, hparams):
        one = jnp.ones(3, jnp.result_type(float))
        return {"params": one, "velocity": jnp.zeros_like(one)}

    return hpo.Training(init, step, lambda h, s: jnp.sum(s["params"] ** 2), inner)


ESTIMATORS = {
    "none": lambda t, n: hg.unrolled(t, num_steps=n, checkpoint="none"),
    "step": lambda t, n: hg.unrolled(t, num_steps=n, checkpoint="step"),
    "sqrt": lambda t, n: hg.unrolled(t, num_steps=n, checkpoint="sqrt"),
    "nested": lambda t, n: hg.unrolled(t, num_steps=n, checkpoint=hg.nested(3)),
    "binomial": lambda t, n: hg.unrolled(t, num_steps=n, checkpoint=hg.binomial(10)),
    "forward": lambda t, n: hg.forward(t, num_steps=n),
    "reversible": lambda t, n: hg.reversible(
        t, num_steps=n, learning_rate=lambda h, t: h["lr"], decay=Fraction(9, 10)
    ),
    "truncated": lambda t, n: hg.truncated(t, num_steps=n, window=n - 5),
    "one_step": lambda t, n: hg.one_step(t, num_steps=n),
    "greedy": lambda t, n: hg.greedy(t, num_steps=n, decay=0.9),
    "drmad": lambda t, n: hg.drmad(t, num_steps=n),
    "hyperdistill": lambda t, n: hg.hyperdistill(t, num_steps=n),
    "gmres": lambda t, n: hg.implicit(t._replace(inner_loss=None), num_steps=n, solver="gmres"),
    "es": lambda t, n: hg.es(t, num_steps=n, num_pairs=2),
    "pes": lambda t, n: hg.pes(t, num_steps=n, window=1, num_pairs=2),
    "finite_difference": lambda t, n: hg.finite_difference(t, num_steps=n),
}
QUICK = ("sqrt", "reversible")


def lowered(name, num_steps):
    hparams = {"lr": jnp.asarray(0.01), "l2": jnp.asarray(0.1)}
    estimator = ESTIMATORS[name](training(), num_steps)
    return jax.jit(lambda key, h: estimator(key, h)[:2]).lower(jax.random.key(0), hparams)


def num_lines(text):
    """Operations of a program; a table of constants is one line whatever its length."""
    return text.count("\n")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in ESTIMATORS],
)
def test_the_traced_program_has_one_size(name):
    sizes = [num_lines(lowered(name, n).as_text()) for n in (SHORT, LONG)]
    assert sizes[0] == sizes[1] > 50


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sqrt", "binomial", "reversible"])
def test_the_compiled_program_has_one_size(name):
    """From more than one word of digits on, for the compiler takes away a loop of one turn."""
    sizes = [num_lines(lowered(name, n).compile().as_text()) for n in (MIDDLE, LONG)]
    assert sizes[1] <= 1.02 * sizes[0]
