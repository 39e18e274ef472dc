"""Problems of the Bayesian-optimization benchmarks: test functions, BBOB, real scikit-learn models.

Every problem is one record with its parameters and a Python function of their values, so that each
library sees the same numbers. Optima lie off the centre of the box: a first trial in the middle
wins nothing.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np


class Real(NamedTuple):
    """A real parameter."""

    low: float
    high: float
    log: bool = False


class Whole(NamedTuple):
    """An integer parameter."""

    low: int
    high: int
    log: bool = False


class Choice(NamedTuple):
    """A categorical parameter."""

    options: tuple[Any, ...]


class Problem(NamedTuple):
    """What is minimised.

    Attributes:
        params: the parameters by name.
        function: from a dictionary of their values to a number.
        minimum: the smallest value, or None where nobody knows.
        traced: the same function of `[d]` for JAX, where there is one.
    """

    params: Mapping[str, Real | Whole | Choice]
    function: Callable[[Mapping[str, Any]], float]
    minimum: float | None = None
    traced: Callable[[Any], Any] | None = None


def branin(u: Any) -> Any:
    """Surjanovic and Bingham, Virtual Library of Simulation Experiments; `u` in the unit square."""
    x, y = 15 * u[0] - 5, 15 * u[1]
    inner = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return inner**2 + 10 * (1 - 1 / (8 * math.pi)) * jnp.cos(x) + 10


def hartmann6(x: Any) -> Any:
    """Same library."""
    scales = jnp.asarray(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14],
         [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]], x.dtype
    )  # fmt: skip
    places = 1e-4 * jnp.asarray(
        [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
         [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]], x.dtype
    )  # fmt: skip
    heights = jnp.asarray([1.0, 1.2, 3.0, 3.2], x.dtype)
    return -jnp.sum(heights * jnp.exp(-jnp.sum(scales * (x[None, :] - places) ** 2, axis=1)))


def ackley(x: Any) -> Any:
    """Minimum 0 at 0."""
    root = jnp.sqrt(jnp.mean(x**2) + 1e-30)
    return -20 * jnp.exp(-0.2 * root) - jnp.exp(jnp.mean(jnp.cos(2 * jnp.pi * x))) + 20 + jnp.e


def levy(x: Any) -> Any:
    """Minimum 0 at 1."""
    w = 1 + (x - 1) / 4
    inner = jnp.sum((w[:-1] - 1) ** 2 * (1 + 10 * jnp.sin(jnp.pi * w[:-1] + 1) ** 2))
    last = (w[-1] - 1) ** 2 * (1 + jnp.sin(2 * jnp.pi * w[-1]) ** 2)
    return jnp.sin(jnp.pi * w[0]) ** 2 + inner + last


def rosenbrock(x: Any) -> Any:
    """Minimum 0 at 1."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rastrigin(x: Any) -> Any:
    """Minimum 0 at 0."""
    return jnp.sum(x**2 - 10 * jnp.cos(2 * jnp.pi * x) + 10)


def styblinski(x: Any) -> Any:
    """Minimum -39.16617 a dimension at -2.903534."""
    return 0.5 * jnp.sum(x**4 - 16 * x**2 + 5 * x)


def _box(
    function: Callable[[Any], Any],
    d: int,
    low: float,
    high: float,
    minimum: float = 0.0,
    shift: bool = False,
) -> Problem:
    """A function of `[d]` in a box; `shift` moves the optimum by up to a quarter of the width."""
    width = (high - low) / 4
    move = np.random.default_rng(7).uniform(-1, 1, d) * width if shift else np.zeros(d)

    def traced(x: Any) -> Any:
        return function(x - jnp.asarray(move, x.dtype))

    names = [f"x{i}" for i in range(d)]

    def on_host(values: Mapping[str, Any]) -> float:
        x = np.asarray([values[name] for name in names])
        return float(_jitted(traced)(x))

    return Problem({name: Real(low, high) for name in names}, on_host, minimum, traced)


