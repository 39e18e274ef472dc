"""The derivative rules of a replayed step: JAX's own wherever that is finite, and finite elsewhere.

Every rule, at a grid of the points where rules go wrong: zeros of both signs, ones, equal
arguments, infinities, the smallest numbers, negative bases under whole exponents.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

import jaxhpo as hpo
from jaxhpo import hypergrad as hg
from jaxhpo.hypergrad.unrolled import _extrema, _safe

POINTS = (0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 1e-30, -1e-30, 1e30,
          float(np.finfo(np.float32).tiny), 1e-45, np.inf, -np.inf)  # fmt: skip
WHOLE = (-3, -2, -1, 0, 1, 2, 3)

ONE = {
    "sqrt": lax.sqrt,
    "rsqrt": lax.rsqrt,
}
TWO = {
    "pow": lax.pow,
    "mul": lambda x, y: lax.sqrt(x) * y,
    "div": lambda x, y: x / lax.sqrt(y),
    "div_of_root": lambda x, y: lax.sqrt(x) / y,
    "where": lambda x, y: jnp.where(x > 1.5, lax.sqrt(x - 1) * y, y),
}


def safe(fun, *args):
    """The function as a replayed step evaluates it."""
    closed = jax.make_jaxpr(fun)(*args)
    return lambda *args: _safe.evaluate(closed.jaxpr, closed.consts, args)[0]


def slopes(fun, args, mode):
    """Value and derivative by each argument."""
    if mode == "reverse":
        value, pullback = jax.vjp(fun, *args)
        return value, pullback(jnp.ones_like(value))
    values, found = [], []
    for i in range(len(args)):
        along = [jnp.ones_like(x) if i == j else jnp.zeros_like(x) for j, x in enumerate(args)]
        value, slope = jax.jvp(fun, tuple(args), tuple(along))
        values.append(value)
        found.append(slope)
    return values[0], found


def check(fun, rows, dtype, mode):
    args = [jnp.asarray(column, dtype) for column in zip(*rows, strict=True)]
    ours = jax.vmap(lambda *x: slopes(safe(fun, *x), x, mode))(*args)
    with jax.numpy_dtype_promotion("standard"):  # JAX's rule for whole exponents promotes
        theirs = jax.vmap(lambda *x: slopes(fun, x, mode))(*args)
    np.testing.assert_array_equal(np.asarray(ours[0]), np.asarray(theirs[0]))
    for mine, jaxs in zip(ours[1], theirs[1], strict=True):
        mine, jaxs = np.asarray(mine), np.asarray(jaxs)
        where = np.isfinite(jaxs)
        np.testing.assert_allclose(mine[where], jaxs[where], rtol=4 * np.finfo(dtype).eps)
        is_finite = np.isfinite(np.asarray(ours[0])).reshape(len(rows), -1).all(1)
        assert np.isfinite(np.where(where, 0.0, mine)[is_finite]).all()


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sqrt", "rsqrt"])
def test_rules_of_one_argument(name, dtype, mode):
    with jax.enable_x64(True):
        check(ONE[name], [(x,) for x in POINTS], dtype, mode)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_rule_of_pow(dtype, mode):
    with jax.enable_x64(True):
        check(TWO["pow"], list(itertools.product(POINTS, repeat=2)), dtype, mode)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_pow_with_whole_exponents(mode):
    with jax.enable_x64(True):
        for k in WHOLE:
            check(lambda x, k=k: lax.integer_pow(x, k), [(x,) for x in POINTS], "float64", mode)
            exponent = jnp.asarray(k, jnp.int32)
            check(lambda x, n=exponent: lax.pow(x, n), [(x,) for x in POINTS], "float64", mode)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("name", ["mul", "div", "div_of_root", "where"])
def test_products_with_roots(name, mode):
    """Roots of negative numbers are NaN, and a `where` drops them: the rest keeps its slope."""
    finite = [x for x in POINTS if np.isfinite(x) and abs(x) < 1e20]
    with jax.enable_x64(True):
        rows = list(itertools.product(finite, repeat=2))
        args = [jnp.asarray(column) for column in zip(*rows, strict=True)]
        fun = TWO[name]
        ours = jax.vmap(lambda *x: slopes(safe(fun, *x), x, mode))(*args)
        theirs = jax.vmap(lambda *x: slopes(fun, x, mode))(*args)
    for mine, jaxs in zip(ours[1], theirs[1], strict=True):
        where = np.isfinite(np.asarray(jaxs))
        np.testing.assert_allclose(np.asarray(mine)[where], np.asarray(jaxs)[where], rtol=1e-12)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("name", ["max", "min"])
def test_the_rules_of_extrema(name, mode):
    """Those of JAX, equal arguments included."""
    one, along = getattr(lax, name), getattr(jnp, name)
    finite = [x for x in POINTS if np.isfinite(x)]
    with jax.enable_x64(True):
        for dtype in ("float32", "float64"):
            check(one, list(itertools.product(POINTS, repeat=2)), dtype, mode)
            relu = lambda x, one=one: one(x, jnp.asarray(0.5, x.dtype))  # noqa: E731
            check(relu, [(x,) for x in POINTS], dtype, mode)
            x = np.random.default_rng(0).choice(finite[:9], size=(50, 3, 2, 4))
            for axes in ((), (0,), (2,), (0, 1), (0, 2), (0, 1, 2)):
                check(lambda x, axes=axes: along(x, axes), [(row,) for row in x], dtype, mode)


def test_an_extremum_over_nothing():
    x = jnp.zeros((2, 0))
    out = jax.grad(lambda x: safe(lambda x: jnp.max(x, 1, initial=-1.0), x)(x).sum())(x)
    assert out.shape == x.shape


@pytest.mark.parametrize("name", ["max", "min"])
def test_an_extremum_that_no_argument_equals(name):
    """The compiler may round an argument otherwise where it is computed a second time."""
    find = getattr(jnp, name)
    closed = jax.make_jaxpr(lambda x: find(x, 1))(jnp.zeros((1, 3)))
    (eqn,) = (e for e in closed.eqns if e.primitive.name == f"reduce_{name}")
    rounded = lambda x: eqn.primitive.bind(x, **eqn.params) * (1 + 1e-6)  # noqa: E731
    x = jnp.array([[1.0, 3.0, 2.0], [2.0, 2.0, 2.0]])
    found = jax.grad(lambda x: _extrema.reduced(eqn, rounded, x).sum())(x)
    expected = {"max": [[0, 1, 0], [1, 0, 0]], "min": [[1, 0, 0], [1, 0, 0]]}[name]
    np.testing.assert_array_equal(np.asarray(found), expected)


X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.tanh(X @ np.array([1.0, -2.0, 0.5]))
DECAYS = {
    "b1": lambda h: optax.adam(0.05, b1=h["b"], b2=0.9),
    "b2": lambda h: optax.adam(0.05, b1=0.9, b2=h["b"]),
    "both": lambda h: optax.adam(0.05, b1=h["b"], b2=h["b"]),
    "ema": lambda h: optax.chain(optax.ema(h["b"]), optax.sgd(0.05)),
    "rmsprop": lambda h: optax.rmsprop(0.05, decay=h["b"]),
    "momentum": lambda h: optax.sgd(0.05, momentum=h["b"]),
}
EXACT = {
    "unrolled": lambda t: hg.unrolled(t, num_steps=6),
    "reverse": lambda t: hg.unrolled(t, num_steps=6, mixed_mode=False),
    "forward": lambda t: hg.forward(t, num_steps=6),
    "truncated": lambda t: hg.truncated(t, num_steps=6, window=6),
}


@pytest.mark.parametrize("estimator", EXACT)
@pytest.mark.parametrize("decay", DECAYS)
def test_a_decay_of_exactly_zero(decay, estimator):
    """Where GANs start: the derivative of 0**1 is 1."""
    with jax.enable_x64(True):
        training = hpo.training.from_optax(
            init=lambda key, h: {"w": jnp.full(3, 0.1), "c": jnp.zeros(())},
            loss=lambda h, p, batch: jnp.mean(
                (jnp.tanh(batch[0] @ p["w"] + p["c"]) - batch[1]) ** 2
            ),
            optimizer=DECAYS[decay],
            train=(X, Y),
            validation=(X, Y),
        )
        value = jax.jit(lambda b: hpo.training.objective(training, 6)(jax.random.key(0), {"b": b}))

        # One-sided, where a negative decay has no meaning; of second order all the same.
        def quotient(h):
            ends = [float(value(b)) for b in (0.0, h, 2 * h)]
            return (-3 * ends[0] + 4 * ends[1] - ends[2]) / (2 * h)

        out = jax.jit(EXACT[estimator](training))(jax.random.key(0), {"b": 0.0})
        slope = float(out.grad["b"])
        # Far from zero rounding shows, close to it the curvature: the best of a scan tells.
        assert min(abs(slope - quotient(h)) for h in (1e-5, 1e-6, 1e-7, 1e-8)) < 1e-6 * abs(slope)
        assert abs(slope) > 1e-4
