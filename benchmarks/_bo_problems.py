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

import jax
import numpy as np

from jaxhpo import problems


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


def _known(make: Callable[[], problems.Function]) -> Problem:
    """A test function of the package, for every library the same compiled program."""
    function = make()
    names = [f"x{i}" for i in range(function.num_dims)]
    bounds = zip(function.low, function.high, strict=True)

    def on_host(values: Mapping[str, Any]) -> float:
        x = np.asarray([values[name] for name in names], np.float64)
        with jax.enable_x64(True):  # regrets go down to where float32 sees nothing
            return float(_jitted(function.evaluate)(x))

    params = {name: Real(*pair) for name, pair in zip(names, bounds, strict=True)}
    return Problem(params, on_host, function.minimum, function.evaluate)


@functools.cache
def _jitted(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return jax.jit(function)


def _shifted(make: Callable[..., problems.Function], num_dims: int) -> problems.Function:
    return make(num_dims).shifted()


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
"""Separable, Rosenbrock, ill-conditioned, Rastrigin, deceptive, many peaks; instance 1."""

FUNCTIONS: dict[str, Callable[[], problems.Function]] = {
    "branin": problems.branin,
    "hartmann6": problems.hartmann6,
    "ackley10": functools.partial(_shifted, problems.ackley, 10),
    "levy10": functools.partial(_shifted, problems.levy, 10),
    "rosenbrock5": functools.partial(problems.rosenbrock, 5),
    "rastrigin5": functools.partial(_shifted, problems.rastrigin, 5),
    "styblinski8": functools.partial(problems.styblinski_tang, 8),
    **{
        f"bbob{f:02d}_{d}d": functools.partial(problems.bbob.problem, f, d)
        for d in (5, 10)
        for f in _BBOB
    },
}

PROBLEMS: dict[str, Callable[[], Problem]] = {
    **{name: functools.partial(_known, make) for name, make in FUNCTIONS.items()},
    "support_vectors": _support_vectors,
    "kernel_ridge": _kernel_ridge,
}
