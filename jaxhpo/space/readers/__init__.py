"""Readers of foreign search spaces: one file per system; the foreign library is never imported."""

from jaxhpo.space.readers.gpyopt import from_gpyopt as from_gpyopt
from jaxhpo.space.readers.hyperopt import from_hyperopt as from_hyperopt
from jaxhpo.space.readers.optuna import from_optuna as from_optuna
from jaxhpo.space.readers.ray import from_ray as from_ray
from jaxhpo.space.readers.scipy import from_scipy as from_scipy
from jaxhpo.space.readers.sklearn import from_sklearn as from_sklearn

__all__ = [
    "from_gpyopt",
    "from_hyperopt",
    "from_optuna",
    "from_ray",
    "from_scipy",
    "from_sklearn",
]
