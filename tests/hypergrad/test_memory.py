"""Memory facts, read from compiled programs: P = 4810 parameters under momentum, 1000 steps."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from jaxhpo.hypergrad.unrolled._schedules import NAMES

T = 1000


def ladder():
    """A 64-64-10 network; one log learning rate a step, a momentum, two log penalties."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(128, 64)), jnp.float32)
    y = jnp.asarray(rng.normal(size=(128, 10)), jnp.float32)

    def init(key, hparams):
        w, v = jnp.full((64, 64), 0.01, jnp.float32), jnp.full((64, 10), 0.01, jnp.float32)
        params = (w, jnp.zeros(64, jnp.float32), v, jnp.zeros(10, jnp.float32))
        return {"params": params, "velocity": jax.tree.map(jnp.zeros_like, params)}

    def loss(hparams, params):
        w, b, v, c = params
        error = jnp.tanh(x @ w + b[None]) @ v + c[None] - y
        penalty = jnp.exp(hparams["l2"])
        return jnp.mean(error**2) + penalty[0] * jnp.sum(w**2) + penalty[1] * jnp.sum(v**2)

    def step(key, hparams, state, t):
        grads = hpo.training.gradient(lambda p: loss(hparams, p))(state["params"])
        velocity = jax.tree.map(
            lambda v, g: jax.nn.sigmoid(hparams["momentum"]) * v + g, state["velocity"], grads
        )
        rate = jnp.exp(hparams["lr"][t])
        params = jax.tree.map(lambda p, v: p - rate * v, state["params"], velocity)
        return {"params": params, "velocity": velocity}

    return hpo.Training(init, step, lambda h, s: loss({"l2": jnp.full(2, -9.0)}, s["params"]))


def temporary_bytes(function, num_steps):
    shape = jax.ShapeDtypeStruct
    hparams = {
        "lr": shape((num_steps,), jnp.float32),
        "momentum": shape((), jnp.float32),
        "l2": shape((2,), jnp.float32),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))

    def kept(key, hparams):
        out = function(key, hparams)
        return out.value, out.grad

    return jax.jit(kept).lower(key, hparams).compile().memory_analysis().temp_size_in_bytes


def test_sqrt_fits_into_three_megabytes(float32):
    assert temporary_bytes(hg.unrolled(ladder(), num_steps=T, checkpoint="sqrt"), T) <= 3.0e6


@pytest.mark.slow
def test_plain_storing_takes_sixty_times_as_much(float32):
    naive = hg.unrolled(ladder(), num_steps=T, checkpoint="none", mixed_mode=False)
    assert temporary_bytes(naive, T) >= 60 * 3.0e6


@pytest.mark.slow
def test_reversible_takes_four_times_the_plain_run(float32):
    """The reference's goal at its protocol: float32, batches of 128 drawn by key.

    With full batches, whose plain run gathers nothing, the figure is 4.5.
    """
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(1000, 64)), jnp.float32)
    y = jnp.asarray(rng.normal(size=(1000, 10)), jnp.float32)

    def loss(key, hparams, params, t):
        bits = jax.random.bits(jax.random.fold_in(key, t), (128,), jnp.uint32)
        rows = (bits % np.uint32(1000)).astype(jnp.int32)
        w, b, v, c = params
        error = jnp.tanh(x[rows] @ w + b[None]) @ v + c[None] - y[rows]
        penalty = jnp.exp(hparams["l2"])
        return jnp.mean(error**2) + penalty[0] * jnp.sum(w**2) + penalty[1] * jnp.sum(v**2)

    def step(key, hparams, state, t):
        grads = hpo.training.gradient(lambda p: loss(key, hparams, p, t))(state["params"])
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, state["velocity"], grads)
        rate = jnp.exp(hparams["lr"][t])
        params = jax.tree.map(lambda p, v: p - rate * v, state["params"], velocity)
        return {"params": params, "velocity": velocity}

    training = ladder()._replace(step=step)
    estimator = hg.reversible(
        training, num_steps=T, loss=loss, learning_rate=lambda h, t: jnp.exp(h["lr"][t])
    )
    plain = hpo.training.objective(training, T)
    reverse = temporary_bytes(estimator, T)
    base = temporary_bytes(lambda key, h: hg.Hypergradient(plain(key, h), (), (), ()), T)
    assert reverse <= 4 * base


@pytest.mark.slow
def test_ten_slots_take_less_than_a_megabyte(float32):
    estimator = hg.unrolled(ladder(), num_steps=T, checkpoint=hg.binomial(10))
    assert temporary_bytes(estimator, T) <= 1.0e6


@pytest.mark.slow
def test_ten_thousand_steps(float32):
    estimator = hg.unrolled(ladder(), num_steps=10_000, checkpoint="sqrt")
    assert temporary_bytes(estimator, 10_000) < 32e6


@pytest.mark.parametrize(
    ("budget", "kind"),
    problems.mostly_slow([(4.5e7, 1), (4e6, 2), (2e6, 3), (6e5, None)], (2e6, 3)),
)
def test_auto_stays_in_its_budget_and_is_not_idle(float32, budget, kind):
    estimator = hg.unrolled(ladder(), num_steps=T, checkpoint=hg.auto(budget))
    used = temporary_bytes(estimator, T)
    assert used <= 1.1 * budget
    faster = hg.nested(3) if kind is None else (hg.nested(kind - 1) if kind > 1 else None)
    if faster is not None:  # the next faster schedule would not have fitted
        state = 8 * 4810
        assert faster.num_states(T) * state > 0.9 * budget - 1e6


@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [97, 1000])
def test_auto_keeps_every_budget(float32, num_steps):
    """From what nothing fits into to what everything fits into, in steps of a half."""
    kept = []
    for budget in 2e5 * 2.0 ** np.arange(0, 9):
        estimator = hg.unrolled(ladder(), num_steps=num_steps, checkpoint=hg.auto(budget))
        try:
            used = temporary_bytes(estimator, num_steps)
        except ValueError:
            assert not kept  # what fitted before fits into more
        else:
            kept.append(used / budget)
    assert len(kept) > 5
    assert max(kept) <= 1.1


@pytest.mark.slow
def test_auto_refuses_what_cannot_fit(float32):
    with pytest.raises(ValueError, match="at least"):
        temporary_bytes(hg.unrolled(ladder(), num_steps=T, checkpoint=hg.auto(1e4)), T)


@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [64, 256, 1024])
@pytest.mark.parametrize("checkpoint", ["step", "sqrt", "binomial"])
def test_memory_follows_the_formula(float32, checkpoint, num_steps):
    """Temporary memory = states alive times their size + a working set that does not grow."""
    states = NAMES[checkpoint]
    estimator = hg.unrolled(ladder(), num_steps=num_steps, checkpoint=checkpoint)
    small = hg.unrolled(ladder(), num_steps=4, checkpoint="sqrt")
    working = temporary_bytes(small, 4) - 4 * 8 * 4810
    expected = states.num_states(num_steps) * 8 * 4810 + working
    assert temporary_bytes(estimator, num_steps) == pytest.approx(expected, rel=0.1)
