"""Host callbacks that only raise, as equinox and diffrax have them, pass every estimator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxhpo as hpo
from jaxhpo import hypergrad as hg

KEY, HPARAMS, STEPS = jax.random.key(0), {"lr": 0.1}, 3


@pytest.fixture(autouse=True)
def standard_promotion():
    """Equinox and diffrax mix dtypes and ranks themselves."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def run_of(step):
    return hpo.Training(lambda key, h: jnp.ones(3), step, lambda h, s: jnp.sum(s**2))


def checked(key, h, s, t):
    eqx = pytest.importorskip("equinox")
    return eqx.error_if(s, jnp.any(s > 1e6), "diverged") * (1 - h["lr"])


def solved(**options):
    diffrax = pytest.importorskip("diffrax")

    def step(key, h, s, t):
        term = diffrax.ODETerm(lambda t, y, rate: -rate * y)
        made = {name: make(diffrax) for name, make in options.items()}
        found = diffrax.diffeqsolve(term, diffrax.Tsit5(), 0.0, 1.0, 0.1, s, args=h["lr"], **made)
        return found.ys[-1]

    return step


def read(key, h, s, t):
    """A table that lives on the host, read by the step number: pure, as it promises."""
    table = np.asarray([0.5, 1.0, 2.0], np.float32)
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    factor = jax.pure_callback(lambda t: table[t], shape, t)
    return s * (1 - h["lr"]) * factor.astype(s.dtype)


STEPS_OF = {
    "error_if": lambda: checked,
    "diffrax": solved,
    "direct": lambda: solved(adjoint=lambda d: d.DirectAdjoint()),
    "pure": lambda: read,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("checkpoint", ["none", "sqrt", "binomial"])
@pytest.mark.parametrize("name", STEPS_OF)
def test_what_jax_differentiates_passes(name, checkpoint):
    training = run_of(STEPS_OF[name]())
    objective = hpo.training.objective(training, STEPS)
    expected = jax.grad(lambda h: objective(KEY, h))(HPARAMS)["lr"]
    out = hg.unrolled(training, num_steps=STEPS, checkpoint=checkpoint)(KEY, HPARAMS)
    assert float(out.grad["lr"]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("name", ["error_if", "pure"])
def test_forward_passes_too(name):
    training = run_of(STEPS_OF[name]())
    objective = hpo.training.objective(training, STEPS)
    expected = jax.grad(lambda h: objective(KEY, h))(HPARAMS)["lr"]
    out = hg.forward(training, num_steps=STEPS)(KEY, HPARAMS)
    assert float(out.grad["lr"]) == pytest.approx(float(expected), rel=1e-4)


def test_the_default_adjoint_of_diffrax_names_unrolled():
    pytest.importorskip("diffrax")
    with pytest.raises(ValueError, match=r"custom reverse rule.*hypergrad\.unrolled"):
        hg.forward(run_of(solved()), num_steps=STEPS)(KEY, HPARAMS)


def test_an_error_still_raises():
    eqx = pytest.importorskip("equinox")
    training = run_of(lambda key, h, s, t: eqx.error_if(s, jnp.any(s > 0), "diverged") * h["lr"])
    with pytest.raises(Exception, match="diverged"):
        jax.block_until_ready(hg.unrolled(training, num_steps=STEPS)(KEY, HPARAMS))


def test_a_callback_of_the_state_needs_a_rule():
    def step(key, h, s, t):
        shape = jax.ShapeDtypeStruct((), s.dtype)
        return s * (1 - h["lr"]) + jax.pure_callback(lambda x: np.asarray(x), shape, s[0])

    with pytest.raises(ValueError, match="pure_callback.*jax.custom_jvp"):
        hg.unrolled(run_of(step), num_steps=STEPS)(KEY, HPARAMS)


def test_noise_from_the_host_is_refused():
    rng = np.random.default_rng(0)

    def step(key, h, s, t):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        noise = jax.pure_callback(lambda t: np.float32(rng.normal()), shape, t)
        return s * (1 - h["lr"]) + noise.astype(s.dtype)

    with pytest.raises(ValueError, match="fold_in"):
        hg.unrolled(run_of(step), num_steps=STEPS)(KEY, HPARAMS)