@functools.cache
def _jitted(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    import jax

    return jax.jit(function)


def _bbob(index: int, d: int) -> Problem:
    """A function of the BBOB suite (Hansen et al., 2009), instance 1, by COCO's own code."""
    import cocoex

    suite = cocoex.Suite("bbob", "instances: 1", f"dimensions:{d} function_indices:{index}")
    names = [f"x{i}" for i in range(d)]
    minimum = _bbob_minimum(suite[0])

    def on_host(values: Mapping[str, Any]) -> float:
        # The suite owns the memory of its problems.
        return float(suite[0](np.asarray([values[name] for name in names], float)))

    return Problem({name: Real(-5.0, 5.0) for name in names}, on_host, minimum)


def _bbob_minimum(problem: Any) -> float:
    """The optimum's value: COCO writes the place of the optimum to a file in the working folder."""
    import os
    import tempfile

    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            problem._best_parameter("print")
            with open("._bbob_problem_best_parameter.txt") as file:
                return float(problem(np.asarray([float(word) for word in file.read().split()])))
        finally:
            os.chdir(here)


def _support_vectors() -> Problem:
    """Support vector regression of Friedman's second function, with a weight for each feature."""
    from sklearn.datasets import make_friedman2
    from sklearn.svm import SVR

    x, y = make_friedman2(400, noise=10.0, random_state=0)
    x, y = (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()

    def function(values: Mapping[str, Any]) -> float:
        settings = dict(values)
        scaled = x * np.asarray([settings.pop(f"w{i}") for i in range(4)])
        model = SVR(gamma=1.0, max_iter=20000, **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what has not converged is judged as it is
            model.fit(scaled[:150], y[:150])
        error = float(np.mean((model.predict(scaled[150:]) - y[150:]) ** 2))
        return math.log10(min(error, 1e6))

    params: dict[str, Real | Whole | Choice] = {
        f"w{i}": Real(1e-2, 1e1, log=True) for i in range(4)
    }
    params |= {
        "C": Real(1e-2, 1e4, log=True),
        "epsilon": Real(1e-4, 1e0, log=True),
        "kernel": Choice(("rbf", "poly", "sigmoid")),
        "degree": Whole(2, 6),
        "coef0": Real(-1.0, 1.0),
    }
    return Problem(params, function)


def _kernel_ridge() -> Problem:
    """Kernel ridge regression on Friedman's function, with a weight for each pair of features."""
    from sklearn.datasets import make_friedman1
    from sklearn.kernel_ridge import KernelRidge

    x, y = make_friedman1(400, n_features=10, noise=0.1, random_state=0)
    y = (y - y.mean()) / y.std()

    def function(values: Mapping[str, Any]) -> float:
        settings = dict(values)
        weights = np.repeat([settings.pop(f"w{i}") for i in range(5)], 2)
        scaled = x * weights
        model = KernelRidge(gamma=1.0, **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an ill-conditioned matrix shows in the error
            model.fit(scaled[:150], y[:150])
        error = float(np.mean((model.predict(scaled[150:]) - y[150:]) ** 2))
        return math.log10(min(error, 1e6)) if math.isfinite(error) else 6.0

    params: dict[str, Real | Whole | Choice] = {
        f"w{i}": Real(1e-3, 1e1, log=True) for i in range(5)
    }
    params |= {
        "alpha": Real(1e-8, 1e2, log=True),
        "kernel": Choice(("rbf", "laplacian", "polynomial")),
        "degree": Whole(1, 6),
    }
    return Problem(params, function)


_BBOB = (1, 8, 10, 15, 20, 21)
"""Separable, Rosenbrock, ill-conditioned, Rastrigin, deceptive, many peaks."""

PROBLEMS: dict[str, Callable[[], Problem]] = {
    "branin": functools.partial(_box, branin, 2, 0.0, 1.0, 0.397887),
    "hartmann6": functools.partial(_box, hartmann6, 6, 0.0, 1.0, -3.322368),
    "ackley10": functools.partial(_box, ackley, 10, -32.768, 32.768, shift=True),
    "levy10": functools.partial(_box, levy, 10, -10.0, 10.0, shift=True),
    "rosenbrock5": functools.partial(_box, rosenbrock, 5, -5.0, 10.0),
    "rastrigin5": functools.partial(_box, rastrigin, 5, -5.12, 5.12, shift=True),
    "styblinski8": functools.partial(_box, styblinski, 8, -5.0, 5.0, -39.1661657 * 8),
    **{f"bbob{f:02d}_{d}d": functools.partial(_bbob, f, d) for d in (5, 10) for f in _BBOB},
    "support_vectors": _support_vectors,
    "kernel_ridge": _kernel_ridge,
}
