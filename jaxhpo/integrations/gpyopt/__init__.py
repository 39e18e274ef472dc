"""GPyOpt: a class of the same shape as its `BayesianOptimization`, over our Gaussian process."""

from jaxhpo.integrations.gpyopt._bayesian_optimization import (
    BayesianOptimization as BayesianOptimization,
)

__all__ = [
    "BayesianOptimization",
]
